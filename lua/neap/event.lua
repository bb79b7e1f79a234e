--- neap.event: a flag that tasks wait for.
local core = require "neap.core"

local M = {}

---@class neap.Event
local Event = {}
local methods = {}
Event.__index = methods
Event.__name = "neap.Event"
Event.__metatable = false

local function wake_all(event)
  while event.queue:wake() do end
end

--- Sets it and wakes all who wait.
function methods:set()
  self.flag = true
  wake_all(self)
end

--- Resets it: who waits from now on waits for the next set.
function methods:clear()
  self.flag = false
end

---@return boolean
function methods:is_set()
  return self.flag
end

--- Done when it is set; at once if it is set now.
---@return neap.Task
---@nodiscard
function methods:wait()
  if self.flag and not core.is_cancelling() then return core.completed() end
  local task = self.queue:wait()
  if self.flag then wake_all(self) end -- a finalizer has set it meanwhile
  return task
end

function Event:__tostring()
  return ("neap.Event (%s, %d waiting)"):format(self.flag and "set" or "not set", #self.queue)
end

--- An event that is not set.
---@return neap.Event
---@nodiscard
function M.event()
  return setmetatable({ flag = false, queue = core.queue("event:wait") }, Event)
end

return M
