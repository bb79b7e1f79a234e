local h = require "spec.helper"
local support = require "spec.support"
local neap = require "neap"

local await, fs = neap.await, neap.fs
local MEBIBYTE = ("0123456789abcdef"):rep(65536)

local directory

--- A path in the temporary directory of this spec.
local function at(name) return directory .. "/" .. name end

--- A file with this content; returns its path.
local function given(content)
  support.spit(at("file"), content)
  return at("file")
end

--- Makes thread-pool work that was let go come to its end.
local function drain_pool()
  for _ = 1, 20 do await(fs.list(directory)) end
end

local function make_directory() directory = support.temp_dir() end
local function remove_directory() support.remove_tree(directory) end

describe("neap.fs.open", function()
  before_each(make_directory)
  after_each(remove_directory)

  it("reads unless told otherwise", h.run(function()
    local file <close> = await(fs.open(given("content")))
    assert.equal("content", await(file:read()))
    assert.is_nil((await(file:read())))
    h.raises("EBADF", function() await(file:write("x")) end)
  end))

  it("with 'w' creates and truncates", h.run(function()
    for _, path in ipairs({ at("new"), given("content") }) do
      local file <close> = await(fs.open(path, "w"))
      assert.equal(1, await(file:write("x")))
      h.raises("EBADF", function() await(file:read()) end)
      assert.equal("x", support.slurp(path))
    end
  end))

  it("with 'a' creates and appends", h.run(function()
    for path, expected in pairs({ [at("new")] = "x", [given("content")] = "contentx" }) do
      local file <close> = await(fs.open(path, "a"))
      await(file:write("x"))
      assert.equal(expected, support.slurp(path))
    end
  end))

  it("with 'r+' reads and writes what is there", h.run(function()
    local file <close> = await(fs.open(given("content"), "r+"))
    await(file:write("KON"))
    assert.equal("tent", await(file:read()))
    assert.equal("KONtent", support.slurp(at("file")))
    h.raises("ENOENT", function() await(fs.open(at("missing"), "r+")) end)
  end))

  it("with 'w+' truncates, writes and reads", h.run(function()
    local file <close> = await(fs.open(given("content"), "w+"))
    assert.is_nil((await(file:read())))
    await(file:write("new"))
    assert.is_nil((await(file:read())))
    assert.equal("new", support.slurp(at("file")))
  end))

  it("with 'a+' reads from the start and writes at the end", h.run(function()
    local file <close> = await(fs.open(given("content"), "a+"))
    assert.equal("con", await(file:read(3)))
    await(file:write("x"))
    assert.equal("contentx", support.slurp(at("file")))
  end))

  it("[S50] fails with ENOENT for a missing file", h.run(function()
    local err = h.raises("ENOENT", function() await(fs.open(at("missing"))) end)
    assert.equal(at("missing"), err.path)
    assert.equal("open", err.syscall)
  end))

  it("[S50] fails with EISDIR when a directory is to be written", h.run(function()
    local err = h.raises("EISDIR", function() await(fs.open(directory, "w")) end)
    assert.equal(directory, err.path)
  end))

  it("[S50] of a directory gives EISDIR at the first read at the latest", h.run(function()
    h.raises("EISDIR", function()
      local file <close> = await(fs.open(directory))
      await(file:read())
    end)
  end))

  it("raises an argument error for a bad path or mode", h.run(function()
    h.bad_argument("open", 1, fs.open, "a\0b")
    h.bad_argument("open", 1, fs.open)
    h.bad_argument("open", 2, fs.open, at("file"), "rw")
    h.bad_argument("open", 2, fs.open, at("file"), "")
    h.bad_argument("open", 2, fs.open, at("file"), {})
  end))

  it("[S71] comes back cancelled in a cancelled scope and creates nothing", h.run(function()
    neap.scope(function(scope)
      scope:cancel("closed")
      assert.equal("cancelled", fs.open(at("new"), "w"):status())
    end)
    drain_pool()
    assert.same({}, await(fs.list(directory)))
  end))

  it("releases the descriptor of a file that is dropped", h.run(function()
    local path, before = given("content"), support.open_descriptors()
    for _ = 1, 20 do await(fs.open(path)) end
    for _ = 1, 10 do
      collectgarbage()
      drain_pool()
    end
    assert.equal(before, support.open_descriptors())
  end))
end)

describe("File:read", function()
  before_each(make_directory)
  after_each(remove_directory)

  it("gives up to n bytes, then what is left, then nil, again and again", h.run(function()
    local file <close> = await(fs.open(given("0123456789")))
    assert.equal("0123", await(file:read(4)))
    assert.equal("4567", await(file:read(4)))
    assert.equal("89", await(file:read(4)))
    assert.same({ nil, n = 1 }, table.pack(await(file:read(4))))
    assert.same({ nil, n = 1 }, table.pack(await(file:read())))
  end))

  it("gives nil for an empty file", h.run(function()
    local file <close> = await(fs.open(given("")))
    assert.same({ nil, n = 1 }, table.pack(await(file:read())))
  end))

  it("reads 65536 bytes unless told otherwise", h.run(function()
    local file <close> = await(fs.open(given(MEBIBYTE)))
    local chunks, longest = {}, 0
    for chunk in function() return (await(file:read())) end do
      chunks[#chunks + 1] = chunk
      longest = math.max(longest, #chunk)
    end
    assert.equal(65536, longest)
    assert.is_true(table.concat(chunks) == MEBIBYTE)
  end))

  it("sees what was written behind the end meanwhile", h.run(function()
    local file <close> = await(fs.open(given("a")))
    await(file:read())
    assert.is_nil((await(file:read())))
    given("ab")
    assert.equal("b", await(file:read()))
  end))

  it("raises an argument error for a bad count", h.run(function()
    local file <close> = await(fs.open(given("x")))
    h.bad_argument("read", 1, function() return file:read(-1) end)
    h.bad_argument("read", 1, function() return file:read("all") end)
    h.bad_argument("read", 1, function() return file:read(1.5) end)
  end))

  it("[C6] that is cancelled loses no data: the next read gets it", h.run(function()
    local path = os.tmpname()
    os.remove(path)
    local _ <close> = neap.defer(function() os.remove(path) end)
    assert(os.execute("mkfifo " .. path))
    local file <close> = await(fs.open(path, "r+")) -- a pipe: its reads wait
    for _ = 1, 5 do
      local read = file:read(4)
      read:cancel("enough")
      h.raises("ECANCELLED", await, read)
    end
    await(file:write("0123456789"))
    drain_pool()
    assert.equal("0123456789", await(file:read_exactly(10)))
  end))

  it("[S71] takes nothing in a cancelled scope", h.run(function()
    local file <close> = await(fs.open(given("content")))
    neap.scope(function(scope)
      scope:cancel("closed")
      assert.equal("cancelled", file:read():status())
    end)
    assert.equal("content", await(file:read()))
  end))

  it("on a closed file raises ECLOSED", h.run(function()
    local file = await(fs.open(given("content")))
    await(file:close())
    h.raises("ECLOSED", function() await(file:read()) end)
  end))

  it("ends with its data or ECLOSED when the file is closed meanwhile", h.run(function()
    local before = support.open_descriptors()
    local file = await(fs.open(given("content")))
    local read = file:read()
    await(file:close())
    local status, value = await(neap.settle(read))
    if status == "done" then
      assert.equal("content", value)
    else
      assert.equal("ECLOSED", value.code)
    end
    assert.equal(before, support.open_descriptors())
  end))
end)

describe("File:write", function()
  before_each(make_directory)
  after_each(remove_directory)

  it("writes its strings in order and gives the number of bytes", h.run(function()
    local file <close> = await(fs.open(at("new"), "w"))
    assert.equal(6, await(file:write("a", "bc", "", "d\0f")))
    assert.equal(0, await(file:write("")))
    assert.equal(1, await(file:write("g")))
    assert.equal("abcd\0fg", support.slurp(at("new")))
  end))

  it("writes 1 MiB", h.run(function()
    local file <close> = await(fs.open(at("new"), "w"))
    assert.equal(2 * #MEBIBYTE, await(file:write(MEBIBYTE, MEBIBYTE)))
    assert.is_true(support.slurp(at("new")) == MEBIBYTE .. MEBIBYTE)
  end))

  it("raises an argument error for what is no string, and writes nothing", h.run(function()
    local file <close> = await(fs.open(at("new"), "w"))
    h.bad_argument("write", 2, function() return file:write("a", {}) end)
    h.bad_argument("write", 1, function() return file:write(nil) end)
    drain_pool()
    assert.equal("", support.slurp(at("new")))
  end))

  it("[S71] writes nothing in a cancelled scope", h.run(function()
    local file <close> = await(fs.open(at("new"), "w"))
    neap.scope(function(scope)
      scope:cancel("closed")
      assert.equal("cancelled", file:write("x"):status())
    end)
    drain_pool()
    assert.equal("", support.slurp(at("new")))
  end))

  it("on a closed file raises ECLOSED", h.run(function()
    local file = await(fs.open(at("new"), "w"))
    await(file:close())
    h.raises("ECLOSED", function() await(file:write("x")) end)
  end))
end)

describe("File:close", function()
  before_each(make_directory)
  after_each(remove_directory)

  it("[S225] releases the descriptor, once however often it is called", h.run(function()
    local before = support.open_descriptors()
    local file = await(fs.open(given("content")))
    local first, second = file:close(), file:close()
    await(second)
    await(first)
    await(file:close())
    assert.equal(before, support.open_descriptors())
  end))

  it("is what <close> does, and waits for", h.run(function()
    local before = support.open_descriptors()
    local leaked
    do
      local file <close> = await(fs.open(given("content")))
      leaked = file
    end
    assert.equal(before, support.open_descriptors())
    h.raises("ECLOSED", function() await(leaked:read()) end)
  end))

  it("by <close> lets the error that leaves the block pass", h.run(function()
    local ok, err = pcall(function()
      local _ <close> = await(fs.open(given("content")))
      error("E", 0)
    end)
    assert.same({ false, "E" }, { ok, err })
  end))
end)
