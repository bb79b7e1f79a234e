--- neap.websocket.connect: the handshake of a client, on a connection of neap.net.
local check = require "neap.check"
local core = require "neap.core"
local handshake = require "neap.websocket_handshake"
local net = require "neap.net"

local await = core.await

local M = {}

local MAX_HEAD = 16 * 1024
local DEFAULT_TIMEOUT = 30

-- Fields of the request that are not the user's to set.
local OWN = {
  ["connection"] = true, ["upgrade"] = true, ["sec-websocket-key"] = true,
  ["sec-websocket-version"] = true, ["sec-websocket-protocol"] = true,
  ["sec-websocket-extensions"] = true, ["content-length"] = true, ["transfer-encoding"] = true,
}

-- Addresses.

local function refuse_url(url, why)
  core.argument_error("connect", 1, ("%s: '%s'"):format(why, url))
end

--- "host", "host:port", "[v6]:port" -> host, port
local function split_authority(url, text, default)
  local host, port = text:match("^%[([%x:.]+)%]:?(%d*)$")
  if not host then host, port = text:match("^([^:@%[%]]+):?(%d*)$") end
  local number = port == "" and default or tonumber(port)
  if not host or not number or number < 1 or number > 65535 then
    refuse_url(url, "no such host and port")
  end
  return host, math.tointeger(number)
end

--- ws://host:port/path?query, or wss://
local function parse_url(url)
  if type(url) ~= "string" then
    core.argument_error("connect", 1, "string expected, got " .. core.type_name(url))
  end
  local scheme, authority, target = url:match("^(%a+)://([^/?#]+)(.*)$")
  scheme = scheme and scheme:lower()
  if scheme ~= "ws" and scheme ~= "wss" then
    refuse_url(url, "a URL with ws:// or wss:// expected")
  end
  if target:find("[#%c ]") then
    refuse_url(url, "a URL without fragment, space and control characters expected")
  end
  if target:sub(1, 1) ~= "/" then target = "/" .. target end
  local is_secure = scheme == "wss"
  local host, port = split_authority(url, authority, is_secure and 443 or 80)
  return { url = url, is_secure = is_secure, authority = authority, target = target,
    host = host, port = port }
end

-- The request.

local function build_request(self, key)
  local lines = {
    ("GET %s HTTP/1.1\r\n"):format(self.target),
    self.has_host and "" or ("Host: %s\r\n"):format(self.authority),
    "Upgrade: websocket\r\nConnection: Upgrade\r\n",
    ("Sec-WebSocket-Key: %s\r\nSec-WebSocket-Version: 13\r\n"):format(key),
    #self.protocols > 0
      and ("Sec-WebSocket-Protocol: %s\r\n"):format(table.concat(self.protocols, ", ")) or "",
    self.headers, "\r\n",
  }
  return table.concat(lines)
end

-- The answer.

local function fail(self, message, fields)
  fields = fields or {}
  fields.url = self.url
  error(core.error("EHANDSHAKE", message, fields), 0)
end

--- A connection that ends, or a head without an end, is no answer.
local function read_head(self, conn)
  local ok, head = pcall(await, conn:read_until("\r\n\r\n", MAX_HEAD))
  if ok and head then return head end
  local code = not ok and type(head) == "table" and head.code
  if ok or code == "EOF" then fail(self, "the server has closed the connection") end
  if code == "ETOOLARGE" then fail(self, "the head of the answer is longer than 16 KiB") end
  error(head, 0)
end

--- Names in lower case -> values; repeated ones are a list with commas.
local function parse_fields(self, text)
  local fields = {}
  for line in text:gmatch("\r\n([^\r\n]*)") do
    local name, value = line:match("^([^%s:]+):[ \t]*(.-)[ \t]*$")
    if not name then fail(self, "the answer of the server is no HTTP") end
    name = name:lower()
    fields[name] = fields[name] and fields[name] .. ", " .. value or value
  end
  return fields
end

local function parse_head(self, head)
  local status, text = head:match("^HTTP/1%.%d (%d%d%d)[^\r\n]*(.*)$")
  if not status then fail(self, "the answer of the server is no HTTP") end
  return math.tointeger(tonumber(status)), parse_fields(self, text)
end

--- The subprotocol, if all is as it has to be (RFC 6455, 4.1).
local function check_answer(self, head, key)
  local status, fields = parse_head(self, head)
  local function refuse(message) fail(self, message, { status = status, headers = fields }) end
  if status ~= 101 then refuse("the server has answered with status " .. status) end
  if (fields["upgrade"] or ""):lower() ~= "websocket"
    or not handshake.has_word(fields["connection"], "upgrade") then
    refuse("the server has not changed to WebSocket")
  end
  if fields["sec-websocket-accept"] ~= core.websocket_accept(key) then
    refuse("Sec-WebSocket-Accept does not fit the key")
  end
  if fields["sec-websocket-extensions"] then
    refuse("the server uses an extension that was not asked for")
  end
  local protocol = fields["sec-websocket-protocol"]
  if protocol and not handshake.contains(self.protocols, protocol) then
    refuse("the server has chosen a subprotocol that was not asked for: " .. protocol)
  end
  return protocol
end

-- Connecting.

local Guard = {
  __close = function(self)
    if self.conn then self.conn:close() end
  end,
}

local function open(self)
  local conn = await(net.connect{ host = self.host, port = self.port, tls = self.tls })
  local guard <close> = setmetatable({ conn = conn }, Guard)
  local key = core.websocket_key()
  await(conn:write(build_request(self, key)))
  local protocol = check_answer(self, read_head(self, conn), key)
  local ws = core.websocket(conn, self.options, protocol)
  guard.conn = nil
  return ws
end

local function open_in_time(self)
  local is_done, ws = core.try_for(self.timeout, open, self)
  if is_done then return ws end
  error(core.error("ETIMEDOUT", ("no WebSocket within %g seconds"):format(self.timeout),
    { url = self.url }), 0)
end

local WHERE = { name = "connect", index = 2 }

local function read_options(self, opts)
  self.headers = handshake.read_headers(opts, OWN, WHERE)
  self.has_host = ("\n" .. self.headers):lower():find("\nhost:", 1, true) ~= nil
  self.protocols = handshake.read_protocols(opts, WHERE)
  self.options = handshake.read_options(opts, false, WHERE)
  self.timeout = opts.timeout == nil and DEFAULT_TIMEOUT or opts.timeout
  check.seconds(self.timeout, "option 'timeout'", "connect", 2)
  if opts.tls ~= nil and not self.is_secure then
    handshake.refuse(WHERE, "tls", "none for ws://; wss://")
  end
  self.tls = self.is_secure and (opts.tls == nil or opts.tls) or nil
end

function M.connect(url, opts)
  local self = parse_url(url)
  if opts ~= nil then check.table(opts, "connect", 2) end
  read_options(self, opts or {})
  return core.start(open_in_time, self)
end

return M
