local h = require "spec.helper"
local mutexes = require "spec.mutexes"
local support = require "spec.support"
local neap = require "neap"

local await = neap.await

local new_pair, locked, waiter, notify, is_free
  = mutexes.new_pair, mutexes.locked, mutexes.waiter, mutexes.notify, mutexes.is_free

describe("neap.condition", function()
  it("rejects what is no mutex", h.plain(function()
    h.bad_argument("condition", 1, neap.condition)
    for _, object in ipairs({ 7, "mutex", {}, io.stdout, neap.event() }) do
      h.bad_argument("condition", 1, neap.condition, object)
    end
  end))

  it("gives objects whose tostring names the class", h.plain(function()
    assert.matches("^neap%.Condition", tostring(neap.condition(neap.mutex())))
  end))

  it("notifies no count that is none", h.run(function(t)
    local mutex, condition = new_pair()
    local task = waiter(t, mutex, condition, "woken")
    locked(mutex, function()
      for _, n in ipairs({ 0, -1, 1.5, "many", {}, math.huge }) do
        h.bad_argument("notify", 1, function() condition:notify(n) end)
      end
      t:note("nobody")
      condition:notify()
    end)
    await(task)
    assert.equal("nobody woken", t:logged())
  end))

  it("is misuse for a task that does not hold the mutex", h.run(function()
    local mutex, condition = new_pair()
    local function all_are_misuse()
      h.misuse(function() condition:wait() end)
      h.misuse(function() condition:notify() end)
      h.misuse(function() condition:notify_all() end)
    end
    all_are_misuse()
    locked(mutex, function() await(neap.start(all_are_misuse)) end)
    locked(neap.mutex(), all_are_misuse)
    assert.is_true(is_free(mutex))
  end))
end)

describe("a condition", function()
  it("releases the mutex while its wait is pending, then holds it again", h.run(function(t)
    local mutex, condition = new_pair()
    local task = neap.start(locked, mutex, function()
      assert.equal(0, select("#", await(condition:wait())))
      t:note("woken")
      await(neap.sleep(2))
    end)
    assert.is_true(is_free(mutex))
    assert.equal(1, notify(mutex, condition))
    await(neap.sleep(1))
    assert.is_false(is_free(mutex))
    support.takes(1, function() await(mutex:lock()):unlock() end)
    await(task)
    assert.equal("woken", t:logged())
  end))

  it("leaves the guard valid: it can be unlocked after the wait", h.run(function()
    local mutex, condition = new_pair()
    local task = neap.start(function()
      local guard <close> = await(mutex:lock())
      await(condition:wait())
      await(condition:wait())
      guard:unlock()
      h.misuse(function() guard:unlock() end)
    end)
    assert.equal(1, notify(mutex, condition))
    await(neap.sleep(1))
    assert.equal(1, notify(mutex, condition))
    await(task)
    assert.is_true(is_free(mutex))
  end))

  it("wakes those that wait in the order of the calls, as many as asked for", h.run(function(t)
    local mutex, condition = new_pair()
    local tasks = {}
    for i, name in ipairs({ "a", "b", "c", "d", "e" }) do
      tasks[i] = waiter(t, mutex, condition, name)
    end
    assert.equal(1, notify(mutex, condition))
    await(neap.sleep(1))
    assert.equal("a", t:logged())
    assert.equal(2, notify(mutex, condition, 2))
    await(neap.sleep(1))
    assert.equal("a b c", t:logged())
    assert.equal(2, notify(mutex, condition, 100))
    await(neap.all(tasks))
    assert.equal("a b c d e", t:logged())
    assert.equal(0, notify(mutex, condition, 3))
  end))

  it("wakes all with notify_all; one after the other they hold the mutex", h.run(function(t)
    local mutex, condition = new_pair()
    local tasks = {}
    for i = 1, 3 do tasks[i] = waiter(t, mutex, condition, i, 1) end
    support.takes(3, function()
      assert.equal(3, locked(mutex, function() return condition:notify_all() end))
      await(neap.all(tasks))
    end)
    assert.equal("1 2 3", t:logged())
    assert.equal(0, locked(mutex, function() return condition:notify_all() end))
  end))

  it("runs nobody inline, and nobody before the mutex is free", h.run(function(t)
    local mutex, condition = new_pair()
    local task = waiter(t, mutex, condition, "woken")
    locked(mutex, function()
      condition:notify()
      t:note("notified")
      await(neap.sleep(1))
      t:note("unlocks")
    end)
    await(task)
    assert.equal("notified unlocks woken", t:logged())
  end))

  it("keeps no notify for those that come later", h.run(function(t)
    local mutex, condition = new_pair()
    assert.equal(0, notify(mutex, condition))
    local task = waiter(t, mutex, condition, "woken")
    await(neap.sleep(1))
    assert.equal("", t:logged())
    assert.equal(1, notify(mutex, condition))
    await(task)
  end))

  it("is independent of another one of the same mutex", h.run(function(t)
    local mutex, first = new_pair()
    local second = neap.condition(mutex)
    local a = waiter(t, mutex, first, "first")
    local b = waiter(t, mutex, second, "second")
    assert.equal(1, notify(mutex, second, 5))
    await(b)
    assert.equal("second", t:logged())
    assert.equal(1, notify(mutex, first, 5))
    await(a)
  end))

  it("makes a bounded buffer of a table", h.run(function()
    local mutex, not_empty = new_pair()
    local not_full = neap.condition(mutex)
    local buffer, sum = {}, 0
    neap.group(function(g)
      for p = 0, 2 do
        g:spawn(function()
          for i = 1, 20 do
            locked(mutex, function()
              while #buffer == 3 do await(not_full:wait()) end
              buffer[#buffer + 1] = p * 20 + i
              not_empty:notify()
            end)
          end
        end)
        g:spawn(function()
          for _ = 1, 20 do
            locked(mutex, function()
              while #buffer == 0 do await(not_empty:wait()) end
              sum = sum + table.remove(buffer, 1)
              not_full:notify()
            end)
          end
        end)
      end
    end)
    assert.equal(60 * 61 // 2, sum)
    assert.equal(0, #buffer)
  end))
end)
