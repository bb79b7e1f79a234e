--- The streams of neap.compat.socket: TCP and Unix sockets with LuaSocket's methods.
local core = require "neap.core"
local objects = require "neap.compat.socket_object"
local options = require "neap.compat.socket_options"
local waiting = require "neap.compat.socket_wait"

require "neap.compat.socket_client"
require "neap.compat.socket_server"

local Socket = objects.methods
local class_of, is_path = objects.class_of, objects.is_path

local M = {
  tcp = objects.tcp,
  unix = objects.unix,
  is_socket = objects.is_socket,
}

-- Ends.

local function close_conn(self)
  local linger = self.options.linger
  if linger and linger.on and pcall(self.conn.reset, self.conn) then return end
  self.conn:close()
end

function Socket:close()
  self.closed = true
  if self.connecting then self.connecting:cancel("closed") end
  self.connecting = nil
  if self.conn then close_conn(self) end
  if self.server then self.server:close() end
  return 1
end

-- Addresses.

local function push_address(self, host, port)
  if is_path(self) then return host end
  return host, port, self.family == "ipv6" and "inet6" or "inet"
end

local function get_address(self, object, method)
  if not object or self.closed then return nil, "Bad file descriptor" end
  local host, port = waiting.call(object[method], object)
  if not host then return nil, port end
  return push_address(self, host, port)
end

function Socket:getsockname()
  return get_address(self, self.conn or self.server, "address")
end

function Socket:getpeername()
  if self.server and not self.closed then return nil, "Transport endpoint is not connected" end
  return get_address(self, self.conn, "peer")
end

function Socket:getfamily()
  return self.family == "ipv6" and "inet6" or "inet4"
end

--- -1 where there is none to see: a server's is neap's alone.
function Socket:getfd()
  return self.conn and waiting.call(self.conn.fd, self.conn) or -1
end

-- Settings and counts.

function Socket:settimeout(value, mode)
  return waiting.set_limit(self.limits, value, mode)
end

function Socket:gettimeout()
  return self.limits.block, self.limits.total
end

function Socket:setoption(name, value)
  return options.set(options.stream, self.options, self.conn, name, value)
end

function Socket:getoption(name)
  if name ~= "error" then return options.get(options.stream, self.options, name) end
  local err = self.error
  self.error = nil
  return err
end

function Socket:dirty()
  return self.inbox ~= nil and self.inbox.size > 0
end

function Socket:getstats()
  waiting.check_class(self, class_of(self, "{client}"), "getstats")
  return self.inbox and self.inbox.received or 0, self.sent, core.now() - self.birthday
end

function Socket:setstats(received, sent, age)
  waiting.check_class(self, class_of(self, "{client}"), "setstats")
  if received and self.inbox then self.inbox.received = tonumber(received) end
  if sent then self.sent = tonumber(sent) end
  if age then self.birthday = core.now() - tonumber(age) end
  return 1
end

return M
