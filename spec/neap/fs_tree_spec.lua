local files = require "spec.files"
local h = require "spec.helper"
local support = require "spec.support"
local lfs = require "lfs"
local neap = require "neap"

local await, fs = neap.await, neap.fs
local at, given, fails = files.at, files.given, files.fails

local function mode_of(path) return ("%o"):format(await(fs.stat(path)).mode) end

describe("neap.fs.mkdir", function()
  before_each(files.make)
  after_each(files.remove)

  it("makes a directory, with the mode", h.run(function()
    await(fs.mkdir(at("a")))
    await(fs.mkdir(at("b"), { mode = "700" }))
    assert.equal("directory", files.kind("a"))
    assert.equal("700", mode_of(at("b")))
  end))

  it("[S50] fails where something is there, and where no parent is", h.run(function()
    fails("EEXIST", "mkdir", files.directory, nil, fs.mkdir(files.directory))
    fails("EEXIST", "mkdir", given("f"), nil, fs.mkdir(at("f")))
    fails("ENOENT", "mkdir", at("a/b"), nil, fs.mkdir(at("a/b")))
    fails("ENOENT", "mkdir", "", nil, fs.mkdir(""))
  end))

  it("with parents makes those that are missing; the mode is for the last", h.run(function()
    await(fs.mkdir(at("a/b//c/d/"), { parents = true, mode = "700" }))
    assert.equal("directory", files.kind("a/b/c/d"))
    assert.equal("700", mode_of(at("a/b/c/d")))
    assert.not_equal("700", mode_of(at("a/b/c")))
  end))

  it("with parents accepts a directory that is there, and a link to one", h.run(function()
    await(fs.mkdir(files.directory, { parents = true }))
    await(fs.mkdir("/", { parents = true }))
    await(fs.mkdir(".", { parents = true }))
    files.given_link(".", "link")
    await(fs.mkdir(at("link"), { parents = true }))
    await(fs.mkdir(at("link/a/b"), { parents = true }))
    assert.equal("directory", files.kind("a/b"))
  end))

  it("[S50] with parents fails for a file and below one", h.run(function()
    local path = given("f")
    fails("EEXIST", "mkdir", path, nil, fs.mkdir(path, { parents = true }))
    fails("ENOTDIR", "mkdir", path .. "/a/b", nil, fs.mkdir(path .. "/a/b", { parents = true }))
    fails("ENOENT", "mkdir", "", nil, fs.mkdir("", { parents = true }))
  end))

  it("makes the same tree from several tasks at once", h.run(function()
    local list = {}
    for i = 1, 20 do list[i] = fs.mkdir(at("a/b/c/d/e"), { parents = true }) end
    await(neap.all(list))
    assert.equal("directory", files.kind("a/b/c/d/e"))
  end))

  it("raises argument errors", h.run(function()
    h.bad_argument("mkdir", 1, fs.mkdir, "a\0b")
    h.bad_argument("mkdir", 2, fs.mkdir, at("a"), "755")
    h.bad_argument("mkdir", 2, fs.mkdir, at("a"), { mode = "888" })
    h.bad_argument("mkdir", 2, fs.mkdir, at("a"), { parents = 1 })
    assert.same({}, files.names())
  end))

  it("[S71] does nothing in a cancelled scope", h.run(function()
    neap.scope(function(scope)
      scope:cancel("closed")
      assert.equal("cancelled", fs.mkdir(at("a")):status())
    end)
    files.drain_pool()
    assert.same({}, files.names())
  end))
end)

describe("neap.fs.remove", function()
  before_each(files.make)
  after_each(files.remove)

  local function remove_all(path) return fs.remove(path, { recursive = true }) end

  --- A tree: directories of `width` entries each, `depth` levels.
  local function given_tree(name, width, depth)
    files.given_directory(name)
    for i = 1, width do
      given(name .. "/f" .. i, "x")
      if depth > 1 then given_tree(name .. "/d" .. i, width, depth - 1) end
    end
  end

  it("removes a file, an empty directory and a link", h.run(function()
    given("file", "x")
    files.given_directory("empty")
    files.given_directory("full")
    given("full/file")
    files.given_link("full", "link")
    files.given_link("nowhere", "dangling")
    for _, name in ipairs({ "file", "empty", "link", "dangling" }) do
      await(fs.remove(at(name)))
    end
    assert.same({ "full" }, files.names())
    assert.same({ "file" }, files.names("full"))
  end))

  it("[S50] fails with ENOENT for what is missing, unless that is fine", h.run(function()
    fails("ENOENT", "unlink", at("no"), nil, fs.remove(at("no")))
    fails("ENOENT", "unlink", at("no"), nil, remove_all(at("no")))
    await(fs.remove(at("no"), { missing_ok = true }))
    await(fs.remove(at("no/deeper"), { missing_ok = true, recursive = true }))
    local path = given("f") .. "/x"
    fails("ENOTDIR", "unlink", path, nil, fs.remove(path, { missing_ok = true }))
  end))

  it("[S50] fails with ENOTEMPTY for a directory that is not empty", h.run(function()
    given_tree("tree", 1, 1)
    fails("ENOTEMPTY", "rmdir", at("tree"), nil, fs.remove(at("tree")))
    assert.same({ "f1" }, files.names("tree"))
  end))

  it("with recursive removes all that is in it", h.run(function()
    given_tree("tree", 3, 4)
    await(remove_all(at("tree")))
    assert.same({}, files.names())
  end))

  it("with recursive removes files and empty directories, too", h.run(function()
    files.given_directory("d")
    await(remove_all(at("d") .. "//"))
    await(remove_all(given("f")))
    assert.same({}, files.names())
  end))

  it("never follows a link", h.run(function()
    given_tree("other", 2, 2)
    given_tree("tree", 1, 1)
    files.given_link("../other", "tree/link")
    files.given_link(at("other"), "tree/absolute")
    files.given_link("other", "top")
    await(remove_all(at("tree")))
    await(remove_all(at("top")))
    assert.same({ "other" }, files.names())
    assert.same({ "d1", "d2", "f1", "f2" }, files.names("other"))
  end))

  it("refuses a link with a slash behind it", h.run(function()
    given_tree("other", 1, 1)
    local path = files.given_link("other", "link") .. "/"
    fails("ENOTDIR", "unlink", path, nil, remove_all(path))
    assert.same({ "f1" }, files.names("other"))
  end))

  it("refuses . and .. and what ends with them", h.run(function()
    given_tree("tree", 1, 2)
    for _, name in ipairs({ "tree/.", "tree/..", "tree/d1/../" }) do
      local err = h.raises("EINVAL", await, remove_all(at(name)))
      assert.equal("rmdir", err.syscall)
    end
    assert.same({ "d1", "f1" }, files.names("tree"))
  end))

  it("removes 100 000 bytes of path with 16 descriptors", h.run(function()
    local name = ("n"):rep(200)
    files.given_directory("tree")
    local before = lfs.currentdir()
    lfs.chdir(at("tree"))
    for _ = 1, 500 do
      lfs.mkdir(name)
      lfs.chdir(name)
      support.spit("file", "x")
    end
    lfs.chdir(before)
    await(remove_all(at("tree")))
    assert.same({}, files.names())
  end))

  it("removes 3 000 entries of one directory", h.run(function()
    files.given_directory("d")
    for i = 1, 3000 do given("d/" .. i) end
    await(remove_all(at("d")))
    assert.same({}, files.names())
  end))

  it("keeps no descriptor", h.run(function()
    files.drain_pool()
    local before = support.open_descriptors()
    given_tree("tree", 1, 40)
    await(remove_all(at("tree")))
    assert.equal(before, support.open_descriptors())
  end))

  it("removes the same tree twice at once", h.run(function()
    given_tree("tree", 4, 4)
    local function again() return fs.remove(at("tree"), { recursive = true, missing_ok = true }) end
    await(neap.all{ again(), again(), again() })
    assert.same({}, files.names())
  end))

  it("[S71] does nothing in a cancelled scope", h.run(function()
    given("file")
    neap.scope(function(scope)
      scope:cancel("closed")
      assert.equal("cancelled", remove_all(at("file")):status())
    end)
    files.drain_pool()
    assert.same({ "file" }, files.names())
  end))

  it("[C20] stops early when it is cancelled", h.run(function()
    given_tree("tree", 4, 4)
    local task = neap.start(function() await(remove_all(at("tree"))) end)
    task:cancel("enough")
    assert.same({ "cancelled", "enough" }, { await(neap.settle(task)) })
    files.drain_pool()
    assert.same({ "tree" }, files.names())
  end))

  it("raises argument errors", h.run(function()
    h.bad_argument("remove", 1, fs.remove, "a\0b")
    h.bad_argument("remove", 2, fs.remove, "a", true)
    h.bad_argument("remove", 2, fs.remove, "a", { recursive = 1 })
    h.bad_argument("remove", 2, fs.remove, "a", { missing_ok = 1 })
  end))
end)
