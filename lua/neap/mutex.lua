--- neap.mutex and neap.condition: one task at a time, and waiting for what another one changes.
local check = require "neap.check"
local core = require "neap.core"

local M = {}

---@class neap.Guard
local Guard = {}
local guard_methods = {}
Guard.__index = guard_methods
Guard.__name = "neap.Guard"
Guard.__metatable = false

---@class neap.Mutex
local Mutex = {}
local methods = {}
Mutex.__index = methods
Mutex.__name = "neap.Mutex"
Mutex.__metatable = false

--- `owner` is the task that holds it, OUTSIDE when it was locked outside of tasks, nil when it is
--- free. Each wait in the queue carries its guard, which knows the owner to come.
local OUTSIDE = {}

local function current()
  return core.current() or OUTSIDE
end

local function new_guard(mutex)
  return setmetatable({ mutex = mutex }, Guard)
end

--- Hands it to the next one in the queue, or frees it.
local function unlock(mutex)
  local guard = mutex.queue:peek()
  mutex.owner = guard and guard.owner
  if guard then mutex.queue:wake(guard) end
end

--- Making a Task may run a finalizer that uses the mutex too, so its owner is looked at afterwards.
local function lock_for(mutex, owner)
  local guard = new_guard(mutex)
  if not mutex.owner and not core.is_cancelling() then
    local locked = core.completed(guard)
    if not mutex.owner then
      mutex.owner = owner
      return locked
    end
    guard = new_guard(mutex)
  end
  guard.owner = owner
  local task = mutex.queue:wait(guard)
  if not mutex.owner then unlock(mutex) end
  return task
end

--- Gives the mutex to the next one. Only the task that locked it may.
function guard_methods:unlock()
  local mutex = self.mutex
  if not mutex then
    core.misuse("unlock twice with one guard: the mutex is not this one's any more")
  end
  if mutex.owner ~= current() then
    core.misuse("unlock by a task that has not locked the mutex: leave that to its owner")
  end
  self.mutex = nil
  unlock(mutex)
end

function Guard:__close()
  if self.mutex then self:unlock() end
end

function Guard:__tostring()
  return self.mutex and "neap.Guard" or "neap.Guard: unlocked"
end

local function check_not_owner(mutex)
  if mutex.owner and mutex.owner == current() then
    core.misuse("lock by the task that holds the mutex already: it would wait for itself")
  end
end

--- A guard, as soon as it is this task's turn: `local guard <close> = await(m:lock())`.
---@return neap.Task
---@nodiscard
function methods:lock()
  check_not_owner(self)
  return lock_for(self, current())
end

--- A guard if nobody holds the mutex, or false; never waits.
---@return neap.Guard | false
---@nodiscard
function methods:try_lock()
  local guard = not self.owner and new_guard(self)
  if self.owner then return false end
  self.owner = current()
  return guard
end

function Mutex:__tostring()
  return ("neap.Mutex (%s, %d waiting)"):format(self.owner and "locked" or "free", #self.queue)
end

---@return neap.Mutex
---@nodiscard
function M.mutex()
  return setmetatable({ queue = core.queue("mutex:lock") }, Mutex)
end

---@class neap.Condition
local Condition = {}
local condition_methods = {}
Condition.__index = condition_methods
Condition.__name = "neap.Condition"
Condition.__metatable = false

local function check_owner(condition, method)
  if condition.mutex.owner ~= current() then
    core.misuse(method .. " without the condition's mutex: lock it first")
  end
end

--- On behalf of `owner`, who awaits this: whatever happens it holds the mutex again afterwards.
local function wait_and_lock(condition, owner)
  local mutex = condition.mutex
  local notified = condition.queue:wait()
  unlock(mutex)
  local ok, err = pcall(core.await, notified)
  core.shield(function()
    core.await(lock_for(mutex, owner))
  end)
  if not ok then error(err, 0) end
end

--- Unlocks the mutex, waits for a notify and locks it again: done when the task holds it. Also when
--- it is cancelled the mutex is locked again. Test what you wait for in a loop.
---@return neap.Task
---@nodiscard
function condition_methods:wait()
  check_owner(self, "wait")
  if core.is_cancelling() then return self.queue:wait() end
  return core.start(wait_and_lock, self, current())
end

local function notify(condition, most)
  local woken = 0
  while woken < most and condition.queue:wake() do woken = woken + 1 end
  return woken
end

--- Wakes the first `n` (default 1) who wait.
---@param n? integer
---@return integer # how many it woke
function condition_methods:notify(n)
  n = n == nil and 1 or check.integer(n, 1, "notify", 1)
  check_owner(self, "notify")
  return notify(self, n)
end

--- Wakes all who wait.
---@return integer # how many it woke
function condition_methods:notify_all()
  check_owner(self, "notify_all")
  return notify(self, math.huge)
end

function Condition:__tostring()
  return ("neap.Condition (%d waiting)"):format(#self.queue)
end

--- A condition for what `mutex` guards.
---@param mutex neap.Mutex
---@return neap.Condition
---@nodiscard
function M.condition(mutex)
  if type(mutex) ~= "table" or core.metafield(mutex, "__name") ~= "neap.Mutex" then
    core.argument_error("condition", 1, "neap.Mutex expected, got " .. core.type_name(mutex))
  end
  return setmetatable({ mutex = mutex, queue = core.queue("condition:wait") }, Condition)
end

return M
