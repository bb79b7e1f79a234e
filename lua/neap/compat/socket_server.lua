--- Servers: binding, listening, accepting.
local core = require "neap.core"
local net = require "neap.net"
local objects = require "neap.compat.socket_object"
local waiting = require "neap.compat.socket_wait"

local M = {}

local Socket = objects.methods
local check_task, wait = waiting.check_task, waiting.wait
local class_of, is_path = objects.class_of, objects.is_path

--- The addresses to try, in order; "*" is every address of the socket's family.
local function addresses_of(self, host)
  if host == "*" then return { { address = self.family == "ipv6" and "::" or "0.0.0.0" } } end
  return waiting.result_of(core.dns.resolve(host, { family = self.family }))
end

local function listen_options(self)
  local only = self.options["ipv6-v6only"]
  return { reuse_port = self.options.reuseport, ipv6_only = only == nil or only }
end

local function listen_at(self, host, port)
  local places, why = addresses_of(self, host)
  if not places then return nil, why end
  for _, place in ipairs(places) do
    local server, reason = waiting.result_of(
      net.listen(place.address, port, listen_options(self)))
    if server then return server end
    why = reason
  end
  return nil, why
end

local function open_server(self, host, port)
  if is_path(self) then return waiting.result_of(net.listen{ path = host }) end
  local number, reason = waiting.read_port(port, "bind", 2)
  if not number then return nil, reason end
  return listen_at(self, host, number)
end

--- It listens from now on, so that the address is taken; `listen` makes it a server, `connect`
--- a client with that address.
function Socket:bind(host, port)
  check_task("bind")
  waiting.check_class(self, class_of(self, "{master}"), "bind")
  if self.server and not self.closed then return nil, "Invalid argument" end
  local why
  self.server, why = open_server(self, waiting.check_string(host, "bind", 1), port)
  if not self.server then return nil, why end
  self.closed = nil
  if is_path(self) then return 1 end
  local address, number = self.server:address()
  self.family = objects.family_of(address)
  self.bound = { host = address, port = number }
  return 1
end

function Socket:listen()
  waiting.check_class(self, class_of(self, "{master}"), "listen")
  if not self.server then
    if is_path(self) then return nil, "Invalid argument" end
    local ok, why = self:bind("*", 0)
    if not ok then return nil, why end
  end
  self.class = class_of(self, "{server}")
  return 1
end

--- For select: what it has seen comes first in the next accept.
function M.watch(self)
  self.accepting = self.accepting or self.server:accept()
  return self.accepting
end

function M.unwatch(self)
  if not self.accepting then return end
  self.accepting:cancel("nobody waits any more")
  if self.accepting:status() == "cancelled" then self.accepting = nil end
end

--- The Task is this call's own, so that several may wait at once.
function Socket:accept()
  check_task("accept")
  waiting.check_class(self, class_of(self, "{server}"), "accept")
  local accepting = self.accepting or self.server:accept()
  self.accepting = nil
  if not wait(accepting, waiting.time_left(self.limits, core.now())) then
    accepting:cancel("the time is over")
    if accepting:status() == "cancelled" then return nil, "timeout" end
  end
  local ok, result = waiting.outcome(accepting)
  if not ok then return nil, result end
  return objects.adopt(self.kind, result, self.family)
end

Socket.setsockname = Socket.bind

return M
