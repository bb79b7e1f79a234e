-- A minimal HTTP/1.1 server that keeps connections alive: hello_http.lua [PORT]
-- It shows read_until and write, and leaves out most of HTTP; neap.http comes later.
-- After Ctrl-C each connection gets one more answer; idle ones are closed after a second.
local neap = require "neap"
local await, net = neap.await, neap.net

local MAX_HEAD, MAX_BODY = 16384, 65536
local BODY = "hello, world\n"
local HEAD = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: " .. #BODY
  .. "\r\nConnection: %s\r\n\r\n"

--- Reads a request, and drops its body. Returns its method and whether the client wants to go on;
--- nothing when the client has left.
local function read_request(conn)
  local head = await(conn:read_until("\r\n\r\n", MAX_HEAD))
  if not head then return end
  local method, version = head:match("^(%u+) %S+ HTTP/1%.([01])")
  local fields = head:lower() .. "\r"
  local length = tonumber(fields:match("\ncontent%-length: *(%d+)\r") or 0)
  if not method or length > MAX_BODY then error("not a request for this server", 0) end
  if length > 0 then await(conn:read_exactly(length)) end
  local connection = fields:match("\nconnection: *([%a-]+)\r")
  return method, connection ~= "close" and (version == "1" or connection == "keep-alive")
end

local function answer_all(conn, server)
  for method, goes_on in read_request, conn do
    goes_on = goes_on and not server:is_closed()
    local head = HEAD:format(goes_on and "keep-alive" or "close")
    await(conn:write(head, method == "HEAD" and "" or BODY))
    if not goes_on then break end
  end
end

neap.main(function(port)
  local server <close> = await(net.listen("*", math.tointeger(port or 0)))
  io.stderr:write("listening on port ", select(2, server:address()), "\n")
  await(net.serve({
    server = server,
    grace = 1,
    on_error = function(err) io.stderr:write(tostring(err), "\n") end,
  }, function(conn) answer_all(conn, server) end))
end, ...)
