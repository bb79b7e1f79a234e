-- Sends what it reads over TLS, and writes what comes back: tls_send.lua CA NAME HOST PORT
local neap = require "neap"
local await = neap.await

neap.main(function(ca, name, host, port)
  local conn <close> = await(neap.net.connect(host, math.tointeger(port), {
    tls = { ca = ca, server_name = name },
  }))
  local sending = neap.start(function()
    for chunk in neap.stdio.stdin do await(conn:write(chunk)) end
    await(conn:shutdown())
  end)
  for chunk in conn do await(neap.stdio.stdout:write(chunk)) end
  await(sending)
end, ...)
