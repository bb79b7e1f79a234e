--- Files: 10 000 of 4 KiB read or written, 64 at a time, or a big one read in chunks of 64 KiB.
--- Arguments: "read", "write" or "sequential", the folder, how many bytes there are in all.
local files = require "bench.files_common"
local neap = require "neap"

local await, fs = neap.await, neap.fs

local function read_file(path)
  return #await(fs.read_file(path))
end

local function write_file(path)
  await(fs.write_file(path, files.CONTENT))
  return #files.CONTENT
end

local function each_file(work)
  local next_path, total, tasks = files.paths(), 0, {}
  for i = 1, files.AT_ONCE do
    tasks[i] = neap.start(function()
      for path in next_path do
        local n = work(path)
        total = total + n
      end
    end)
  end
  await(neap.all(tasks))
  return total
end

local function read_chunks()
  local total = 0
  local file <close> = await(fs.open(files.BIG))
  for data in function() return await(file:read(files.CHUNK)) end do total = total + #data end
  return total
end

neap.run(function()
  local start = neap.now()
  local total = files.WORK == "sequential" and read_chunks()
    or each_file(files.WORK == "read" and read_file or write_file)
  files.report(total, neap.now() - start)
end)
