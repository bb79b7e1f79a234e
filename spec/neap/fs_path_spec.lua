local files = require "spec.files"
local h = require "spec.helper"
local support = require "spec.support"
local lfs = require "lfs"
local neap = require "neap"

local await, fs = neap.await, neap.fs
local at, given, fails = files.at, files.given, files.fails

describe("neap.fs.rename, link and symlink", function()
  before_each(files.make)
  after_each(files.remove)

  it("rename moves, over what is there", h.run(function()
    given("b", "old")
    await(fs.rename(given("a", "new"), at("b")))
    assert.equal("new", files.slurp("b"))
    assert.same({ "b" }, files.names())
  end))

  it("link gives a file a second name", h.run(function()
    await(fs.link(given("a", "x"), at("b")))
    assert.equal(2, await(fs.stat(at("b"))).nlink)
  end))

  it("symlink writes any text, which readlink gives back", h.run(function()
    for i, text in ipairs({ "a", "../b/c", "\255\n", ("x"):rep(256), ("y"):rep(4000) }) do
      await(fs.symlink(text, at("l" .. i)))
      assert.equal("link", files.kind("l" .. i))
      assert.equal(text, await(fs.readlink(at("l" .. i))))
    end
  end))

  it("[S50] fail with both paths", h.run(function()
    local no, there = at("no"), given("there")
    fails("ENOENT", "rename", no, at("b"), fs.rename(no, at("b")))
    fails("ENOENT", "link", no, at("b"), fs.link(no, at("b")))
    fails("EEXIST", "link", there, there, fs.link(there, there))
    fails("EEXIST", "symlink", "x", there, fs.symlink("x", there))
    fails("EINVAL", "readlink", there, nil, fs.readlink(there))
    fails("ENOENT", "readlink", no, nil, fs.readlink(no))
  end))

  it("realpath resolves links, dots and slashes", h.run(function()
    files.given_directory("d")
    given("d/file")
    files.given_link("d", "link")
    local expected = await(fs.realpath(files.directory)) .. "/d/file"
    assert.equal(expected, await(fs.realpath(at("./link/..//link/file"))))
    assert.equal("/", await(fs.realpath("/..")))
    fails("ENOENT", "realpath", at("no"), nil, fs.realpath(at("no")))
  end))
end)

describe("neap.fs.stat and lstat", function()
  before_each(files.make)
  after_each(files.remove)

  it("tell what the system knows of a file", h.run(function()
    local path = given("file", "content")
    await(fs.chmod(path, "640"))
    local info = await(fs.stat(path))
    local expected = lfs.attributes(path)
    for name, other in pairs({ size = "size", uid = "uid", gid = "gid", dev = "dev", ino = "ino",
        nlink = "nlink", blksize = "blksize", blocks = "blocks", rdev = "rdev" }) do
      assert.equal(expected[other], info[name], name)
      assert.equal("integer", math.type(info[name]), name)
    end
    assert.equal("file", info.type)
    assert.equal(tonumber("640", 8), info.mode)
    for name, other in pairs({ atime = "access", mtime = "modification", ctime = "change" }) do
      assert.equal("float", math.type(info[name]))
      assert.equal(expected[other], math.floor(info[name]))
    end
    assert.is_true(info.birthtime == nil or math.type(info.birthtime) == "float")
  end))

  it("name the types", h.run(function()
    files.given_link("nowhere", "link")
    assert.equal("directory", await(fs.stat(files.directory)).type)
    assert.equal("char", await(fs.stat("/dev/null")).type)
    assert.equal("link", await(fs.lstat(at("link"))).type)
    assert.equal(#"nowhere", await(fs.lstat(at("link"))).size)
  end))

  it("[S50] stat follows links, lstat does not", h.run(function()
    given("file", "content")
    files.given_link("file", "good")
    files.given_link("nowhere", "bad")
    assert.equal("file", await(fs.stat(at("good"))).type)
    assert.equal("link", await(fs.lstat(at("good"))).type)
    fails("ENOENT", "stat", at("bad"), nil, fs.stat(at("bad")))
    fails("ENOENT", "lstat", at("no"), nil, fs.lstat(at("no")))
  end))

  it("statfs tells the room of a file system in integers", h.run(function()
    local info = await(fs.statfs(files.directory))
    for _, name in ipairs({ "type", "bsize", "blocks", "bfree", "bavail", "files", "ffree" }) do
      assert.equal("integer", math.type(info[name]), name)
    end
    assert.is_true(info.bsize > 0 and info.blocks >= info.bfree and info.bfree >= info.bavail)
    fails("ENOENT", "statfs", at("no"), nil, fs.statfs(at("no")))
  end))

  it("access says yes or no", h.run(function()
    local path = given("file")
    await(fs.chmod(path, "600"))
    assert.is_true(await(fs.access(path)))
    assert.is_true(await(fs.access(path, "rw")))
    assert.is_false(await(fs.access(path, "x")))
    assert.is_false(await(fs.access(path, "rwx")))
    assert.is_false(await(fs.access(at("no"))))
    assert.is_false(await(fs.access(path .. "/below")))
    assert.is_true(await(fs.access(files.directory, "rwx")))
  end))

  it("access fails where there is no answer", h.run(function()
    local path = at(("x"):rep(300))
    fails("ENAMETOOLONG", "access", path, nil, fs.access(path))
  end))
end)

describe("neap.fs.chmod, chown, utime and truncate", function()
  before_each(files.make)
  after_each(files.remove)

  it("chmod takes numbers, octal digits and letters", h.run(function()
    local path = given("file")
    for _, mode in ipairs({ 420, "644", "0644", "rw-r--r--" }) do
      await(fs.chmod(path, "000"))
      await(fs.chmod(path, mode))
      assert.equal(420, await(fs.stat(path)).mode)
    end
    await(fs.chmod(path, "1755"))
    assert.equal(tonumber("1755", 8), await(fs.stat(path)).mode)
    fails("ENOENT", "chmod", at("no"), nil, fs.chmod(at("no"), 0))
  end))

  it("chown sets what it is told", h.run(function()
    local path = given("file")
    local own = await(fs.stat(path))
    await(fs.chown(path, own.uid, own.gid))
    await(fs.chown(path, nil, nil))
    files.given_link("nowhere", "link")
    await(fs.chown(at("link"), own.uid, own.gid, { follow = false }))
    fails("ENOENT", "fchownat", at("link"), nil, fs.chown(at("link"), own.uid, own.gid))
    if own.uid ~= 0 then return end
    await(fs.chown(path, 1234, nil))
    await(fs.chown(path, nil, 4321))
    local info = await(fs.stat(path))
    assert.same({ 1234, 4321 }, { info.uid, info.gid })
  end))

  it("utime sets times, with fractions and before 1970; nil is now", h.run(function()
    local path = given("file")
    await(fs.utime(path, 1000000000.25, -1.5))
    local info = await(fs.stat(path))
    assert.same({ 1000000000.25, -1.5 }, { info.atime, info.mtime })
    local before = os.time() - 5
    await(fs.utime(path, 7))
    info = await(fs.stat(path))
    assert.equal(7.0, info.atime)
    assert.is_true(info.mtime > before)
  end))

  it("utime takes the smallest fraction before 1970", h.run(function()
    local path = given("file")
    await(fs.utime(path, -1e-17, -1e-17))
    assert.is_true(math.abs(await(fs.stat(path)).mtime) < 1e-6)
  end))

  it("utime leaves what a link points to alone if it is told to", h.run(function()
    local path = given("file")
    files.given_link("file", "link")
    await(fs.utime(path, 1, 1))
    await(fs.utime(at("link"), 2, 2, { follow = false }))
    assert.equal(1.0, await(fs.stat(path)).mtime)
    assert.equal(2.0, await(fs.lstat(at("link"))).mtime)
    await(fs.utime(at("link"), 3, 3))
    assert.equal(3.0, await(fs.stat(path)).mtime)
    fails("ENOENT", "utimensat", at("no"), nil, fs.utime(at("no"), 1, 1))
  end))

  it("truncate cuts and extends", h.run(function()
    local path = given("file", "content")
    await(fs.truncate(path, 4))
    assert.equal("cont", files.slurp("file"))
    await(fs.truncate(path, 6))
    assert.equal("cont\0\0", files.slurp("file"))
    await(fs.truncate(path))
    assert.equal("", files.slurp("file"))
    fails("EISDIR", "truncate", files.directory, nil, fs.truncate(files.directory, 0))
  end))

  it("raise argument errors", h.run(function()
    h.bad_argument("access", 2, fs.access, "a", "q")
    h.bad_argument("chmod", 2, fs.chmod, "a")
    h.bad_argument("chmod", 2, fs.chmod, "a", "rwxrwxrwy")
    h.bad_argument("chmod", 2, fs.chmod, "a", -1)
    h.bad_argument("chown", 2, fs.chown, "a", -1, 0)
    h.bad_argument("chown", 3, fs.chown, "a", 0, 2 ^ 40)
    h.bad_argument("chown", 4, fs.chown, "a", 0, 0, { follow = 1 })
    h.bad_argument("utime", 2, fs.utime, "a", 0 / 0)
    h.bad_argument("utime", 3, fs.utime, "a", 0, math.huge)
    h.bad_argument("utime", 4, fs.utime, "a", 0, 0, true)
    h.bad_argument("truncate", 2, fs.truncate, "a", -1)
    h.bad_argument("truncate", 2, fs.truncate, "a", 1.5)
  end))
end)

describe("each operation on a path", function()
  before_each(files.make)
  after_each(files.remove)

  --- Name -> its arguments, where "a" is a file that is there and "b" is none.
  local calls = {
    read_file = function() return at("a") end,
    write_file = function() return at("a"), "x" end,
    append_file = function() return at("a"), "x" end,
    copy_file = function() return at("a"), at("b") end,
    open = function() return at("a") end,
    list = function() return files.directory end,
    mkdir = function() return at("b") end,
    remove = function() return at("a") end,
    rename = function() return at("a"), at("b") end,
    link = function() return at("a"), at("b") end,
    symlink = function() return at("a"), at("b") end,
    readlink = function() return files.kind("l") and at("l") or files.given_link("a", "l") end,
    realpath = function() return at("a") end,
    stat = function() return at("a") end,
    lstat = function() return at("a") end,
    statfs = function() return at("a") end,
    access = function() return at("a") end,
    chmod = function() return at("a"), "600" end,
    chown = function() return at("a") end,
    utime = function() return at("a") end,
    truncate = function() return at("a") end,
    mkdtemp = function() return at("t-") end,
  }

  for name, arguments in pairs(calls) do
    it("(" .. name .. ") refuses a NUL byte", h.run(function()
      h.bad_argument(name, 1, fs[name], "a\0b", select(2, arguments()))
      h.bad_argument(name, 1, fs[name], {}, select(2, arguments()))
    end))

    it("[C20, S71] (" .. name .. ") can be cancelled before and while it works", h.run(function()
      given("a", ("x"):rep(100000))
      local before = support.open_descriptors()
      neap.scope(function(scope)
        scope:cancel("closed")
        assert.equal("cancelled", fs[name](arguments()):status())
      end)
      local task = neap.start(function(...) return await(fs[name](...)) end, arguments())
      task:cancel("enough")
      assert.same({ "cancelled", "enough" }, { await(neap.settle(task)) })
      files.drain_pool()
      assert.equal(before, support.open_descriptors())
    end))

    it("(" .. name .. ") takes names that are no UTF-8", h.run(function()
      files.given_directory("\255\1")
      local former = files.directory
      files.directory = at("\255\1")
      local ok, err = pcall(function()
        given("a", "x")
        local result = await(fs[name](arguments()))
        if name == "open" then await(result:close()) end
      end)
      files.directory = former
      assert(ok, err)
    end))
  end

  it("that fails for want of memory says so", h.run(function()
    given("a", "x")
    for name, arguments in pairs(calls) do
      if name ~= "open" then
        h.each_failure(function()
          os.remove(at("b"))
          given("a", "x")
          await(fs[name](arguments()))
        end)
      end
    end
  end))
end)
