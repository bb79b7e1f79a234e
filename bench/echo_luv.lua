--- The same as bench/echo.lua with luv: argument "callbacks", or "coroutines", as people wrap it so
--- that reads and writes suspend.
local uv = require "luv"

-- luv leaves SIGPIPE as it is: a connection that is reset would end the process.
local sigpipe = uv.new_signal()
sigpipe:start("sigpipe")
sigpipe:unref()

local function serve_callbacks(conn)
  conn:read_start(function(_, data)
    if data then
      conn:write(data)
    else
      conn:close()
    end
  end)
end

local function step(co, ...)
  local ok, err = coroutine.resume(co, ...)
  if not ok then io.stderr:write(err, "\n") end
end

local Conn = {}
Conn.__index = Conn

local function wrap(handle)
  local self = setmetatable({ handle = handle, queue = {} }, Conn)
  handle:read_start(function(_, data)
    local waiting = self.waiting
    if waiting then
      self.waiting = nil
      step(waiting, data)
    else
      table.insert(self.queue, data or false)
    end
  end)
  return self
end

function Conn:read()
  if #self.queue > 0 then return table.remove(self.queue, 1) end
  self.waiting = coroutine.running()
  return coroutine.yield()
end

function Conn:write(data)
  local co = coroutine.running()
  self.handle:write(data, function(err) step(co, err) end)
  return coroutine.yield()
end

local function serve_coroutine(handle)
  local conn = wrap(handle)
  for data in conn.read, conn do
    if not data or conn:write(data) then break end
  end
  handle:close()
end

local serve = arg[1] == "callbacks" and serve_callbacks
  or function(handle) step(coroutine.create(serve_coroutine), handle) end

local server = uv.new_tcp()
server:bind("127.0.0.1", 0)
server:listen(1024, function()
  local handle = uv.new_tcp()
  server:accept(handle)
  handle:nodelay(true)
  serve(handle)
end)
print("port " .. server:getsockname().port)
io.stdout:flush()
uv.run()
