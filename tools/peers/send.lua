-- send.lua HOST PORT | PATH | @NAME: sends what it reads, and prints what comes back.
local neap = require "neap"
local await = neap.await

local function connect(where, port)
  if port then return neap.net.connect(where, math.tointeger(port)) end
  return neap.net.connect{ path = where }
end

neap.main(function(...)
  local conn <close> = await(connect(...))
  local answer = neap.start(function() return await(conn:read_all()) end)
  await(conn:write(io.read("a")))
  await(conn:shutdown())
  io.write(await(answer))
end, ...)
