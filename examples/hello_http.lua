-- A small web server, with TLS where it has a certificate: hello_http.lua [PORT [CERTIFICATE KEY]]
--   GET /            a greeting           POST /echo   what was sent, as it comes
--   GET /hello?name= one by name, JSON    GET /ticks   one line after the other
-- After Ctrl-C requests that are under way are answered; idle connections end at once.
local neap = require "neap"
local await = neap.await

local routes = {}

routes["/"] = function() return "hello, world\n" end

routes["/hello"] = function(req)
  return { hello = req.query.name or "world" }
end

routes["/echo"] = function(req, res)
  for chunk in req do await(res:write(chunk)) end
end

routes["/ticks"] = function(_, res)
  for i = 1, 5 do
    await(res:write("tick ", i, "\n"))
    await(neap.sleep(0.2))
  end
end

local function handler(req, res)
  local route = routes[req.path]
  if not route then return 404 end
  return route(req, res)
end

neap.main(function(port, cert, key)
  await(neap.http.serve{
    host = "*",
    port = math.tointeger(port or 0),
    tls = cert and { cert = cert, key = key },
    grace = 1,
    handler = handler,
    on_listen = function(server)
      io.stderr:write("listening on port ", select(2, server:address()), "\n")
    end,
    on_error = function(err) io.stderr:write(tostring(err), "\n") end,
  })
end, ...)
