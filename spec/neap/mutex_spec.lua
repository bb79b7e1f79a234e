local h = require "spec.helper"
local mutexes = require "spec.mutexes"
local support = require "spec.support"
local neap = require "neap"

local await = neap.await
-- 10 000 at most; a collection per turn makes all costs quadratic.
local MANY = os.getenv("NEAP_STRESS_GC") and 50 or 2500

--- A task that locks, notes its name, holds the mutex for so long, and unlocks.
local function holder(t, mutex, name, seconds)
  return neap.start(function()
    local _ <close> = await(mutex:lock())
    t:note(name)
    if seconds then await(neap.sleep(seconds)) end
  end)
end

local is_free, is_cancelled = mutexes.is_free, mutexes.is_cancelled

describe("a mutex", function()
  it("is held by one task at a time", h.run(function()
    local mutex, inside = neap.mutex(), 0
    support.takes(5, function()
      neap.group(function(g)
        for _ = 1, 5 do
          g:spawn(function()
            local _ <close> = await(mutex:lock())
            inside = inside + 1
            assert(inside == 1)
            await(neap.sleep(1))
            inside = inside - 1
          end)
        end
      end)
    end)
    assert.is_true(is_free(mutex))
  end))

  it("[S204] that is free is locked at once, without a turn", h.run(function()
    local mutex, turns = neap.mutex(), support.turn_counter()
    local lock = mutex:lock()
    assert.equal("done", lock:status())
    await(lock):unlock()
    await(mutex:lock()):unlock()
    assert.equal(1, turns.count)
    turns.stop()
  end))

  it("[S204] is handed over in the order of the calls", h.run(function(t)
    local mutex, tasks = neap.mutex(), {}
    for i, name in ipairs({ "a", "b", "c" }) do tasks[i] = holder(t, mutex, name, 1) end
    assert.equal("a", t:logged())
    support.takes(3, function() await(neap.all(tasks)) end)
    assert.equal("a b c", t:logged())
  end))

  it("[S204] handed over cannot be taken by one that comes later", h.run(function(t)
    local mutex = neap.mutex()
    local guard = await(mutex:lock())
    local first = holder(t, mutex, "first")
    guard:unlock()
    assert.is_false(mutex:try_lock())
    local _ <close> = await(mutex:lock())
    t:note("second")
    assert.equal("first second", t:logged())
    await(first)
  end))

  it("[S204] runs nobody inline when it is unlocked", h.run(function(t)
    local mutex = neap.mutex()
    local guard = await(mutex:lock())
    local task = holder(t, mutex, "next")
    guard:unlock()
    t:note("after")
    await(task)
    assert.equal("after next", t:logged())
  end))

  it("[S204] locked again by its owner is misuse, raised by lock itself", h.run(function()
    local mutex = neap.mutex()
    local guard = await(mutex:lock())
    h.misuse(function() mutex:lock() end)
    assert.is_false(is_free(mutex))
    guard:unlock()
    assert.is_true(is_free(mutex))
    await(mutex:lock()):unlock()
  end))

  it("[S204] handed to a task that has not run yet is already that task's", h.run(function()
    local mutex = neap.mutex()
    local guard = await(mutex:lock())
    local task = neap.start(function()
      local own <close> = await(mutex:lock())
      h.misuse(function() mutex:lock() end)
      return own ~= nil
    end)
    guard:unlock()
    h.misuse(function() guard:unlock() end)
    assert.is_true(await(task))
    assert.is_true(is_free(mutex))
  end))

  it("[S204] unlocked by another task is misuse, and stays locked", h.run(function()
    local mutex = neap.mutex()
    local guard = await(mutex:lock())
    await(neap.start(function() h.misuse(function() guard:unlock() end) end))
    assert.is_false(is_free(mutex))
    guard:unlock()
    assert.is_true(is_free(mutex))
  end))

  it("is locked by try_lock only while nobody holds it or waits for it", h.run(function(t)
    local mutex = neap.mutex()
    local guard = mutex:try_lock()
    assert.is_false(is_free(mutex))
    local task = holder(t, mutex, "waiter", 1)
    guard:unlock()
    assert.is_false(is_free(mutex))
    await(task)
    assert.is_true(is_free(mutex))
  end))

  it("gives objects whose tostring names the class", h.run(function()
    local mutex = neap.mutex()
    assert.matches("^neap%.Mutex", tostring(mutex))
    local guard <close> = await(mutex:lock())
    assert.matches("^neap%.Guard", tostring(guard))
  end))
end)

describe("a guard", function()
  it("unlocks at the end of its block, however it is left", h.run(function()
    local mutex, e = neap.mutex(), {}
    do
      local _ <close> = await(mutex:lock())
      assert.is_false(is_free(mutex))
    end
    assert.is_true(is_free(mutex))
    local ok, err = pcall(function()
      local _ <close> = await(mutex:lock())
      error(e, 0)
    end)
    assert.same({ false, e }, { ok, err })
    assert.is_true(is_free(mutex))
    neap.try_for(1, function()
      local _ <close> = await(mutex:lock())
      await(neap.sleep(10))
    end)
    assert.is_true(is_free(mutex))
  end))

  it("may be closed after it was unlocked; the next holder keeps the mutex", h.run(function(t)
    local mutex = neap.mutex()
    local task
    do
      local guard <close> = await(mutex:lock())
      task = holder(t, mutex, "next", 1)
      guard:unlock()
    end
    assert.is_false(is_free(mutex))
    await(task)
    assert.is_true(is_free(mutex))
  end))

  it("[S204] unlocked twice is misuse", h.run(function()
    local mutex = neap.mutex()
    local guard = await(mutex:lock())
    guard:unlock()
    h.misuse(function() guard:unlock() end)
    local second <close> = await(mutex:lock())
    h.misuse(function() guard:unlock() end)
    assert.is_false(is_free(mutex))
    assert.are_not.equal(guard, second)
  end))
end)

describe("a wait for a mutex", function()
  it("[S71] in a cancelled scope takes nothing, though it is free", h.run(function()
    local mutex = neap.mutex()
    assert.same({ false, "stop" }, { neap.scope(function(scope)
      scope:cancel("stop")
      local lock = mutex:lock()
      assert.equal("cancelled", lock:status())
      mutex:try_lock():unlock()
      await(lock)
    end) })
    assert.is_true(is_free(mutex))
  end))

  it("[S201] that is cancelled lets the next one have it", h.run(function(t)
    local mutex = neap.mutex()
    local guard = await(mutex:lock())
    local tasks = {}
    for i, name in ipairs({ "a", "b", "c" }) do tasks[i] = holder(t, mutex, name) end
    tasks[1]:cancel("why")
    guard:unlock()
    is_cancelled(tasks[1], "why")
    await(neap.all({ tasks[2], tasks[3] }))
    assert.equal("b c", t:logged())
    assert.is_true(is_free(mutex))
  end))

  it("[S203] under a timeout that expires holds nothing", h.run(function()
    local mutex = neap.mutex()
    local guard = await(mutex:lock())
    await(neap.start(function()
      h.raises("ETIMEDOUT", neap.timeout, 1, function() await(mutex:lock()) end)
    end))
    assert.equal(1, neap.now())
    guard:unlock()
    assert.is_true(is_free(mutex))
  end))

  it("[C6] cancelled in the turn of the hand-over holds it", h.run(function(t)
    local mutex = neap.mutex()
    local guard = await(mutex:lock())
    local task = neap.start(function()
      local _ <close> = await(mutex:lock())
      t:note("locked")
      await(neap.yield())
      t:note("never")
    end)
    guard:unlock()
    task:cancel("late")
    assert.is_false(mutex:try_lock())
    is_cancelled(task, "late")
    assert.equal("locked", t:logged())
    assert.is_true(is_free(mutex))
  end))

  it("[S99] that its scope drops lets the next one have it", h.run(function(t)
    local mutex = neap.mutex()
    local guard = await(mutex:lock())
    await(neap.start(function() neap.scope(function() mutex:lock() end) end))
    local task = holder(t, mutex, "next")
    guard:unlock()
    await(task)
    assert.equal("next", t:logged())
  end))

  it("[S250] that nobody can end is a deadlock, which names it", h.plain(function(t)
    local err = h.raises("EDEADLOCK", neap.run, { clock = t.clock }, function()
      local first, second = neap.mutex(), neap.mutex()
      local function locks(one, other)
        local _ <close> = await(one:lock())
        await(neap.yield())
        local _ <close> = await(other:lock())
      end
      neap.start(locks, first, second):name("Romeo")
      neap.start(locks, second, first):name("Juliet")
    end)
    for _, part in ipairs({ "Romeo", "Juliet", "lock" }) do
      assert.matches(part, (tostring(err):gsub("[Dd]eadlock", ""):gsub("EDEADLOCK", "")), 1, true)
    end
  end))

  it("[S252] pending when the run ends takes nothing later", h.plain(function(t)
    local mutex = neap.mutex()
    neap.run({ clock = t.clock }, function()
      neap.background(function()
        local _ <close> = await(mutex:lock())
        await(neap.sleep(1000))
      end)
      neap.background(function() await(mutex:lock()) t:note("never") end)
      await(neap.yield())
    end)
    neap.run({ clock = t.clock }, function() assert.is_true(is_free(mutex)) end)
    assert.equal("", t:logged())
  end))

  it("outlives the last reference to its mutex", h.run(function()
    local function begin()
      local mutex = neap.mutex()
      local task = neap.start(function()
        await(neap.yield())
        local _ <close> = await(mutex:lock())
        return "locked"
      end)
      return await(mutex:lock()), task
    end
    local guard, task = begin()
    await(neap.sleep(1))
    collectgarbage()
    collectgarbage()
    assert.equal("pending", task:status())
    guard:unlock()
    assert.equal("locked", await(task))
  end))

  it("[S86] of 10 000 tasks is cancelled or served in linear time", h.run(function()
    support.is_linear(function(n)
      local mutex, served = neap.mutex(), 0
      local start = os.clock()
      neap.group(function(g)
        local guard, tasks = await(mutex:lock()), {}
        for i = 1, n do
          tasks[i] = g:spawn(function()
            local _ <close> = await(mutex:lock())
            served = served + 1
          end)
        end
        for i = n, 1, -2 do tasks[i]:cancel() end
        guard:unlock()
      end)
      assert.equal(n // 2, served)
      return os.clock() - start
    end, MANY)
  end))
end)
