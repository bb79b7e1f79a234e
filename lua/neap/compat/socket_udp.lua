--- The datagrams of neap.compat.socket. A socket of neap is bound when it is made: here, when its
--- address or that of its peer is known.
local core = require "neap.core"
local net = require "neap.net"
local options = require "neap.compat.socket_options"
local waiting = require "neap.compat.socket_wait"

local M = {}

local check_class, check_task, wait = waiting.check_class, waiting.check_task, waiting.wait

M.DATAGRAM_SIZE = 8192

local UNCONNECTED, CONNECTED = "udp{unconnected}", "udp{connected}"

local Udp = {}

local metatable = {
  __name = "neap.compat.Udp",
  __index = Udp,
  __tostring = function(self) return ("%s: %p"):format(self.class, self.limits) end,
}

--- `family`: "ipv4", "ipv6" or nil.
function M.udp(family)
  return setmetatable({
    class = UNCONNECTED,
    family = family,
    limits = waiting.new_limits(),
    options = {},
  }, metatable)
end

function M.is_socket(x)
  return getmetatable(x) == metatable
end

local function time_left(self)
  return waiting.time_left(self.limits, core.now())
end

-- Opening.

--- Binds it; true, or nil and the text.
local function open(self, host, port)
  local set = self.options
  local only = set["ipv6-v6only"]
  local udp, why = waiting.result_of(net.udp{
    host = host,
    port = port,
    reuse_address = set.reuseaddr,
    reuse_port = set.reuseport,
    ipv6_only = only == nil and host:find(":", 1, true) ~= nil or only or nil,
  })
  if not udp then return nil, why end
  self.udp = udp
  self.family = host:find(":", 1, true) and "ipv6" or "ipv4"
  options.apply(options.datagram, set, udp)
  return true
end

local function any_address(family)
  return family == "ipv6" and "::" or "0.0.0.0"
end

--- Open it is, wherever.
local function be_open(self, family)
  if self.closed then return nil, "closed" end
  if self.udp then return true end
  return open(self, any_address(self.family or family), 0)
end

--- The first address of a host, in the socket's family.
local function resolve(self, host)
  local found, why = waiting.result_of(
    core.dns.resolve(host, { family = self.family, all = false }))
  if not found then return nil, why end
  return found[1]
end

--- The address of a peer, and the socket open for its family.
local function reach(self, host, port, name, index)
  local number, why = waiting.read_port(port, name, index)
  if not number then return nil, why end
  local place, reason = resolve(self, host)
  if not place then return nil, reason end
  local ok, problem = be_open(self, place.family)
  if not ok then return nil, problem end
  return place.address, number
end

function Udp:setsockname(host, port)
  check_task("setsockname")
  check_class(self, UNCONNECTED, "setsockname")
  host = waiting.check_string(host, "setsockname", 1)
  if self.udp then return nil, "Invalid argument" end
  local number, why = waiting.read_port(port, "setsockname", 2)
  if not number then return nil, why end
  if host == "*" then host = any_address(self.family) end
  local place, reason = resolve(self, host)
  if not place then return nil, reason end
  local ok, problem = open(self, place.address, number)
  if not ok then return nil, problem end
  return 1
end

local function disconnect(self)
  if self.class == CONNECTED then waiting.call(self.udp.disconnect, self.udp) end
  self.class = UNCONNECTED
  return 1
end

function Udp:setpeername(host, port)
  check_task("setpeername")
  host = waiting.check_string(host, "setpeername", 1)
  if host == "*" then return disconnect(self) end
  local address, number = reach(self, host, port, "setpeername", 2)
  if not address then return nil, number end
  local connecting = self.udp:connect(address, number)
  wait(connecting, math.huge)
  local ok, why = waiting.outcome(connecting)
  if not ok then return nil, why end
  self.class = CONNECTED
  return 1
end

-- Sending and receiving.

local function send(self, sending)
  if not wait(sending, time_left(self)) then
    sending:cancel("the time is over")
    if sending:status() == "cancelled" then return nil, "timeout" end
  end
  local ok, result = waiting.outcome(sending)
  if not ok then return nil, result end
  return result
end

function Udp:send(data)
  check_task("send")
  check_class(self, CONNECTED, "send")
  return send(self, self.udp:send(waiting.check_string(data, "send", 1)))
end

--- A name is looked up, which LuaSocket does not do.
function Udp:sendto(data, host, port)
  check_task("sendto")
  check_class(self, UNCONNECTED, "sendto")
  data = waiting.check_string(data, "sendto", 1)
  host = waiting.check_string(host, "sendto", 2)
  local address, number = reach(self, host, port, "sendto", 3)
  if not address then return nil, number end
  return send(self, self.udp:send(data, address, number))
end

--- For select.
function M.watch(self)
  self.receiving = self.receiving or self.udp:recv()
  return self.receiving
end

--- What has come is kept for the next receive.
function M.unwatch(self)
  if not self.receiving then return end
  self.receiving:cancel("nobody waits any more")
  if self.receiving:status() == "cancelled" then
    self.receiving = nil
  else
    self.receiving:error()
  end
end

local function wait_for_datagram(self)
  if self.is_waiting then
    core.misuse("two receives at once on one socket: let the first one end before the next")
  end
  local receiving = M.watch(self)
  self.is_waiting = true
  local ok, has_come = pcall(wait, receiving, time_left(self))
  self.is_waiting = false
  if ok and has_come then return true end
  M.unwatch(self)
  if not ok then error(has_come, 0) end
  return self.receiving ~= nil
end

--- Its data, host and port; or nil and the text.
local function receive(self, size, name)
  check_task(name)
  size = size == nil and M.DATAGRAM_SIZE or tonumber(size)
  if not size then core.argument_error(name, 1, "number expected") end
  local ok, why = be_open(self, "ipv4")
  if not ok then return nil, why end
  if not wait_for_datagram(self) then return nil, "timeout" end
  local receiving = self.receiving
  self.receiving = nil
  local results = table.pack(pcall(receiving.result, receiving))
  if not results[1] then return nil, waiting.text_of(results[2]) end
  return results[2]:sub(1, math.floor(size)), results[3], results[4]
end

function Udp:receive(size)
  local data, why = receive(self, size, "receive")
  if not data then return nil, why end
  return data
end

function Udp:receivefrom(size)
  check_class(self, UNCONNECTED, "receivefrom")
  return receive(self, size, "receivefrom")
end

-- The rest.

function Udp:close()
  self.closed = true
  if self.udp then self.udp:close() end
  return 1
end

local function get_address(self, method)
  if not self.udp then return nil, "Bad file descriptor" end
  local host, port = waiting.call(self.udp[method], self.udp)
  if not host then return nil, port end
  return host, port, self.family == "ipv6" and "inet6" or "inet"
end

function Udp:getsockname()
  return get_address(self, "address")
end

function Udp:getpeername()
  check_class(self, CONNECTED, "getpeername")
  return get_address(self, "peer")
end

function Udp:getfamily()
  return self.family == "ipv6" and "inet6" or "inet4"
end

--- Neap's alone.
function Udp:getfd()
  return -1
end

function Udp:dirty()
  return false
end

function Udp:settimeout(value, mode)
  return waiting.set_limit(self.limits, value, mode)
end

function Udp:gettimeout()
  return self.limits.block, self.limits.total
end

function Udp:setoption(name, value)
  return options.set(options.datagram, self.options, self.udp, name, value)
end

function Udp:getoption(name)
  if name == "error" then return nil end
  return options.get(options.datagram, self.options, name)
end

return M
