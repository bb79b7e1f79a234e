--- neap.websocket: the side of servers needs the library of the HTTP server.
local lazy = require "neap.lazy"

return lazy.names({}, "neap.websocket", {
  connect = "neap.websocket_client",
  accept = "neap.websocket_server",
})
