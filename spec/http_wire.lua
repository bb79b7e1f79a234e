-- HTTP over raw sockets, for the specs of the server: what is sent and received is shown as it is.
local assert = require "luassert"
local neap = require "neap"

local await, net, http = neap.await, neap.net, neap.http

local M = {}

--- Serves with a handler on a free port; gives the Task and the listening server. Virtual time
--- jumps while
--- bytes are on their way: without limits of time, unless they are the point.
function M.serve(handler, opts)
  opts = opts or {}
  opts.server = await(net.listen("127.0.0.1", 0))
  opts.handler = handler
  opts.idle_timeout = opts.idle_timeout or math.huge
  opts.header_timeout = opts.header_timeout or math.huge
  return http.serve(opts), opts.server
end

--- Cancels it and waits for its end.
function M.stop(task)
  task:cancel("stop")
  assert.same({ "cancelled", "stop" }, { await(neap.settle(task)) })
end

function M.connect(server) return await(net.connect(server:address())) end

--- The text with CRLF for its line ends.
function M.lines(text) return (text:gsub("\r?\n", "\r\n")) end

--- A request without a body.
function M.get(path, fields)
  return ("GET %s HTTP/1.1\r\nHost: x\r\n%s\r\n"):format(path, fields or "")
end

--- Reads one response: status, headers in lower case, body.
function M.read(conn, method)
  local head = await(conn:read_until("\r\n\r\n"))
  if not head then return nil end
  local status = math.tointeger(head:match("^HTTP/1%.1 (%d%d%d) "))
  local headers = {}
  for name, value in head:gmatch("\r\n([^:\r\n]+): ([^\r\n]*)") do
    name = name:lower()
    headers[name] = headers[name] and headers[name] .. ", " .. value or value
  end
  local parts = {}
  if method == "HEAD" or status == 204 or status == 304 or status < 200 then
    return status, headers, ""
  elseif headers["transfer-encoding"] == "chunked" then
    repeat
      local size = tonumber(await(conn:read_until("\r\n")), 16)
      parts[#parts + 1] = await(conn:read_exactly(size))
      assert.equal("\r\n", await(conn:read_exactly(2)))
    until size == 0
    return status, headers, table.concat(parts)
  elseif headers["content-length"] then
    return status, headers, await(conn:read_exactly(tonumber(headers["content-length"])))
  end
  return status, headers, await(conn:read_all())
end

--- Sends bytes on a connection of their own and reads one response.
function M.ask(server, bytes, method)
  local conn <close> = M.connect(server)
  await(conn:write(bytes))
  return M.read(conn, method)
end

--- The same to the end of the connection: all bytes that come back.
function M.ask_all(server, bytes)
  local conn <close> = M.connect(server)
  await(conn:write(bytes))
  return await(conn:read_all())
end

return M
