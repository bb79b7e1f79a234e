--- neap.compat.ssl: the part of LuaSec that drivers use, for sockets of neap.compat.socket.
local core = require "neap.core"
local inboxes = require "neap.compat.socket_inbox"
local objects = require "neap.compat.socket_object"
local waiting = require "neap.compat.socket_wait"

require "neap.compat.socket_tcp"
require "neap.tls"

local M = { _VERSION = "1.2" } -- of LuaSec

-- Parameters: LuaSec's to neap's.

local VERSIONS = {
  any = {},
  sslv23 = {},
  tlsv1_2 = { min = "1.2", max = "1.2" },
  tlsv1_3 = { min = "1.3", max = "1.3" },
}

--- Whether a parameter that is one word or a list of them has this one.
local function has(value, word)
  if type(value) ~= "table" then return value == word end
  for _, entry in ipairs(value) do
    if entry == word then return true end
  end
  return false
end

--- LuaSec's "no_tlsv1_2" and "no_tlsv1_3" narrow the versions; the other options are neap's way.
local function read_versions(params)
  local versions = VERSIONS[params.protocol or "any"]
  if not versions then return nil, ("invalid protocol (%s)"):format(tostring(params.protocol)) end
  local min, max = versions.min, versions.max
  if has(params.options, "no_tlsv1_2") then min = "1.3" end
  if has(params.options, "no_tlsv1_3") then max = "1.2" end
  if min == "1.3" and max == "1.2" then return nil, "no protocol is left" end
  return { min = min, max = max }
end

local function read_password(password)
  if type(password) == "function" then return password() end
  return password
end

local function read_alpn(alpn)
  if type(alpn) == "string" then return { alpn } end
  return type(alpn) == "table" and alpn or nil
end

local function read_params(params)
  local versions, why = read_versions(params)
  if not versions then return nil, why end
  local is_server = params.mode == "server"
  local opts = {
    server = is_server,
    ca = params.cafile,
    ca_path = params.capath,
    cert = params.certificate,
    key = params.key,
    password = read_password(params.password),
    alpn = read_alpn(params.alpn),
    min_version = versions.min,
    max_version = versions.max,
  }
  local verifies = has(params.verify, "peer")
  if not is_server then
    opts.verify = verifies
  elseif verifies then
    opts.client_auth = has(params.verify, "fail_if_no_peer_cert") or "optional"
  end
  return opts
end

--- A context is its parameters: they are read where it is made, files at the handshake.
local Context = { __name = "neap.compat.Context" }

function M.newcontext(params)
  if type(params) ~= "table" then core.argument_error("newcontext", 1, "table expected") end
  local opts, why = read_params(params)
  if not opts then return nil, why end
  return setmetatable({ opts = opts }, Context)
end

-- What a wrapped socket can do besides.

local Secure = {}

--- The name that is asked for, and verified.
function Secure:sni(name)
  self.opts.server_name = waiting.check_string(name, "sni", 1)
end

function Secure:getsniname()
  return self.opts.server_name
end

--- Begins it, or goes on waiting for one that was begun.
local function handshake(self)
  if self.has_begun then return self.raw:handshake() end
  self.has_begun = true
  return self.raw:start_tls(self.opts)
end

local function end_handshake(self, task)
  local ok, why = waiting.outcome(task)
  if not ok then return false, why end
  self.conn, self.inbox = self.raw, inboxes.new(self.raw)
  self.raw = nil
  return true
end

function Secure:dohandshake()
  waiting.check_task("dohandshake")
  if self.conn then return true end
  if not self.raw then return false, "closed" end
  local begun, task = pcall(handshake, self)
  if not begun then return false, waiting.text_of(task) end
  local seconds = waiting.time_left(self.limits, core.now())
  if waiting.wait(task, seconds) then return end_handshake(self, task) end
  task:cancel("the time is over")
  return false, seconds == 0 and "wantread" or "timeout"
end

function Secure:close()
  if self.raw then self.raw:close() end
  self.raw = nil
  return objects.methods.close(self)
end

local function tls_of(self)
  return self.conn and self.conn:tls() or {}
end

function Secure:info(field)
  local tls = tls_of(self)
  local info = { protocol = tls.version, cipher = tls.cipher }
  if field then return info[field] end
  return info
end

function Secure:getalpn()
  return tls_of(self).alpn
end

--- A handshake with a certificate that is not trusted fails: there is no other answer.
function Secure:getpeerverification()
  return self.conn ~= nil and self.opts.verify ~= false
end

--- A read or a write waits by itself for what TLS needs.
function Secure:want()
  return "nothing"
end

local function copy(opts, server_name)
  local own = {}
  for name, value in pairs(opts) do own[name] = value end
  own.server_name = not opts.server and server_name or nil
  return own
end

local function get_context(config)
  if getmetatable(config) == Context then return config end
  return M.newcontext(config)
end

--- The socket itself is of no use any more. Of a client, its host is the name to verify, unless
--- `sni` says another one.
function M.wrap(socket, config)
  if not objects.is_socket(socket) then
    core.argument_error("wrap", 1, "a socket of neap.compat.socket expected")
  end
  local context, why = get_context(config)
  if not context then return nil, why end
  if not socket.conn or socket.closed then return nil, "closed" end
  if socket.inbox.size > 0 then return nil, "what came before the handshake was not read" end
  local self = objects.secure(socket.family)
  for name, method in pairs(Secure) do self[name] = method end
  self.raw, self.opts = socket.conn, copy(context.opts, socket.host)
  socket.conn, socket.inbox, socket.closed = nil, nil, true
  return self
end

--- From now on `require "ssl"` gives this module, in drivers as well.
function M.install()
  package.loaded["ssl"] = M
  return M
end

return M
