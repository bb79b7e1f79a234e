--- The same as bench/tasks.lua with luv and thirty lines of Lua.
local common = require "bench.common"
local aw = require "bench.await_luv"

local start, await = aw.start, aw.await
local BATCH = 1000

local function trivial(x)
  return x
end

local function hop(task, x)
  await(task)
  return x
end

local function yield(x)
  aw.sleep(0)
  return x
end

aw.run(function()
  common.cost("spawn_await", 200000, function(n)
    for i = 1, n do await(start(trivial, i)) end
  end)
  common.cost("suspend_shared", 200000, function(n)
    for _ = 1, n // BATCH do
      local gate, tasks = aw.completion(), {}
      for i = 1, BATCH do tasks[i] = start(hop, gate, i) end
      aw.resolve(gate)
      for i = 1, BATCH do await(tasks[i]) end
    end
  end)
  common.cost("suspend_completion", 200000, function(n)
    for i = 1, n do
      local gate = aw.completion()
      local task = start(hop, gate, i)
      aw.resolve(gate)
      await(task)
    end
  end)
  common.cost("suspend_yield", 50000, function(n)
    for i = 1, n do await(start(yield, i)) end
  end)
  local done = start(trivial, 1)
  common.cost("await_done", 1000000, function(n)
    for _ = 1, n do await(done) end
  end)
end)
