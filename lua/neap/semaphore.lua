--- neap.semaphore: permits, handed out first come, first served.
local check = require "neap.check"
local core = require "neap.core"

local M = {}

---@class neap.Permit
local Permit = {}
local permit_methods = {}
Permit.__index = permit_methods
Permit.__name = "neap.Permit"
Permit.__metatable = false

---@class neap.Semaphore
local Semaphore = {}
local methods = {}
Semaphore.__index = methods
Semaphore.__name = "neap.Semaphore"
Semaphore.__metatable = false

local function new_permit(semaphore)
  return setmetatable({ semaphore = semaphore }, Permit)
end

--- Nobody waits while count > 0, except where memory has failed. Whatever makes an object may run a
--- finalizer that uses the semaphore too, so the count is looked at afterwards.
local function hand_out(semaphore)
  local queue = semaphore.queue
  while semaphore.count > 0 and #queue > 0 do
    local permit = new_permit(semaphore)
    if semaphore.count > 0 and queue:wake(permit) then semaphore.count = semaphore.count - 1 end
  end
end

--- Gives the permit back; true the first time. Harmless when repeated.
---@return boolean
function permit_methods:release()
  local semaphore = self.semaphore
  if not semaphore then return false end
  if semaphore.count >= semaphore.max then
    core.misuse("more permits released than the semaphore may have: release each one once")
  end
  self.semaphore = nil
  semaphore.count = semaphore.count + 1
  hand_out(semaphore)
  return true
end

Permit.__close = permit_methods.release

function Permit:__tostring()
  return self.semaphore and "neap.Permit" or "neap.Permit: released"
end

--- A permit, as soon as it is this caller's turn.
---@return neap.Task
---@nodiscard
function methods:acquire()
  if self.count > 0 and not core.is_cancelling() then
    local task = core.completed(new_permit(self))
    if self.count > 0 then
      self.count = self.count - 1
      return task
    end
  end
  local task = self.queue:wait()
  if self.count > 0 then hand_out(self) end
  return task
end

--- A permit if one is free, or false; never waits.
---@return neap.Permit | false
---@nodiscard
function methods:try_acquire()
  if self.count == 0 then return false end
  local permit = new_permit(self)
  if self.count == 0 then return false end
  self.count = self.count - 1
  return permit
end

--- Adds `n` permits (default 1). Prefer `permit:release()`, which cannot be repeated.
---@param n? integer
---@return integer # how many were free before
function methods:release(n)
  n = n == nil and 1 or check.integer(n, 1, "release", 1)
  local before = self.count
  if n > self.max - before then
    core.misuse(("release(%d) would make %d permits of %d at most"):format(n, before + n, self.max))
  end
  self.count = before + n
  hand_out(self)
  return before
end

function Semaphore:__tostring()
  return ("neap.Semaphore (%d free, %d waiting)"):format(self.count, #self.queue)
end

--- A semaphore with `n` permits, which never has more than `max`.
---@param n integer 0 or more
---@param max? integer default: no limit
---@return neap.Semaphore
---@nodiscard
function M.semaphore(n, max)
  n = check.integer(n, 0, "semaphore", 1)
  max = max == nil and math.maxinteger or check.integer(max, math.max(n, 1), "semaphore", 2)
  return setmetatable({ count = n, max = max, queue = core.queue("semaphore:acquire") }, Semaphore)
end

return M
