-- What specs of workers share: jobs that say that they run, and wait until they are told to go on.
-- They talk by files, which all threads see. Under TSan a signal arrives only where a job calls
-- into the system's library: `compute` does. All end after some time, lest a spec waits for ever.
local lfs = require "lfs"
local neap = require "neap"
local support = require "spec.support"

local await = neap.await

local M = {}

--- For before_each and after_each: an empty directory.
function M.make()
  M.directory = support.temp_dir()
end

function M.remove()
  support.remove_tree(M.directory)
end

--- The path of a name in that directory.
function M.at(name)
  return M.directory .. "/" .. name
end

function M.exists(name)
  return lfs.attributes(M.at(name), "mode") ~= nil
end

--- Tells a job that waits for this name.
function M.tell(name)
  support.spit(M.at(name), "")
end

--- Waits until a job has told this name: in turns, without time going by.
function M.wait_for(name)
  while not M.exists(name) do await(neap.yield()) end
end

--- Awaits a task; asserts that it was cancelled.
function M.is_cancelled(task)
  return await(neap.settle(task)) == "cancelled"
end

-- Jobs: Lua functions without upvalues.

--- Says that it runs, and goes on when it is told.
function M.hold(begun, go, ...)
  io.open(begun, "w"):close()
  local start = os.time()
  repeat
    local file = io.open(go)
    if file then file:close() end
    if os.time() - start > 20 then error("nobody has told " .. go) end
  until file
  return ...
end

--- Says that it runs, and computes until it is interrupted.
function M.compute(begun)
  if begun then io.open(begun, "w"):close() end
  local start = os.time()
  while os.time() - start < 20 do os.time() end
  error("nobody has interrupted " .. tostring(begun))
end

--- Starts `hold` in some way of running, waits until it runs; returns the task.
function M.held(run, name, ...)
  local task = run(M.hold, M.at(name), M.at(name .. ".go"), ...)
  M.wait_for(name)
  return task
end

function M.let_go(name)
  M.tell(name .. ".go")
end

--- Starts `compute` in some way of running, waits until it runs; returns the task.
function M.computing(run, name)
  local task = run(M.compute, M.at(name))
  M.wait_for(name)
  return task
end

return M
