--- A web server: a task for each request. Prints its port.
local neap = require "neap"

neap.run(function()
  neap.await(neap.http.serve{
    port = 0,
    backlog = 1024,
    handler = function(_, _) return "Hello, World!" end,
    on_listen = function(server)
      print("port " .. select(2, server:address()))
      io.stdout:flush()
    end,
  })
end)
