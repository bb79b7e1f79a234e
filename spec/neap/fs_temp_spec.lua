local files = require "spec.files"
local h = require "spec.helper"
local support = require "spec.support"
local lfs = require "lfs"
local neap = require "neap"

local await, fs = neap.await, neap.fs
local at = files.at

describe("neap.fs.mkdtemp", function()
  before_each(files.make)
  after_each(files.remove)

  it("makes a directory of its own where the prefix says", h.run(function()
    local a, b = await(fs.mkdtemp(at("t-"))), await(fs.mkdtemp(at("t-")))
    assert.not_equal(a, b)
    assert.equal(at("t-"), a:sub(1, -7))
    assert.equal("rwx------", lfs.attributes(a, "permissions"))
  end))

  it("makes it in TMPDIR or /tmp otherwise", h.run(function()
    local place = os.getenv("TMPDIR") or "/tmp"
    for _, prefix in ipairs({ "", "neap-spec-" }) do
      local path = await(fs.mkdtemp(prefix))
      lfs.rmdir(path)
      assert.equal(place .. "/" .. prefix, path:sub(1, -7))
    end
    local path = await(fs.mkdtemp())
    lfs.rmdir(path)
    assert.equal(place .. "/", path:sub(1, #place + 1))
  end))

  it("[C20] leaves none when it is cancelled", h.run(function()
    for i = 1, 20 do
      local task = fs.mkdtemp(at("t-"))
      for _ = 1, i % 4 do await(neap.yield()) end
      if not task:cancel() then lfs.rmdir(await(task)) end
    end
    files.drain_pool()
    assert.same({}, files.names())
  end))

  it("[S50] fails with ENOENT in a missing directory", h.run(function()
    local err = h.raises("ENOENT", await, fs.mkdtemp(at("no/t-")))
    assert.equal("mkdtemp", err.syscall)
    assert.equal(at("no/t-"), err.path:sub(1, -7))
  end))

  it("raises argument errors", h.run(function()
    h.bad_argument("mkdtemp", 1, fs.mkdtemp, 1)
    h.bad_argument("mkdtemp", 1, fs.mkdtemp, "a\0b")
  end))
end)

describe("neap.fs.temp_dir", function()
  before_each(files.make)
  after_each(files.remove)

  local function temp_dir() return await(fs.temp_dir({ dir = files.directory })) end

  it("removes the directory at the end of the block, with all that is in it", h.run(function()
    do
      local dir <close> = await(fs.temp_dir({ prefix = "p-", dir = files.directory .. "/" }))
      assert.equal(at("p-"), dir.path:sub(1, -7))
      assert.equal("neap.TempDir '" .. dir.path .. "'", tostring(dir))
      await(fs.mkdir(dir.path .. "/a/b", { parents = true }))
      await(fs.write_file(dir.path .. "/a/b/c", "x"))
    end
    assert.same({}, files.names())
  end))

  it("closes once", h.run(function()
    local dir = temp_dir()
    await(dir:close())
    assert.same({}, files.names())
    assert.equal(dir:close(), dir:close())
    assert.equal("neap.TempDir '" .. dir.path .. "': closed", tostring(dir))
  end))

  it("closes harmlessly when somebody has removed it", h.run(function()
    local dir = temp_dir()
    lfs.rmdir(dir.path)
    await(dir:close())
  end))

  it("[C20] is removed when the task that uses it is cancelled", h.run(function()
    local task = neap.start(function()
      local dir <close> = temp_dir()
      await(fs.write_file(dir.path .. "/file", "x"))
      await(neap.sleep(1000))
    end)
    await(neap.sleep(1))
    assert.equal(1, #files.names())
    task:cancel("enough")
    assert.same({ "cancelled", "enough" }, { await(neap.settle(task)) })
    assert.same({}, files.names())
  end))

  it("[C20] leaves none when its making is cancelled", h.run(function()
    for i = 1, 20 do
      local task = fs.temp_dir({ dir = files.directory })
      for _ = 1, i % 4 do await(neap.yield()) end
      if not task:cancel() then await(await(task):close()) end
      await(neap.settle(task))
    end
    files.drain_pool()
    assert.same({}, files.names())
  end))

  it("is removed in a cancelled scope, whether or not anybody waits", h.run(function()
    local dir = temp_dir()
    neap.scope(function(scope)
      scope:cancel("closed")
      dir:close()
    end)
    await(dir:close())
    assert.same({}, files.names())
  end))

  it("raises argument errors", h.run(function()
    h.bad_argument("temp_dir", 1, fs.temp_dir, "x")
    h.bad_argument("temp_dir", 1, fs.temp_dir, { prefix = 1 })
    h.bad_argument("temp_dir", 1, fs.temp_dir, { dir = "a\0b" })
  end))
end)

describe("neap.fs.temp_file", function()
  before_each(files.make)
  after_each(files.remove)

  local function temp_file(mode) return fs.temp_file({ dir = files.directory, mode = mode }) end

  it("is open for reading and writing, and gone when it is closed", h.run(function()
    do
      local file <close> = await(fs.temp_file({ prefix = "p-", dir = files.directory }))
      assert.same(file:path(), at(files.names()[1]))
      assert.equal(at("p-"), file:path():sub(1, #at("p-")))
      assert.equal("rw-------", lfs.attributes(file:path(), "permissions"))
      await(file:write("content"))
      await(file:seek("set", 0))
      assert.equal("content", await(file:read()))
    end
    assert.same({}, files.names())
  end))

  it("has the mode that it is given", h.run(function()
    for _, mode in ipairs({ "640", 416, "rw-r-----" }) do
      local file <close> = await(temp_file(mode))
      assert.equal("rw-r-----", lfs.attributes(file:path(), "permissions"))
    end
  end))

  it("has a name of its own", h.run(function()
    local a <close> = await(temp_file())
    local b <close> = await(temp_file())
    assert.not_equal(a:path(), b:path())
  end))

  it("[C20] leaves nothing when its making is cancelled", h.run(function()
    local before = support.open_descriptors()
    for i = 1, 20 do
      local task = temp_file()
      for _ = 1, i % 4 do await(neap.yield()) end
      if not task:cancel() then await(await(task):close()) end
      await(neap.settle(task))
    end
    files.drain_pool()
    assert.same({}, files.names())
    assert.equal(before, support.open_descriptors())
  end))

  it("[S50] fails with ENOENT in a missing directory", h.run(function()
    h.raises("ENOENT", await, fs.temp_file({ dir = at("no") }))
  end))

  it("raises argument errors", h.run(function()
    h.bad_argument("temp_file", 1, fs.temp_file, 1)
    h.bad_argument("temp_file", 1, fs.temp_file, { prefix = {} })
    h.bad_argument("temp_file", 1, fs.temp_file, { mode = "rwx" })
    h.bad_argument("temp_file", 1, fs.temp_file, { mode = 8 ^ 4 | 0 })
  end))
end)
