-- neap.testing. What these functions run has loops of its own, so the specs have none.

local h = require "spec.helper"
local neap = require "neap"
local core = require "neap.core"
local testing = require "neap.testing"

local await = neap.await

local function sleep(seconds)
  await(neap.sleep(seconds))
end

--- Runs testing.async(fn, opts), which has to raise; returns the error.
local function failure(fn, opts)
  local ok, err = pcall(testing.async(fn, opts))
  assert.is_false(ok)
  return err
end

describe("testing.async", function()
  it("runs the function as main task under a clock that jumps", h.plain(function(t)
    local test = testing.async(function(clock)
      t:note(clock:now())
      sleep(1800)
      t:note(clock:now() == neap.now() and clock:now() == 1800)
    end)
    assert.equal("", t:logged())
    test()
    t:note("returned")
    assert.equal("0.0 true returned", (t:logged():gsub("^0 ", "0.0 ")))
  end))

  it("gives each call a clock of its own", h.plain(function()
    local clocks = {}
    local test = testing.async(function(clock)
      clocks[#clocks + 1] = clock
      assert.equal(0, clock:now())
      sleep(5)
    end)
    test()
    test()
    assert.equal(2, #clocks)
    assert.is_false(rawequal(clocks[1], clocks[2]))
  end))

  it("raises the function's error", h.plain(function()
    local e = {}
    assert.is_true(rawequal(e, failure(function() sleep(1) error(e, 0) end)))
    assert.matches("by hand", tostring(failure(function() error("by hand") end)), 1, true)
  end))

  it("fails when the time limit passes, of 3600 virtual seconds", h.plain(function()
    local clock
    failure(function(c) clock = c sleep(1e6) end)
    assert.equal(3600, clock:now())
    failure(function(c) clock = c sleep(11) end, { timeout = 10 })
    assert.equal(10, clock:now())
    testing.async(function(c) clock = c sleep(9) end, { timeout = 10 })()
    assert.equal(9, clock:now())
    testing.async(function(c) clock = c sleep(5000) end, { timeout = 1e4 })()
    assert.equal(5000, clock:now())
  end))

  it("fails when the time limit passes during the join of what was started", h.plain(function()
    failure(function() neap.start(sleep, 1e6) end)
    failure(function() neap.start(sleep, 100) end, { timeout = 10 })
  end))

  it("runs under the real clock when told so", h.plain(function(t)
    testing.async(function() sleep(0) t:note("ran") end, { clock = "real" })()
    assert.equal("ran", t:logged())
    local before = os.time()
    failure(function() sleep(3600) end, { clock = "real", timeout = 0.01 })
    assert.is_true(os.time() - before < 60)
  end))

  it("fails for an error that nobody observed", h.plain(function(t)
    local err = failure(function()
      neap.background(function() error("nobody looks", 0) end)
    end)
    assert.matches("nobody looks", tostring(err), 1, true)
    assert.same({}, t:take_unobserved())
    failure(function() neap.start(error, "lost", 0) end)
    assert.same({}, t:take_unobserved())
  end))

  it("fails for a warning", h.plain(function(t)
    failure(function()
      neap.start(function() neap.group() end)
    end)
    assert.same({}, t:take_warnings())
  end))

  it("fails for what was left alive, and names it", h.plain(function()
    local kept
    local err = failure(function()
      kept = neap.stream(function(yield)
        local _ <close> = neap.deadline(1000)
        yield(1)
      end)()
      await(kept:next())
    end)
    assert.matches("%a+=%d", tostring(err))
    testing.async(function() await(kept:close()) end)()
    assert.is_nil(testing.leaks())
  end))

  it("puts the handlers back, whatever happened", h.plain(function(t)
    local function unobserved() end
    local function warned() end
    local former = { neap.on_unobserved(unobserved), neap.on_warning(warned) }
    testing.async(function() sleep(1) end)()
    failure(function() error("bad") end)
    failure(function() sleep(1e6) end)
    t:note(rawequal(unobserved, neap.on_unobserved(former[1])))
    t:note(rawequal(warned, neap.on_warning(former[2])))
    assert.equal("true true", t:logged())
  end))

  it("raises argument errors", h.plain(function()
    h.bad_argument("async", 1, testing.async)
    h.bad_argument("async", 1, testing.async, 5)
    h.bad_argument("async", 2, testing.async, print, 5)
    h.bad_argument("async", 2, testing.async, print, { clock = "sundial" })
    h.bad_argument("async", 2, testing.async, print, { timeout = -1 })
  end))
end)

describe("testing.it", function()
  local log = {}
  testing.before_each(function(clock)
    sleep(1)
    log[#log + 1] = "before" .. clock:now()
  end)
  testing.after_each(function()
    sleep(1)
    log[#log + 1] = "after"
  end)

  testing.it("hands its function and those around it to busted", function(clock)
    assert.equal("before1.0", log[#log])
    assert.equal(0, clock:now())
    sleep(10)
    assert.equal(10, clock:now())
  end)

  it("is followed by after_each, preceded by before_each", function()
    assert.equal("before1.0", log[#log])
    assert.equal(#log > 1 and "after" or nil, log[#log - 1])
  end)
end)

describe("testing.wait_all_blocked", function()
  it("ends when no task is ready, before time jumps", h.run(function(t)
    neap.start(function()
      for i = 1, 5 do
        await(neap.yield())
        t:note(i)
      end
      sleep(0.001)
      t:note("time")
    end)
    await(testing.wait_all_blocked())
    t:note("blocked")
    assert.equal(0, t.clock:now())
    await(testing.wait_all_blocked())
    assert.equal(0, t.clock:now())
    assert.equal("1 2 3 4 5 blocked", t:logged())
    sleep(1)
  end))

  it("serves several tasks, each time anew", h.run(function(t)
    for i = 1, 2 do
      neap.start(function()
        await(testing.wait_all_blocked())
        t:note("waiter" .. i)
      end)
    end
    neap.start(function()
      await(neap.yield())
      t:note("worker")
    end)
    await(testing.wait_all_blocked())
    await(neap.yield())
    table.sort(t.log, function(a, b) return a == "worker" and b ~= "worker" end)
    assert.equal("worker", t.log[1])
    assert.equal(3, #t.log)
  end))

  it("[S71] is an operation: cancelled in a cancelled scope, and while it waits", h.run(
    function()
      neap.scope(function(scope)
        scope:cancel("closed")
        assert.equal("cancelled", testing.wait_all_blocked():status())
      end)
      local op
      neap.scope(function(scope)
        op = testing.wait_all_blocked()
        assert.equal("pending", op:status())
        scope:cancel("closed")
      end)
      assert.equal("cancelled", op:status())
      testing.wait_all_blocked()
    end))
end)

describe("testing.leaks", function()
  it("names what is alive", h.plain(function(t)
    assert.is_nil(testing.leaks())
    neap.run({ clock = t.clock }, function()
      local a, b = neap.sleep(1), neap.sleep(2)
      local text = testing.leaks()
      assert.matches("tasks=%d", text)
      assert.matches("timers=2", text, 1, true)
      assert.same({ true, true }, { a:cancel(), b:cancel() })
      assert.is_nil(testing.leaks():match("timers"))
    end)
    assert.is_nil(testing.leaks())
  end))
end)

describe("testing.each_failure", function()
  it("repeats the function until no allocation failed, once and for good", h.plain(function()
    local calls, passed = 0, 0
    testing.each_failure(function()
      calls = calls + 1
      local c, d = neap.completion(), neap.completion()
      c:resolve(1)
      d:resolve(2)
      passed = passed + 1
    end)
    assert.is_true(calls >= 6, calls .. " calls")
    assert.is_true(passed >= 2 and passed < calls, passed .. " passed of " .. calls)
    assert.is_false(core.fail_allocation())
  end))

  it("raises an error that is none of memory, with the allocation's number", h.plain(function()
    local raise, try = error, pcall -- looking up a global allocates under busted
    local ok, err = pcall(testing.each_failure, function()
      local done = try(function() neap.completion():resolve(1) end)
      if not done then raise("state is broken", 0) end
    end)
    assert.is_false(ok)
    assert.matches("state is broken", tostring(err), 1, true)
    assert.matches("%d", tostring(err))
    neap.completion():resolve(1)
  end))

  it("raises the error of a function that fails by itself", h.plain(function()
    local ok, err = pcall(testing.each_failure, function() error("always", 0) end)
    assert.is_false(ok)
    assert.matches("always", tostring(err), 1, true)
    h.bad_argument("each_failure", 1, testing.each_failure, 5)
  end))
end)
