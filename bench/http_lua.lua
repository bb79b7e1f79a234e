--- A web server of lua-http. Prints its port.
local http_headers = require "http.headers"
local http_server = require "http.server"

local server = assert(http_server.listen{
  host = "127.0.0.1",
  port = 0,
  tls = false,
  onstream = function(_, stream)
    assert(stream:get_headers())
    local headers = http_headers.new()
    headers:append(":status", "200")
    headers:append("content-type", "text/plain; charset=utf-8")
    headers:append("content-length", "13")
    assert(stream:write_headers(headers, false))
    assert(stream:write_body_from_string("Hello, World!"))
  end,
  onerror = function() end,
})
assert(server:listen())
print("port " .. select(3, server:localname()))
io.stdout:flush()
assert(server:loop())
