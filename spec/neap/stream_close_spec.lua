-- neap.stream: every way out of the consumer's loop, close(), yield where it does not belong,
-- streams nobody closes.

local h = require "spec.helper"
local support = require "spec.support"
local neap = require "neap"

local await = neap.await
local closing, takes = support.closing, support.takes

local function sleep(seconds)
  await(neap.sleep(seconds))
end

local function assert_ended(s)
  assert.equal(0, select("#", await(s:next())))
end

--- Counts without end; when closed it cleans up for `seconds`, then notes `name`.
local function counter(t, name, seconds)
  return neap.stream(function(yield)
    local _ <close> = closing(function(err)
      assert.is_true(neap.is_cancel(err))
      if seconds then sleep(seconds) end
      t:note(name)
    end)
    for i = 1, math.huge do yield(i) end
  end)
end

local function break_at_first(s, _, _, closing_value)
  for v in s, nil, nil, closing_value do
    if v == 1 then break end
  end
end

local function collect()
  collectgarbage()
  collectgarbage()
end

describe("a loop over a stream", function()
  it("[S209] that breaks waits for the producer's clean-up", h.run(function(t)
    takes(2, function()
      for v in counter(t, "closed", 2)() do
        if v == 3 then break end
      end
      t:note("after")
    end)
    assert.equal("closed after", t:logged())
  end))

  it("[S209] that returns waits for the clean-up and keeps its results", h.run(function(t)
    local function first()
      for v in counter(t, "closed", 2)() do
        if v == 2 then return v, nil, "x" end
      end
    end
    assert.same({ 2, nil, "x", n = 3 }, table.pack(first()))
    assert.equal("closed", t:logged())
    assert.equal(2, t.clock:now())
  end))

  it("[S209] that jumps out waits for the clean-up", h.run(function(t)
    for v in counter(t, "closed", 2)() do
      if v == 2 then goto out end
    end
    ::out::
    t:note("after")
    assert.equal("closed after", t:logged())
  end))

  it("[S209] that raises waits for the clean-up and keeps its error", h.run(function(t)
    local e = {}
    local ok, err = pcall(function()
      for v in counter(t, "closed", 2)() do
        if v == 2 then error(e, 0) end
      end
    end)
    t:note("after")
    assert.is_false(ok)
    assert.is_true(rawequal(e, err))
    assert.equal("closed after", t:logged())
  end))

  it("[S209] inside another: break closes the inner, the end of the outer one it", h.run(
    function(t)
      for v in counter(t, "outer", 1)() do
        for w in counter(t, "inner", 1)() do
          if w == 2 then break end
        end
        if v == 2 then break end
      end
      t:note("after")
      assert.equal("inner inner outer after", t:logged())
      assert.equal(3, t.clock:now())
    end))

  it("[S209] over a stream that loops over a stream closes the inner first", h.run(function(t)
    local outer = neap.stream(function(yield)
      local _ <close> = closing(function() t:note("outer") end)
      for v in counter(t, "inner", 2)() do yield(v) end
    end)
    for v in outer() do
      if v == 2 then break end
    end
    t:note("after")
    assert.equal("inner outer after", t:logged())
  end))

  it("[S209] raises what the producer's handler raises", h.run(function()
    local e = {}
    local f = neap.stream(function(yield)
      local _ <close> = closing(function()
        sleep(1)
        error(e, 0)
      end)
      yield(1)
    end)
    local ok, err = pcall(break_at_first, f())
    assert.is_false(ok)
    assert.is_true(rawequal(e, err))
  end))

  it("[S209] runs several handlers of the producer, the last one first", h.run(function(t)
    local f = neap.stream(function(yield)
      local _ <close> = closing(function() sleep(1) t:note("a") end)
      local _ <close> = closing(function() sleep(1) t:note("b") end)
      yield(1)
    end)
    break_at_first(f())
    assert.equal("b a", t:logged())
  end))
end)

describe("stream:close", function()
  it("[S214] of a stream that was never pulled runs nothing", h.run(function(t)
    local s = counter(t, "closed")()
    assert.equal("done", s:close():status())
    assert_ended(s)
    do local _ <close> = counter(t, "closed")() end
    assert.equal("", t:logged())
  end))

  it("[S225] runs the handlers once, however often it is called", h.run(function(t)
    local s = counter(t, "closed", 2)()
    await(s:next())
    local first, second = s:close(), s:close()
    takes(2, function() await(first) end)
    await(second)
    await(s:close())
    assert.equal("closed", t:logged())
    assert_ended(s)
  end))

  it("[S225] of a stream that has ended or failed does nothing", h.run(function()
    local s = neap.stream(function(yield) yield(1) end)()
    await(s:next())
    assert_ended(s)
    assert.equal("done", s:close():status())
    s = neap.stream(function() error("bad", 0) end)()
    assert.is_false(pcall(await, s:next()))
    assert.equal("done", s:close():status())
  end))

  it("[S209] ends the stream though its Task is dropped", h.run(function(t)
    local s = counter(t, "closed", 2)()
    await(s:next())
    s:close()
    collect()
    sleep(3)
    assert.equal("closed", t:logged())
    assert_ended(s)
  end))

  it("[S209] fails with the error of a handler, and does not run it again", h.run(function(t)
    local e = {}
    local s = neap.stream(function(yield)
      local _ <close> = closing(function() t:note("handler") error(e, 0) end)
      yield(1)
    end)()
    await(s:next())
    local ok, err = pcall(await, s:close())
    assert.is_false(ok)
    assert.is_true(rawequal(e, err))
    pcall(await, s:close())
    assert_ended(s)
    assert.equal("handler", t:logged())
  end))

  it("[S219] raises again at the next yield of a body that caught it", h.run(function(t)
    local f = neap.stream(function(yield)
      for i = 1, 3 do
        local ok, err = pcall(yield, i)
        t:note(i .. tostring(ok) .. tostring(neap.is_cancel(err)))
      end
      neap.pcall(yield, 4)
      t:note("never")
    end)
    break_at_first(f())
    assert.equal("1falsetrue 2falsetrue 3falsetrue", t:logged())
  end))

  it("[S219] ends a body that catches it and returns", h.run(function()
    local s = neap.stream(function(yield) pcall(yield, 1) return "ignored" end)()
    await(s:next())
    assert.equal(0, select("#", await(s:close())))
    assert_ended(s)
  end))

  it("[S215] during another task's pull leaves nobody waiting", h.run(function(t)
    local s = neap.stream(function(yield)
      local _ <close> = closing(function() t:note("handler") end)
      sleep(5)
      yield(1)
    end)()
    local puller = neap.start(function() pcall(await, s:next()) end)
    sleep(1)
    local ok, err = pcall(function() await(s:close()) end)
    assert.is_true(ok or err.code == "EMISUSE", tostring(err))
    assert.equal("done", (await(neap.settle(puller))))
    await(s:close())
    assert_ended(s)
    assert.equal("handler", t:logged())
  end))
end)

describe("yield of a stream", function()
  it("[S217] called in another task is misuse, and hurts nobody", h.run(function(t)
    local f = neap.stream(function(yield)
      local task = neap.start(function()
        h.misuse(function() yield("foreign") end)
        t:note("refused")
      end)
      yield(1)
      await(task)
      yield(2)
    end)
    for v in f() do t:note(v) end
    assert.equal("refused 1 2", t:logged())
  end))

  it("[S217] called by the consumer is misuse, between pulls and after the end", h.run(function()
    local leaked
    local s = neap.stream(function(yield)
      leaked = yield
      yield(1)
    end)()
    await(s:next())
    h.misuse(function() leaked(2) end)
    assert_ended(s)
    h.misuse(function() leaked(3) end)
  end))

  it("[S217] called in a coroutine or under a C function is misuse", h.run(function(t)
    local f = neap.stream(function(yield)
      coroutine.wrap(function() h.misuse(function() yield("coroutine") end) end)()
      table.sort({ 2, 1 }, function(a, b)
        h.misuse(function() yield("sort") end)
        return a < b
      end)
      yield("right")
    end)
    for v in f() do t:note(v) end
    assert.equal("right", t:logged())
  end))

  it("[S31] works under pcall, a metamethod and another function", h.run(function(t)
    local f = neap.stream(function(yield)
      t:note(select("#", yield(1)))
      assert(pcall(yield, 2))
      local adding = setmetatable({}, { __add = function(_, x) yield(x) return x + 1 end })
      yield(adding + 3)
    end)
    for v in f() do t:note(v) end
    assert.equal("1 0 2 3 4", t:logged())
  end))
end)

describe("a stream that nobody closes", function()
  it("[S209] is cleaned up when it was collected", h.plain(function(t)
    neap.run({ clock = t.clock }, function()
      (function() await(counter(t, "closed")():next()) end)()
      collect()
      sleep(1)
      collect()
    end)
    assert.equal("closed", t:logged())
  end))

  it("[S253] goes on in the next run, for another task", h.plain(function(t)
    local s = counter(t, "closed", 1)()
    neap.run({ clock = t.clock }, function() assert.equal(1, await(s:next())) end)
    neap.run({ clock = t.clock }, function()
      assert.equal(2, await(s:next()))
      assert.equal(3, await(neap.start(function() return await(s:next()) end)))
      await(s:close())
    end)
    assert.equal("closed", t:logged())
  end))

  it("leaves nothing alive when it outlives its run and is collected", h.plain(function(t)
    local s = counter(t, "closed")()
    neap.run({ clock = t.clock }, function() await(s:next()) end)
    s = nil -- luacheck: ignore
    collect()
    neap.run({ clock = t.clock }, function() sleep(1) end)
    assert.equal("closed", t:logged())
  end))
end)
