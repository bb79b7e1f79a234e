-- neap.stream: pulls, values, errors, nesting. The other two are stream_close and stream_cancel.

local h = require "spec.helper"
local support = require "spec.support"
local neap = require "neap"
local core = require "neap.core"

local await = neap.await
local takes = support.takes

local count_to = neap.stream(function(yield, n)
  for i = 1, n do yield(i) end
end)

local function sleep(seconds)
  await(neap.sleep(seconds))
end

local function assert_ended(s)
  assert.equal(0, select("#", await(s:next())))
end

--- A table of what a loop over the stream sees.
local function drain(s)
  local values = {}
  for v in s do values[#values + 1] = v end
  return values
end

--- Runs `main` until no allocation of the core fails; a run that succeeds gives `expected`.
local function survives(expected, main)
  return h.plain(function(t)
    h.each_failure(function()
      local result = neap.run({ clock = t.clock }, main)
      assert(result == expected, "a run that succeeded has a wrong result")
    end)
    t:take_unobserved()
    t:take_warnings()
  end)
end

describe("neap.stream", function()
  it("[S206] runs nothing of the body before the first pull", h.run(function(t)
    local s <close> = neap.stream(function(yield, x)
      t:note("body")
      yield(x)
    end)("a")
    sleep(1)
    assert.equal("", t:logged())
    assert.equal("a", await(s:next()))
    assert.equal("body", t:logged())
  end))

  it("[S207] runs the body during pulls only", h.run(function(t)
    local s = neap.stream(function(yield)
      t:note("p1")
      yield(1)
      t:note("p2")
      yield(2)
      t:note("p3")
    end)()
    await(s:next())
    t:note("c1")
    sleep(1)
    t:note("c2")
    await(s:next())
    t:note("c3")
    sleep(1)
    t:note("c4")
    assert_ended(s)
    assert.equal("p1 c1 c2 p2 c3 c4 p3", t:logged())
  end))

  it("[S207] has done the pull on return where the body yields without a wait", h.run(function()
    local s = count_to(1)
    local pull = s:next()
    assert.equal("done", pull:status())
    assert.equal(1, pull:result())
    pull = s:next()
    assert.equal("done", pull:status())
    assert.equal(0, select("#", pull:result()))
  end))

  it("[S208] lets the body await between yields", h.run(function(t)
    local f = neap.stream(function(yield)
      sleep(1)
      yield("a")
      sleep(2)
      yield("b")
      sleep(3)
    end)
    takes(6, function()
      for v in f() do t:note(v .. neap.now()) end
    end)
    assert.equal("a1.0 b3.0", t:logged())
  end))

  it("[S207] counts no time of the producer between pulls", h.run(function()
    local s = neap.stream(function(yield)
      yield("a")
      sleep(2)
      yield("b")
    end)()
    await(s:next())
    sleep(10)
    takes(2, function() assert.equal("b", await(s:next())) end)
    assert_ended(s)
  end))

  it("gives the stream as the iterator and as the closing value", h.run(function()
    local r = table.pack(count_to(3))
    assert.equal(4, r.n)
    assert.is_true(rawequal(r[1], r[4]))
    assert.is_nil(r[2])
    assert.is_nil(r[3])
    assert.same({ 1, 2, 3 }, drain(r[1]))
    assert.matches("^neap%.Stream", tostring(r[1]))
  end))

  it("[S218] hands over several values, nils included", h.run(function()
    local s = neap.stream(function(yield)
      yield(1, nil, 3, nil)
      yield(nil, 2)
      yield(nil)
      yield(false)
    end)()
    assert.same({ 1, nil, 3, nil, n = 4 }, table.pack(await(s:next())))
    assert.same({ nil, 2, n = 2 }, table.pack(await(s:next())))
    assert.same({ nil, n = 1 }, table.pack(await(s:next())))
    assert.same({ false, n = 1 }, table.pack(await(s:next())))
    assert_ended(s)
    assert_ended(s)
  end))

  it("[S218] ends a for loop at a first value of nil, and is closed then", h.run(function(t)
    local f = neap.stream(function(yield)
      local _ <close> = support.closing(function() t:note("closed") end)
      yield(1, "x")
      yield(nil, "y")
      yield(2, "z")
    end)
    for v, w in f() do t:note(v .. w) end
    assert.equal("1x closed", t:logged())
  end))

  it("[S20] passes its arguments on, nils kept", h.run(function()
    local f = neap.stream(function(yield, ...) yield(select("#", ...), ...) end)
    local s <close> = f(nil, 2, nil)
    assert.same({ 3, nil, 2, nil, n = 4 }, table.pack(await(s:next())))
  end))

  it("[S19] makes a stream of its own for each call", h.run(function(t)
    local a, b = count_to(2), count_to(2)
    for _ = 1, 2 do
      t:note(await(a:next()))
      t:note(await(b:next()))
    end
    assert.equal("1 1 2 2", t:logged())
    assert_ended(a)
    assert_ended(b)
  end))

  it("[S18] raises an argument error for what is not callable", h.run(function()
    h.bad_argument("stream", 1, neap.stream)
    h.bad_argument("stream", 1, neap.stream, 5)
  end))

  it("[S210] raises the producer's error once, the very same value", h.run(function()
    local e = {}
    local s = neap.stream(function(yield)
      yield(1)
      sleep(1)
      error(e, 0)
    end)()
    await(s:next())
    local ok, err = pcall(await, s:next())
    assert.is_false(ok)
    assert.is_true(rawequal(e, err))
    assert_ended(s)
    assert_ended(s)
  end))

  it("[S210] raises an error before the first yield at the pull, not at the call", h.run(function()
    local s = neap.stream(function() error("early", 0) end)()
    local pull = s:next()
    assert.equal("failed", pull:status())
    assert.equal("early", pull:error())
    assert_ended(s)
  end))

  it("[S210] raises the producer's error in a for loop", h.run(function(t)
    local e = {}
    local f = neap.stream(function(yield)
      yield(1)
      error(e, 0)
    end)
    local ok, err = pcall(function()
      for v in f() do t:note(v) end
    end)
    assert.is_false(ok)
    assert.is_true(rawequal(e, err))
    assert.equal("1", t:logged())
  end))

  it("[S215] refuses a second next() of another task while one is pending", h.run(function(t)
    local s = neap.stream(function(yield)
      sleep(5)
      yield(1)
    end)()
    local first = s:next()
    await(neap.start(function()
      h.misuse(function() s:next() end)
      t:note("refused")
    end))
    h.misuse(function() s:next() end)
    assert.equal(1, await(first))
    assert_ended(s)
    assert.equal("refused", t:logged())
  end))

  it("[S215] refuses a next() of its own body", h.run(function(t)
    local s
    s = neap.stream(function(yield)
      h.misuse(function() s:next() end)
      t:note("refused")
      yield(1)
    end)()
    assert.equal(1, await(s:next()))
    assert_ended(s)
    assert.equal("refused", t:logged())
  end))

  it("[S216] recurses 50 levels deep", h.run(function()
    local walk
    walk = neap.stream(function(yield, depth)
      if depth == 0 then sleep(1) end
      yield(depth)
      if depth > 0 then
        for v in walk(depth - 1) do yield(v) end
      end
      yield(-depth)
    end)
    local seen
    takes(1, function() seen = drain(walk(50)) end)
    assert.equal(102, #seen)
    for i = 0, 50 do
      assert.equal(50 - i, seen[i + 1])
      assert.equal(-i, seen[52 + i])
    end
  end))

  it("[S216] reads a stream that reads a stream, 50 deep", h.run(function()
    local plus_one = neap.stream(function(yield, source)
      for v in source do yield(v + 1) end
    end)
    local s = count_to(20)
    for _ = 1, 50 do s = plus_one(s) end
    local seen = drain(s)
    assert.equal(20, #seen)
    assert.equal(51, seen[1])
    assert.equal(70, seen[20])
  end))

  it("holds no memory for values that were pulled", h.run(function()
    local before, tasks
    for i in neap.stream(function(yield)
      for i = 1, 10000 do
        if i % 100 == 0 then await(neap.yield()) end
        yield(i, {})
      end
    end)() do
      if i == 1000 then
        collectgarbage()
        before, tasks = collectgarbage("count"), core.stats().tasks
      elseif i == 10000 then
        collectgarbage()
        assert.equal(tasks, core.stats().tasks)
        local grown = collectgarbage("count") - before
        assert.is_true(grown < 64, grown .. " KiB more after 9000 values")
        before = nil
      end
    end
    assert.is_nil(before)
    assert.equal(10000, #drain(count_to(10000)))
  end))

  it("[S206] survives failing allocations", survives(15, function()
    local sum = 0
    for v in count_to(3) do
      sum = sum + v
    end
    local s <close> = neap.stream(function(yield, n)
      for i = n, 1000 do
        sleep(1)
        yield(i)
      end
    end)(4)
    return sum + await(s:next()) + await(s:next())
  end))
end)
