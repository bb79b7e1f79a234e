--- The same as bench/sleepers.lua with luv and thirty lines of Lua.
local common = require "bench.common"
local aw = require "bench.await_luv"

local n, delay = common.sleepers()
local before = common.resident("VmRSS")
local start = os.clock()

local function sleeper(i)
  aw.sleep(delay(i))
end

aw.run(function()
  for i = 1, n do aw.start(sleeper, i) end
  common.report("start", (os.clock() - start) / n * 1e9)
end)
common.report("start_fire", (os.clock() - start) / n * 1e9)
common.report_growth("bytes", n, before)
