--- Starting and firing of sleeps alone, without a task for each: arguments as of sleepers.lua.
local common = require "bench.common"
local neap = require "neap"

local n, delay = common.sleepers()
neap.run(function()
  local sleeps = {}
  local start = os.clock()
  for i = 1, n do sleeps[i] = neap.sleep(delay(i)) end
  common.report("start", (os.clock() - start) / n * 1e9)
  for i = 1, n do neap.await(sleeps[i]) end
  common.report("start_fire", (os.clock() - start) / n * 1e9)
end)
