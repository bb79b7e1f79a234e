local neap = require "neap"
local h = require "spec.helper"
local support = require "spec.support"

local await = neap.await
local closing, stopwatch = support.closing, support.stopwatch

local SPAWNED = os.getenv("NEAP_SLOW") and 10000 or 100000

local function sleep(seconds)
  await(neap.sleep(seconds))
end

local function run(options, fn)
  options.clock = neap.test_clock { autojump = true }
  return pcall(neap.run, options, fn)
end

describe("neap.background", function()
  it("[S112] passes the arguments and is waited for by no scope", h.run(function(t)
    local elapsed = stopwatch()
    local task
    neap.group(function()
      neap.scope(function()
        task = neap.background(function(...)
          sleep(3)
          return ...
        end, 1, nil)
      end)
    end)
    t:note(elapsed())
    assert.equal(0, elapsed())
    assert.same(table.pack(1, nil), table.pack(await(task)))
    assert.equal(3, elapsed())
  end))

  it("[S112] is not cancelled with the task or the scope that started it", h.run(function()
    local task
    neap.scope(function(scope)
      task = neap.background(function()
        sleep(3)
        return "value"
      end)
      scope:cancel()
    end)
    assert.equal("value", await(task))
  end))

  it("[S112] touches nobody when it fails, the error is reported", h.plain(function(t)
    local e = {}
    local ok = run({}, function()
      neap.group(function(g)
        g:spawn(function()
          neap.background(function() sleep(1) error(e, 0) end)
          sleep(2)
          t:note("child")
        end)
        sleep(3)
        t:note("body")
      end)
    end)
    assert.is_true(ok)
    assert.equal("child body", t:logged())
    local lost = t:take_unobserved()
    assert.equal(1, #lost)
    assert.equal(e, lost[1].err)
  end))

  it("[S112] is cancelled and joined when nothing else is left", h.plain(function(t)
    local ok = run({}, function()
      local elapsed = stopwatch()
      neap.background(function()
        local _ <close> = closing(function(err)
          t:note(neap.is_cancel(err))
          neap.shield(sleep, 2)
          t:note(elapsed())
        end)
        sleep(50)
      end)
      neap.start(sleep, 1)
    end)
    assert.is_true(ok)
    assert.equal("true", t.log[1])
    assert.equal(3, tonumber(t.log[2]))
  end))
end)

describe("shutdown", function()
  it("[C21] closes what has not ended in the grace period, one warning each", h.plain(function(t)
    local codes = {}
    local ok = run({ grace = 2 }, function()
      for name = 1, 2 do
        neap.background(function()
          local _ <close> = closing(function()
            local _, err = pcall(sleep, 1)
            codes[#codes + 1] = type(err) == "table" and err.code
            t:note(name)
          end)
          neap.shield(sleep, 1000)
          t:note("never")
        end)
      end
      neap.background(function()
        local _ <close> = closing(function() t:note("obeyed") end)
        sleep(1000)
      end)
    end)
    assert.is_true(ok)
    table.sort(t.log)
    assert.equal("1 2 obeyed", t:logged())
    assert.same({ "EMISUSE", "EMISUSE" }, codes)
    assert.equal(2, #t:take_warnings())
  end))

  it("[C21] leaves alone a background task that ends in the grace period", h.plain(function(t)
    assert.is_true(run({ grace = 3 }, function()
      neap.background(function()
        neap.shield(sleep, 2)
        t:note("ended")
      end)
    end))
    assert.equal("ended", t:logged())
  end))

  it("[C21] closes a task that swallows its cancellation, wherever it is", h.plain(function(t)
    neap.run({clock = t.clock, grace = 0.02}, function()
      neap.background(function()
        while true do pcall(sleep, 10) end
      end)
    end)
    assert.is_true(#t:take_warnings() >= 1)
  end))

  it("[C21] does not cancel background tasks before the last other one ended", h.plain(function(t)
    assert.is_true(run({}, function()
      neap.background(function()
        sleep(3)
        t:note("background")
      end)
      neap.start(function() neap.start(sleep, 4) end)
    end))
    assert.equal("background", t:logged())
  end))
end)

describe("a group that ran many short children", function()
  local function nothing() end

  local function yields()
    await(neap.yield())
  end

  it("[S111] holds no memory for those that have finished", h.run(function()
    local g <close> = neap.group()
    local function spawn(times)
      for i = 1, times do
        g:spawn(i % 2 == 0 and nothing or yields)
        if i % 500 == 0 then
          await(neap.yield())
          await(neap.yield())
        end
      end
      collectgarbage()
      collectgarbage()
      return collectgarbage("count")
    end
    local before = spawn(2000)
    assert.is_true(spawn(SPAWNED) - before < 64)
  end))
end)
