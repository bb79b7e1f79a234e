--- neap.from_callback and neap.wrap: callback APIs as Tasks.
local check = require "neap.check"
local core = require "neap.core"

local M = {}

local function settle(completion, err, ...)
  if err ~= nil then return completion:reject(err) end
  completion:resolve(...)
end

local function new_callback(state, raw)
  return function(...)
    if state.is_over then return end
    if state.is_called then
      if not state.is_warned then
        state.is_warned = true
        core.warn("a callback was called twice: the second call is ignored")
      end
      return
    end
    state.is_called = true
    if raw then return state.completion:resolve(...) end
    settle(state.completion, ...)
  end
end

local Waiting = {}

--- The wait is over. Cancelled before the callback came: the canceller is told why.
function Waiting:__close(err)
  if self.is_called then return end
  self.is_over = true
  local canceller = self.canceller
  if canceller and core.is_cancel(err) then canceller(err.reason) end
end

local function append(callback, ...)
  local n = select("#", ...)
  local arguments = { ... }
  arguments[n + 1] = callback
  return table.unpack(arguments, 1, n + 1)
end

local function run(fn, raw, ...)
  local state <close> = setmetatable({ completion = core.completion() }, Waiting)
  local returned = fn(append(new_callback(state, raw), ...))
  if type(returned) == "function" then state.canceller = returned end
  return core.await(state.completion.task)
end

local function call(fn, raw, ...)
  if core.is_cancelling() then return core.cancelled_here() end
  return core.start(run, fn, raw, ...)
end

--- Calls `fn(..., cb)`; the Task ends when `cb(err, ...)` is called: failed with `err` if that is
--- not nil, else done with the rest. `fn` may return a function that is called when the Task is
--- cancelled.
---@param fn fun(...): (fun(reason: any)?)
---@param ... any for fn
---@return neap.Task
---@nodiscard
function M.from_callback(fn, ...)
  check.callable(fn, "from_callback", 1)
  return call(fn, false, ...)
end

--- An async function that does the same each time it is called. With `raw` all arguments of the
--- callback are results.
---@param fn fun(...): (fun(reason: any)?)
---@param opts? { raw: boolean }
---@return fun(...): neap.Task
---@nodiscard
function M.wrap(fn, opts)
  check.callable(fn, "wrap", 1)
  if opts ~= nil then check.table(opts, "wrap", 2) end
  local raw = opts ~= nil and opts.raw and true or false
  return function(...) return call(fn, raw, ...) end
end

return M
