-- What the specs of neap.compat.socket share: pairs of its clients with connections of neap, and
-- the programs that may not be installed.
local support = require "spec.support"
local h = require "spec.helper"
local neap = require "neap"
local socket = require "neap.compat.socket"

local await, net = neap.await, neap.net

local M = {}

--- A client of neap.compat.socket, and the connection that it has at the other end.
function M.pair()
  local server <close> = await(net.listen("127.0.0.1", 0))
  local accepting = server:accept()
  local client = assert(socket.connect(server:address()))
  return client, await(accepting)
end

--- A function for `it`: fn(client, peer, t) gets both ends, which are closed afterwards.
function M.with_pair(fn)
  return h.run(function(t)
    local client, peer = M.pair()
    local _ <close> = M.closes(client, peer)
    fn(client, peer, t)
  end)
end

--- fn(host, port) of a listener whose queue is full: connecting to it waits.
function M.with_silence(fn)
  local server <close> = await(net.listen("127.0.0.1", 0, { backlog = 1 }))
  local host, port = server:address()
  local conns = {}
  while true do
    local has_come, conn = neap.try_for(1, function() return await(net.connect(host, port)) end)
    if not has_come then break end
    conns[#conns + 1] = conn
  end
  fn(host, port)
  for _, conn in ipairs(conns) do await(conn:close()) end
end

--- Closes them at the end of the block.
function M.closes(...)
  local objects = { ... }
  return support.closing(function()
    for _, object in ipairs(objects) do object:close() end
  end)
end

--- Whether a Lua module or a command is installed; says so where it is not. `./dev` installs it.
function M.has(name, is_there)
  if is_there then return true end
  io.stderr:write(("left out: no %s\n"):format(name))
  return false
end

function M.has_command(name)
  return M.has(name, os.execute("command -v " .. name .. " >/dev/null 2>&1") == true)
end

function M.has_module(name)
  return M.has("module " .. name, package.searchpath(name, package.path)
    or package.searchpath(name, package.cpath))
end

return M
