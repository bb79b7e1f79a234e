-- A page over TLS, for curl: tls_hello.lua CERTIFICATE KEY [CA], which clients are to be signed by.
local neap = require "neap"
local await = neap.await

local PAGE = "HTTP/1.1 200 OK\r\nContent-Length: 12\r\n\r\nhello, world"

local function answer(conn)
  while await(conn:read_until("\r\n\r\n")) do await(conn:write(PAGE)) end
  await(conn:shutdown())
end

neap.main(function(cert, key, ca)
  await(neap.net.serve({
    host = "127.0.0.1",
    port = 0,
    tls = { cert = cert, key = key, ca = ca, client_auth = ca and true, alpn = { "http/1.1" } },
    on_listen = function(server)
      io.stderr:write("listening on ", table.concat({ server:address() }, " port "), "\n")
    end,
    on_error = function(err) io.stderr:write(tostring(err), "\n") end,
  }, answer))
end, ...)
