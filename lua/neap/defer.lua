--- neap.defer: cleanup that may await, also when the task is being cancelled.
local check = require "neap.check"
local core = require "neap.core"

local DEFAULT_GRACE = 5

local M = {}

---@class neap.Deferred
local Deferred = {}
Deferred.__name = "neap.Deferred"
Deferred.__metatable = false

--- Runs the function once, shielded, for the grace period at most.
function Deferred:__close(err)
  local fn = self.fn
  if not fn then return end
  self.fn = nil
  local opts = { shield = true, timeout = self.grace, name = "defer" }
  local in_time, reason = core.scope(opts, function() fn(err) end)
  if not in_time and reason == "timeout" then
    core.warn(("the cleanup deferred at %s did not end within its grace of %g s"):format(
      self.where, self.grace))
  end
end

function Deferred:__tostring()
  return ("neap.Deferred (%s)%s"):format(self.where, self.fn and "" or ": closed")
end

--- Defers cleanup to the end of the block: `local _ <close> = neap.defer(fn)`.
--- The function gets the error that leaves the block, or nil. It may await although the task is
--- cancelled, for `opts.grace` seconds (default 5); then on_warning is told, and unwinding goes on.
---@param fn fun(err: any)
---@param opts? { grace: number }
---@return neap.Deferred
---@nodiscard
function M.defer(fn, opts)
  check.callable(fn, "defer", 1)
  local grace = DEFAULT_GRACE
  if opts ~= nil then
    check.table(opts, "defer", 2)
    if opts.grace ~= nil then
      check.seconds(opts.grace, "option 'grace'", "defer", 2)
      grace = opts.grace
    end
  end
  return setmetatable({ fn = fn, grace = grace, where = core.position(2) }, Deferred)
end

return M
