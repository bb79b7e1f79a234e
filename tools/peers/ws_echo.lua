-- A WebSocket server that sends back what it gets: ws_echo.lua
local neap = require "neap"
local await = neap.await

local function handle(req)
  local ws <close> = await(neap.websocket.accept(req, { protocols = { "echo" }, origins = "*" }))
  if not ws then return end
  for message, kind in ws do
    await(kind == "text" and ws:send(message) or ws:send_binary(message))
  end
end

neap.main(function()
  await(neap.http.serve({
    port = 0,
    on_listen = function(server)
      local host, port = server:address()
      io.stderr:write(("listening on %s, port %d\n"):format(host, port))
    end,
  }, handle))
end, ...)
