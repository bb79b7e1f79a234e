--- What the streams of neap.compat.socket are: a table each, whose class changes from master to
--- client or server. The methods are in socket_client, socket_server and socket_tcp.
local core = require "neap.core"
local inboxes = require "neap.compat.socket_inbox"
local waiting = require "neap.compat.socket_wait"

local M = {}

local Socket = {}
M.methods = Socket

local metatable = {
  __name = "neap.compat.Socket",
  __index = Socket,
  __tostring = function(self) return ("%s: %p"):format(self.class, self.limits) end,
}

local function new(kind, role, family)
  return setmetatable({
    kind = kind,
    class = kind .. role,
    family = family,
    limits = waiting.new_limits(),
    options = {},
    sent = 0,
    birthday = core.now(),
  }, metatable)
end

--- `family`: "ipv4", "ipv6" or nil.
function M.tcp(family)
  return new("tcp", "{master}", family)
end

function M.unix()
  return new("unixstream", "{master}")
end

--- What neap.compat.ssl makes of a client.
function M.secure(family)
  return new("ssl", "{client}", family)
end

--- A client with an open connection of neap.
function M.adopt(kind, conn, family)
  local self = new(kind, "{client}", family)
  self.conn, self.inbox = conn, inboxes.new(conn)
  return self
end

function M.is_socket(x)
  return getmetatable(x) == metatable
end

function M.class_of(self, role)
  return self.kind .. role
end

--- Whether its addresses are paths.
function M.is_path(self)
  return self.kind == "unixstream"
end

function M.family_of(host)
  return host:find(":", 1, true) and "ipv6" or "ipv4"
end

return M
