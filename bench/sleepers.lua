--- N tasks that sleep at once: arguments N, seconds until the first one wakes, seconds until the
--- last one follows.
local common = require "bench.common"
local neap = require "neap"

local await, sleep = neap.await, neap.sleep
local n, delay = common.sleepers()
local before = common.resident("VmRSS")
local start = os.clock()

local function sleeper(i)
  await(sleep(delay(i)))
end

neap.run(function()
  for i = 1, n do neap.start(sleeper, i) end
  common.report("start", (os.clock() - start) / n * 1e9)
  assert(delay(0) > os.clock() - start, "the first one woke before the last one slept")
end)
common.report("start_fire", (os.clock() - start) / n * 1e9)
common.report_growth("bytes", n, before)
