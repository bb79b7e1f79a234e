local h = require "spec.helper"
local support = require "spec.support"
local neap = require "neap"

local await = neap.await
local closing, takes = support.closing, support.takes

local function sleep(seconds)
  await(neap.sleep(seconds))
end

--- A closable iterator of 1 ... n; step(i) is called first. It notes its closing.
local function iterator(t, n, step)
  local i = 0
  return setmetatable({}, {
    __call = function()
      if i == n then return nil end
      i = i + 1
      if step then step(i) end
      return i
    end,
    __close = function() t:note("closed") end,
  })
end

local function caught(fn, ...)
  local ok, err = pcall(fn, ...)
  assert.is_false(ok)
  return err
end

describe("neap.for_each over a list", function()
  it("[S178] calls the function with item and index, and gives nothing", h.run(function(t)
    takes(2, function()
      assert.equal(0, select("#", await(neap.for_each({ "a", "b" }, function(...)
        sleep(1)
        t:note(table.concat({ select("#", ...), ... }, ","))
        return "ignored"
      end, { limit = 1 }))))
    end)
    assert.equal("2,a,1 2,b,2", t:logged())
  end))

  it("[S178] of no items is done at once", h.run(function()
    assert.equal("done", neap.for_each({}, error):status())
  end))

  it("[S179] cancels and joins the rest at the first error, raised unchanged", h.run(function(t)
    local e = {}
    takes(3, function()
      local task = neap.for_each({ "a", "fails", "never" }, function(x)
        t:note(x)
        if x == "fails" then sleep(1) error(e, 0) end
        local _ <close> = neap.defer(function() sleep(2) t:note("cleaned") end)
        sleep(1000)
      end, { limit = 2 })
      assert.is_true(rawequal(e, caught(await, task)))
    end)
    assert.equal("a fails cleaned", t:logged())
  end))

  it("[S182] gives each body the caller's local values, changes stay in it", h.run(function(t)
    local v = neap.localvar("default")
    v:set("caller")
    await(neap.for_each({ 1, 2, 3 }, function(i)
      t:note(v:get())
      v:set(i)
      sleep(1)
      t:note(v:get())
    end, { limit = 1 }))
    assert.equal("caller 1 caller 2 caller 3", t:logged())
    assert.equal("caller", v:get())
  end))
end)

describe("neap.for_each over an iterator", function()
  it("[S178] hands over all values, until the first of them is nil", h.run(function(t)
    local rows = { { 1, nil, 3, nil, n = 4 }, { false, n = 1 }, { nil, 2, n = 2 }, { 4, n = 1 } }
    local i = 0
    await(neap.for_each(function()
      i = i + 1
      return table.unpack(rows[i], 1, rows[i].n)
    end, function(...) t:note(select("#", ...) .. tostring((...))) end))
    assert.equal("41 1false", t:logged())
    assert.equal(3, i)
  end))

  it("[S178] runs so many bodies as the limit allows, and does not read ahead", h.run(
    function(t)
      local running, most, ended, ahead = 0, 0, 0, 0
      takes(5, function()
        await(neap.for_each(iterator(t, 10, function(i) ahead = math.max(ahead, i - ended) end),
          function()
            running = running + 1
            most = math.max(most, running)
            sleep(1)
            running, ended = running - 1, ended + 1
          end, { limit = 2 }))
      end)
      assert.same({ 2, 10 }, { most, ended })
      assert.is_true(ahead <= 3, ahead .. " items were taken before a body ended")
      assert.equal("closed", t:logged())
    end))

  it("[S178] lets bodies run while the iterator waits", h.run(function(t)
    takes(4, function()
      await(neap.for_each(iterator(t, 3, function() sleep(1) end), function(i)
        sleep(1)
        t:note(i .. "@" .. neap.now())
      end))
    end)
    table.sort(t.log) -- it may be closed before the last body has ended
    assert.equal("1@2.0 2@3.0 3@4.0 closed", t:logged())
  end))

  it("[S178] [C16] calls neither in a cancelled scope", h.run(function(t)
    neap.scope(function(scope)
      scope:cancel("closed")
      local task = neap.for_each(function() t:note("iterator") end, function() t:note("body") end)
      assert.equal("cancelled", task:status())
      assert.is_true(neap.is_cancel(select(2, pcall(await, task))))
    end)
    assert.equal("", t:logged())
  end))

  it("[S179] closes it once when a body fails", h.run(function(t)
    local e = {}
    local task = neap.for_each(iterator(t, 10), function(i)
      local _ <close> = neap.defer(function() sleep(1) t:note(i) end)
      sleep(i == 2 and 1 or 1000)
      error(e, 0)
    end, { limit = 3 })
    assert.is_true(rawequal(e, caught(await, task)))
    table.sort(t.log)
    assert.equal("1 2 3 closed", t:logged())
  end))

  it("[S179] ends a wait of the iterator when a body fails", h.run(function(t)
    takes(1, function()
      local task = neap.for_each(iterator(t, 2, function(i)
        if i == 2 then sleep(100) end
      end), function() sleep(1) error("bad", 0) end)
      assert.equal("bad", caught(await, task))
    end)
    assert.equal("closed", t:logged())
  end))

  it("[S180] that fails counts as a body that fails", h.run(function(t)
    local e = {}
    takes(3, function()
      local task = neap.for_each(iterator(t, 9, function(i)
        if i == 3 then sleep(1) error(e, 0) end
      end), function(i)
        local _ <close> = neap.defer(function() sleep(i) t:note(i) end)
        sleep(1000)
      end)
      assert.is_true(rawequal(e, caught(await, task)))
    end)
    table.sort(t.log)
    assert.equal("1 2 closed", t:logged())
  end))

  it("[S180] that fails at its first call leaves no body called", h.run(function(t)
    local task = neap.for_each(function() error("bad", 0) end, function() t:note("body") end)
    assert.equal("bad", caught(await, task))
    assert.equal("", t:logged())
  end))

  it("[S68] [C11] closes it when its scope is cancelled, and ends last", h.run(function(t)
    takes(3, function()
      neap.scope({ timeout = 1 }, function()
        local _ <close> = closing(function() t:note("waiter") end)
        await(neap.for_each(iterator(t, 9), function(i)
          local _ <close> = neap.defer(function() sleep(i) end)
          sleep(1000)
        end, { limit = 2 }))
      end)
    end)
    assert.equal("closed waiter", t:logged())
  end))

  it("[S9] closes it when its Task is cancelled, in a pull or in a body", h.run(function(t)
    for _, slow in ipairs({ "pull", "body" }) do
      local task = neap.for_each(iterator(t, 9, slow == "pull" and function() sleep(100) end),
        function() sleep(100) end, { limit = 1 })
      sleep(1)
      assert.is_true(task:cancel("enough"))
      assert.is_false(task:cancel("again"))
      takes(0, function()
        assert.same({ "cancelled", "enough" }, { await(neap.settle(task)) })
      end)
      t:note(slow)
    end
    assert.equal("closed pull closed body", t:logged())
  end))

  it("[S181] raises a body's error though the scope is cancelled in that turn", h.run(function(t)
    local e = {}
    assert.is_true(rawequal(e, caught(neap.scope, function(scope)
      await(neap.for_each(iterator(t, 2), function(i)
        sleep(1)
        if i == 1 then error(e, 0) end
        scope:cancel("enough")
      end))
    end)))
    assert.equal("closed", t:logged())
  end))

  it("[S95] is joined by the scope around it, though it is dropped", h.run(function(t)
    takes(2, function()
      neap.scope(function()
        neap.for_each(iterator(t, 2), function() sleep(1) end, { limit = 1 })
        collectgarbage()
      end)
    end)
    assert.equal("closed", t:logged())
  end))

  it("[S252] in the background closes it at the end of run", h.plain(function(t)
    neap.run({ clock = t.clock }, function()
      neap.background(function()
        await(neap.for_each(iterator(t, 2), function() sleep(1000) end))
      end)
      sleep(1)
    end)
    assert.equal("closed", t:logged())
  end))

  it("[S186] takes the items of a channel, and does not close it", h.run(function(t)
    local ch = neap.channel()
    neap.start(function()
      for i = 1, 5 do await(ch:send(i, nil, "x")) sleep(1) end
    end)
    local task = neap.for_each(ch, function(i, _, x)
      t:note(i .. x)
      if i == 3 then error("bad", 0) end
    end, { limit = 2 })
    assert.equal("bad", caught(await, task))
    assert.equal("1x 2x 3x", t:logged())
    sleep(5)
    assert.same({ true, 4, nil, "x", n = 4 }, table.pack(ch:try_recv()))
    ch:close()
    await(neap.for_each(ch, function(i) t:note(i) end))
    assert.equal("1x 2x 3x 5", t:logged())
  end))

  it("[S209] closes a stream before it ends, whatever the way", h.run(function(t)
    local source = neap.stream(function(yield)
      local _ <close> = neap.defer(function() sleep(1) t:note("producer") end)
      for i = 1, 5 do
        sleep(1)
        yield(i)
      end
    end)
    local task = neap.for_each(source(), function(i) if i == 2 then error("bad", 0) end end)
    assert.equal("bad", caught(await, task))
    t:note("failed")
    takes(6, function() await(neap.for_each(source(), function() end)) end)
    t:note("done")
    assert.equal("producer failed producer done", t:logged())
  end))

  it("[S127] takes the tasks of each", h.run(function(t)
    local list = { support.returns_after(2, "slow"), support.returns_after(1, "fast") }
    await(neap.for_each(neap.each(list), function(task, index) t:note(index .. await(task)) end))
    assert.equal("2fast 1slow", t:logged())
  end))

  it("[S178] takes 10 000 items of a stream, 100 at a time", h.run(function()
    local source = neap.stream(function(yield)
      for i = 1, 10000 do yield(i) end
    end)
    local running, most, sum = 0, 0, 0
    await(neap.for_each(source(), function(i)
      running = running + 1
      most = math.max(most, running)
      sleep(i % 7)
      running, sum = running - 1, sum + i
    end, { limit = 100 }))
    assert.same({ 100, 50005000 }, { most, sum })
  end))

  it("raises argument errors at once", h.run(function(t)
    local function called() t:note("called") end
    h.bad_argument("for_each", 1, neap.for_each)
    h.bad_argument("for_each", 1, neap.for_each, 5, called)
    h.bad_argument("for_each", 2, neap.for_each, called)
    h.bad_argument("for_each", 3, neap.for_each, called, called, 5)
    h.bad_argument("for_each", 3, neap.for_each, called, called, { limit = 0 })
    assert.equal("", t:logged())
  end))

  it("[S179] survives failing allocations", h.plain(function(t)
    h.each_failure(function()
      local sum = neap.run({ clock = t.clock }, function()
        local sum = 0
        await(neap.for_each(iterator(t, 3), function(i)
          sleep(i)
          sum = sum + i
        end, { limit = 2 }))
        return sum
      end)
      assert(sum == 6, "a run that succeeded has a wrong result")
    end)
    t:take_unobserved()
    t:take_warnings()
  end))
end)
