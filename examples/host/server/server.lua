-- What each thread of the host runs: a server of its own, on a port that all of them share.
local neap = require "neap"

local await = neap.await

local function greet(conn, thread)
  for line in conn:lines() do
    await(conn:write(("hello %s, this is thread %d\n"):format(line, thread)))
  end
end

-- Called by the host as a task, which it cancels to stop the server.
return function(thread, port, on_listen)
  await(neap.net.serve({
    host = "127.0.0.1",
    port = port,
    reuse_port = true, -- the system spreads the connections among the threads
    grace = 0.1,
    on_listen = function(server)
      local _, actual_port = server:address()
      on_listen(actual_port)
    end,
  }, function(conn) greet(conn, thread) end))
end
