-- Waits for a condition that are cancelled, or never end.
local h = require "spec.helper"
local mutexes = require "spec.mutexes"
local support = require "spec.support"
local neap = require "neap"

local await = neap.await
-- 10 000 at most; a collection per turn makes all costs quadratic.
local MANY = os.getenv("NEAP_STRESS_GC") and 50 or 2500

local new_pair, locked, waiter, notify, is_free, is_cancelled
  = mutexes.new_pair, mutexes.locked, mutexes.waiter,
    mutexes.notify, mutexes.is_free, mutexes.is_cancelled

describe("a wait for a condition", function()
  it("[C4] in a cancelled scope is cancelled, and keeps the mutex", h.run(function()
    local mutex, condition = new_pair()
    locked(mutex, function()
      assert.same({ false, "stop" }, { neap.scope(function(scope)
        scope:cancel("stop")
        local wait = condition:wait()
        assert.equal("cancelled", wait:status())
        assert.is_false(neap.shield(is_free, mutex))
        await(wait)
      end) })
      assert.is_false(is_free(mutex))
      assert.equal(0, condition:notify_all())
    end)
    assert.is_true(is_free(mutex))
  end))

  it("that is cancelled raises when it has the mutex again", h.run(function(t)
    local mutex, condition = new_pair()
    local task = neap.start(locked, mutex, function()
      local _ <close> = support.closing(function(err)
        t:note(("%s at %g"):format(neap.is_cancel(err), neap.now()))
        neap.shield(function() await(neap.sleep(2)) end)
      end)
      await(condition:wait())
    end)
    await(neap.sleep(1))
    locked(mutex, function()
      task:cancel("why")
      await(neap.sleep(2))
      assert.equal("", t:logged())
    end)
    await(mutex:lock()):unlock()
    assert.equal(5, neap.now())
    is_cancelled(task, "why")
    assert.equal("true at 3", t:logged())
    assert.is_true(is_free(mutex))
  end))

  it("that is cancelled while the mutex is free raises at once, holding it", h.run(function(t)
    local mutex, condition = new_pair()
    local task = waiter(t, mutex, condition, "never")
    task:cancel("why")
    support.takes(0, function() is_cancelled(task, "why") end)
    assert.equal("", t:logged())
    assert.is_true(is_free(mutex))
    assert.equal(0, notify(mutex, condition))
  end))

  it("[C6] that is cancelled before the notify lets the next one have it", h.run(function(t)
    local mutex, condition = new_pair()
    local first = waiter(t, mutex, condition, "first")
    local second = waiter(t, mutex, condition, "second")
    locked(mutex, function()
      first:cancel("early")
      assert.equal(1, condition:notify(2))
    end)
    is_cancelled(first, "early")
    await(second)
    assert.equal("second", t:logged())
  end))

  it("[C6] that is cancelled after the notify returns normally", h.run(function(t)
    for _, seconds in ipairs({ 0, 1 }) do
      local mutex, condition = new_pair()
      local task = neap.start(locked, mutex, function()
        await(condition:wait())
        t:note("woken")
        await(neap.yield())
        t:note("never")
      end)
      locked(mutex, function()
        assert.equal(1, condition:notify())
        if seconds > 0 then await(neap.sleep(seconds)) end
        task:cancel("late")
        if seconds > 0 then await(neap.sleep(seconds)) end
      end)
      is_cancelled(task, "late")
      assert.is_true(is_free(mutex))
    end
    assert.equal("woken woken", t:logged())
  end))

  it("[C6] that is cancelled when notified and handed the mutex returns normally", h.run(function(t)
    local mutex, condition = new_pair()
    local task = waiter(t, mutex, condition, "woken")
    assert.equal(1, notify(mutex, condition))
    task:cancel("late")
    await(neap.settle(task))
    assert.equal("woken", t:logged())
    assert.is_true(is_free(mutex))
  end))

  it("[S130] under a timeout raises ETIMEDOUT when it has the mutex again", h.run(function(t)
    local mutex, condition = new_pair()
    local task = neap.start(locked, mutex, function()
      h.raises("ETIMEDOUT", neap.timeout, 1, function() await(condition:wait()) end)
      t:note(("at %g"):format(neap.now()))
      await(neap.sleep(1))
    end)
    locked(mutex, function() await(neap.sleep(3)) end)
    assert.is_false(is_free(mutex))
    await(task)
    assert.equal("at 3", t:logged())
    assert.equal(4, neap.now())
    assert.is_true(is_free(mutex))
  end))

  it("[S250] that nobody notifies is a deadlock, which names it", h.plain(function(t)
    local err = h.raises("EDEADLOCK", neap.run, { clock = t.clock }, function()
      local mutex, condition = new_pair()
      waiter(t, mutex, condition, "never"):name("starving")
    end)
    assert.matches("starving", tostring(err), 1, true)
    assert.matches("%f[%a]wait%f[%A]", tostring(err))
    assert.equal("", t:logged())
  end))

  it("[S252] pending when the run ends leaves the mutex free", h.plain(function(t)
    local mutex, condition = new_pair()
    neap.run({ clock = t.clock }, function()
      neap.background(function()
        locked(mutex, function() await(condition:wait()) t:note("never") end)
      end)
      await(neap.yield())
    end)
    neap.run({ clock = t.clock }, function()
      assert.is_true(is_free(mutex))
      assert.equal(0, notify(mutex, condition))
    end)
    assert.equal("", t:logged())
  end))

  it("outlives the last reference to its condition and mutex", h.run(function(t)
    local function begin()
      local mutex, condition = new_pair()
      return waiter(t, mutex, condition, "never")
    end
    local task = begin()
    collectgarbage()
    collectgarbage()
    assert.equal("pending", task:status())
    task:cancel("why")
    is_cancelled(task, "why")
  end))

  it("[S86] of 10 000 tasks is cancelled or notified in linear time", h.run(function()
    support.is_linear(function(n)
      local mutex, condition = new_pair()
      local tasks, woken = {}, 0
      local start = os.clock()
      for i = 1, n do
        tasks[i] = neap.start(locked, mutex, function()
          await(condition:wait())
          woken = woken + 1
        end)
      end
      for i = n, 1, -2 do tasks[i]:cancel() end
      assert.equal(n // 2, locked(mutex, function() return condition:notify_all() end))
      for i = 1, n do await(neap.settle(tasks[i])) end
      assert.equal(n // 2, woken)
      return os.clock() - start
    end, MANY)
  end))
end)
