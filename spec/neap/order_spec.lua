local h = require "spec.helper"
local support = require "spec.support"
local neap = require "neap"

local await = neap.await

--- A task that awaits another one and then notes a name.
local function waiter(t, task, name)
  return neap.start(function() await(task) t:note(name) end)
end

describe("waiters of a completion", function()
  it("[S150] run later than resolve(), in the order of their awaits", h.run(function(t)
    local c = neap.completion()
    local list = {}
    for i = 1, 3 do list[i] = waiter(t, c.task, i) end
    c:resolve()
    t:note("after")
    await(neap.all(list))
    assert.equal("after 1 2 3", t:logged())
  end))

  it("[S150] run later than reject() and cancel() too", h.run(function(t)
    for _, how in ipairs({ "reject", "cancel" }) do
      local c = neap.completion()
      local task = neap.start(function() pcall(await, c.task) t:note("woken") end)
      c[how](c, "why")
      t:note(how)
      await(task)
    end
    assert.equal("reject woken cancel woken", t:logged())
  end))

  it("[S150] run in the order of their awaits, not of their creation", h.run(function(t)
    local c = neap.completion()
    local late = neap.start(function() await(neap.sleep(1)) await(c.task) t:note("late") end)
    local early = waiter(t, c.task, "early")
    await(neap.sleep(2))
    c:resolve()
    await(late)
    await(early)
    assert.equal("early late", t:logged())
  end))

  it("[S151] run before tasks that were made ready later in the turn", h.run(function(t)
    local first, second = neap.completion(), neap.completion()
    local list = {
      waiter(t, second.task, "s1"), waiter(t, first.task, "f1"),
      waiter(t, second.task, "s2"), waiter(t, first.task, "f2"),
    }
    first:resolve()
    second:resolve()
    await(neap.all(list))
    assert.equal("f1 f2 s1 s2", t:logged())
  end))

  it("[S151] run before a task that yields after the completion", h.run(function(t)
    local c = neap.completion()
    local task = waiter(t, c.task, "waiter")
    c:resolve()
    await(neap.yield())
    t:note("yielder")
    await(task)
    assert.equal("waiter yielder", t:logged())
  end))

  it("[S151] run after a task that was made ready before the completion", h.run(function(t)
    local c = neap.completion()
    local yielder = neap.start(function() await(neap.yield()) t:note("yielder") end)
    local task = waiter(t, c.task, "waiter")
    c:resolve()
    await(task)
    await(yielder)
    assert.equal("yielder waiter", t:logged())
  end))

  it("[S151] that are waited for in turn wake in turn", h.run(function(t)
    local c = neap.completion()
    local a = waiter(t, c.task, "a")
    local b = waiter(t, a, "b")
    local last = waiter(t, b, "c")
    c:resolve()
    await(last)
    assert.equal("a b c", t:logged())
  end))
end)

describe("a task that never really waits", function()
  it("[S152] delays a due timer by at most one turn", h.run(function()
    local turns = support.turn_counter()
    for _ = 1, 20 do
      local before = turns.count
      await(neap.sleep(0))
      assert.is_true(turns.count - before <= 1)
    end
    turns.stop()
  end))

  it("[S152] does not keep real timers from firing", h.plain(function()
    local fired, turns = false, 0
    neap.run(function()
      local sleeper = neap.start(function() await(neap.sleep(0.002)) fired = true end)
      local start = neap.now()
      while not fired and neap.now() - start < 2 do
        turns = turns + 1
        await(neap.yield())
      end
      assert.is_true(fired)
      await(sleeper)
    end)
    assert.is_true(turns > 1)
  end))

  it("[S153] is made to yield after 128 awaits on completed tasks", h.run(function()
    local done, ran = neap.completed(), false
    local other = neap.start(function() await(neap.yield()) ran = true end)
    local count = 0
    while not ran and count < 1000 do
      await(done)
      count = count + 1
    end
    assert.is_true(count == 128 or count == 129, "made to yield after " .. count)
    await(other)
  end))

  it("[S153] cannot starve timers", h.run(function()
    local done, woken = neap.completed(), false
    local sleeper = neap.start(function() await(neap.sleep(0)) woken = true end)
    local count = 0
    while not woken and count < 100000 do
      await(done)
      count = count + 1
    end
    assert.is_true(count <= 4 * 129, "starved for " .. count .. " awaits")
    await(sleeper)
  end))

  it("[S153] has its budget back after a suspension", h.run(function()
    local done = neap.completed()
    local turns = support.turn_counter()
    for i = 1, 5 do
      for _ = 1, 100 do await(done) end
      assert.equal(i, turns.count)
      await(neap.yield())
    end
    turns.stop()
  end))
end)

describe("two tasks", function()
  it("[S154] that wake each other strictly alternate", h.run(function(t)
    local boxes = { neap.completion(), neap.completion() }
    local function play(mine, other, name)
      for _ = 1, 200 do
        await(boxes[mine].task)
        boxes[mine] = neap.completion()
        t:note(name)
        boxes[other]:resolve()
      end
    end
    local a, b = neap.start(play, 1, 2, "ping"), neap.start(play, 2, 1, "pong")
    boxes[1]:resolve()
    await(a)
    await(b)
    boxes[2]:resolve()
    assert.equal(("ping pong "):rep(200):sub(1, -2), t:logged())
  end))

  it("[S154] that yield in loops strictly alternate", h.run(function(t)
    local function play(name)
      for _ = 1, 200 do
        t:note(name)
        await(neap.yield())
      end
    end
    local a, b = neap.start(play, "a"), neap.start(play, "b")
    await(a)
    await(b)
    assert.equal(("a b "):rep(200):sub(1, -2), t:logged())
  end))
end)

describe("Task:on_done", function()
  it("[S155] is called on a later turn, in order, mixed with waiters", h.run(function(t)
    local c = neap.completion()
    c.task:on_done(function() t:note("d1") end)
    local first = waiter(t, c.task, "w1")
    c.task:on_done(function() t:note("d2") end)
    local second = waiter(t, c.task, "w2")
    c.task:on_done(function() t:note("d3") end)
    c:resolve()
    t:note("after")
    await(first)
    await(second)
    await(neap.yield())
    assert.equal("after d1 w1 d2 w2 d3", t:logged())
  end))

  it("[S155] is called on a later turn for a completed task too", h.run(function(t)
    neap.completed(1):on_done(function() t:note("called") end)
    t:note("after")
    await(neap.yield())
    assert.equal("after called", t:logged())
  end))

  it("[S155] is called once for each registration", h.run(function(t)
    local c = neap.completion()
    local function callback() t:note("x") end
    c.task:on_done(callback)
    c.task:on_done(callback)
    c:resolve()
    await(neap.yield())
    await(neap.yield())
    assert.equal("x x", t:logged())
  end))

  it("[S155] is called for failed and cancelled tasks as well", h.run(function(t)
    local failed, cancelled = neap.completion(), neap.completion()
    failed.task:on_done(function() t:note(failed.task:status()) end)
    cancelled.task:on_done(function() t:note(cancelled.task:status()) end)
    cancelled:cancel()
    failed:reject("bad")
    await(neap.yield())
    assert.equal("cancelled failed", t:logged())
  end))
end)
