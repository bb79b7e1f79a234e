-- udp_echo.lua: sends back what arrives, until Ctrl-C.
local neap = require "neap"
local await = neap.await

neap.main(function()
  local udp <close> = await(neap.net.udp{ host = "127.0.0.1" })
  io.stderr:write("listening on ", table.concat({ udp:address() }, " port "), "\n")
  for data, host, port in udp do await(udp:send(data, host, port)) end
end)
