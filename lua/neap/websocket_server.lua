--- neap.websocket.accept: the handshake of a server, in a handler of neap.http.serve.
local check = require "neap.check"
local core = require "neap.core"
local handshake = require "neap.websocket_handshake"
local driver = require "neap.http_server".driver

local M = {}

local WHERE = { name = "accept", index = 2 }

-- Fields of the answer that are not the user's to set.
local OWN = {
  ["connection"] = true, ["upgrade"] = true, ["sec-websocket-accept"] = true,
  ["sec-websocket-protocol"] = true, ["sec-websocket-extensions"] = true,
  ["content-length"] = true, ["transfer-encoding"] = true,
}

local UPGRADE = "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"

-- Origins.

--- Pages of the host that was asked may connect, and all clients that are no browsers.
local function is_same_host(origin, req)
  local authority = origin:match("^%a[%w+.-]*://([^/]*)$")
  return authority ~= nil and authority:lower() == (req:header("Host") or ""):lower()
end

local function is_allowed(origins, req)
  local origin = req:header("Origin")
  if origins == "*" or (origin == nil and not check.is_callable(origins)) then return true end
  if origins == nil then return is_same_host(origin, req) end
  if type(origins) == "string" then return origin == origins end
  if check.is_callable(origins) then return origins(origin, req) end
  return handshake.contains(origins, origin)
end

local function check_origins(origins)
  local is_list = type(origins) == "table" or type(origins) == "string" or origins == nil
  if is_list or check.is_callable(origins) then return end
  handshake.refuse(WHERE, "origins", "an origin, a list of them, '*' or a function")
end

-- The request.

local function is_upgrade(req)
  return req.method == "GET" and req.version == "1.1"
    and handshake.has_word(req:header("Upgrade"), "websocket")
    and handshake.has_word(table.concat(req:header_values("Connection"), ","), "upgrade")
end

--- What is wrong with the request: a status, a line of English, fields of the answer.
local function find_fault(req, origins)
  if not is_upgrade(req) then return 426, "this is for WebSocket only", UPGRADE end
  if req:header("Sec-WebSocket-Version") ~= "13" then
    return 426, "this version of WebSocket is not spoken here", UPGRADE
  end
  local keys = req:header_values("Sec-WebSocket-Key")
  if #keys ~= 1 or not core.websocket_accept(keys[1]) then
    return 400, "Sec-WebSocket-Key is missing or wrong", ""
  end
  if req:header("Content-Length") or req:header("Transfer-Encoding") then
    return 400, "a request for WebSocket has no body", ""
  end
  if not is_allowed(origins, req) then return 403, "this origin is not allowed", "" end
end

--- The first of ours that the client knows.
local function choose_protocol(protocols, req)
  local offered = {}
  for _, list in ipairs(req:header_values("Sec-WebSocket-Protocol")) do
    for name in handshake.words(list) do offered[name] = true end
  end
  for _, name in ipairs(protocols) do
    if offered[name] then return name end
  end
end

local function build_answer(key, protocol, headers)
  return table.concat{
    "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n",
    ("Sec-WebSocket-Accept: %s\r\n"):format(core.websocket_accept(key)),
    protocol and ("Sec-WebSocket-Protocol: %s\r\n"):format(protocol) or "",
    headers, "\r\n",
  }
end

local function refuse(req, status, message, fields)
  driver.refuse_upgrade(req, status, fields, message .. "\n")
  return core.completed(nil, core.error("EHANDSHAKE", message, { status = status }))
end

local function check_request(req)
  if core.type_name(req) == "neap.http.ServerRequest" then return end
  core.argument_error("accept", 1, "neap.http.ServerRequest expected, got " .. core.type_name(req))
end

function M.accept(req, opts)
  check_request(req)
  if opts ~= nil then check.table(opts, "accept", 2) end
  opts = opts or {}
  check_origins(opts.origins)
  local protocols = handshake.read_protocols(opts, WHERE)
  local headers = handshake.read_headers(opts, OWN, WHERE)
  local options = handshake.read_options(opts, true, WHERE)
  local status, message, fields = find_fault(req, opts.origins)
  if status then return refuse(req, status, message, fields) end
  local protocol = choose_protocol(protocols, req)
  local conn = driver.upgrade(req, build_answer(req:header("Sec-WebSocket-Key"), protocol, headers))
  return core.completed(core.websocket(conn, options, protocol))
end

return M
