--- neap.localvar: values that follow the tasks, as C#'s AsyncLocal.
local check = require "neap.check"
local core = require "neap.core"

local M = {}

---@class neap.LocalVar
local LocalVar = {}
local methods = {}
LocalVar.__index = methods
LocalVar.__name = "neap.LocalVar"
LocalVar.__metatable = false

--- Stands for a value of nil, which is not the default.
local NIL = {}

--- The table of a task's values is shared with the tasks that it starts, so a change makes a new
--- one.
--- `stored` nil forgets the value.
local function store(var, stored)
  local changed = {}
  for key, value in next, core.locals() or changed do changed[key] = value end
  changed[var] = stored
  core.set_locals(changed)
end

local function stored_in(var)
  local locals = core.locals()
  return locals and locals[var]
end

--- The value here: what this task has set, or had at its start from the one that started it.
---@return any
function methods:get()
  local stored = stored_in(self)
  if stored == nil then return self.default end
  if stored == NIL then return nil end
  return stored
end

--- Changes it for this task, and for those that it starts from now on.
---@param value any
function methods:set(value)
  store(self, value == nil and NIL or value)
end

local Restore = {}

function Restore:__close()
  store(self.var, self.stored)
end

--- Runs `fn(...)` with this value, restores the one before however it ends, and returns its
--- results.
---@async
---@param value any
---@param fn fun(...): ...
---@param ... any for fn
---@return any ...
function methods:with(value, fn, ...)
  check.callable(fn, "with", 2)
  local _ <close> = setmetatable({ var = self, stored = stored_in(self) }, Restore)
  self:set(value)
  return fn(...)
end

function LocalVar:__tostring()
  return "neap.LocalVar: " .. tostring(self:get())
end

--- To another thread it goes with the value that it has here, which is the default there.
core.crossing_class("neap.localvar", LocalVar, function(var)
  return { default = var:get() }
end)

--- A variable whose value belongs to the task that sets it.
---@param default any
---@return neap.LocalVar
---@nodiscard
function M.localvar(default)
  return setmetatable({ default = default }, LocalVar)
end

return M
