--- A recursion of async calls, each of which awaits the next one.
local common = require "bench.common"
local neap = require "neap"

local async, await = neap.async, neap.await

local descend
descend = async(function(depth)
  if depth == 0 then
    await(neap.yield())
    return 0
  end
  return await(descend(depth - 1)) + 1
end)

--- Each once to fill the pools, then several times.
local function measure(name, depth, times)
  for round = 0, 1 do
    local start = os.clock()
    for _ = 1, times do assert(await(descend(depth)) == depth) end
    if round == 1 then common.report(name, (os.clock() - start) / times / depth * 1e9) end
  end
end

neap.run(function()
  measure("level_of_1000", 1000, 200)
  measure("level_of_20000", 20000, 10)
end)
