--- neap.event: a flag that tasks wait for.
local core = require "neap.core"

local M = {}

---@class neap.Event
local Event = {}
local methods = {}
Event.__index = methods
Event.__name = "neap.Event"
Event.__metatable = false

--- Sets it and wakes all who wait.
function methods:set()
  self.flag = true
  while self.queue:wake() do end
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
  if not self.flag or core.is_cancelling() then return self.queue:wait() end
  return core.completed()
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
