-- A Redis server as a child, and the driver redis-lua on neap's sockets.
local sockets = require "spec.sockets"
local support = require "spec.support"
local neap = require "neap"
local socket = require "neap.compat.socket"

local await, fs, net, process = neap.await, neap.fs, neap.net, neap.process

local M = {}

-- Debian has redis-lua for Lua up to 5.3; as it is it runs on 5.4, too.
local PATH = package.path .. ";/usr/share/lua/5.3/?.lua"

function M.is_there()
  return sockets.has_command("redis-server")
    and sockets.has("redis-lua", package.searchpath("redis", PATH))
end

--- fn() while `names` are no loaded modules and neap's sockets are LuaSocket; puts all back.
function M.with_modules(names, fn)
  local before = {}
  for _, name in ipairs{ "socket", "socket.core", "socket.unix", table.unpack(names) } do
    before[#before + 1] = { name = name, module = package.loaded[name] }
    package.loaded[name] = nil
  end
  local _ <close> = support.closing(function()
    for _, entry in ipairs(before) do package.loaded[entry.name] = entry.module end
  end)
  socket.install()
  return fn()
end

--- The driver as it is installed. It requires LuaSocket when it connects.
function M.load_driver()
  return dofile((assert(package.searchpath("redis", PATH))))
end

local function free_port()
  local server <close> = await(net.listen("127.0.0.1", 0))
  return select(2, server:address())
end

--- Whether it serves; false where another program has taken the port meanwhile.
local function is_serving(child)
  for line in child.stdout:lines() do
    if line:find("Ready to accept", 1, true) then return true end
  end
  return false
end

--- fn(port, path) while the server listens on both.
local function with_server(folder, fn)
  for _ = 1, 5 do
    local port, path = free_port(), folder .. "/socket"
    local child <close> = await(process.spawn{ "redis-server", "--bind", "127.0.0.1", "--port",
      tostring(port), "--unixsocket", path, "--dir", folder, "--save", "", "--daemonize", "no",
      stdin = "null", stderr = "inherit" })
    if is_serving(child) then
      fn(port, path)
      child:kill("SIGKILL")
      return
    end
  end
  error("redis-server has not begun to serve")
end

--- A function for `it`: fn(redis, port, path) in a run on the real clock, with the driver.
function M.run(fn)
  return function()
    neap.run(function()
      local folder <close> = await(fs.temp_dir())
      neap.timeout(60, function()
        with_server(folder.path, function(port, path)
          M.with_modules({}, function() fn(M.load_driver(), port, path) end)
        end)
      end)
    end)
  end
end

return M
