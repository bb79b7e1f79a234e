--- What people write on luv by hand: async and await in thirty lines, without cancellation, without
--- tracebacks, on Lua's coroutine library. A peer of the benches.
local uv = require "luv"

local M = {}

local function step(co, ...)
  local ok, err = coroutine.resume(co, ...)
  if not ok then error(err, 0) end
end

local function finish(task, ...)
  task.done, task.results = true, table.pack(...)
  local waiters = task.waiters
  if not waiters then return end
  task.waiters = nil
  for i = 1, #waiters do step(waiters[i]) end
end

function M.start(fn, ...)
  local task = {}
  step(coroutine.create(function(...) finish(task, pcall(fn, ...)) end), ...)
  return task
end

function M.await(task)
  if not task.done then
    local waiters = task.waiters or {}
    task.waiters = waiters
    waiters[#waiters + 1] = coroutine.running()
    coroutine.yield()
  end
  local results = task.results
  if not results[1] then error(results[2], 0) end
  return table.unpack(results, 2, results.n)
end

function M.sleep(seconds)
  local co, timer = coroutine.running(), uv.new_timer()
  timer:start(math.floor(seconds * 1000), 0, function()
    timer:close()
    step(co)
  end)
  coroutine.yield()
end

function M.completion()
  return {}
end

function M.resolve(task, ...)
  finish(task, true, ...)
end

function M.run(fn)
  local task = M.start(fn)
  uv.run()
  M.await(task)
end

return M
