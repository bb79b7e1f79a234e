--- neap.compat.socket: LuaSocket's interface on neap. A call that would block suspends its task
--- instead, so drivers that were written for LuaSocket await.
---
--- ```lua
--- require("neap.compat.socket").install()
--- local redis = require "redis"
--- ```
local core = require "neap.core"
local dns = require "neap.compat.socket_dns"
local ltn12 = require "neap.compat.socket_ltn12"
local select = require "neap.compat.socket_select"
local tcp = require "neap.compat.socket_tcp"
local udp = require "neap.compat.socket_udp"
local waiting = require "neap.compat.socket_wait"

local M = {
  _VERSION = "LuaSocket 3.0.0", -- whose interface it is; 3.1 says so, too
  _SETSIZE = math.huge,
  _DATAGRAMSIZE = udp.DATAGRAM_SIZE,
  BLOCKSIZE = ltn12.BLOCKSIZE,

  dns = dns,
  select = select.select,

  newtry = ltn12.newtry,
  try = ltn12.try,
  protect = ltn12.protect,
  skip = ltn12.skip,
  choose = ltn12.choose,
  sink = ltn12.sink,
  source = ltn12.source,
  sinkt = ltn12.sinkt,
  sourcet = ltn12.sourcet,
}

-- Sockets.

function M.tcp() return tcp.tcp() end

function M.tcp4() return tcp.tcp("ipv4") end

function M.tcp6() return tcp.tcp("ipv6") end

function M.udp() return udp.udp() end

function M.udp4() return udp.udp("ipv4") end

function M.udp6() return udp.udp("ipv6") end

local FAMILIES = { inet = "ipv4", inet6 = "ipv6" }

--- Closes the socket where it has come to nothing.
local function finish(socket, ok, why)
  if ok then return socket end
  socket:close()
  return nil, why
end

function M.connect(host, port, local_host, local_port, family)
  waiting.check_task("connect")
  if family ~= nil and family ~= "unspec" and not FAMILIES[family] then
    core.argument_error("connect", 5, ("invalid option '%s'"):format(tostring(family)))
  end
  local socket = tcp.tcp(FAMILIES[family])
  if local_host then
    local ok, why = socket:bind(local_host, local_port or 0)
    if not ok then return nil, why end
  end
  return finish(socket, socket:connect(host, port))
end

function M.connect4(host, port, local_host, local_port)
  return M.connect(host, port, local_host, local_port, "inet")
end

function M.connect6(host, port, local_host, local_port)
  return M.connect(host, port, local_host, local_port, "inet6")
end

function M.bind(host, port, backlog)
  waiting.check_task("bind")
  local socket = tcp.tcp()
  local ok, why = socket:bind(host, port)
  if ok then ok, why = socket:listen(backlog) end
  return finish(socket, ok, why)
end

-- Time.

function M.sleep(seconds)
  waiting.check_task("sleep")
  seconds = tonumber(seconds)
  if not seconds then core.argument_error("sleep", 1, "number expected") end
  core.await(core.sleep(math.max(seconds, 0)))
end

local offset

--- The loop's clock, with the zero of os.time, to the second.
function M.gettime()
  offset = offset or os.time() - core.now()
  return core.now() + offset
end

-- Instead of LuaSocket.

--- The module `socket.unix`, which is a function, too.
local unix = setmetatable({ stream = tcp.unix, tcp = tcp.unix }, { __call = tcp.unix })
M.unix = unix

--- From now on `require "socket"` gives this module, in drivers as well.
function M.install()
  package.loaded["socket"] = M
  package.loaded["socket.core"] = M
  package.loaded["socket.unix"] = unix
  return M
end

return M
