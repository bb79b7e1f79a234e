local h = require "spec.helper"
local support = require "spec.support"
local neap = require "neap"

local await = neap.await
-- 10 000 at most; a collection per turn makes all costs quadratic.
local MANY = os.getenv("NEAP_STRESS_GC") and 50 or 2500

--- How many permits can be taken now; gives them back.
local function count_of(sem)
  local permits = {}
  while true do
    local permit = sem:try_acquire()
    if not permit then break end
    permits[#permits + 1] = permit
  end
  for _, permit in ipairs(permits) do assert(permit:release()) end
  return #permits
end

--- A task that acquires, notes its name, holds the permit for so long, and gives it back.
local function holder(t, sem, name, seconds)
  return neap.start(function()
    local _ <close> = await(sem:acquire())
    t:note(name)
    if seconds then await(neap.sleep(seconds)) end
  end)
end

local function is_cancelled(task, reason)
  assert.same({ "cancelled", reason }, { await(neap.settle(task)) })
end

describe("neap.semaphore", function()
  it("rejects counts and maxima that are none", h.plain(function()
    for _, n in ipairs({ -1, 1.5, 0 / 0, math.huge, "many", {}, true }) do
      h.bad_argument("semaphore", 1, neap.semaphore, n)
    end
    h.bad_argument("semaphore", 1, neap.semaphore)
    for _, max in ipairs({ 1, 0, -1, 2.5, "many", {} }) do
      h.bad_argument("semaphore", 2, neap.semaphore, 2, max)
    end
    h.bad_argument("semaphore", 2, neap.semaphore, 0, 0)
  end))

  it("accepts a count of 0, and a maximum that is the count", h.plain(function()
    assert.equal(0, count_of(neap.semaphore(0)))
    assert.equal(0, count_of(neap.semaphore(0, 1)))
    assert.equal(3, count_of(neap.semaphore(3, 3)))
    assert.equal(2, count_of(neap.semaphore(2.0)))
  end))

  it("gives objects whose tostring names the class", h.plain(function()
    local sem = neap.semaphore(1)
    assert.matches("^neap%.Semaphore", tostring(sem))
    assert.matches("^neap%.Permit", tostring(sem:try_acquire()))
  end))
end)

describe("a semaphore", function()
  it("[S198] gives permits in the order of the calls", h.run(function(t)
    local sem = neap.semaphore(1)
    local tasks = {}
    for i, name in ipairs({ "a", "b", "c", "d" }) do tasks[i] = holder(t, sem, name, 1) end
    assert.equal("a", t:logged())
    support.takes(4, function() await(neap.all(tasks)) end)
    assert.equal("a b c d", t:logged())
    assert.equal(1, count_of(sem))
  end))

  it("[S198] gives a free permit at once, without a turn", h.run(function()
    local sem, turns = neap.semaphore(2), support.turn_counter()
    assert.equal("done", sem:acquire():status())
    local permit = await(sem:acquire())
    assert.equal(1, turns.count)
    turns.stop()
    assert.equal("pending", sem:acquire():status())
    assert.is_true(permit:release())
  end))

  it("[S198] lets nobody barge past a waiter", h.run(function()
    local sem = neap.semaphore(1)
    local permit = sem:try_acquire()
    local waiter = sem:acquire()
    assert.is_false(sem:try_acquire())
    permit:release()
    assert.equal("done", waiter:status())
    assert.is_false(sem:try_acquire())
    local later = sem:acquire()
    assert.equal("pending", later:status())
    await(waiter):release()
    await(later):release()
    assert.equal(1, count_of(sem))
  end))

  it("[S199] release gives the previous count", h.run(function()
    local sem = neap.semaphore(0)
    assert.equal(0, sem:release())
    assert.equal(1, sem:release(3))
    assert.equal(4, sem:release(1))
    assert.equal(5, count_of(sem))
  end))

  it("[S199] release serves those that wait, and keeps the rest", h.run(function()
    local sem = neap.semaphore(0)
    local first, second, third = sem:acquire(), sem:acquire(), sem:acquire()
    assert.equal(0, sem:release(2))
    assert.equal("done", first:status())
    assert.equal("done", second:status())
    assert.equal("pending", third:status())
    assert.equal(0, sem:release(3))
    assert.equal("done", third:status())
    assert.equal(2, count_of(sem))
  end))

  it("[S199] release past the maximum is misuse, the count stays", h.run(function()
    local sem = neap.semaphore(1, 3)
    h.misuse(function() sem:release(3) end)
    assert.equal(1, sem:release(2))
    h.misuse(function() sem:release() end)
    h.misuse(function() sem:release(math.maxinteger) end)
    assert.equal(3, count_of(sem))
  end))

  it("[S199] release of what is no count is an argument error", h.run(function()
    local sem = neap.semaphore(1)
    for _, n in ipairs({ 0, -1, 1.5, "many", {}, math.huge, 0 / 0 }) do
      h.bad_argument("release", 1, function() sem:release(n) end)
    end
    assert.equal(1, count_of(sem))
  end))

  it("[S200] release runs no waiter inline", h.run(function(t)
    local sem = neap.semaphore(0)
    local tasks = { holder(t, sem, "a"), holder(t, sem, "b") }
    sem:release(2)
    t:note("after")
    await(neap.all(tasks))
    assert.equal("after a b", t:logged())
  end))

  it("[S157] works outside a task without waiting, and in a run afterwards", h.plain(function(t)
    local sem = neap.semaphore(1)
    local permit = sem:try_acquire()
    assert.is_false(sem:try_acquire())
    assert.equal(0, sem:release())
    neap.run({ clock = t.clock }, function() await(sem:acquire()) end)
    assert.is_false(sem:try_acquire())
    assert.is_true(permit:release())
    assert.equal(1, count_of(sem))
  end))

  it("bounds how many are in at a time", h.run(function()
    local sem, inside, most = neap.semaphore(3), 0, 0
    neap.group(function(g)
      for i = 1, 20 do
        g:spawn(function()
          local _ <close> = await(sem:acquire())
          inside = inside + 1
          most = math.max(most, inside)
          await(neap.sleep(i % 4))
          inside = inside - 1
        end)
      end
    end)
    assert.equal(3, most)
    assert.equal(0, inside)
    assert.equal(3, count_of(sem))
  end))
end)

describe("a permit", function()
  it("[S202] is released once, explicitly or by its close", h.run(function()
    local sem = neap.semaphore(1)
    do
      local permit <close> = await(sem:acquire())
      assert.equal(0, count_of(sem))
      assert.is_true(permit:release())
      assert.is_false(permit:release())
      assert.equal(1, count_of(sem))
    end
    assert.equal(1, count_of(sem))
    do
      local _ <close> = sem:try_acquire()
      assert.equal(0, count_of(sem))
    end
    assert.equal(1, count_of(sem))
  end))

  it("[S202] after its close has nothing to release", h.run(function()
    local sem = neap.semaphore(1)
    local kept
    do
      local permit <close> = await(sem:acquire())
      kept = permit
    end
    assert.is_false(kept:release())
    assert.equal(1, count_of(sem))
  end))

  it("[S202] is released when the block is left by an error or a cancellation", h.run(function()
    local sem, e = neap.semaphore(1), {}
    local ok, err = pcall(function()
      local _ <close> = await(sem:acquire())
      error(e, 0)
    end)
    assert.same({ false, e }, { ok, err })
    assert.equal(1, count_of(sem))
    neap.try_for(1, function()
      local _ <close> = await(sem:acquire())
      await(neap.sleep(10))
    end)
    assert.equal(1, count_of(sem))
  end))
end)

describe("a wait for a permit", function()
  it("[S71] in a cancelled scope takes none, though one is free", h.run(function()
    local sem = neap.semaphore(1)
    assert.same({ false, "stop" }, { neap.scope(function(scope)
      scope:cancel("stop")
      local acquire = sem:acquire()
      assert.equal("cancelled", acquire:status())
      assert.equal(1, count_of(sem))
      await(acquire)
    end) })
    assert.equal(1, count_of(sem))
  end))

  it("[S201] that is cancelled leaves the count right, the next is served", h.run(function(t)
    local sem = neap.semaphore(1)
    local permit = sem:try_acquire()
    local tasks = {}
    for i, name in ipairs({ "a", "b", "c" }) do tasks[i] = holder(t, sem, name) end
    tasks[1]:cancel("why")
    permit:release()
    is_cancelled(tasks[1], "why")
    await(neap.all({ tasks[2], tasks[3] }))
    assert.equal("b c", t:logged())
    assert.equal(1, count_of(sem))
  end))

  it("[S201] that is cancelled as the only one leaves the permit free", h.run(function()
    local sem = neap.semaphore(0)
    local acquire = sem:acquire()
    assert.is_true(acquire:cancel("why"))
    is_cancelled(acquire, "why")
    assert.equal(0, sem:release())
    assert.equal(1, count_of(sem))
  end))

  it("[S203] under a timeout that expires holds none", h.run(function()
    local sem = neap.semaphore(1)
    local permit = sem:try_acquire()
    support.takes(1, function()
      h.raises("ETIMEDOUT", neap.timeout, 1, function() await(sem:acquire()) end)
    end)
    assert.is_true(permit:release())
    assert.equal(1, count_of(sem))
  end))

  it("[C6] cancelled in the turn of the hand-over has the permit", h.run(function(t)
    local sem = neap.semaphore(0)
    local task = neap.start(function()
      local _ <close> = await(sem:acquire())
      t:note("acquired")
      await(neap.yield())
      t:note("never")
    end)
    sem:release()
    task:cancel("late")
    assert.equal(0, count_of(sem))
    is_cancelled(task, "late")
    assert.equal("acquired", t:logged())
    assert.equal(1, count_of(sem))
  end))

  it("[S99] that its scope drops lets the next one have the permit", h.run(function()
    local sem = neap.semaphore(0)
    neap.scope(function() sem:acquire() end)
    local second = sem:acquire()
    sem:release()
    assert.equal("done", second:status())
  end))

  it("[S250] that nobody can end is a deadlock, which names it", h.plain(function(t)
    local sem = neap.semaphore(0)
    local err = h.raises("EDEADLOCK", neap.run, { clock = t.clock }, function()
      neap.start(function() await(sem:acquire()) end):name("starving")
    end)
    assert.matches("starving", tostring(err), 1, true)
    assert.matches("acquire", tostring(err), 1, true)
    sem:release()
    assert.equal(1, count_of(sem))
  end))

  it("[S252] pending when the run ends takes no permit later", h.plain(function(t)
    local sem = neap.semaphore(0)
    neap.run({ clock = t.clock }, function()
      neap.background(function() await(sem:acquire()) t:note("never") end)
      await(neap.yield())
    end)
    sem:release()
    assert.equal(1, count_of(sem))
    assert.equal("", t:logged())
  end))

  it("outlives the last reference to its semaphore", h.run(function()
    local weak = setmetatable({}, { __mode = "v" })
    local function begin()
      local sem = neap.semaphore(1)
      weak.sem = sem
      return await(sem:acquire()), sem:acquire()
    end
    local permit, waiting = begin()
    collectgarbage()
    collectgarbage()
    assert.equal("pending", waiting:status())
    assert.is_true(permit:release())
    assert.is_true(await(waiting):release())
    permit, waiting = nil, nil
    collectgarbage()
    collectgarbage()
    assert.same({}, { permit, waiting, weak.sem })
  end))

  it("[S86] of 10 000 are cancelled or served in linear time", h.run(function()
    support.is_linear(function(n)
      local sem, list = neap.semaphore(0), {}
      local start = os.clock()
      for i = 1, n do list[i] = sem:acquire() end
      for i = n, 1, -2 do assert(list[i]:cancel()) end
      for i = 1, n do if not list[i]:is_done() then assert(sem:release() == 0) end end
      assert.equal(0, count_of(sem))
      return os.clock() - start
    end, MANY)
  end))
end)
