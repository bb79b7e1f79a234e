--- The limits of bench/tasks.lua: Lua's own coroutines, and an empty call.
local common = require "bench.common"

local create, resume, yield = coroutine.create, coroutine.resume, coroutine.yield
local BATCH = 1000

local function identity(x)
  return x
end

local function hop(x)
  yield()
  return x
end

common.cost("spawn_await", 1000000, function(n)
  for i = 1, n do resume(create(identity), i) end
end)

common.cost("suspend_shared", 1000000, function(n)
  for _ = 1, n // BATCH do
    local threads = {}
    for i = 1, BATCH do
      threads[i] = create(hop)
      resume(threads[i], i)
    end
    for i = 1, BATCH do resume(threads[i]) end
  end
end)

local function suspend_once(n)
  for i = 1, n do
    local thread = create(hop)
    resume(thread, i)
    resume(thread)
  end
end
common.cost("suspend_completion", 500000, suspend_once)
common.cost("suspend_yield", 500000, suspend_once)

common.cost("await_done", 10000000, function(n)
  for i = 1, n do identity(i) end
end)
