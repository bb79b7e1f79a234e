local files = require "spec.files"
local h = require "spec.helper"
local lfs = require "lfs"
local neap = require "neap"

local await, fs = neap.await, neap.fs
local at, given, fails = files.at, files.given, files.fails
local LARGE = ("0123456789abcdef"):rep(1 << 18)

local function mode_of(name) return lfs.attributes(at(name), "permissions") end

describe("neap.fs.write_file", function()
  before_each(files.make)
  after_each(files.remove)

  it("gives a new file the mode, and leaves that of an old one", h.run(function()
    await(fs.write_file(at("new"), "", { mode = "600" }))
    await(fs.write_file(at("new"), "x", { mode = "rw-r-----" }))
    assert.equal("rw-------", mode_of("new"))
  end))

  it("with sync has written to the disk", h.run(function()
    await(fs.write_file(at("new"), "x", { sync = true }))
    assert.equal("x", files.slurp("new"))
  end))

  it("raises argument errors for its options", h.run(function()
    h.bad_argument("write_file", 3, fs.write_file, at("a"), "x", true)
    h.bad_argument("write_file", 3, fs.write_file, at("a"), "x", { atomic = 1 })
    h.bad_argument("write_file", 3, fs.write_file, at("a"), "x", { mode = "rwx" })
    h.bad_argument("write_file", 3, fs.write_file, at("a"), "x", { sync = "yes" })
    assert.same({}, files.names())
  end))
end)

describe("neap.fs.write_file with atomic", function()
  before_each(files.make)
  after_each(files.remove)

  local function write(path, data, mode)
    return fs.write_file(path, data, { atomic = true, mode = mode })
  end

  it("makes a file, and leaves nothing beside it", h.run(function()
    await(write(at("new"), "content", "640"))
    assert.equal("content", files.slurp("new"))
    assert.equal("rw-r-----", mode_of("new"))
    assert.same({ "new" }, files.names())
  end))

  it("replaces a file, whose mode stays", h.run(function()
    local path = given("old", "a long content")
    await(fs.chmod(path, "604"))
    local before = await(fs.stat(path))
    await(write(path, "new"))
    assert.equal("new", files.slurp("old"))
    assert.equal("rw----r--", mode_of("old"))
    assert.not_equal(before.ino, await(fs.stat(path)).ino)
    assert.same({ "old" }, files.names())
  end))

  it("writes an empty file and one of several MiB", h.run(function()
    await(write(at("a"), ""))
    await(write(at("b"), LARGE))
    assert.equal("", files.slurp("a"))
    assert.is_true(files.slurp("b") == LARGE)
  end))

  it("keeps a link and replaces what it points to", h.run(function()
    files.given_directory("d")
    given("d/file", "old")
    files.given_link("d/other", "first")
    files.given_link("file", "d/other")
    await(write(at("first"), "new"))
    assert.equal("new", files.slurp("d/file"))
    assert.equal("link", files.kind("first"))
    assert.equal("link", files.kind("d/other"))
  end))

  it("makes what a link points to", h.run(function()
    files.given_link(at("file"), "link")
    await(write(at("link"), "new"))
    assert.equal("new", files.slurp("file"))
    assert.same({ "file", "link" }, files.names())
  end))

  it("[S50] fails with ELOOP for links in a circle", h.run(function()
    files.given_link("b", "a")
    files.given_link("a", "b")
    fails("ELOOP", "readlink", at("a"), nil, write(at("a"), "x"))
  end))

  it("[S50] fails where there is no directory, or a directory is there", h.run(function()
    fails("ENOENT", "open", at("no/file"), nil, write(at("no/file"), "x"))
    fails("EISDIR", "open", files.directory, nil, write(files.directory, "x"))
    fails("EISDIR", "open", files.directory .. "/", nil, write(files.directory .. "/", "x"))
    fails("ENOENT", "open", "", nil, write("", "x"))
    fails("ENOTDIR", "open", given("f") .. "/x", nil, write(at("f/x"), "x"))
    assert.same({ "f" }, files.names())
  end))

  it("fails with EINVAL for what is no regular file", h.run(function()
    fails("EINVAL", "rename", "/dev/null", nil, write("/dev/null", "x"))
  end))

  it("writes into the current directory", h.run(function()
    local before = lfs.currentdir()
    lfs.chdir(files.directory)
    local ok, err = pcall(function() await(write("file", "x")) end)
    lfs.chdir(before)
    assert(ok, err)
    assert.equal("x", files.slurp("file"))
  end))

  it("[S71] does nothing in a cancelled scope", h.run(function()
    neap.scope(function(scope)
      scope:cancel("closed")
      assert.equal("cancelled", write(at("file"), "x"):status())
    end)
    files.drain_pool()
    assert.same({}, files.names())
  end))

  it("[C20] leaves the old or the new content when it is cancelled", h.run(function()
    local path = given("file", "old")
    for i = 1, 40 do
      local task = write(path, LARGE)
      for _ = 1, i % 8 do await(fs.stat(path)) end
      task:cancel("enough")
      files.drain_pool()
      assert.same({ "file" }, files.names())
      local content = files.slurp("file")
      assert.is_true(content == "old" or content == LARGE)
      given("file", "old")
    end
  end))

  it("gives one of the contents when two write at once", h.run(function()
    local a, b = write(at("file"), ("a"):rep(100000)), write(at("file"), ("b"):rep(100000))
    await(neap.all{ a, b })
    local content = files.slurp("file")
    assert.equal(content:sub(1, 1):rep(100000), content)
    assert.same({ "file" }, files.names())
  end))
end)

describe("neap.fs.append_file", function()
  before_each(files.make)
  after_each(files.remove)

  it("makes a file, with the mode, and adds to it", h.run(function()
    await(fs.append_file(at("log"), "one\n", { mode = "600" }))
    await(fs.append_file(at("log"), "two\n", { sync = true }))
    await(fs.append_file(at("log"), ""))
    assert.equal("one\ntwo\n", files.slurp("log"))
    assert.equal("rw-------", mode_of("log"))
  end))

  it("keeps each whole when several append at once", h.run(function()
    local list = {}
    for i = 1, 50 do list[i] = fs.append_file(at("log"), ("%02d\n"):format(i)) end
    await(neap.all(list))
    local lines = {}
    for line in files.slurp("log"):gmatch("(%d%d)\n") do lines[tonumber(line)] = true end
    assert.equal(50, #lines)
    assert.equal(150, #files.slurp("log"))
  end))

  it("[S50] fails for a directory and a missing one", h.run(function()
    fails("EISDIR", "open", files.directory, nil, fs.append_file(files.directory, "x"))
    fails("ENOENT", "open", at("no/file"), nil, fs.append_file(at("no/file"), "x"))
  end))

  it("raises argument errors", h.run(function()
    h.bad_argument("append_file", 1, fs.append_file, "a\0b", "x")
    h.bad_argument("append_file", 2, fs.append_file, at("a"))
    h.bad_argument("append_file", 3, fs.append_file, at("a"), "x", { mode = 8 ^ 5 })
  end))

  it("[S71] does nothing in a cancelled scope", h.run(function()
    neap.scope(function(scope)
      scope:cancel("closed")
      assert.equal("cancelled", fs.append_file(at("file"), "x"):status())
    end)
    files.drain_pool()
    assert.same({}, files.names())
  end))
end)
