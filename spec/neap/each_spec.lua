local h = require "spec.helper"
local support = require "spec.support"
local neap = require "neap"
local core = require "neap.core"

local await = neap.await
local returns_after, fails_after = support.returns_after, support.fails_after
local closing, takes = support.closing, support.takes

describe("neap.each", function()
  it("[S127] gives the tasks in the order in which they end", h.run(function(t)
    local tasks = { returns_after(3, "c"), returns_after(1, "a"), returns_after(2, "b") }
    takes(3, function()
      for task, index in neap.each(tasks) do
        assert.is_true(rawequal(tasks[index], task))
        t:note(index .. task:result() .. neap.now())
      end
    end)
    assert.equal("2a1.0 3b2.0 1c3.0", t:logged())
  end))

  it("[S127] gives those that have ended already first, in input order", h.run(function(t)
    local later = returns_after(2)
    await(neap.sleep(1))
    local ended = returns_after(0)
    await(ended)
    for _, index in neap.each({ later, neap.completed(), neap.cancelled("x"), ended }) do
      t:note(index)
    end
    assert.equal("2 3 4 1", t:logged())
  end))

  it("[S127] gives those that end between two steps before it waits", h.run(function(t)
    takes(5, function()
      for _, index in neap.each({ returns_after(3), returns_after(2), returns_after(1) }) do
        t:note(index)
        if index == 3 then await(neap.sleep(4)) end
      end
    end)
    assert.equal("3 2 1", t:logged())
  end))

  it("[S127] does not raise for a task that failed or was cancelled", h.run(function(t)
    local stopped = returns_after(10)
    neap.start(function() await(neap.sleep(2)) stopped:cancel() end)
    for task in neap.each({ stopped, fails_after(1, "bad"), neap.failed("worse") }) do
      t:note(task:status())
    end
    assert.equal("failed failed cancelled", t:logged())
  end))

  it("[S127] gives a task once for each of its listings", h.run(function(t)
    local task, done = returns_after(1), neap.completed()
    for _, index in neap.each({ task, done, task, done }) do t:note(index) end
    assert.equal("2 4 1 3", t:logged())
  end))

  it("[S127] of an empty list gives nothing", h.run(function()
    for _ in neap.each({}) do error("a task of none") end
    assert.equal(4, select("#", neap.each({})))
  end))

  it("gives its iterator as the closing value too", h.run(function()
    local it, state, control, closer = neap.each({ neap.completed("x") })
    assert.is_true(rawequal(it, closer))
    assert.is_nil(state)
    assert.is_nil(control)
    local task, index = it()
    assert.equal("x", task:result())
    assert.equal(1, index)
    assert.is_nil((it()))
  end))

  it("[S127] that is used up and iterated again is misuse", h.run(function()
    local it = neap.each({ neap.completed(1) })
    for _ in it do await(neap.yield()) end
    h.misuse(function() for _ in it do error("another task") end end)
  end))

  it("[S128] leaves no waiter behind after a break", h.run(function()
    local slow, slower = returns_after(5, "slow"), returns_after(6, "slower")
    local before = core.stats()
    for _, index in neap.each({ slow, returns_after(1), slower }) do
      assert.equal(2, index)
      if index == 2 then break end
    end
    collectgarbage()
    local after = core.stats()
    assert.equal(before.operations, after.operations)
    assert.equal(before.pins, after.pins)
    assert.equal("pending", slow:status())
    assert.equal("slow", await(slow))
    assert.equal("slower", await(slower))
  end))

  it("[S128] that never took a step, or is dropped, leaves nothing behind", h.run(function()
    local task = returns_after(2, "x")
    do local _ <close> = neap.each({ task }) end
    neap.each({ task })
    local step = neap.each({ task, neap.completed() })
    assert.equal(2, select(2, step()))
    step = nil -- luacheck: ignore
    collectgarbage()
    assert.equal("x", await(task))
  end))

  it("[S67] is let go by its tasks when the waiting task is cancelled", h.run(function(t)
    local outside = returns_after(5, "outside")
    local task = neap.start(function()
      local _ <close> = closing(function() t:note("unwound") end)
      for _ in neap.each({ outside }) do t:note("never") end
    end)
    task:cancel("enough")
    takes(0, function() assert.equal("cancelled", (await(neap.settle(task)))) end)
    assert.equal("unwound", t:logged())
    assert.equal("outside", await(outside))
  end))

  it("[S68] [C11] ends after the tasks that the same cancellation reaches", h.run(function(t)
    takes(3, function()
      neap.scope({ timeout = 1 }, function()
        local inside = support.cleans_up(2, function() t:note("child") end)
        local _ <close> = closing(function() t:note("waiter") end)
        for _ in neap.each({ inside }) do await(neap.yield()) end
      end)
    end)
    assert.equal("child waiter", t:logged())
  end))

  it("[S72] [C6] delivers a task that ended in the turn of the cancellation", h.run(function(t)
    local task
    local canceller = neap.start(function() await(neap.sleep(1)) task:cancel("late") end)
    local first, outside = neap.sleep(1), neap.sleep(50)
    task = neap.start(function()
      for _, index in neap.each({ first, outside }) do t:note(index) end
    end)
    await(canceller)
    assert.equal("cancelled", (await(neap.settle(task))))
    assert.equal("1", t:logged())
  end))

  it("[S71] [C4] in a cancelled scope gives what has ended, then raises", h.run(function(t)
    local pending = returns_after(1)
    neap.scope(function(scope)
      scope:cancel("closed")
      for _, index in neap.each({ pending, neap.completed(), neap.completed() }) do
        t:note(index)
      end
      t:note("never")
    end)
    assert.equal("2 3", t:logged())
    await(pending)
  end))

  it("[S160] takes a failure as observed", h.run(function()
    local function drop()
      for _ in neap.each({ fails_after(1, "seen") }) do await(neap.yield()) end
      for _, index in neap.each({ neap.completed(), fails_after(3, "seen too") }) do
        if index == 1 then break end
      end
    end
    drop()
    await(neap.sleep(5))
    collectgarbage()
    await(neap.yield())
  end))

  it("[S121] raises an argument error that names the index of a non-Task", h.run(function()
    for _, row in ipairs({ { 2, { neap.completed(), 5 } }, { 1, { {} } } }) do
      local ok, err = pcall(neap.each, row[2])
      assert.is_false(ok)
      local text = tostring(err):gsub("^%S-:%d+: ", "")
      assert.matches("bad argument", text, 1, true)
      assert.matches("%f[%d]" .. row[1] .. "%f[%D]", text)
    end
    h.bad_argument("each", 1, neap.each)
    h.bad_argument("each", 1, neap.each, 5)
  end))

  it("copies its list", h.run(function(t)
    local list = { returns_after(2), returns_after(1) }
    for _, index in neap.each(list) do
      t:note(index)
      list[1], list[3] = nil, neap.completed()
    end
    assert.equal("2 1", t:logged())
  end))

  it("gives 10 000 tasks in their order", h.run(function()
    local list, last = {}, 10001
    for i = 1, 10000 do list[i] = returns_after(10000 - i) end
    for _, index in neap.each(list) do
      assert(index == last - 1)
      last = index
    end
    assert.equal(1, last)
  end))

  it("[S127] survives failing allocations", h.plain(function(t)
    h.each_failure(function()
      local log = neap.run({ clock = t.clock }, function()
        local log, list = {}, {}
        for i = 1, 3 do list[i] = neap.sleep(4 - i) end
        for _, index in neap.each(list) do log[#log + 1] = index end
        return table.concat(log)
      end)
      assert(log == "321", "a run that succeeded has a wrong result")
    end)
    t:take_unobserved()
    t:take_warnings()
  end))
end)
