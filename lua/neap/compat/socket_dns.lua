--- socket.dns: names and addresses, without blocking.
local core = require "neap.core"
local waiting = require "neap.compat.socket_wait"

local M = {}

local FAMILIES = { ipv4 = "inet", ipv6 = "inet6" }

--- As gethostbyname says it.
local function host_error(why)
  return why == "host or service not provided, or not known" and "host not found" or why
end

local function resolve(host, opts, name)
  waiting.check_task(name)
  return waiting.result_of(core.dns.resolve(waiting.check_string(host, name, 1), opts))
end

local function is_literal(address)
  return address:find("^%d+%.%d+%.%d+%.%d+$") or address:find(":", 1, true)
end

local function addresses_in(found)
  local list = {}
  for i, entry in ipairs(found) do list[i] = entry.address end
  return list
end

--- The IPv4 address, and what there is to tell: name, alias and ip. Other names are not told.
function M.toip(host)
  local found, why = resolve(host, { family = "ipv4" }, "toip")
  if not found then return nil, host_error(why) end
  local list = addresses_in(found)
  return list[1], { name = host, alias = {}, ip = list }
end

function M.tohostname(address)
  local found, why = resolve(address, nil, "tohostname")
  if not found then return nil, host_error(why) end
  local name = address
  if is_literal(address) then
    name, why = waiting.result_of(core.dns.reverse(address))
    if not name then return nil, host_error(why) end
  end
  return name, { name = name, alias = {}, ip = addresses_in(found) }
end

function M.getaddrinfo(host)
  local found, why = resolve(host, nil, "getaddrinfo")
  if not found then return nil, why end
  local list = {}
  for i, entry in ipairs(found) do
    list[i] = { family = FAMILIES[entry.family], addr = entry.address }
  end
  return list
end

--- Of the addresses of a host; the names of services are not known here.
function M.getnameinfo(host)
  local found, why = resolve(host, nil, "getnameinfo")
  if not found then return nil, why end
  local names = {}
  for i, entry in ipairs(found) do
    names[i] = waiting.result_of(core.dns.reverse(entry.address)) or entry.address
  end
  return names
end

function M.gethostname()
  local file = io.open("/proc/sys/kernel/hostname")
  local name = file and file:read("l") or os.getenv("HOSTNAME")
  if file then file:close() end
  if name then return name end
  return nil, "the name of this machine is not known"
end

return M
