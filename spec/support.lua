-- Small things that several specs share: clean-up values, stopwatches, turn counters, temporary
-- directories. The test context itself is in spec/helper.lua.
local assert = require "luassert"
local lfs = require "lfs"
local neap = require "neap"

local await = neap.await

local M = {}

--- A value whose __close calls fn(err).
function M.closing(fn)
  return setmetatable({}, { __close = function(_, err) fn(err) end })
end

--- A function that gives the seconds since its making.
function M.stopwatch()
  local start = neap.now()
  return function() return neap.now() - start end
end

--- Runs fn() and asserts that it takes this many seconds of virtual time.
function M.takes(seconds, fn)
  local elapsed = M.stopwatch()
  fn()
  assert.near(seconds, elapsed(), 1e-6)
end

--- A task that sleeps and then returns the other arguments.
function M.returns_after(seconds, ...)
  return neap.start(function(...) await(neap.sleep(seconds)) return ... end, ...)
end

--- A task that sleeps and then raises err as it is.
function M.fails_after(seconds, err)
  return neap.start(function() await(neap.sleep(seconds)) error(err, 0) end)
end

--- A task that sleeps; when cancelled it cleans up for so many seconds, then calls ended().
function M.cleans_up(seconds, ended)
  return neap.start(function()
    local _ <close> = neap.defer(function()
      await(neap.sleep(seconds))
      if ended then ended() end
    end)
    await(neap.sleep(1000))
  end)
end

--- A task that has been cancelled and has ended.
function M.cancelled_task(reason)
  local task = neap.start(function() await(neap.sleep(1000)) end)
  task:cancel(reason)
  await(neap.settle(task))
  return task
end

--- Counts turns in .count until stop() is called: it runs once at the start, then once per turn.
function M.turn_counter()
  local counter = { count = 0 }
  local running = true
  function counter.stop() running = false end
  neap.start(function()
    while running do
      counter.count = counter.count + 1
      await(neap.yield())
    end
  end)
  return counter
end

--- Asserts that a sixteenfold cost for a fourfold size is not what cost(n) -> seconds shows, the
--- best of as many measurements as a busy machine needs. With a collection after every turn, which
--- walks all that is alive, nothing is linear.
function M.is_linear(cost, n)
  local small, large, is_linear = math.huge, math.huge, false
  local is_stressed = os.getenv("NEAP_STRESS_GC") == "1"
  for _ = 1, 10 do
    small = math.min(small, cost(n))
    large = math.min(large, cost(4 * n))
    is_linear = is_stressed or large < 9 * small + 0.02
    if is_linear then break end
  end
  local text = string.format("%d: %.4f s, %d: %.4f s", n, small, 4 * n, large)
  assert.is_true(is_linear, text)
end

--- Makes an empty temporary directory and returns its path.
function M.temp_dir()
  local path = os.tmpname()
  os.remove(path)
  assert.is_truthy(lfs.mkdir(path))
  return path
end

--- Removes a directory with all that is in it.
function M.remove_tree(path)
  for name in lfs.dir(path) do
    if name ~= "." and name ~= ".." then
      local entry = path .. "/" .. name
      if lfs.symlinkattributes(entry, "mode") == "directory" then
        M.remove_tree(entry)
      else
        os.remove(entry)
      end
    end
  end
  lfs.rmdir(path)
end

--- The content of a file, read by Lua's own io.
function M.slurp(path)
  local file <close> = assert(io.open(path, "rb"))
  return file:read("a")
end

--- Makes a file by Lua's own io.
function M.spit(path, data)
  local file <close> = assert(io.open(path, "wb"))
  file:write(data)
end

--- The bytes of memory that the process has from the system; 0 where that is not told, and under a
--- sanitizer, which keeps what is freed.
function M.resident()
  local file = not os.getenv("NEAP_SLOW") and io.open("/proc/self/statm")
  if not file then return 0 end
  local _, pages = file:read("n", "n")
  file:close()
  return pages * 4096
end

--- Whether a process runs: one that has ended and was not reaped does not.
function M.is_running(pid)
  local file <close> = io.open(("/proc/%d/stat"):format(pid))
  local state = file and file:read("a"):match("^.*%) (%a)")
  return state ~= nil and state ~= "Z" and state ~= "X"
end

--- Whether there is anything of a process, be it only that nobody has reaped it.
function M.is_known(pid)
  return lfs.attributes(("/proc/%d"):format(pid), "mode") ~= nil
end

--- The number of descriptors that the process has open, or nil where /proc does not tell.
function M.open_descriptors()
  if not lfs.attributes("/proc/self/fd", "mode") then return nil end
  local n = 0
  for _ in lfs.dir("/proc/self/fd") do n = n + 1 end
  return n
end

return M
