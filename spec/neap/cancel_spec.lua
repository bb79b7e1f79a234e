local neap = require "neap"
local h = require "spec.helper"
local support = require "spec.support"

local await = neap.await
local closing, stopwatch = support.closing, support.stopwatch

local function sleep(seconds)
  await(neap.sleep(seconds))
end

-- What leaves fn, Cancelled included.
local function caught(fn, ...)
  local ok, err = pcall(fn, ...)
  assert.is_false(ok)
  return err
end

describe("task:cancel", function()
  it("[S60] raises Cancelled, which tells the reason, at the await", h.run(function(t)
    local elapsed = stopwatch()
    local task = neap.start(function()
      local _ <close> = closing(function()
        neap.shield(sleep, 2)
        t:note("closed")
      end)
      local err = caught(sleep, 10)
      assert.is_true(neap.is_cancel(err))
      assert.equal("why", err.reason)
      assert.truthy(tostring(err):find("why", 1, true))
      t:note("raised")
      error(err, 0)
    end)
    sleep(1)
    assert.is_true(task:cancel("why"))
    assert.equal("pending", task:status())
    sleep(1)
    assert.equal("raised", t:logged())
    assert.equal("pending", task:status())
    assert.same({ "cancelled", "why" }, { await(neap.settle(task)) })
    assert.equal("raised closed", t:logged())
    assert.equal("cancelled", task:status())
    assert.equal(3, elapsed())
  end))

  it("[S61] returns before any of the target's code runs", h.run(function(t)
    local task = neap.start(function()
      local _ <close> = closing(function() t:note("target") end)
      sleep(10)
    end)
    t:note("before")
    task:cancel()
    t:note("after")
    await(neap.settle(task))
    assert.equal("before after target", t:logged())
  end))

  it("[S62] is level triggered: each next await raises again", h.run(function()
    local elapsed = stopwatch()
    local task = neap.start(function()
      local first = caught(sleep, 10)
      local second = caught(sleep, 10)
      local third = caught(function() await(neap.yield()) end)
      assert.is_true(neap.is_cancel(first))
      assert.equal(first, second)
      assert.equal(first, third)
      sleep(10)
    end)
    task:cancel("once")
    assert.same({ "cancelled", "once" }, { await(neap.settle(task)) })
    assert.equal(0, elapsed())
  end))

  it("[S63] leaves the other tasks running beside one that swallows it", h.run(function(t)
    local done = false
    local task = neap.start(function()
      repeat
        pcall(sleep, 10)
      until done
    end)
    task:cancel()
    local other = neap.start(function()
      for i = 1, 3 do
        await(neap.yield())
        sleep(0)
        t:note(i)
      end
    end)
    await(other)
    assert.equal("1 2 3", t:logged())
    assert.equal("pending", task:status())
    done = true
    await(task)
    assert.equal("done", task:status())
  end))

  -- On the real clock: virtual time stands still as long as any task is ready.
  it("[S63] leaves the timers running beside one that swallows it", h.plain(function(t)
    neap.run(function()
      local done = false
      local task = neap.start(function()
        repeat
          pcall(sleep, 10)
        until done
      end)
      task:cancel()
      sleep(0.001)
      t:note("timer")
      done = true
      await(task)
    end)
    assert.equal("timer", t:logged())
    t:take_warnings()
  end))

  it("[S64] warns once, with task and line, after 1000 swallowed ones", h.run(function(t)
    local line, warned_at
    local task = neap.start(function()
      for i = 1, 2500 do
        pcall(function() line = debug.getinfo(1, "l").currentline await(neap.sleep(10)) end)
        warned_at = warned_at or #t.warnings > 0 and i
      end
    end)
    task:name("spinner")
    task:cancel()
    await(task)
    assert.is_true(warned_at == 1000 or warned_at == 1001)
    local warnings = t:take_warnings()
    assert.equal(1, #warnings)
    assert.truthy(warnings[1]:find("spinner", 1, true))
    assert.truthy(warnings[1]:find("cancel_spec.lua:" .. line, 1, true))
  end))

  it("[S67] wakes a waiter at once, the task outside its scope goes on", h.run(function()
    local elapsed = stopwatch()
    local target = neap.start(function()
      sleep(5)
      return "value"
    end)
    local waiter = neap.start(function() await(target) end)
    sleep(1)
    waiter:cancel("enough")
    assert.same({ "cancelled", "enough" }, { await(neap.settle(waiter)) })
    assert.equal(1, elapsed())
    assert.equal("pending", target:status())
    assert.equal("value", await(target))
    assert.equal(5, elapsed())
  end))

  it("[S68] cleans up the started task first, then its waiter", h.run(function(t)
    local parent = neap.start(function()
      local _ <close> = closing(function() t:note("parent") end)
      await(neap.start(function()
        local _ <close> = closing(function()
          neap.shield(sleep, 2)
          t:note("child")
        end)
        sleep(10)
      end))
    end)
    parent:cancel()
    assert.equal("cancelled", (await(neap.settle(parent))))
    assert.equal("child parent", t:logged())
  end))

  it("[S69] reaches three levels, each task exactly once", h.run(function(t)
    local tasks = {}
    local function nest(level)
      tasks[level] = neap.start(function()
        if level < 3 then nest(level + 1) end
        local err = caught(sleep, 10)
        t:note(level)
        error(err, 0)
      end)
    end
    nest(1)
    tasks[1]:cancel("all")
    for level = 1, 3 do
      assert.same({ "cancelled", "all" }, { await(neap.settle(tasks[level])) })
    end
    assert.equal("1 2 3", t:logged())
  end))

  it("[S70] delivers in creation order, in every run", h.run(function(t)
    for _ = 1, 20 do
      local c = neap.completion()
      local parent = neap.start(function()
        for i = 1, 6 do
          neap.start(function()
            sleep(10 - i) -- so that the waits begin in the opposite order
            local err = caught(await, i % 2 == 0 and c.task or neap.sleep(100))
            t:note(i)
            error(err, 0)
          end)
        end
        await(c.task)
      end)
      sleep(20)
      parent:cancel()
      await(neap.yield())
      await(neap.yield())
      assert.equal("1 2 3 4 5 6", t:logged())
      t.log = {}
      c:resolve()
    end
  end))

  it("[S72] does not lose an operation that completed in the same turn", h.run(function(t)
    local tick = neap.sleep(1) -- fires before the task's own timer
    local task = neap.start(function()
      sleep(1)
      t:note("slept")
      sleep(1)
      t:note("never")
    end)
    await(tick)
    task:cancel()
    assert.equal("cancelled", (await(neap.settle(task))))
    assert.equal("slept", t:logged())
  end))

  it("[S72] does not lose the value of a completion resolved before", h.run(function(t)
    local c = neap.completion()
    local task = neap.start(function()
      t:note(await(c.task))
      sleep(1)
      t:note("never")
    end)
    c:resolve("value")
    task:cancel()
    assert.equal("cancelled", (await(neap.settle(task))))
    assert.equal("value", t:logged())
  end))

  it("[S81] lets a task that cancels itself run to its next await", h.run(function(t)
    local task
    task = neap.start(function()
      await(neap.yield())
      assert.is_true(task:cancel("self"))
      t:note("still")
      await(neap.completed())
      t:note("running")
      sleep(1)
      t:note("never")
    end)
    assert.same({ "cancelled", "self" }, { await(neap.settle(task)) })
    assert.equal("still running", t:logged())
  end))

  it("[S86] leaves no waiter behind on a completion", h.run(function()
    local c = neap.completion()
    local waiters = setmetatable({}, { __mode = "k" })
    local function wait_and_cancel()
      local waiter = neap.start(function() await(c.task) end)
      waiters[waiter] = true
      waiter:cancel()
      await(neap.settle(waiter))
    end
    for _ = 1, 1000 do wait_and_cancel() end
    await(neap.yield())
    collectgarbage()
    collectgarbage()
    assert.is_nil(next(waiters))
    c:resolve()
  end))

  it("[S86] uses no memory for waits that one task gave up", h.run(function()
    local c = neap.completion()
    local function give_up(times)
      for _ = 1, times do
        neap.try_for(0, function() await(c.task) end)
      end
      collectgarbage()
      collectgarbage()
      return collectgarbage("count")
    end
    local before = give_up(100)
    assert.is_true(give_up(5000) - before < 16)
    c:resolve()
  end))
end)
