--- An operation written in C, started and awaited from Lua, that ends on the spot; run by native.c.
local common = require "bench.common"
local neap = require "neap"

local await, call = neap.await, native.call -- luacheck: globals native

neap.run(function()
  local done = neap.completed(1)
  common.cost("await_done", 5000000, function(n)
    for _ = 1, n do await(done) end
  end)
  common.cost("native_call", 1000000, function(n)
    for _ = 1, n do await(call()) end
  end)
end)
