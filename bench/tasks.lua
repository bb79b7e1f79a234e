--- What starting, suspending and awaiting a task costs.
local common = require "bench.common"
local neap = require "neap"

local async, await = neap.async, neap.await
local BATCH = 1000

local trivial = async(function(x) return x end)
local hop = async(function(task, x)
  await(task)
  return x
end)

neap.run(function()
  common.cost("spawn_await", 1000000, function(n)
    for i = 1, n do await(trivial(i)) end
  end)
  -- Each thousand tasks wait for one completion: no more than the suspension and the resumption.
  common.cost("suspend_shared", 1000000, function(n)
    for _ = 1, n // BATCH do
      local gate, tasks = neap.completion(), {}
      for i = 1, BATCH do tasks[i] = hop(gate.task, i) end
      gate:resolve()
      for i = 1, BATCH do await(tasks[i]) end
    end
  end)
  common.cost("suspend_completion", 500000, function(n)
    for i = 1, n do
      local gate = neap.completion()
      local task = hop(gate.task, i)
      gate:resolve()
      await(task)
    end
  end)
  local yield = async(function(x)
    await(neap.yield())
    return x
  end)
  common.cost("suspend_yield", 500000, function(n)
    for i = 1, n do await(yield(i)) end
  end)
  local done = trivial(1)
  common.cost("await_done", 5000000, function(n)
    for _ = 1, n do await(done) end
  end)
end)
