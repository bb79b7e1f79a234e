-- read_at, write_at, truncate, sync, and what is special about some files.
local h = require "spec.helper"
local support = require "spec.support"
local neap = require "neap"

local await, fs = neap.await, neap.fs
local lfs = require "lfs"

local directory

local function at(name) return directory .. "/" .. name end

local function given(content)
  support.spit(at("file"), content)
  return at("file")
end

local function make_directory() directory = support.temp_dir() end
local function remove_directory() support.remove_tree(directory) end

local function suite(title, body)
  describe(title, function()
    before_each(make_directory)
    after_each(remove_directory)
    body()
  end)
end

suite("File:read_at", function()
  it("gives n bytes from there, fewer at the end, nil behind it", h.run(function()
    local file <close> = await(fs.open(given("0123456789")))
    assert.equal("345", await(file:read_at(3, 3)))
    assert.equal("89", await(file:read_at(8, 100)))
    assert.same({ nil, n = 1 }, table.pack(await(file:read_at(10, 1))))
    assert.same({ nil, n = 1 }, table.pack(await(file:read_at(1 << 40, 1))))
    assert.equal("", await(file:read_at(3, 0)))
    assert.equal("", await(file:read_at(100, 0)))
  end))

  it("may be called often at once, beside a read", h.run(function()
    local parts = {}
    for i = 1, 200 do parts[i] = ("%03d,"):format(i):rep(1000) end
    local file <close> = await(fs.open(given(table.concat(parts))))
    local tasks = {}
    for i = 1, 200 do tasks[i] = file:read_at((i - 1) * 4000, 4000) end
    local all = file:read_all()
    local results = await(neap.all(tasks))
    for i = 1, 200 do assert.is_true(results[i] == parts[i], i) end
    assert.is_true(table.concat(parts) == await(all))
  end))

  it("raises an argument error for a bad position or number", h.run(function()
    local file <close> = await(fs.open(given("x")))
    h.bad_argument("read_at", 1, function() return file:read_at(-1, 1) end)
    h.bad_argument("read_at", 1, function() return file:read_at() end)
    h.bad_argument("read_at", 2, function() return file:read_at(0) end)
    h.bad_argument("read_at", 2, function() return file:read_at(0, -1) end)
    h.bad_argument("read_at", 2, function() return file:read_at(0, (1 << 30) + 1) end)
    h.bad_argument("write_at", 1, function() return file:write_at("x") end)
    h.bad_argument("write_at", 2, function() return file:write_at(0, {}) end)
  end))

  it("fails on a pipe, which has no positions", h.run(function()
    assert(os.execute("mkfifo " .. at("pipe")))
    local file <close> = await(fs.open(at("pipe"), "r+"))
    h.raises("ESPIPE", function() await(file:read_at(0, 1)) end)
    for _, whence in ipairs{ "set", "cur", "end" } do
      h.raises("ESPIPE", function() await(file:seek(whence)) end)
    end
    h.raises("ESPIPE", function() await(file:truncate()) end)
    await(file:write("line\nrest"))
    assert.equal("line", await(file:read_line()))
    assert.equal("rest", await(file:read(100)))
  end))
end)

suite("File:write_at", function()
  it("may be called often at once", h.run(function()
    local file <close> = await(fs.open(given(""), "r+"))
    local tasks, parts = {}, {}
    for i = 1, 100 do
      parts[i] = ("%03d,"):format(i)
      tasks[i] = file:write_at((i - 1) * 4, i, "", parts[i]:sub(#tostring(i) + 1))
    end
    for i, n in ipairs(await(neap.all(tasks))) do assert.equal(4, n, i) end
    local content = support.slurp(at("file"))
    for i = 1, 100 do
      local part = i .. parts[i]:sub(#tostring(i) + 1)
      assert.equal(part, content:sub(i * 4 - 3, i * 4))
    end
  end))

  it("[C6] that is cancelled harms nobody", h.run(function()
    local file <close> = await(fs.open(given("0123456789"), "r+"))
    for i = 1, 10 do file:write_at(i, "x"):cancel("enough") end
    await(file:write_at(0, "ab"))
    assert.equal("ab", await(file:read_at(0, 2)))
  end))
end)

suite("File:truncate", function()
  it("cuts, extends, and cuts at the position", h.run(function()
    local file <close> = await(fs.open(given("0123456789"), "r+"))
    await(file:truncate(5))
    assert.equal("01234", support.slurp(at("file")))
    await(file:truncate(7))
    assert.equal("01234\0\0", support.slurp(at("file")))
    assert.equal("01", await(file:read(2)))
    await(file:truncate())
    assert.equal("01", support.slurp(at("file")))
    h.bad_argument("truncate", 1, function() return file:truncate(-1) end)
  end))

  it("of a file that is read only fails", h.run(function()
    local file <close> = await(fs.open(given("x")))
    local err = h.raises("EINVAL", function() await(file:truncate(0)) end)
    assert.equal("ftruncate", err.syscall)
  end))
end)

suite("File:sync", function()
  it("is done when it is on the disk", h.run(function()
    local file <close> = await(fs.open(given("x"), "r+"))
    await(file:write("y"))
    await(file:sync())
    await(file:sync{ data = true })
    await(file:sync({}))
    h.bad_argument("sync", 1, function() return file:sync(5) end)
    h.bad_argument("sync", 1, function() return file:sync{ data = 1 } end)
  end))
end)

suite("neap.fs.open", function()
  it("with 'x' creates a file, and fails where one is", h.run(function()
    for _, mode in ipairs{ "wx", "w+x", "wx+", "ax", "wbx" } do
      local file <close> = await(fs.open(at(mode), mode))
      await(file:write("new"))
      local err = h.raises("EEXIST", function() await(fs.open(at(mode), mode)) end)
      assert.equal(at(mode), err.path)
      assert.equal("new", support.slurp(at(mode)))
    end
    for _, mode in ipairs{ "rx", "x", "wxx", "w++", "W", "r+w" } do
      h.bad_argument("open", 2, fs.open, at("none"), mode)
    end
  end))

  it("gives a new file its permissions", h.run(function()
    for mode, expected in pairs{
      [tonumber("600", 8)] = "rw-------", ["640"] = "rw-r-----", ["r--------"] = "r--------",
    } do
      await(await(fs.open(at("new"), "w", { mode = mode })):close())
      assert.equal(expected, lfs.attributes(at("new"), "permissions"))
      os.remove(at("new"))
    end
    for _, mode in ipairs{ "888", "rwx", "", "rw-r--r-x-", -1, 010000, 1.5, {}, "\0" } do
      h.bad_argument("open", 3, fs.open, at("new"), "w", { mode = mode })
    end
    h.bad_argument("open", 3, fs.open, at("new"), "w", 5)
    h.bad_argument("open", 3, fs.open, at("new"), "w", { unlink_at_close = 1 })
    assert.same({}, await(fs.list(directory)))
  end))

  it("with unlink_at_close removes the file when it is closed, or collected", h.run(function()
    do
      local file <close> = await(fs.open(at("a"), "w", { unlink_at_close = true }))
      await(file:write("x"))
      assert.is_truthy(lfs.attributes(at("a")))
    end
    await(fs.open(at("b"), "w", { unlink_at_close = true }))
    for _ = 1, 5 do
      collectgarbage()
      await(fs.list(directory))
    end
    assert.same({}, await(fs.list(directory)))
  end))

  it("takes any bytes as a path but NUL", h.run(function()
    local path = at("\255\254 \n'\"\xC3")
    local file <close> = await(fs.open(path, "w"))
    assert.equal(path, file:path())
    assert.equal("\255\254 \n'\"\xC3", await(fs.list(directory))[1].name)
    local err = h.raises("ENOENT", function() await(fs.open(at("\255"))) end)
    assert.equal(at("\255"), err.path)
  end))
end)

suite("File:close", function()
  it("waits for what is pending, also for what was cancelled", h.run(function()
    local before, data = support.open_descriptors(), ("x"):rep(1 << 20)
    for _, is_cancelled in ipairs{ false, true } do
      local file = await(fs.open(at("new"), "w"))
      local tasks = { file:write(data), file:write_at(5, data) }
      await(fs.list(directory)) -- at least one of them is under way
      for _, task in ipairs(tasks) do
        if is_cancelled then task:cancel("enough") end
      end
      local first, second = file:close(), file:close()
      await(second)
      assert.equal(before, support.open_descriptors())
      for _, task in ipairs(tasks) do assert.not_equal("pending", task:status()) end
      await(first)
    end
  end))

  it("[C3] that is cancelled goes on, and harms nobody", h.run(function()
    local before = support.open_descriptors()
    local file = await(fs.open(at("new"), "w"))
    local write = file:write(("x"):rep(1 << 20))
    local close = file:close()
    assert.is_true(close:cancel("enough"))
    await(write)
    for _ = 1, 3 do await(fs.list(directory)) end
    assert.equal(before, support.open_descriptors())
  end))

  it("does not wait for a read of a pipe", h.run(function()
    assert(os.execute("mkfifo " .. at("pipe")))
    local other <close> = assert(io.open(at("pipe"), "r+"))
    local file = await(fs.open(at("pipe"), "r+"))
    local read = file:read()
    support.takes(0, function() await(file:close()) end)
    h.raises("ECLOSED", await, read)
    other:write("x") -- the thread of the pool goes on
    other:flush()
    for _ = 1, 3 do await(fs.list(directory)) end
  end))
end)

suite("a file", function()
  it("that grows gives more behind its former end", h.run(function()
    local file <close> = await(fs.open(given("one\ntw")))
    local writer <close> = assert(io.open(at("file"), "a"))
    writer:setvbuf("no")
    assert.equal("one", await(file:read_line()))
    assert.equal("tw", await(file:read_line()))
    assert.is_nil((await(file:read_line())))
    writer:write("o\nthree")
    assert.equal("o", await(file:read_line()))
    h.raises("EOF", function() await(file:read_exactly(10)) end)
    writer:write("!")
    assert.equal("!", await(file:read_all()))
  end))

  it("that is removed stays readable", h.run(function()
    local file <close> = await(fs.open(given("content")))
    os.remove(at("file"))
    assert.equal("content", await(file:read_all()))
  end))

  it("that is a device without an end is read in pieces", h.run(function()
    local file <close> = await(fs.open("/dev/zero"))
    assert.is_true(("\0"):rep(200000) == await(file:read_exactly(200000)))
    assert.equal(5, #await(file:read(5)))
    h.raises("ETOOLARGE", function() await(file:read_all(1 << 20)) end)
    h.raises("ETOOLARGE", function() await(file:read_line(100)) end)
  end))

  it("that is full tells how much was written", h.run(function()
    local file <close> = await(fs.open("/dev/full", "w"))
    local err = h.raises("ENOSPC", function() await(file:write("x")) end)
    assert.equal(0, err.written)
    assert.equal("write", err.syscall)
    assert.equal("/dev/full", err.path)
    h.raises("ENOSPC", function() await(file:write_at(5, "x")) end)
  end))

  it("that is a directory fails with EISDIR for each kind of read", h.run(function()
    local file <close> = await(fs.open(directory))
    for _, name in ipairs{ "read", "read_line", "read_all" } do
      h.raises("EISDIR", function() await(file[name](file)) end)
    end
    h.raises("EISDIR", function() await(file:read_exactly(1)) end)
  end))

  it("refuses a second use of its position, and a second read", h.run(function()
    assert(os.execute("mkfifo " .. at("pipe")))
    local pipe <close> = await(fs.open(at("pipe"), "r+"))
    local read = pipe:read_line()
    h.misuse(function() pipe:read() end)
    await(pipe:write("a pipe has two ends\n"))
    assert.equal("a pipe has two ends", await(read))
    local file <close> = await(fs.open(given("x"), "r+"))
    local write = file:write(("y"):rep(100000))
    h.misuse(function() file:write("z") end)
    h.misuse(function() file:seek("set") end)
    await(write)
  end))

  it("survives failing allocations", h.plain(function(t)
    local path = given("one\ntwo\nthree")
    h.each_failure(function()
      local got = neap.run({ clock = t.clock }, function()
        local file <close> = await(fs.open(path, "r+"))
        local line = await(file:read_line())
        await(file:seek("end"))
        await(file:write("four"))
        await(file:write_at(0, "one"))
        await(file:truncate(13))
        return line .. await(file:read_at(4, 3)) .. #await(file:read_all())
      end)
      assert(got == "onetwo0", "a run that succeeded has a wrong result: " .. got)
    end)
    t:take_unobserved()
    t:take_warnings()
  end))
end)

describe("File:write after one that was cancelled", function()
  it("is not overtaken by it", h.run(function()
    local dir <close> = await(fs.temp_dir())
    local path = dir.path .. "/file"
    for _ = 1, 20 do
      local file <close> = await(fs.open(path, "w"))
      local cancelled = file:write(("x"):rep(1 << 20))
      cancelled:cancel()
      await(file:write("later"))
      await(file:close())
      assert.equal("later", await(fs.read_file(path)):sub(1, 5))
    end
  end))

  it("may be cancelled, too, and fails when the file is closed meanwhile", h.run(function()
    local dir <close> = await(fs.temp_dir())
    local file <close> = await(fs.open(dir.path .. "/file", "w"))
    file:write(("x"):rep(1 << 20)):cancel()
    local waiting = file:write("later")
    h.misuse(function() file:write("one more") end)
    waiting:cancel()
    h.raises("ECANCELLED", await, waiting)
    waiting = file:write("again")
    await(file:close())
    local status, err = await(neap.settle(waiting))
    assert.is_true(status == "done" or err.code == "ECLOSED")
  end))
end)
