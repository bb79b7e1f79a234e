-- An echo server with TLS: tls_echo.lua CERTIFICATE KEY [PORT]
-- Files in PEM, for instance of: openssl req -x509 -newkey rsa:2048 -nodes -days 30
--   -subj /CN=localhost -addext subjectAltName=DNS:localhost -keyout key.pem -out cert.pem
-- Try it with: openssl s_client -connect localhost:PORT -CAfile cert.pem
local neap = require "neap"
local await = neap.await

local function echo(conn)
  local info = conn:tls()
  io.stderr:write(("%s, %s, %s\n"):format(info.version, info.cipher,
    info.session_reused and "resumed" or "new"))
  for chunk in conn do await(conn:write(chunk)) end
  await(conn:shutdown())
end

neap.main(function(cert, key, port)
  if not key then error("usage: tls_echo.lua CERTIFICATE KEY [PORT]", 0) end
  await(neap.net.serve({
    host = "*",
    port = math.tointeger(port or 0),
    tls = { cert = cert, key = key },
    on_listen = function(server)
      io.stderr:write("listening on ", table.concat({ server:address() }, " port "), "\n")
    end,
    on_error = function(err) io.stderr:write(tostring(err), "\n") end,
  }, echo))
end, ...)
