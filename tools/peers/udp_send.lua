-- udp_send.lua HOST PORT: sends what it reads as a datagram, and prints the one that comes back.
local neap = require "neap"
local await = neap.await

neap.main(function(host, port)
  local udp <close> = await(neap.net.udp{ host = "127.0.0.1" })
  await(udp:connect(host, math.tointeger(port)))
  await(udp:send(io.read("a")))
  io.write((await(udp:recv())))
end, ...)
