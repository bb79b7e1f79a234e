--- neap.from_callback and neap.wrap: callback APIs as Tasks.
local check = require "neap.check"
local core = require "neap.core"
local luv_form = require "neap.luv_form"

local M = {}

--- How a function calls back: `raw`, without an error; `luv`, as luv's functions do.
---@class neap.callback_form
---@field raw boolean
---@field luv boolean

local function settle(completion, form, err, ...)
  if err == nil then return completion:resolve(...) end
  completion:reject(form.luv and luv_form.error(err) or err)
end

local function new_callback(state, form)
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
    if form.raw then return state.completion:resolve(...) end
    settle(state.completion, form, ...)
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

--- What `fn` has returned.
local function take(state, form, result, ...)
  if type(result) == "function" then
    state.canceller = result
  elseif form.luv then
    local err = luv_form.failure(result, ...)
    if err then error(err, 0) end
    state.canceller = luv_form.canceller(result)
  end
end

local function run(fn, form, ...)
  local state <close> = setmetatable({ completion = core.completion() }, Waiting)
  take(state, form, fn(append(new_callback(state, form), ...)))
  return core.await(state.completion.task)
end

local function call(fn, form, ...)
  if core.is_cancelling() then return core.cancelled_here() end
  return core.start(run, fn, form, ...)
end

local plain, luv = { raw = false, luv = false }, { raw = false, luv = true }

--- Calls `fn(..., cb)`; the Task ends when `cb(err, ...)` is called: failed with `err` if that is
--- not nil, else done with the rest. `fn` may return a function that is called when the Task is
--- cancelled. What functions of luv return counts, too: a request, or nil and an error.
---@param fn fun(...): any the canceller, if it is a function
---@param ... any for fn
---@return neap.Task
---@nodiscard
function M.from_callback(fn, ...)
  check.callable(fn, "from_callback", 1)
  return call(fn, luv_form.is_function(fn) and luv or plain, ...)
end

--- An async function that does the same each time it is called. With `raw` all arguments of the
--- callback are results; with `luv` the function is one like those of luv.
---@param fn fun(...): any
---@param opts? { raw: boolean?, luv: boolean? }
---@return fun(...): neap.Task
---@nodiscard
function M.wrap(fn, opts)
  check.callable(fn, "wrap", 1)
  if opts ~= nil then check.table(opts, "wrap", 2) end
  opts = opts or plain
  local is_luv = luv_form.is_function(fn) or opts.luv and true or false
  local form = { raw = opts.raw and true or false, luv = is_luv }
  return function(...) return call(fn, form, ...) end
end

return M
