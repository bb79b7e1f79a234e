local neap = require "neap"
local h = require "spec.helper"
local support = require "spec.support"

local await = neap.await
local stopwatch = support.stopwatch
local fails_after, cleans_up = support.fails_after, support.cleans_up

local function sleep(seconds)
  await(neap.sleep(seconds))
end

local function caught(fn, ...)
  local ok, err = pcall(fn, ...)
  assert.is_false(ok)
  return err
end

-- Asserts that the task ends as failed with this very error.
local function assert_failed(err, task)
  local status, actual = await(neap.settle(task))
  assert.equal("failed", status)
  assert.equal(err, actual)
end

local function run(fn)
  return pcall(neap.run, { clock = neap.test_clock { autojump = true } }, fn)
end

local forms = {
  { "scope", function(fn) neap.scope(fn) end },
  { "group", function(fn) neap.group(fn) end },
  { "timeout", function(fn) neap.timeout(100, fn) end },
  { "try_for", function(fn) neap.try_for(100, fn) end },
  { "shield", function(fn) neap.shield(fn) end },
  { "a closable deadline", function(fn)
    local _ <close> = neap.deadline(100)
    fn()
  end },
  { "a closable group", function(fn)
    local _ <close> = neap.group()
    fn()
  end },
}

describe("ownership", function()
  for _, form in ipairs(forms) do
    it("[S95] lets nothing outlive " .. form[1], h.run(function()
      local elapsed = stopwatch()
      form[2](function() neap.start(sleep, 3) end)
      assert.equal(3, elapsed())
      form[2](function()
        neap.start(function() neap.start(function() neap.start(sleep, 3) end) end)
      end)
      assert.equal(6, elapsed())
    end))

    it("[S96] cancels and joins before an error leaves " .. form[1], h.run(function(t)
      local elapsed, e = stopwatch(), {}
      assert.equal(e, caught(form[2], function()
        cleans_up(2, function() t:note("cleaned") end)
        sleep(1)
        error(e, 0)
      end))
      assert.equal("cleaned", t:logged())
      assert.equal(3, elapsed())
    end))

    it("[S99] lets no operation delay the exit of " .. form[1], h.run(function()
      local elapsed = stopwatch()
      local op
      form[2](function() op = neap.sleep(50) end)
      assert.equal("cancelled", op:status())
      assert.equal(0, elapsed())
    end))
  end

  it("[S95] is not an async function's: run waits for what it started", h.plain(function(t)
    assert.is_true(run(function()
      local elapsed = stopwatch()
      local task = neap.async(function()
        neap.start(function() sleep(3) t:note(elapsed() == 3) end)
        return "value"
      end)()
      assert.equal("done", task:status())
      assert.equal("value", await(task))
      t:note("main")
    end))
    assert.equal("main true", t:logged())
  end))

  it("[S96] leaves running what a failed async function started", h.run(function(t)
    local e, child = {}, nil
    local task = neap.start(function()
      child = neap.start(function() sleep(3) t:note("went on") end)
      error(e, 0)
    end)
    assert_failed(e, task)
    assert.equal("pending", child:status())
    await(child)
    assert.equal("went on", t:logged())
  end))

  it("[S113] cancels at any depth, except behind a shield or in background", h.run(function(t)
    local deep, shielded, background
    local task = neap.start(function()
      background = neap.background(function() sleep(5) t:note("background") end)
      neap.start(function()
        neap.start(function()
          deep = neap.start(sleep, 10)
          neap.shield(function()
            shielded = neap.start(function() sleep(4) t:note("shielded") end)
          end)
        end)
      end)
      sleep(10)
    end)
    sleep(1)
    task:cancel()
    await(neap.settle(deep))
    assert.equal("cancelled", deep:status())
    await(shielded)
    await(background)
    assert.equal("shielded background", t:logged())
  end))

  it("[S113] passes to the parent in the tree when a task ends", h.run(function()
    local middle, grandchild
    local parent = neap.start(function()
      middle = neap.start(function() grandchild = neap.start(sleep, 10) end)
      sleep(10)
    end)
    assert.equal("done", middle:status())
    sleep(1)
    parent:cancel("all")
    assert.same({ "cancelled", "all" }, { await(neap.settle(grandchild)) })
  end))

  for _, form in ipairs(forms) do
    if form[1] ~= "shield" then
      it("[S107] is kept by a join that is cancelled from outside: " .. form[1], h.run(function(t)
        local elapsed = stopwatch()
        local task = neap.start(function()
          form[2](function()
            cleans_up(2, function() t:note("cleaned") end)
          end)
          t:note("never")
        end)
        sleep(1)
        task:cancel("outside")
        assert.same({ "cancelled", "outside" }, { await(neap.settle(task)) })
        assert.equal("cleaned", t:logged())
        assert.equal(3, elapsed())
      end))
    end
  end
end)

describe("a lost error", function()
  it("[S97] is raised by the scope when it exits, and cancels nobody", h.run(function(t)
    local elapsed, e = stopwatch(), {}
    assert.equal(e, caught(neap.scope, function()
      fails_after(1, e)
      sleep(2)
      t:note("body")
      neap.start(function() sleep(2) t:note("sibling") end)
    end))
    assert.equal("body sibling", t:logged())
    assert.equal(4, elapsed())
  end))

  it("[S97] is raised even when its Task was collected before", h.run(function()
    local e = {}
    assert.equal(e, caught(neap.scope, function()
      fails_after(0, e)
      sleep(1)
      collectgarbage()
      collectgarbage()
      sleep(1)
    end))
  end))

  it("[S97] that is not the first is in the scope's errors", h.run(function()
    local e1, e2, kept = {}, {}, nil
    assert.equal(e1, caught(neap.scope, function(scope)
      kept = scope
      fails_after(1, e1)
      fails_after(2, e2)
    end))
    assert.equal(1, #kept.errors)
    assert.equal(e2, kept.errors[1])
  end))

  it("[S97] beats the scope's own Cancelled", h.run(function()
    local e = {}
    assert.equal(e, caught(neap.scope, function(scope)
      fails_after(1, e)
      sleep(2)
      scope:cancel()
      sleep(1)
    end))
  end))

  it("[S97] beats an outer Cancelled", h.run(function()
    local e = {}
    local task = neap.start(function()
      neap.scope(function()
        fails_after(1, e)
        sleep(10)
      end)
    end)
    sleep(2)
    task:cancel()
    assert_failed(e, task)
  end))

  it("[S97] beats ETIMEDOUT", h.run(function()
    local elapsed, e = stopwatch(), {}
    local function body()
      fails_after(1, e)
      sleep(10)
    end
    assert.equal(e, caught(neap.timeout, 2, body))
    assert.equal(2, elapsed())
    assert.equal(e, caught(neap.try_for, 2, body))
    assert.equal(e, caught(function()
      local _ <close> = neap.deadline(2)
      body()
    end))
  end))

  it("[S97] does not beat a real error of the body", h.run(function()
    local e1, e2, kept = {}, {}, nil
    assert.equal(e2, caught(neap.scope, function(scope)
      kept = scope
      fails_after(1, e1)
      sleep(2)
      error(e2, 0)
    end))
    assert.equal(e1, kept.errors[1])
  end))

  it("[S97] at run's root is reported at once and raised at the end", h.plain(function(t)
    local e1, e2 = {}, {}
    local ok, err = run(function()
      fails_after(1, e1)
      sleep(2)
      collectgarbage()
      collectgarbage()
      sleep(1)
      assert.equal(1, #t.unobserved)
      assert.equal(e1, t.unobserved[1].err)
      fails_after(1, e2)
      neap.start(function() sleep(5) t:note("went on") end)
    end)
    assert.is_false(ok)
    assert.equal(e1, err)
    assert.equal("went on", t:logged())
    local lost = t:take_unobserved()
    assert.equal(2, #lost)
    assert.equal(e2, lost[2].err)
  end))

  it("[S97] at run's root does not beat main's own error", h.plain(function(t)
    local e1, e2 = {}, {}
    local ok, err = run(function()
      fails_after(1, e1)
      sleep(2)
      error(e2, 0)
    end)
    assert.is_false(ok)
    assert.equal(e2, err)
    local lost = t:take_unobserved()
    assert.equal(1, #lost)
    assert.equal(e1, lost[1].err)
  end))

  it("[S98] is none when it is awaited before the scope exits", h.run(function()
    local e = {}
    assert.same({ true, 1 }, { neap.scope(function()
      local task = fails_after(1, e)
      sleep(2)
      assert.equal(e, caught(await, task))
      return 1
    end) })
  end))
end)
