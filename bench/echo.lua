--- An echo server: a task for each connection. Prints its port.
local neap = require "neap"

local await = neap.await

local function serve(conn)
  local _ <close> = conn
  for data in conn do await(conn:write(data)) end
end

neap.run(function()
  local server <close> = await(neap.net.listen("127.0.0.1", 0, { backlog = 1024 }))
  local _, port = server:address()
  print("port " .. port)
  io.stdout:flush()
  while true do neap.start(serve, await(server:accept())) end
end)
