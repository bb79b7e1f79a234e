-- The rules of cancellation where no numbered assertion shows them; those about the wait for a task
-- or an operation are in reach_spec.lua, C21 is in background_spec.lua.
local neap = require "neap"
local h = require "spec.helper"
local support = require "spec.support"

local await = neap.await
local closing, stopwatch = support.closing, support.stopwatch
local cleans_up = support.cleans_up

local function sleep(seconds)
  await(neap.sleep(seconds))
end

local function caught(fn, ...)
  local ok, err = pcall(fn, ...)
  assert.is_false(ok)
  return err
end

-- Swallows so many Cancelled of the current scope.
local function swallow(times)
  for _ = 1, times do pcall(sleep, 1) end
end

describe("scope:cancel", function()
  it("[C2] is true only the first time, the first reason stays", h.run(function(t)
    assert.same({ false, "first" }, { neap.scope(function(scope)
      assert.is_false(scope.cancelled)
      neap.start(function()
        local _ <close> = closing(function() t:note("child") end)
        sleep(10)
      end)
      assert.is_true(scope:cancel("first"))
      t:note("body")
      assert.is_true(scope.cancelled)
      assert.is_false(scope:cancel("second"))
      sleep(1)
    end) })
    assert.equal("body child", t:logged())
  end))

  it("[C3] withdraws the wait: what was awaited wakes nobody later", h.run(function(t)
    local c = neap.completion()
    local task = neap.start(function()
      pcall(await, c.task)
      t:note("once")
      neap.shield(sleep, 1)
      t:note("later")
    end)
    task:cancel()
    await(neap.yield())
    c:resolve("late")
    await(task)
    assert.equal("once later", t:logged())
  end))

  it("[C7] has one Cancelled object, with scope and reason", h.run(function()
    local kept, first, second, in_child
    neap.scope(function(scope)
      kept = scope
      neap.start(function()
        in_child = caught(sleep, 10)
        error(in_child, 0)
      end)
      scope:cancel("why")
      first = caught(sleep, 1)
      second = caught(sleep, 1)
      error(second, 0)
    end)
    assert.is_true(neap.is_cancel(first))
    assert.is_true(rawequal(first, second))
    assert.is_true(rawequal(first, in_child))
    assert.equal(kept, first.scope)
    assert.equal("why", first.reason)
    assert.is_true(kept.caught)
  end))

  it("[C7] of an outer scope is not absorbed by the ones inside it", h.run(function(t)
    assert.same({ false, "outer" }, { neap.scope(function(outer)
      neap.scope(function()
        neap.group(function()
          neap.try_for(10, function()
            outer:cancel("outer")
            sleep(1)
          end)
          t:note("never")
        end)
        t:note("never")
      end)
      t:note("never")
    end) })
    assert.equal("", t:logged())
  end))

  it("[C22] reaches a chain of 10000 tasks", h.run(function()
    local depth = 0
    local function descend(n)
      if n == 0 then
        sleep(10)
      else
        local _ <close> = closing(function() depth = depth + 1 end)
        await(neap.start(descend, n - 1))
      end
    end
    local task = neap.start(descend, 10000)
    task:cancel("deep")
    assert.same({ "cancelled", "deep" }, { await(neap.settle(task)) })
    assert.equal(10000, depth)
  end))
end)

describe("in a cancelled scope", function()
  it("[C4] an operation has no effect and does not fail either", h.run(function()
    local path = os.tmpname()
    neap.scope(function(scope)
      scope:cancel()
      local read, missing = neap.fs.read_file(path), neap.fs.read_file(path .. "/missing")
      assert.equal("cancelled", read:status())
      assert.equal("cancelled", missing:status())
      assert.is_true(neap.is_cancel(caught(await, read)))
    end)
    os.remove(path)
  end))

  it("[C5] the first raise is at once, each later one a turn later", h.run(function(t)
    local task
    task = neap.start(function()
      await(neap.yield())
      task:cancel()
      for i = 1, 3 do
        pcall(sleep, 1)
        t:note(i)
      end
    end)
    local other = neap.start(function()
      for _, name in ipairs { "a", "b", "c" } do
        await(neap.yield())
        t:note(name)
      end
    end)
    await(task)
    await(other)
    assert.equal("1 a 2 b 3 c", t:logged())
  end))

  it("[C5] the turn is counted for the task, over all its scopes", h.run(function(t)
    local function cancelled_scope(scope)
      scope:cancel()
      sleep(1)
    end
    local task = neap.start(function()
      await(neap.yield())
      for i = 1, 2 do
        neap.scope(cancelled_scope)
        t:note(i)
      end
    end)
    local other = neap.start(function()
      await(neap.yield())
      t:note("other")
    end)
    await(task)
    await(other)
    assert.equal("1 other 2", t:logged())
  end))

  it("[C5] the warning is counted for each scope and each task", h.run(function(t)
    for _ = 1, 2 do
      neap.scope(function(scope)
        scope:cancel()
        swallow(600)
      end)
    end
    neap.scope(function(scope)
      neap.start(swallow, 600)
      neap.start(swallow, 600)
      scope:cancel()
    end)
    assert.equal(0, #t.warnings)
    neap.scope(function(scope)
      scope:cancel()
      swallow(999)
      assert.equal(0, #t.warnings)
      swallow(2)
      assert.equal(1, #t.warnings)
      swallow(1500)
    end)
    assert.equal(1, #t:take_warnings())
  end))

  it("[C16] a child runs to its first wait, and what it was given is closed", h.run(function(t)
    local child
    neap.scope(function(scope)
      scope:cancel("stop")
      local resource = closing(function() t:note("closed") end)
      child = neap.start(function(given)
        local _ <close> = given
        t:note("started")
        sleep(1)
        t:note("never")
      end, resource)
    end)
    assert.equal("started closed", t:logged())
    assert.equal("cancelled", child:status())
  end))

  it("[C16] a child that never waits is done", h.run(function()
    local child
    neap.scope(function(scope)
      scope:cancel()
      child = neap.start(function() return "value" end)
    end)
    assert.equal("value", await(child))
  end))

  it("[C18] a plain pcall may catch Cancelled, the next wait raises it again", h.run(function(t)
    assert.same({ false, "stop" }, { neap.scope(function(scope)
      scope:cancel("stop")
      t:note(neap.is_cancel(caught(sleep, 1)))
      sleep(1)
      t:note("never")
    end) })
    assert.equal("true", t:logged())
  end))

  it("[C18] neap.xpcall lets the caller's own Cancelled pass", h.run(function(t)
    local function handler(err) return { handled = err } end
    assert.same({ true, 1, nil, 3, n = 4 },
      table.pack(neap.xpcall(function(...) return ... end, handler, 1, nil, 3)))
    assert.same({ false, { handled = "e" } }, { neap.xpcall(error, handler, "e", 0) })
    assert.same({ false, "stop" }, { neap.scope(function(scope)
      scope:cancel("stop")
      neap.xpcall(sleep, handler, 1)
      t:note("never")
    end) })
    assert.equal("", t:logged())
  end))
end)

describe("a deadline", function()
  local function late(value)
    neap.shield(sleep, 2)
    return value
  end

  it("[C8] that has passed does not undo a body that returned", h.run(function()
    assert.equal("value", neap.timeout(1, late, "value"))
    assert.same({ true, "value" }, { neap.try_for(1, late, "value") })
    assert.same({ true, "value" }, {
      neap.scope({ timeout = 1 }, function() return late("value") end),
    })
    do
      local _ <close> = neap.deadline(1)
      late()
    end
    sleep(1)
  end))

  it("[C8] that passes during the join does not undo a body that returned", h.run(function(t)
    local elapsed = stopwatch()
    local function body()
      neap.start(function()
        local _ <close> = closing(function() t:note("child") end)
        sleep(50)
      end)
      return "value"
    end
    assert.equal("value", neap.timeout(1, body))
    assert.equal(1, elapsed())
    assert.same({ true, "value" }, { neap.try_for(1, body) })
    assert.same({ true, "value" }, { neap.scope({ timeout = 1 }, body) })
    do
      local _ <close> = neap.deadline(1)
      body()
    end
    assert.equal(4, elapsed())
    assert.equal("child child child child", t:logged())
  end))

  it("[C8] does not replace the error that is leaving the block", h.run(function()
    local e = {}
    local function body()
      pcall(sleep, 10)
      error(e, 0)
    end
    assert.equal(e, caught(neap.timeout, 1, body))
    assert.equal(e, caught(neap.try_for, 1, body))
    assert.equal(e, caught(function()
      local _ <close> = neap.deadline(1)
      body()
    end))
  end))
end)

describe("the join of a scope", function()
  it("[C15] is not abandoned for a deadline around it", h.run(function(t)
    local elapsed = stopwatch()
    h.raises("ETIMEDOUT", neap.timeout, 1, function()
      neap.scope(function() cleans_up(3, function() t:note("cleaned") end) end)
      t:note("never")
    end)
    assert.equal("cleaned", t:logged())
    assert.equal(4, elapsed())
  end))

  it("[C17] waits for a plain call that failed without cancelling the rest", h.run(function(t)
    local elapsed, e = stopwatch(), {}
    assert.equal(e, caught(neap.group, function(g)
      g:spawn(function() sleep(3) t:note("sibling") end)
      support.fails_after(1, e)
      sleep(2)
      t:note("body")
    end))
    assert.equal("body sibling", t:logged())
    assert.equal(3, elapsed())
  end))
end)
