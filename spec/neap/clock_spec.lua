local h = require "spec.helper"
local support = require "spec.support"
local neap = require "neap"
local core = require "neap.core"

local await = neap.await
local takes = support.takes

describe("neap.sleep", function()
  it("takes its seconds", h.run(function()
    takes(2.5, function() await(neap.sleep(2.5)) end)
  end))

  it("[S29] does not block the others", h.run(function()
    takes(1, function()
      local a, b = support.returns_after(1), support.returns_after(1)
      await(a)
      await(b)
    end)
  end))

  it("[S141] of 0 suspends for exactly one turn", h.run(function()
    local turns = support.turn_counter()
    takes(0, function()
      for i = 1, 5 do
        await(neap.sleep(0))
        assert.equal(i + 1, turns.count)
      end
    end)
    turns.stop()
  end))

  it("[S142] raises an argument error for a negative or NaN duration", h.run(function()
    h.bad_argument("sleep", 1, neap.sleep, -1)
    h.bad_argument("sleep", 1, neap.sleep, -1e-9)
    h.bad_argument("sleep", 1, neap.sleep, 0 / 0)
    h.bad_argument("sleep", 1, neap.sleep, "soon")
    h.bad_argument("sleep", 1, neap.sleep)
  end))

  it("[S142] raises the argument error in a cancelled scope too", h.run(function()
    neap.scope(function(scope)
      scope:cancel("closed")
      h.bad_argument("sleep", 1, neap.sleep, -1)
    end)
  end))

  it("[S143] wakes tasks with equal deadlines in creation order", h.run(function(t)
    local list = {}
    for i = 1, 20 do
      list[i] = neap.start(function() await(neap.sleep(1)) t:note(i) end)
    end
    await(neap.all(list))
    assert.equal("1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20", t:logged())
  end))

  it("wakes tasks in the order of their deadlines", h.run(function(t)
    local list = {}
    for i, seconds in ipairs({ 3, 1, 2, 0.5 }) do
      list[i] = neap.start(function() await(neap.sleep(seconds)) t:note(seconds) end)
    end
    await(neap.all(list))
    assert.equal("0.5 1 2 3", t:logged())
  end))

  it("[S71] comes back cancelled in a cancelled scope, without a timer", h.run(function()
    local before = core.stats().timers
    neap.scope(function(scope)
      scope:cancel("closed")
      local sleep = neap.sleep(0)
      assert.equal("cancelled", sleep:status())
      assert.is_false(pcall(await, sleep))
    end)
    assert.equal(before, core.stats().timers)
  end))

  it("[C3] leaves no timer when it is cancelled while waiting", h.run(function()
    local before = core.stats().timers
    local task = neap.start(function() await(neap.sleep(100)) end)
    task:cancel("enough")
    takes(0, function() await(neap.settle(task)) end)
    assert.equal("cancelled", task:status())
    assert.equal(before, core.stats().timers)
  end))

  it("[C6] that has ended is delivered to a task cancelled in the same turn", h.run(function(t)
    local task
    local canceller = neap.start(function() await(neap.sleep(1)) task:cancel("late") end)
    task = neap.start(function()
      await(neap.sleep(1))
      t:note("delivered")
      await(neap.sleep(1))
      t:note("never")
    end)
    await(canceller)
    assert.equal("cancelled", (await(neap.settle(task))))
    assert.equal("delivered", t:logged())
  end))

  it("[C13] cancelled by someone else raises ECANCELLED", h.run(function()
    local sleep = neap.sleep(10)
    assert.is_true(sleep:cancel("mine"))
    local err = h.raises("ECANCELLED", await, sleep)
    assert.equal(sleep, err.task)
    assert.equal("mine", err.reason)
  end))

  it("may be awaited by several tasks, and again when it is done", h.run(function()
    local sleep = neap.sleep(1)
    local other = neap.start(function() await(sleep) return "woken" end)
    takes(1, function() await(sleep) end)
    assert.equal("woken", await(other))
    takes(0, function() await(sleep) end)
  end))

  it("[S99] that is dropped does not hold up a scope", h.run(function()
    takes(0, function()
      neap.scope(function() neap.sleep(100) end)
    end)
  end))
end)

describe("neap.every", function()
  it("ticks at its cadence", h.run(function()
    local elapsed = support.stopwatch()
    local ticker <close> = neap.every(1)
    for i = 1, 4 do
      assert.is_truthy(await(ticker:next()))
      assert.near(i, elapsed(), 1e-6)
    end
  end))

  it("keeps the cadence when the body takes part of the time", h.run(function()
    local elapsed = support.stopwatch()
    local ticker <close> = neap.every(1)
    for i = 1, 3 do
      await(ticker:next())
      assert.near(i, elapsed(), 1e-6)
      await(neap.sleep(0.7))
    end
  end))

  it("[S146] gives one tick at once for three missed ones, then its cadence", h.run(function()
    local elapsed = support.stopwatch()
    local ticker <close> = neap.every(1)
    await(ticker:next())
    await(neap.sleep(3.5))
    await(ticker:next())
    assert.near(4.5, elapsed(), 1e-6)
    await(ticker:next())
    assert.near(5, elapsed(), 1e-6)
    await(ticker:next())
    assert.near(6, elapsed(), 1e-6)
  end))

  it("drives a generic for, which closes it on break", h.run(function()
    local before = core.stats().timers
    takes(3, function()
      local count = 0
      for n in neap.every(1) do
        assert.is_number(n)
        count = count + 1
        if count == 3 then break end
      end
    end)
    assert.equal(before, core.stats().timers)
  end))

  it("[S147] of 0, of less or of NaN raises an argument error", h.run(function()
    h.bad_argument("every", 1, neap.every, 0)
    h.bad_argument("every", 1, neap.every, -1)
    h.bad_argument("every", 1, neap.every, 0 / 0)
  end))

  it("[S147] has a second concurrent next() as misuse", h.run(function()
    local ticker <close> = neap.every(1)
    local first = ticker:next()
    h.misuse(function() await(ticker:next()) end)
    takes(1, function() await(first) end)
    assert.is_truthy(await(ticker:next()))
  end))

  it("[S147, S225] gives nothing from next() when closed; closing twice is fine", h.run(function()
    local ticker = neap.every(1)
    ticker:close()
    ticker:close()
    assert.is_falsy((await(ticker:next())))
    assert.is_falsy((await(ticker:next())))
  end))

  it("[S147] ends a waiting next() when it is closed", h.run(function()
    local ticker = neap.every(1)
    local task = neap.start(function() return (await(ticker:next())) or "ended" end)
    ticker:close()
    takes(0, function() assert.equal("ended", await(task)) end)
  end))

  it("[S148] is usable after one wait on it was cancelled", h.run(function()
    local elapsed = support.stopwatch()
    local ticker <close> = neap.every(1)
    assert.is_false((neap.try_for(0.5, function() await(ticker:next()) end)))
    await(ticker:next())
    assert.near(1, elapsed(), 1e-6)
    local wait = ticker:next()
    wait:cancel("not this one")
    await(ticker:next())
    assert.near(2, elapsed(), 1e-6)
  end))

  it("leaves no timer when it is dropped", h.run(function()
    local before = core.stats().timers
    neap.every(1)
    collectgarbage()
    collectgarbage()
    await(neap.yield())
    assert.equal(before, core.stats().timers)
  end))
end)

describe("neap.test_clock", function()
  it("starts where it is told", h.plain(function()
    local clock = neap.test_clock({ start = 100, autojump = true })
    assert.equal(100, clock:now())
    neap.run({ clock = clock }, function()
      assert.equal(100, neap.now())
      await(neap.sleep(5))
      assert.near(105, neap.now(), 1e-6)
    end)
    assert.near(105, clock:now(), 1e-6)
  end))

  it("[S149] does not move by itself without autojump", h.plain(function()
    local clock = neap.test_clock({})
    neap.run({ clock = clock }, function()
      local start = clock:now()
      local sleeper = support.returns_after(1)
      for _ = 1, 50 do await(neap.yield()) end
      assert.equal(start, neap.now())
      assert.equal("pending", sleeper:status())
      await(clock:advance(1))
      await(sleeper)
      assert.near(start + 1, neap.now(), 1e-6)
    end)
  end))

  it("[S149] advance fires timers in deadline order, each at its own time", h.plain(function()
    local clock = neap.test_clock({})
    neap.run({ clock = clock }, function()
      local start, log, list = neap.now(), {}, {}
      for i, seconds in ipairs({ 7, 3, 5, 10 }) do
        list[i] = neap.start(function()
          await(neap.sleep(seconds))
          log[#log + 1] = neap.now() - start
        end)
      end
      local late = support.returns_after(11)
      await(clock:advance(10))
      assert.near(start + 10, clock:now(), 1e-6)
      await(neap.all(list))
      assert.same({ 3, 5, 7, 10 }, log)
      assert.equal("pending", late:status())
      await(clock:advance(1))
      await(late)
    end)
  end))

  it("[S149] advance also reaches timers that are made on the way", h.plain(function()
    local clock = neap.test_clock({})
    neap.run({ clock = clock }, function()
      local count = 0
      local task = neap.start(function()
        for _ = 1, 10 do await(neap.sleep(1)) count = count + 1 end
      end)
      await(clock:advance(10.5))
      assert.equal(10, count)
      assert.equal("done", task:status())
    end)
  end))

  it("[S149] advance works with autojump as well", h.run(function(t)
    local sleeper = support.returns_after(2)
    takes(5, function() await(t.clock:advance(5)) end)
    assert.equal("done", sleeper:status())
  end))

  it("[S149] autojump moves only when no task is ready", h.run(function()
    local sleeper = support.returns_after(1)
    takes(0, function()
      for _ = 1, 50 do await(neap.yield()) end
    end)
    assert.equal("pending", sleeper:status())
    takes(1, function() await(sleeper) end)
  end))

  it("[S149] autojump stops at each deadline", h.run(function(t)
    local start = neap.now()
    local list = {}
    for i = 1, 3 do
      list[i] = neap.start(function() await(neap.sleep(i)) t:note(neap.now() - start == i) end)
    end
    await(neap.all(list))
    assert.equal("true true true", t:logged())
  end))

  it("[S142] advance raises an argument error for a negative or NaN duration", h.run(function(t)
    h.bad_argument("advance", 1, function() t.clock:advance(-1) end)
    h.bad_argument("advance", 1, function() t.clock:advance(0 / 0) end)
  end))
end)
