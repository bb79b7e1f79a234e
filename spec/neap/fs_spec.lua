local h = require "spec.helper"
local support = require "spec.support"
local lfs = require "lfs"
local neap = require "neap"

local await, fs = neap.await, neap.fs
local MEBIBYTE = ("0123456789abcdef"):rep(65536)

local directory

--- A path in the temporary directory of this spec.
local function at(name) return directory .. "/" .. name end

--- A file with this content; returns its path.
local function given(name, content)
  support.spit(at(name), content)
  return at(name)
end

--- Asserts that fn() raises an error of the file system with these fields; returns it.
local function fails(code, path, fn)
  local err = h.raises(code, fn)
  assert.equal(path, err.path)
  assert.is_string(err.message)
  assert.is_string(err.syscall)
  local text = tostring(err)
  assert.is_truthy(text:find(path, 1, true), text)
  assert.is_nil(text:find("\n", 1, true))
  return err
end

--- Makes thread-pool work that was let go come to its end.
local function drain_pool()
  for _ = 1, 20 do await(fs.list(directory)) end
end

local function make_directory() directory = support.temp_dir() end
local function remove_directory() support.remove_tree(directory) end

describe("neap.fs.read_file", function()
  before_each(make_directory)
  after_each(remove_directory)

  it("gives the content of a file, whatever bytes it has", h.run(function()
    local path = given("file", "one\r\ntwo\0three\255\n")
    assert.equal("one\r\ntwo\0three\255\n", await(fs.read_file(path)))
  end))

  it("gives the empty string for an empty file", h.run(function()
    assert.equal("", await(fs.read_file(given("empty", ""))))
  end))

  it("reads 1 MiB, and a byte less or more", h.run(function()
    for _, content in ipairs({ MEBIBYTE, MEBIBYTE .. "x", MEBIBYTE:sub(2) }) do
      local read = await(fs.read_file(given("large", content)))
      assert.is_true(read == content)
    end
  end))

  it("reads 100 files at the same time", h.run(function()
    local list = {}
    for i = 1, 100 do list[i] = fs.read_file(given("f" .. i, "content " .. i)) end
    local r = await(neap.all(list))
    for i = 1, 100 do assert.equal("content " .. i, r[i]) end
  end))

  it("[S50] fails with ENOENT for a missing file", h.run(function()
    local err = fails("ENOENT", at("missing"), function() await(fs.read_file(at("missing"))) end)
    assert.equal("open", err.syscall)
  end))

  it("[S50] fails with EISDIR for a directory", h.run(function()
    fails("EISDIR", directory, function() await(fs.read_file(directory)) end)
  end))

  it("raises an argument error for a NUL in the path, and for no path", h.run(function()
    h.bad_argument("read_file", 1, fs.read_file, directory .. "/a\0b")
    h.bad_argument("read_file", 1, fs.read_file, {})
    h.bad_argument("read_file", 1, fs.read_file)
  end))

  it("[S71] comes back cancelled in a cancelled scope", h.run(function()
    local path = given("file", "content")
    neap.scope(function(scope)
      scope:cancel("closed")
      assert.equal("cancelled", fs.read_file(path):status())
    end)
  end))

  it("[C20] ends the wait when it is cancelled while it works", h.run(function()
    local path = given("large", MEBIBYTE)
    local task = neap.start(function() return await(fs.read_file(path)) end)
    task:cancel("enough")
    assert.same({ "cancelled", "enough" }, { await(neap.settle(task)) })
    drain_pool()
  end))

  it("[C13] cancelled by someone else raises ECANCELLED", h.run(function()
    local read = fs.read_file(given("large", MEBIBYTE))
    assert.is_true(read:cancel("mine"))
    h.raises("ECANCELLED", await, read)
    drain_pool()
  end))

  it("[C6, S8] keeps its result when it is cancelled after completion", h.run(function()
    local read = fs.read_file(given("file", "content"))
    await(neap.settle(read))
    assert.is_false(read:cancel("late"))
    neap.scope(function(scope)
      scope:cancel("closed")
      assert.equal("content", await(read))
    end)
  end))

  it("[C20] releases descriptors that arrive after a cancellation", h.run(function()
    local path = given("large", MEBIBYTE)
    local before = support.open_descriptors()
    for _ = 1, 50 do
      fs.read_file(path):cancel("enough")
      fs.open(path):cancel("enough")
    end
    drain_pool()
    for _ = 1, 50 do
      if support.open_descriptors() == before then break end
      drain_pool()
    end
    assert.equal(before, support.open_descriptors())
  end))

  it("leaves nothing behind when it is dropped", h.run(function()
    fs.read_file(given("file", "content"))
    collectgarbage()
    drain_pool()
  end))
end)

describe("neap.fs.write_file", function()
  before_each(make_directory)
  after_each(remove_directory)

  it("creates a file", h.run(function()
    await(fs.write_file(at("new"), "a\0b\r\n"))
    assert.equal("a\0b\r\n", support.slurp(at("new")))
  end))

  it("truncates a file that is there", h.run(function()
    local path = given("file", "a long content")
    await(fs.write_file(path, "short"))
    assert.equal("short", support.slurp(path))
  end))

  it("writes an empty file", h.run(function()
    await(fs.write_file(given("file", "x"), ""))
    assert.equal("", support.slurp(at("file")))
  end))

  it("writes 1 MiB, which read_file gives back", h.run(function()
    await(fs.write_file(at("large"), MEBIBYTE))
    assert.is_true(support.slurp(at("large")) == MEBIBYTE)
    assert.is_true(await(fs.read_file(at("large"))) == MEBIBYTE)
  end))

  it("[S50] fails with ENOENT in a missing directory", h.run(function()
    local path = at("missing/file")
    fails("ENOENT", path, function() await(fs.write_file(path, "x")) end)
  end))

  it("[S50] fails with EISDIR for a directory", h.run(function()
    fails("EISDIR", directory, function() await(fs.write_file(directory, "x")) end)
  end))

  it("raises an argument error for a NUL in the path, and for no data", h.run(function()
    h.bad_argument("write_file", 1, fs.write_file, at("a\0b"), "x")
    h.bad_argument("write_file", 2, fs.write_file, at("a"))
    h.bad_argument("write_file", 2, fs.write_file, at("a"), {})
    drain_pool()
    assert.is_nil(lfs.attributes(at("a"), "mode"))
  end))

  it("[S71] does nothing in a cancelled scope", h.run(function()
    local path = given("file", "content")
    neap.scope(function(scope)
      scope:cancel("closed")
      assert.equal("cancelled", fs.write_file(path, "changed"):status())
    end)
    drain_pool()
    assert.equal("content", support.slurp(path))
  end))

  it("[C20] ends the wait when it is cancelled while it works", h.run(function()
    local task = neap.start(function() await(fs.write_file(at("file"), MEBIBYTE)) end)
    task:cancel("enough")
    assert.same({ "cancelled", "enough" }, { await(neap.settle(task)) })
    drain_pool()
  end))
end)

describe("neap.fs.list", function()
  before_each(make_directory)
  after_each(remove_directory)

  it("gives names and types, sorted by name", h.run(function()
    given("b", "")
    given("a.txt", "x")
    given("B", "")
    lfs.mkdir(at("c"))
    lfs.link(at("b"), at("a"), true)
    local expected = { "B file", "a link", "a.txt file", "b file", "c directory" }
    local list = {}
    for i, entry in ipairs(await(fs.list(directory))) do
      list[i] = entry.name .. " " .. entry.type
    end
    assert.same(expected, list)
  end))

  it("gives an empty list for an empty directory", h.run(function()
    assert.same({}, await(fs.list(directory)))
  end))

  it("lists 1 000 files", h.run(function()
    for i = 1, 1000 do given(string.format("%04d", i), "") end
    local list = await(fs.list(directory))
    assert.equal(1000, #list)
    for i = 1, 1000 do assert.equal(string.format("%04d", i), list[i].name) end
  end))

  it("[S50] fails with ENOENT for a missing directory", h.run(function()
    fails("ENOENT", at("missing"), function() await(fs.list(at("missing"))) end)
  end))

  it("[S50] fails with ENOTDIR for a file", h.run(function()
    local path = given("file", "x")
    fails("ENOTDIR", path, function() await(fs.list(path)) end)
  end))

  it("raises an argument error for a NUL in the path", h.run(function()
    h.bad_argument("list", 1, fs.list, "a\0b")
    h.bad_argument("list", 1, fs.list)
  end))

  it("[C20] ends the wait when it is cancelled while it works", h.run(function()
    given("file", "x")
    local task = neap.start(function() return await(fs.list(directory)) end)
    task:cancel("enough")
    assert.equal("cancelled", (await(neap.settle(task))))
    drain_pool()
  end))
end)
