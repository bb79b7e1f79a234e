--- setoption and getoption of neap.compat.socket: what neap can do of LuaSocket's options. What it
--- cannot fails as a system without that option would.
local core = require "neap.core"
local waiting = require "neap.compat.socket_wait"

local M = {}

local function refuse(method, index, message)
  core.argument_error(method, index, message)
end

local function check_boolean(value)
  if type(value) ~= "boolean" then
    refuse("setoption", 2, "boolean expected, got " .. core.type_name(value))
  end
  return value
end

local function check_number(value)
  local n = tonumber(value)
  if not n then refuse("setoption", 2, "number expected, got " .. core.type_name(value)) end
  return n
end

-- Each option: `check`(value) gives what is kept, nil where neap cannot do it; `apply`(object,
-- value, options) tells an open connection or socket; `default`.

--- A reset, or what the system does anyway: nobody waits in close.
local function check_linger(value)
  if type(value) ~= "table" then refuse("setoption", 2, "table expected") end
  if type(value.on) ~= "boolean" then refuse("setoption", 2, "boolean 'on' field expected") end
  if type(value.timeout) ~= "number" then
    refuse("setoption", 2, "number 'timeout' field expected")
  end
  if value.on and value.timeout > 0 then return nil end
  return { on = value.on, timeout = value.timeout }
end

local function keep_alive(conn, _, options)
  local idle = options["tcp-keepidle"]
  conn:set_keepalive(options.keepalive or false, idle)
end

local function impossible() return nil end

local UNSUPPORTED = { check = impossible }
local REMEMBERED = { check = check_boolean, default = false }

local STREAM = {
  keepalive = { check = check_boolean, apply = keep_alive, default = false },
  ["tcp-keepidle"] = { check = check_number, apply = keep_alive, default = 60 },
  ["tcp-nodelay"] = {
    check = check_boolean,
    apply = function(conn, on) conn:set_nodelay(on) end,
    default = true,
  },
  reuseaddr = { check = check_boolean, default = true }, -- every listener of neap has it
  reuseport = REMEMBERED,
  ["ipv6-v6only"] = { check = check_boolean, default = true },
  linger = { check = check_linger, default = { on = false, timeout = 0 } },
}
for _, name in ipairs{ "bindtodevice", "tcp-keepcnt", "tcp-keepintvl", "recv-buffer-size",
  "send-buffer-size", "tcp-defer-accept", "tcp-fastopen", "tcp-fastopen-connect" } do
  STREAM[name] = UNSUPPORTED
end

--- A group and an address of this machine; "*" is the system's choice.
local function check_group(value)
  if type(value) ~= "table" then refuse("setoption", 2, "table expected") end
  if type(value.multiaddr) ~= "string" then
    refuse("setoption", 2, "string 'multiaddr' field expected")
  end
  local interface = value.interface
  if interface ~= nil and type(interface) ~= "string" then return nil end
  return { multiaddr = value.multiaddr, interface = interface ~= "*" and interface or nil }
end

local function check_interface(value)
  if type(value) ~= "string" then refuse("setoption", 2, "ip expected") end
  return value
end

local JOIN = {
  check = check_group,
  apply = function(udp, group) udp:join(group.multiaddr, group.interface) end,
}
local LEAVE = {
  check = check_group,
  apply = function(udp, group) udp:leave(group.multiaddr, group.interface) end,
}
local TTL = { check = check_number, apply = function(udp, hops) udp:set_ttl(hops) end }
local MULTICAST_TTL = {
  check = check_number,
  apply = function(udp, hops) udp:set_multicast_ttl(hops) end,
}
local LOOP = {
  check = check_boolean,
  apply = function(udp, on) udp:set_multicast_loop(on) end,
  default = true,
}

local DATAGRAM = {
  broadcast = {
    check = check_boolean,
    apply = function(udp, on) udp:set_broadcast(on) end,
    default = false,
  },
  reuseaddr = REMEMBERED,
  reuseport = REMEMBERED,
  ["ipv6-v6only"] = { check = check_boolean, default = true },
  ["ip-add-membership"] = JOIN,
  ["ip-drop-membership"] = LEAVE,
  ["ipv6-add-membership"] = JOIN,
  ["ipv6-drop-membership"] = LEAVE,
  ["ip-multicast-ttl"] = MULTICAST_TTL,
  ["ipv6-multicast-hops"] = MULTICAST_TTL,
  ["ipv6-unicast-hops"] = TTL,
  ["ip-multicast-loop"] = LOOP,
  ["ipv6-multicast-loop"] = LOOP,
  ["ip-multicast-if"] = {
    check = check_interface,
    apply = function(udp, address)
      udp:set_multicast_interface(address ~= "*" and address or nil)
    end,
    default = "0.0.0.0",
  },
}
for _, name in ipairs{ "dontroute", "recv-buffer-size", "send-buffer-size" } do
  DATAGRAM[name] = UNSUPPORTED
end

M.stream, M.datagram = STREAM, DATAGRAM

local function find(known, name, method)
  if type(name) ~= "string" then refuse(method, 1, "string expected") end
  local option = known[name]
  if not option then refuse(method, 1, ("unsupported option `%s'"):format(name:sub(1, 35))) end
  return option
end

--- `values` are those that were set; `object` is what is open, or nil: then `apply` tells it later.
function M.set(known, values, object, name, value)
  local option = find(known, name, "setoption")
  local checked = option.check(value)
  if checked == nil then return nil, "setsockopt failed" end
  values[name] = checked
  if not (object and option.apply) then return 1 end
  if pcall(option.apply, object, checked, values) then return 1 end
  return nil, "setsockopt failed"
end

--- All that were set while nothing was open.
function M.apply(known, values, object)
  for name, value in pairs(values) do
    if known[name].apply then waiting.call(known[name].apply, object, value, values) end
  end
end

function M.get(known, values, name)
  local option = find(known, name, "getoption")
  if option == UNSUPPORTED then return nil, "getsockopt failed" end
  local value = values[name]
  if value == nil then return option.default end
  return value
end

return M
