local neap = require "neap"
local h = require "spec.helper"
local support = require "spec.support"

local await = neap.await
local closing, stopwatch = support.closing, support.stopwatch

local function sleep(seconds)
  await(neap.sleep(seconds))
end

local function fail_after(seconds, err)
  sleep(seconds)
  error(err, 0)
end

local function caught(fn, ...)
  local ok, err = pcall(fn, ...)
  assert.is_false(ok)
  return err
end

local function run(fn)
  return pcall(neap.run, { clock = neap.test_clock { autojump = true } }, fn)
end

-- To be spawned: sleeps, and notes its name when its clean-up of two seconds has ended.
local function cleans_up(t, name)
  local _ <close> = closing(function()
    neap.shield(sleep, 2)
    t:note(name)
  end)
  sleep(50)
end

describe("neap.group with a function", function()
  it("[S58] passes arguments in and all results out, nils kept", h.run(function()
    local r = table.pack(neap.group(function(g, ...)
      assert.is_truthy(g.spawn)
      return select("#", ...), nil, ...
    end, "a", nil))
    assert.same({ 2, nil, "a", nil, n = 4 }, r)
  end))

  it("[S80] starts a child when already cancelled, up to its first wait", h.run(function(t)
    local child
    neap.group(function(g)
      g:cancel("stop")
      child = g:spawn(function(x)
        t:note(x)
        sleep(1)
        t:note("never")
      end, "started")
    end)
    assert.equal("started", t:logged())
    assert.equal("cancelled", child:status())
  end))

  it("[S100] raises a child's error after all others have ended", h.run(function(t)
    local elapsed, e = stopwatch(), {}
    local sibling
    local err = caught(neap.group, function(g)
      local _ <close> = closing(function() t:note("body") end)
      sibling = g:spawn(function()
        local _ <close> = closing(function() t:note("sibling") end)
        sleep(50)
      end)
      g:spawn(fail_after, 1, e)
      sleep(50)
    end)
    assert.equal(e, err)
    assert.equal(1, elapsed())
    assert.equal("cancelled", sibling:status())
    table.sort(t.log)
    assert.equal("body sibling", t:logged())
  end))

  it("[S100] joins the siblings before the error leaves it", h.run(function(t)
    local elapsed, e = stopwatch(), {}
    assert.equal(e, caught(neap.group, function(g)
      g:spawn(cleans_up, t, "cleaned")
      g:spawn(fail_after, 1, e)
    end))
    assert.equal("cleaned", t:logged())
    assert.equal(3, elapsed())
  end))

  it("[S103] returns without error after its own cancel, joined", h.run(function(t)
    local elapsed = stopwatch()
    neap.group(function(g)
      g:spawn(cleans_up, t, "cleaned")
      sleep(1)
      assert.is_true(g:cancel("enough"))
      assert.is_false(g:cancel("again"))
      sleep(1)
      t:note("never")
    end)
    t:note("after")
    sleep(1)
    assert.equal("cleaned after", t:logged())
    assert.equal(4, elapsed())
  end))

  it("[S104] is not touched by one child that is cancelled", h.run(function()
    local elapsed = stopwatch()
    local sibling
    local result = neap.group(function(g)
      local child = g:spawn(sleep, 10)
      sibling = g:spawn(function()
        sleep(2)
        return "sibling"
      end)
      sleep(1)
      child:cancel()
      return "body"
    end)
    assert.equal("body", result)
    assert.equal("sibling", await(sibling))
    assert.equal(2, elapsed())
  end))

  it("[S105] raises the error that is first in time, the other is in errors", h.run(function()
    local e1, e2, group = {}, {}, nil
    local err = caught(neap.group, function(g)
      group = g
      g:spawn(fail_after, 1, e1)
      g:spawn(fail_after, 1, e2)
    end)
    assert.equal(e1, err)
    assert.equal(1, #group.errors)
    assert.equal(e2, group.errors[1])
  end))

  it("[S105] takes no account of the order in which they were spawned", h.run(function()
    local e1, e2, group = {}, {}, nil
    local err = caught(neap.group, function(g)
      group = g
      g:spawn(function()
        pcall(sleep, 10)
        error(e1, 0)
      end)
      g:spawn(fail_after, 1, e2)
    end)
    assert.equal(e2, err)
    assert.equal(e1, group.errors[1])
  end))

  it("[S105] reports the other error when nobody reads it", h.plain(function(t)
    local e1, e2 = {}, {}
    local ok, err = run(function()
      neap.group(function(g)
        g:spawn(fail_after, 1, e1)
        g:spawn(fail_after, 1, e2)
      end)
    end)
    assert.is_false(ok)
    assert.equal(e1, err)
    collectgarbage()
    collectgarbage()
    local lost = t:take_unobserved()
    assert.equal(1, #lost)
    assert.equal(e2, lost[1].err)
  end))

  it("[S106] raises a real error rather than a cancellation from outside", h.run(function()
    local e = {}
    local task = neap.start(neap.group, function(g)
      g:spawn(function()
        pcall(sleep, 10)
        error(e, 0)
      end)
      sleep(10)
    end)
    sleep(1)
    task:cancel()
    local status, err = await(neap.settle(task))
    assert.equal("failed", status)
    assert.equal(e, err)
  end))

  it("[S106] raises a real error rather than return after its own cancel", h.run(function()
    local e = {}
    assert.equal(e, caught(neap.group, function(g)
      g:spawn(function()
        pcall(sleep, 10)
        error(e, 0)
      end)
      g:cancel()
      sleep(10)
    end))
  end))

  it("[S107] that is joining lets a cancellation pass after the join", h.run(function(t)
    local elapsed = stopwatch()
    local task = neap.start(function()
      neap.group(function(g)
        g:spawn(cleans_up, t, "cleaned")
        return "returned"
      end)
      t:note("never")
    end)
    sleep(1)
    task:cancel("outside")
    assert.same({ "cancelled", "outside" }, { await(neap.settle(task)) })
    assert.equal("cleaned", t:logged())
    assert.equal(3, elapsed())
  end))

  it("[S108] does not swallow a cancellation from outside beside its own", h.run(function(t)
    local group
    local task = neap.start(function()
      neap.group(function(g)
        group = g
        sleep(10)
      end)
      t:note("never")
    end)
    sleep(1)
    group:cancel("own")
    task:cancel("outside")
    assert.same({ "cancelled", "outside" }, { await(neap.settle(task)) })
    assert.equal("", t:logged())
  end))

  it("[S108] does not swallow the one that comes in its cancelled join", h.run(function(t)
    local elapsed = stopwatch()
    local task = neap.start(function()
      neap.group(function(g)
        g:spawn(cleans_up, t, "cleaned")
        g:cancel("own")
        sleep(10)
      end)
      t:note("never")
    end)
    sleep(1)
    task:cancel("outside")
    assert.same({ "cancelled", "outside" }, { await(neap.settle(task)) })
    assert.equal("cleaned", t:logged())
    assert.equal(2, elapsed())
  end))

  it("[S109] passes the error of a nested group unchanged", h.run(function()
    local elapsed, e = stopwatch(), {}
    assert.equal(e, caught(neap.group, function(outer)
      outer:spawn(sleep, 50)
      outer:spawn(neap.group, function(inner)
        inner:spawn(sleep, 50)
        inner:spawn(neap.group, function(innermost) innermost:spawn(fail_after, 1, e) end)
      end)
      neap.group(function(inner) inner:spawn(sleep, 50) end)
    end))
    assert.equal(1, elapsed())
  end))

  it("[S110] refuses to spawn after it has finished", h.run(function(t)
    local finished
    neap.group(function(g) finished = g end)
    h.misuse(function() finished:spawn(function() t:note("never") end) end)
    assert.equal("", t:logged())
  end))

  it("[S110] spawns while it is being cancelled", h.run(function(t)
    neap.group(function(g)
      g:spawn(function()
        local _ <close> = closing(function()
          g:spawn(function()
            t:note("started")
            sleep(1)
            t:note("never")
          end)
        end)
        sleep(10)
      end)
      g:cancel()
    end)
    assert.equal("started", t:logged())
  end))
end)

describe("a closable neap.group", function()
  it("[S101] interrupts the body, and a child's error leaves the block", h.run(function(t)
    local elapsed, e = stopwatch(), {}
    local err = caught(function()
      local g <close> = neap.group()
      local _ <close> = closing(function(reason) t:note(neap.is_cancel(reason)) end)
      g:spawn(fail_after, 1, e)
      sleep(10)
      t:note("never")
    end)
    assert.equal(e, err)
    assert.equal("true", t:logged())
    assert.equal(1, elapsed())
  end))

  it("[S102] waits for all children on normal exit", h.run(function(t)
    local elapsed = stopwatch()
    do
      local g <close> = neap.group()
      g:spawn(function() sleep(1) t:note("one") end)
      g:spawn(function() sleep(3) t:note("three") end)
    end
    assert.equal("one three", t:logged())
    assert.equal(3, elapsed())
  end))

  it("[S103] makes ECANCELLED of its own cancel that interrupted the body", h.run(function(t)
    local elapsed = stopwatch()
    local err = h.raises("ECANCELLED", function()
      local g <close> = neap.group()
      g:spawn(cleans_up, t, "cleaned")
      g:cancel("enough")
      sleep(1)
    end)
    assert.equal("enough", err.reason)
    assert.is_false(neap.is_cancel(err))
    assert.equal("cleaned", t:logged())
    assert.equal(2, elapsed())
  end))

  it("[S103] leaves the block normally when nothing was interrupted", h.run(function(t)
    local elapsed = stopwatch()
    do
      local g <close> = neap.group()
      g:spawn(cleans_up, t, "cleaned")
      g:cancel("enough")
    end
    sleep(1)
    assert.equal("cleaned", t:logged())
    assert.equal(3, elapsed())
  end))

  it("[S110] refuses to spawn after its block", h.run(function()
    local finished
    do
      local g <close> = neap.group()
      finished = g
    end
    h.misuse(function() finished:spawn(sleep, 1) end)
  end))
end)
