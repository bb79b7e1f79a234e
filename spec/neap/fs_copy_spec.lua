local files = require "spec.files"
local h = require "spec.helper"
local support = require "spec.support"
local lfs = require "lfs"
local neap = require "neap"

local await, fs = neap.await, neap.fs
local at, given, fails = files.at, files.given, files.fails
local LARGE = ("0123456789abcdef"):rep(1 << 20)

describe("neap.fs.copy_file", function()
  before_each(files.make)
  after_each(files.remove)

  it("copies the content and the mode", h.run(function()
    local path = given("a", "con\0tent")
    for _, mode in ipairs({ "755", "444", "666" }) do
      await(fs.chmod(path, mode))
      os.remove(at("b"))
      await(fs.copy_file(path, at("b")))
      assert.equal("con\0tent", files.slurp("b"))
      assert.equal(tonumber(mode, 8), await(fs.stat(at("b"))).mode)
    end
  end))

  it("copies empty files and large ones", h.run(function()
    await(fs.copy_file(given("a", ""), at("b")))
    assert.equal("", files.slurp("b"))
    await(fs.copy_file(given("c", LARGE), at("d")))
    assert.is_true(files.slurp("d") == LARGE)
  end))

  it("copies to another file system", h.run(function()
    local path = "/dev/shm/" .. files.directory:match("[^/]+$")
    if not lfs.attributes("/dev/shm", "mode") then return end
    local _ <close> = neap.defer(function() os.remove(path) end)
    await(fs.copy_file(given("a", LARGE), path))
    assert.is_true(support.slurp(path) == LARGE)
    await(fs.copy_file(path, at("back")))
    assert.is_true(files.slurp("back") == LARGE)
  end))

  it("copies files whose size is not told", h.run(function()
    if not lfs.attributes("/proc/version", "mode") then return end
    await(fs.copy_file("/proc/version", at("version")))
    assert.equal(support.slurp("/proc/version"), files.slurp("version"))
  end))

  it("replaces what is there, to its last byte", h.run(function()
    given("b", "a much longer content")
    await(fs.copy_file(given("a", "short"), at("b")))
    assert.equal("short", files.slurp("b"))
    await(fs.copy_file(at("a"), at("b"), { overwrite = true }))
    assert.equal("short", files.slurp("b"))
  end))

  it("without overwrite fails with EEXIST, and changes nothing", h.run(function()
    given("a", "new")
    given("b", "old")
    fails("EEXIST", "open", at("a"), at("b"), fs.copy_file(at("a"), at("b"), { overwrite = false }))
    assert.equal("old", files.slurp("b"))
    await(fs.copy_file(at("a"), at("c"), { overwrite = false }))
    assert.equal("new", files.slurp("c"))
  end))

  it("onto itself fails with EINVAL, and changes nothing", h.run(function()
    local path = given("a", "content")
    lfs.link(path, at("hard"))
    files.given_link("a", "soft")
    for _, name in ipairs({ "a", "hard", "soft" }) do
      fails("EINVAL", "open", path, at(name), fs.copy_file(path, at(name)))
      fails("EINVAL", "open", at(name), path, fs.copy_file(at(name), path))
      assert.equal("content", files.slurp("a"))
    end
  end))

  it("[S50] fails for directories and for what is missing", h.run(function()
    local path = given("a", "content")
    local d = files.directory
    fails("EISDIR", "open", d, at("b"), fs.copy_file(d, at("b")))
    fails("EISDIR", "open", path, d, fs.copy_file(path, d))
    fails("ENOENT", "open", at("no"), at("b"), fs.copy_file(at("no"), at("b")))
    fails("ENOENT", "open", path, at("no/b"), fs.copy_file(path, at("no/b")))
    assert.same({ "a" }, files.names())
  end))

  it("fails with EINVAL for what is no regular file", h.run(function()
    fails("EINVAL", "open", "/dev/null", at("b"), fs.copy_file("/dev/null", at("b")))
    fails("EINVAL", "open", given("a"), "/dev/null", fs.copy_file(at("a"), "/dev/null"))
    assert.same({ "a" }, files.names())
  end))

  it("raises argument errors", h.run(function()
    h.bad_argument("copy_file", 1, fs.copy_file, "a\0b", "c")
    h.bad_argument("copy_file", 2, fs.copy_file, "a", "a\0b")
    h.bad_argument("copy_file", 2, fs.copy_file, "a")
    h.bad_argument("copy_file", 3, fs.copy_file, "a", "b", { overwrite = 1 })
  end))

  it("[S71] does nothing in a cancelled scope", h.run(function()
    local path = given("a", "content")
    neap.scope(function(scope)
      scope:cancel("closed")
      assert.equal("cancelled", fs.copy_file(path, at("b")):status())
    end)
    files.drain_pool()
    assert.same({ "a" }, files.names())
  end))

  it("[C20] leaves no unfinished copy when it is cancelled", h.run(function()
    local path = given("a", LARGE)
    for i = 1, 12 do
      local task = fs.copy_file(path, at("b"))
      for _ = 1, i do await(fs.stat(path)) end
      task:cancel("enough")
      files.drain_pool()
      assert.is_true(not files.kind("b") or files.slurp("b") == LARGE)
      os.remove(at("b"))
    end
  end))

  it("copies one file to several at once", h.run(function()
    local path, list = given("a", LARGE), {}
    for i = 1, 4 do list[i] = fs.copy_file(path, at("b" .. i)) end
    await(neap.all(list))
    for i = 1, 4 do assert.is_true(files.slurp("b" .. i) == LARGE) end
  end))
end)
