--- The part of neap.compat.socket that needs no network: try and protect, sources and sinks.
local core = require "neap.core"

local M = { BLOCKSIZE = 2048, sourcet = {}, sinkt = {} }

-- Exceptions: what `try` raises is wrapped, so that `protect` tells it from other errors.

local Exception = { __name = "neap.compat.Exception" }

local function check_result(finalizer, ok, ...)
  if ok then return ok, ... end
  if finalizer then finalizer() end
  error(setmetatable({ (...) }, Exception), 0)
end

function M.newtry(finalizer)
  return function(...) return check_result(finalizer, ...) end
end

M.try = M.newtry()

local function unwrap(ok, ...)
  if ok then return ... end
  local err = ...
  if getmetatable(err) == Exception then return nil, err[1] end
  error(err, 0) -- Cancelled for one
end

function M.protect(fn)
  return function(...) return unwrap(pcall(fn, ...)) end
end

--- The values behind the first n.
function M.skip(n, ...)
  return select(n + 1, ...)
end

-- Sources and sinks: callable, as ltn12 wants them.

local function callable(socket, call)
  return setmetatable({
    getfd = function() return socket:getfd() end,
    dirty = function() return socket:dirty() end,
  }, { __call = function(_, ...) return call(...) end })
end

M.sinkt["close-when-done"] = function(socket)
  return callable(socket, function(chunk)
    if chunk then return socket:send(chunk) end
    return socket:close()
  end)
end

M.sinkt["keep-open"] = function(socket)
  return callable(socket, function(chunk)
    if chunk then return socket:send(chunk) end
    return 1
  end)
end

M.sourcet["by-length"] = function(socket, length)
  return callable(socket, function()
    if length <= 0 then return nil end
    local chunk, why = socket:receive(math.min(M.BLOCKSIZE, length))
    if not chunk then return nil, why end
    length = length - #chunk
    return chunk
  end)
end

M.sourcet["until-closed"] = function(socket)
  local is_over = false
  return callable(socket, function()
    if is_over then return nil end
    local chunk, why, partial = socket:receive(M.BLOCKSIZE)
    if chunk then return chunk end
    if why ~= "closed" then return nil, why end
    socket:close()
    is_over = true
    return partial
  end)
end

M.sinkt.default = M.sinkt["keep-open"]
M.sourcet.default = M.sourcet["until-closed"]

--- A function that makes one by its name, the default without one.
function M.choose(makers)
  return function(name, ...)
    if type(name) ~= "string" then return makers.default(name, ...) end
    local make = makers[name]
    if not make then core.argument_error("choose", 1, ("unknown key (%s)"):format(name)) end
    return make(...)
  end
end

M.sink = M.choose(M.sinkt)
M.source = M.choose(M.sourcet)

return M
