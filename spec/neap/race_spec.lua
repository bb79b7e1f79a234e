local h = require "spec.helper"
local support = require "spec.support"
local neap = require "neap"

local await = neap.await
local closing, takes = support.closing, support.takes

local function sleep(seconds)
  await(neap.sleep(seconds))
end

--- A racer: sleeps, then returns the other arguments.
local function after(seconds, ...)
  local results = table.pack(...)
  return function()
    sleep(seconds)
    return table.unpack(results, 1, results.n)
  end
end

--- A racer: sleeps, then raises err.
local function failing(seconds, err)
  return function()
    sleep(seconds)
    error(err, 0)
  end
end

--- A racer that does not end by itself, and cleans up for so many seconds when it is cancelled.
local function cleaning(t, seconds, name)
  return function()
    local _ <close> = neap.defer(function()
      sleep(seconds)
      t:note(name)
    end)
    sleep(1000)
  end
end

describe("neap.race", function()
  it("[S126] gives all results of the first to end", h.run(function()
    takes(1, function()
      local race = neap.race(after(3, "slow"), after(1, "fast", nil, 3, nil), after(2))
      assert.equal("pending", race:status())
      assert.same({ "fast", nil, 3, nil, n = 4 }, table.pack(await(race)))
      assert.equal("fast", (await(race)))
    end)
  end))

  it("[S126] joins the cancelled losers before it ends", h.run(function(t)
    takes(4, function()
      assert.equal("won", await(neap.race(
        cleaning(t, 3, "a"), after(1, "won"), cleaning(t, 2, "b"))))
      t:note("after")
    end)
    assert.equal("b a after", t:logged())
  end))

  it("[S126] joins losers that ignore their cancellation too", h.run(function(t)
    takes(3, function()
      assert.equal("won", await(neap.race(after(1, "won"), function()
        neap.shield(sleep, 3)
        t:note("ended")
        return "not asked"
      end)))
    end)
    assert.equal("ended", t:logged())
  end))

  it("[S126] raises the error of the winner, the very same value", h.run(function(t)
    local e = {}
    takes(3, function()
      local ok, err = pcall(await, neap.race(cleaning(t, 2, "loser"), failing(1, e)))
      assert.is_false(ok)
      assert.is_true(rawequal(e, err))
    end)
    assert.equal("loser", t:logged())
  end))

  it("[S126] starts all functions, in order, though the first ends at once", h.run(function(t)
    local race = neap.race(
      function() t:note("a") return "a" end,
      function() t:note("b") sleep(1) t:note("never") end,
      function() t:note("c") return "c" end)
    assert.equal("a b c", t:logged())
    takes(0, function() assert.equal("a", await(race)) end)
    assert.equal("a b c", t:logged())
  end))

  it("[S126] of functions that end at the same time is won by the first", h.run(function()
    assert.equal("a", await(neap.race(after(1, "a"), after(1, "b"))))
    assert.equal("first", await(neap.race(
      function() return "first" end, function() return "second" end)))
  end))

  it("[S126] of one function is that function", h.run(function()
    assert.equal("x", await(neap.race(after(1, "x"))))
    assert.equal("bad", neap.race(function() error("bad", 0) end):error())
  end))

  it("[S126] reports a loser that fails while it is cancelled", h.run(function(t)
    local e = {}
    assert.equal("won", await(neap.race(after(1, "won"), function()
      local _ <close> = closing(function() error(e, 0) end)
      sleep(100)
    end)))
    collectgarbage()
    await(neap.yield())
    await(neap.yield())
    local lost = t:take_unobserved()
    assert.equal(1, #lost)
    assert.is_true(rawequal(e, lost[1].err))
  end))

  it("[S126] inside a race is cancelled and joined as a loser", h.run(function(t)
    takes(3, function()
      assert.equal("outer", await(neap.race(after(1, "outer"), function()
        return await(neap.race(cleaning(t, 2, "inner"), after(50)))
      end)))
    end)
    assert.equal("inner", t:logged())
  end))

  it("[S71] [C16] calls nothing in a cancelled scope", h.run(function(t)
    neap.scope(function(scope)
      scope:cancel("closed")
      local race = neap.race(function() t:note("called") end)
      assert.equal("cancelled", race:status())
      assert.is_true(neap.is_cancel(select(2, pcall(await, race))))
      h.bad_argument("race", 1, neap.race, 5)
    end)
    assert.equal("", t:logged())
  end))

  it("[S68] [C11] ends after its functions when its scope is cancelled", h.run(function(t)
    takes(3, function()
      neap.scope({ timeout = 1 }, function()
        local _ <close> = closing(function() t:note("waiter") end)
        await(neap.race(cleaning(t, 1, "a"), cleaning(t, 2, "b")))
      end)
    end)
    assert.equal("a b waiter", t:logged())
  end))

  it("[S9] cancels its functions when it is cancelled", h.run(function(t)
    local race = neap.race(cleaning(t, 1, "a"), cleaning(t, 2, "b"))
    sleep(1)
    assert.is_true(race:cancel("enough"))
    assert.is_false(race:cancel("again"))
    takes(2, function() assert.same({ "cancelled", "enough" }, { await(neap.settle(race)) }) end)
    assert.equal("a b", t:logged())
    assert.is_false(race:cancel())
  end))

  it("[S72] [C6] that is won before its waiter is cancelled is delivered", h.run(function(t)
    local task, winner = nil, neap.completion()
    task = neap.start(function()
      local race = neap.race(function() return await(winner.task) end)
      race:on_done(function() task:cancel("late") end)
      t:note(await(race))
      await(neap.yield())
      t:note("never")
    end)
    winner:resolve("won")
    assert.equal("cancelled", (await(neap.settle(task))))
    assert.equal("won", t:logged())
  end))

  it("[S95] is joined by the scope around it", h.run(function(t)
    local race
    takes(3, function()
      neap.scope(function() race = neap.race(after(1, "won"), cleaning(t, 2, "loser")) end)
    end)
    assert.equal("won", race:result())
    assert.equal("loser", t:logged())
  end))

  it("goes on when its Task is dropped", h.run(function(t)
    neap.race(function() sleep(1) t:note("won") end, cleaning(t, 1, "loser"))
    collectgarbage()
    sleep(3)
    assert.equal("won loser", t:logged())
  end))

  it("[S159] that failed and is dropped is reported", h.plain(function(t)
    local ok, err = pcall(neap.run, { clock = t.clock }, function()
      neap.race(failing(1, "bad"), after(5))
    end)
    assert.same({ false, "bad" }, { ok, err })
    assert.equal(1, #t:take_unobserved())
  end))

  it("[S252] in the background is cancelled and joined at the end of run", h.plain(function(t)
    neap.run({ clock = t.clock }, function()
      neap.background(function() await(neap.race(cleaning(t, 1, "a"), cleaning(t, 2, "b"))) end)
      sleep(1)
    end)
    assert.equal("a b", t:logged())
  end))

  it("raises an argument error that names what is not callable", h.run(function(t)
    local function called() t:note("called") end
    h.bad_argument("race", 1, neap.race)
    h.bad_argument("race", 1, neap.race, 5)
    h.bad_argument("race", 3, neap.race, called, called, {})
    assert.equal("", t:logged())
  end))

  it("finds the winner among 200, five times", h.run(function()
    local list = {}
    for i = 1, 200 do list[i] = after(i == 137 and 1 or 2, i) end
    for _ = 1, 5 do assert.equal(137, await(neap.race(table.unpack(list)))) end
  end))

  it("[S126] survives failing allocations", h.plain(function(t)
    h.each_failure(function()
      local result = neap.run({ clock = t.clock }, function()
        return await(neap.race(after(3, "c"), after(1, "a"), after(2, "b")))
      end)
      assert(result == "a", "a run that succeeded has a wrong result")
    end)
    t:take_unobserved()
    t:take_warnings()
  end))
end)
