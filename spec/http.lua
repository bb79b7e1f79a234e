-- Servers for the specs of the HTTP client: made of neap.net, so that each byte is the spec's own.
local h = require "spec.helper"
local neap = require "neap"

local await, http, net = neap.await, neap.http, neap.net

local M = {}

--- The request that comes next on a connection: { method =, target =, head =, headers =, body = },
--- nil at its
--- end. Names of headers are in lower case; `body` of a request that has one.
function M.read_request(conn)
  local head = await(conn:read_until("\r\n\r\n"))
  if not head then return nil end
  local request = { head = head, headers = {}, body = "" }
  request.method, request.target = head:match("^(%S+) (%S+)")
  for name, value in head:gmatch("\r\n([^:]+): *([^\r]*)") do
    local key = name:lower()
    local before = request.headers[key]
    request.headers[key] = before and before .. ", " .. value or value
  end
  return request
end

local function read_chunks(conn)
  local chunks = {}
  while true do
    local size = tonumber(await(conn:read_line()) or error(neap.error("EOF", "the client has gone"),
      0), 16)
    if size == 0 then break end
    chunks[#chunks + 1] = await(conn:read_exactly(size))
    assert(await(conn:read_exactly(2)) == "\r\n")
  end
  await(conn:read_line())
  return table.concat(chunks), #chunks
end

--- Reads the body of a request, too.
function M.read_body(conn, request)
  if request.headers.expect then await(conn:write("HTTP/1.1 100 Continue\r\n\r\n")) end
  local length = tonumber(request.headers["content-length"])
  if length then request.body = await(conn:read_exactly(length)) end
  if request.headers["transfer-encoding"] == "chunked" then
    request.body, request.chunks = read_chunks(conn)
  end
  return request
end

--- The bytes of a response.
function M.response(status, body, headers)
  local lines = { ("HTTP/1.1 %s"):format(status), "Content-Length: " .. #(body or "") }
  for _, line in ipairs(headers or {}) do lines[#lines + 1] = line end
  return table.concat(lines, "\r\n") .. "\r\n\r\n" .. (body or "")
end

--- A handler of connections that answers each request with what answer(request, conn) returns: the
--- bytes of
--- a response, or nil to end the connection.
function M.answering(answer)
  return function(conn)
    for request in M.read_request, conn do
      local bytes = answer(M.read_body(conn, request), conn)
      if not bytes then return end
      await(conn:write(bytes))
    end
  end
end

local GONE = { EPIPE = true, ECONNRESET = true, EOF = true, ECLOSED = true }

--- A client that goes away in the middle is part of many specs.
local function handle(handler, conn, log)
  local _ <close> = conn
  local ok, err = neap.pcall(handler, conn, #log)
  if not ok and not GONE[err.code] then error(err, 0) end
end

--- A server whose handler(conn, number) gets each connection, in the scope of the caller; and the
--- list of its
--- connections.
function M.listen(handler)
  local server, conns = await(net.listen("127.0.0.1", 0)), {}
  neap.start(function()
    for conn in server do
      conns[#conns + 1] = conn
      neap.start(handle, handler, conn, conns)
    end
  end)
  local _, port = server:address()
  return "http://127.0.0.1:" .. port, conns, server
end

local function run_with(handler, opts, fn, t)
  neap.scope(function(scope)
    local base, conns = M.listen(handler)
    local client <close> = http.client(opts)
    fn(client, base, t, conns)
    scope:cancel()
  end)
end

--- A function for `it`: fn(client, base, t, conns), where the handler serves the URLs that begin
--- with `base`.
--- `opts`: of the client.
function M.with_server(handler, opts, fn)
  if not fn then opts, fn = {}, opts end
  local all = { proxy = false }
  for name, value in pairs(opts) do all[name] = value end
  return h.run(function(t) run_with(handler, all, fn, t) end)
end

--- The same, where answer(request, conn) gives the bytes of a response.
function M.with_answers(answer, opts, fn)
  return M.with_server(M.answering(answer), opts, fn)
end

--- Lets what was written arrive.
function M.settle(n)
  for _ = 1, n or 20 do await(neap.sleep(0.001)) end
end

return M
