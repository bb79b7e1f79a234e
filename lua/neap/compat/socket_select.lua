--- socket.select, on the sockets of neap.compat.
local core = require "neap.core"
local servers = require "neap.compat.socket_server"
local tcp = require "neap.compat.socket_tcp"
local udp = require "neap.compat.socket_udp"
local waiting = require "neap.compat.socket_wait"

local M = {}

local function nothing() end

-- Watching: what can be done now (nil), or the Task of what has to come first, and how to give it
-- up.

--- Under way; the state of the socket keeps it.
local function watch_connect(socket)
  if socket.connecting:is_done() then return nil end
  return socket.connecting, nothing
end

local function watch_read(socket)
  if udp.is_socket(socket) then
    return udp.watch(socket), function() udp.unwatch(socket) end
  elseif socket.connecting then
    return watch_connect(socket)
  elseif socket.server then
    return servers.watch(socket), function() servers.unwatch(socket) end
  elseif not socket.conn or socket.is_deaf then
    return nil
  end
  return socket.inbox:watch(), function() socket.inbox:unwatch() end
end

--- Until what was sent before is with the system.
local function watch_write(socket)
  if udp.is_socket(socket) then return nil end
  if socket.connecting then return watch_connect(socket) end
  if not socket.conn then return nil end
  local writing = socket.conn:write("")
  return writing, function() writing:cancel("nobody waits any more") end
end

--- Where a connect that is under way has ended, the socket is not a client yet for neap.
local function is_watched(socket)
  if udp.is_socket(socket) then return socket.udp ~= nil and not socket.closed end
  return not socket.closed
end

local function check_list(list, index)
  if list == nil then return {} end
  if type(list) ~= "table" then core.argument_error("select", index, "table expected") end
  for _, socket in ipairs(list) do
    if not (tcp.is_socket(socket) or udp.is_socket(socket)) then
      core.argument_error("select", index, "sockets of neap.compat expected, got "
        .. core.type_name(socket))
    end
  end
  return list
end

--- Adds an entry for each socket that is open: { socket =, list =, task =, give_up = }.
local function watch_all(entries, sockets, list, watch)
  for _, socket in ipairs(sockets) do
    if is_watched(socket) then
      local task, give_up = watch(socket)
      entries[#entries + 1] = { socket = socket, list = list, task = task, give_up = give_up }
    end
  end
end

local function is_ready(entry)
  return not entry.task or entry.task:is_done()
end

local function wait_for_any(entries, seconds)
  local tasks = {}
  for _, entry in ipairs(entries) do
    if is_ready(entry) then seconds = 0 end
    tasks[#tasks + 1] = entry.task
  end
  if #tasks > 0 then
    waiting.wait(core.any(tasks), seconds)
  elseif #entries == 0 then
    core.await(core.sleep(seconds))
  end
end

--- Puts each socket into its list, in order and as a key, and gives up what has not ended.
local function collect(entries)
  local is_any = false
  for _, entry in ipairs(entries) do
    local list = entry.list
    if is_ready(entry) and not list[entry.socket] then
      is_any = true
      list[#list + 1] = entry.socket
      list[entry.socket] = #list
    end
    if entry.task then entry.give_up() end
  end
  return is_any
end

local function read_seconds(timeout)
  if timeout == nil then return math.huge end
  local seconds = tonumber(timeout)
  if not seconds then core.argument_error("select", 3, "number expected") end
  return seconds < 0 and math.huge or seconds
end

--- `timeout`: negative or nil is none.
function M.select(receivers, senders, timeout)
  waiting.check_task("select")
  local seconds = read_seconds(timeout)
  receivers, senders = check_list(receivers, 1), check_list(senders, 2)
  local readable, writable, entries = {}, {}, {}
  local ok, err = pcall(function()
    watch_all(entries, receivers, readable, watch_read)
    watch_all(entries, senders, writable, watch_write)
    wait_for_any(entries, seconds)
  end)
  local is_any = collect(entries)
  if not ok then error(err, 0) end
  if is_any then return readable, writable end
  return readable, writable, "timeout"
end

return M
