--- What the specs of mutexes and conditions share.

local assert = require "luassert"
local neap = require "neap"

local await = neap.await

local M = {}

--- A mutex and a condition of it.
function M.new_pair()
  local mutex = neap.mutex()
  return mutex, neap.condition(mutex)
end

--- Runs fn(...) with the mutex held.
function M.locked(mutex, fn, ...)
  local _ <close> = await(mutex:lock())
  return fn(...)
end

--- A task that waits for the condition, notes its name, and holds the mutex for so long after.
function M.waiter(t, mutex, condition, name, seconds)
  return neap.start(M.locked, mutex, function()
    await(condition:wait())
    t:note(name)
    if seconds then await(neap.sleep(seconds)) end
  end)
end

--- notify(n) with the mutex held: how many were woken.
function M.notify(mutex, condition, n)
  return M.locked(mutex, function() return condition:notify(n) end)
end

--- Whether a task of its own finds the mutex free.
function M.is_free(mutex)
  return await(neap.start(function()
    local guard <close> = mutex:try_lock() or nil
    return guard ~= nil
  end))
end

function M.is_cancelled(task, reason)
  assert.same({ "cancelled", reason }, { await(neap.settle(task)) })
end

return M
