-- An echo server: echo_server.lua [PORT | PATH | @NAME]
-- on a TCP port (default: a free one), on a Unix socket's path, or on the name of an abstract one.
-- After Ctrl-C nobody is accepted any more, and open connections have five seconds to end.
local neap = require "neap"
local await = neap.await

local function echo(conn)
  for chunk in conn do await(conn:write(chunk)) end
end

neap.main(function(where)
  local port = math.tointeger(where or 0)
  await(neap.net.serve({
    host = "*",
    port = port,
    path = not port and where or nil,
    grace = 5,
    on_listen = function(server)
      io.stderr:write("listening on ", table.concat({ server:address() }, " port "), "\n")
    end,
    on_error = function(err) io.stderr:write(tostring(err), "\n") end,
  }, echo))
end, ...)
