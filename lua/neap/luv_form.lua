--- How luv's functions fail and are cancelled, for neap.wrap and neap.from_callback.
local core = require "neap.core"

local M = {}

--- The functions of the module luv that was seen last, which are its methods, too.
local functions, seen, shared = {}, nil, nil

local function learn(uv)
  functions, seen = {}, uv
  for _, value in pairs(uv) do
    if type(value) == "function" then functions[value] = true end
  end
end

--- Its loop is neap's from now on.
function M.share(uv)
  learn(uv)
  shared = uv
end

--- Whether `fn` is one of luv's functions, which has to be on neap's loop.
function M.is_function(fn)
  local uv = package.loaded.luv
  if type(uv) ~= "table" then return false end
  if uv ~= seen then learn(uv) end
  if not functions[fn] then return false end
  if uv ~= shared then
    core.misuse("a function of luv, which has a loop of its own: call neap.luv() before")
  end
  return true
end

--- "ENOENT: no such file or directory: x", or the name alone, as a neap.Error; all else as it is.
M.error = core.luv_error

--- The error of a call that has failed at once, as nil, its text and its name; or nil.
function M.failure(result, text, name)
  if result == nil and type(text) == "string" and type(name) == "string" then
    return M.error(text)
  end
end

local requests = { uv_req = true, uv_fs = true }

--- What cancels a request; nil if `result` is none. One that runs already, or is no work of the
--- thread pool, goes on to its end.
function M.canceller(result)
  if type(result) ~= "userdata" then return nil end
  if requests[core.metafield(result, "__name")] then return function() result:cancel() end end
end

return M
