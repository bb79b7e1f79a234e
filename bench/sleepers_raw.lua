--- The limit of memory: N coroutines, each of them suspended once, held by a table.
local common = require "bench.common"

local n = common.sleepers()
local threads = {}
for i = 1, n do threads[i] = true end
collectgarbage()
local before, count = common.resident("VmRSS"), collectgarbage("count")
local start = os.clock()

for i = 1, n do
  local thread = coroutine.create(function() coroutine.yield() end)
  coroutine.resume(thread)
  threads[i] = thread
end
common.report("start", (os.clock() - start) / n * 1e9)
for i = 1, n do coroutine.resume(threads[i]) end
common.report("start_fire", (os.clock() - start) / n * 1e9)
collectgarbage()
common.report("heap", (collectgarbage("count") - count) * 1024 / n)
common.report_growth("bytes", n, before)
