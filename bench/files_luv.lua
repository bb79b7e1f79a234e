--- The same as bench/files.lua with luv; the fourth argument is "callbacks", or "coroutines", as
--- people wrap it.
local files = require "bench.files_common"
local luv = require "bench.await_luv"
local uv = require "luv"

local READ, WRITE = tonumber("444", 8), tonumber("666", 8)
local total = 0

-- --- callbacks ----------------------------------------------------------------------------------

local function start_reading(next_path)
  local path = next_path()
  if not path then return end
  uv.fs_open(path, "r", READ, function(err, fd)
    assert(fd, err)
    uv.fs_fstat(fd, function(_, status)
      uv.fs_read(fd, status.size, -1, function(_, data)
        total = total + #data
        uv.fs_close(fd, function() start_reading(next_path) end)
      end)
    end)
  end)
end

local function start_writing(next_path)
  local path = next_path()
  if not path then return end
  uv.fs_open(path, "w", WRITE, function(err, fd)
    assert(fd, err)
    uv.fs_write(fd, files.CONTENT, -1, function(_, n)
      total = total + n
      uv.fs_close(fd, function() start_writing(next_path) end)
    end)
  end)
end

local function start_chunks()
  local fd = assert(uv.fs_open(files.BIG, "r", READ))
  local function on_read(err, data)
    assert(data, err)
    total = total + #data
    if #data > 0 then uv.fs_read(fd, files.CHUNK, -1, on_read) end
  end
  uv.fs_read(fd, files.CHUNK, -1, on_read)
end

local function with_callbacks()
  if files.WORK == "sequential" then
    start_chunks()
  else
    local next_path = files.paths()
    local start = files.WORK == "read" and start_reading or start_writing
    for _ = 1, files.AT_ONCE do start(next_path) end
  end
  uv.run()
end

-- --- coroutines ---------------------------------------------------------------------------------

local function resume(co, err, ...)
  assert(not err, err)
  local ok, why = coroutine.resume(co, ...)
  if not ok then error(why, 0) end
end

local function call(fn, ...)
  local co, args = coroutine.running(), table.pack(...)
  args[args.n + 1] = function(...) resume(co, ...) end
  fn(table.unpack(args, 1, args.n + 1))
  return coroutine.yield()
end

local function read_file(path)
  local fd = call(uv.fs_open, path, "r", READ)
  local data = call(uv.fs_read, fd, call(uv.fs_fstat, fd).size, -1)
  call(uv.fs_close, fd)
  return #data
end

local function write_file(path)
  local fd = call(uv.fs_open, path, "w", WRITE)
  local n = call(uv.fs_write, fd, files.CONTENT, -1)
  call(uv.fs_close, fd)
  return n
end

local function each_file(work)
  local next_path, tasks = files.paths(), {}
  for i = 1, files.AT_ONCE do
    tasks[i] = luv.start(function()
      for path in next_path do
        local n = luv.await(luv.start(work, path))
        total = total + n
      end
    end)
  end
  for i = 1, files.AT_ONCE do luv.await(tasks[i]) end
end

local function read_chunks()
  local fd = call(uv.fs_open, files.BIG, "r", READ)
  repeat
    local data = call(uv.fs_read, fd, files.CHUNK, -1)
    total = total + #data
  until #data == 0
end

local function with_coroutines()
  luv.run(function()
    if files.WORK == "sequential" then return read_chunks() end
    each_file(files.WORK == "read" and read_file or write_file)
  end)
end

local start = uv.hrtime()
if arg[4] == "callbacks" then with_callbacks() else with_coroutines() end
files.report(total, (uv.hrtime() - start) / 1e9)
