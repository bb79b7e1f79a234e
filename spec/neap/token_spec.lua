-- Cancellers, their tokens and the callbacks. Time, collection, links, with_token
-- and scope.token are in files of their own.
local h = require "spec.helper"
local support = require "spec.support"
local neap = require "neap"

local await = neap.await
-- 10 000 at most; a collection per turn makes all costs quadratic.
local MANY = os.getenv("NEAP_STRESS_GC") and 50 or 2500

--- A function that notes the name.
local function notes(t, name)
  return function() t:note(name) end
end

describe("neap.canceller", function()
  it("has one token, pending until cancel, which is true only the first time", h.plain(function()
    local src = neap.canceller()
    local token = src.token
    assert.is_true(rawequal(token, src.token))
    assert.is_false(token.cancelled)
    assert.is_nil(token.reason)
    assert.equal(0, select("#", token:check()))
    assert.is_true(src:cancel("first"))
    assert.is_false(src:cancel("second"))
    assert.is_true(token.cancelled)
    assert.equal("first", token.reason)
  end))

  it("may cancel without a reason, and with any value", h.plain(function()
    local src = neap.canceller()
    assert.is_true(src:cancel())
    assert.is_true(src.token.cancelled)
    assert.is_nil(src.token.reason)
    local e = {}
    src = neap.canceller()
    src:cancel(e)
    assert.is_true(rawequal(e, src.token.reason))
  end))

  it("makes token:check raise ECANCELLED with the token and the reason", h.plain(function()
    local src, e = neap.canceller(), {}
    src:cancel(e)
    local err = h.raises("ECANCELLED", function() src.token:check() end)
    assert.equal(src.token, err.token)
    assert.equal(e, err.reason)
    assert.is_false(neap.is_cancel(err))
  end))

  it("gives objects whose tostring names the class", h.plain(function()
    local src = neap.canceller()
    assert.matches("^neap%.Canceller", tostring(src))
    assert.matches("^neap%.Token", tostring(src.token))
    assert.matches("^neap%.Registration", tostring(src.token:register(function() end)))
    src:cancel("why")
    assert.matches("^neap%.Token", tostring(src.token))
  end))

  it("rejects wrong arguments and objects of another kind", h.plain(function()
    local src = neap.canceller()
    local token = src.token
    local reg = token:register(print)
    for _, fn in ipairs({ 7, "print", {}, true }) do
      h.bad_argument("register", 1, function() token:register(fn) end)
    end
    h.bad_argument("register", 1, function() token:register() end)
    for _, object in ipairs({ 7, "x", {}, io.stdout, neap.completed() }) do
      local methods = { src.cancel, src.cancel_after, token.register, token.check, reg.unregister }
      for _, method in ipairs(methods) do
        local ok, err = pcall(method, object, 1)
        assert.is_false(ok)
        assert.matches("bad argument", tostring(err), 1, true)
      end
    end
    assert.is_false(token.cancelled)
    assert.is_true(reg:unregister())
  end))
end)

describe("the callbacks of a token", function()
  it("[S87] run last in, first out, inside cancel, with the reason", h.plain(function(t)
    local src = neap.canceller()
    for i = 1, 3 do
      src.token:register(function(...) t:note(i .. table.concat({ ... }, ",")) end)
    end
    src:cancel("why")
    t:note("after")
    src:cancel("again")
    assert.equal("3why 2why 1why after", t:logged())
  end))

  it("[S87] see a token that is cancelled", h.plain(function(t)
    local src = neap.canceller()
    src.token:register(function()
      t:note(src.token.cancelled)
      t:note(src.token.reason)
      t:note(src:cancel("inner"))
      t:note(pcall(src.token.check, src.token))
    end)
    assert.is_true(src:cancel("why"))
    assert.equal("true why false false", t:logged())
    assert.equal("why", src.token.reason)
  end))

  it("[S88] run at once on a cancelled token; unregister then gives false", h.plain(function(t)
    local src = neap.canceller()
    src:cancel("why")
    local reg = src.token:register(function(reason) t:note(reason) end)
    t:note("registered")
    assert.is_false(reg:unregister())
    assert.equal("why registered", t:logged())
  end))

  it("[S89] do not run after unregister, which is true once", h.plain(function(t)
    local src = neap.canceller()
    local reg = src.token:register(notes(t, "never"))
    src.token:register(notes(t, "kept"))
    assert.is_true(reg:unregister())
    assert.is_false(reg:unregister())
    src:cancel()
    assert.is_false(reg:unregister())
    assert.equal("kept", t:logged())
  end))

  it("[S89] may unregister themselves and others, which are skipped", h.plain(function(t)
    local src = neap.canceller()
    local regs = {}
    for i = 1, 3 do regs[i] = src.token:register(notes(t, i)) end
    regs[4] = src.token:register(function()
      t:note(regs[4]:unregister())
      t:note(regs[2]:unregister())
      t:note(regs[2]:unregister())
    end)
    src:cancel()
    assert.equal("false true false 3 1", t:logged())
  end))

  it("[S89] may unregister one that has run, to no effect", h.plain(function(t)
    local src = neap.canceller()
    local last
    src.token:register(function() t:note(last:unregister()) end)
    last = src.token:register(notes(t, "last"))
    src:cancel()
    assert.equal("last false", t:logged())
  end))

  it("[S237] may register others, which run at once", h.plain(function(t)
    local src = neap.canceller()
    src.token:register(notes(t, "first"))
    src.token:register(function()
      src.token:register(notes(t, "new"))
      t:note("second")
    end)
    src:cancel()
    assert.equal("new second first", t:logged())
  end))

  it("[S90] run twice if registered twice; unregistering one leaves the other", h.plain(function(t)
    local src, fn = neap.canceller(), notes(t, "x")
    local first, second = src.token:register(fn), src.token:register(fn)
    assert.is_true(first:unregister())
    src.token:register(fn)
    src:cancel()
    assert.equal("x x", t:logged())
    assert.is_false(second:unregister())
  end))

  it("[S91] that raise prevent no other, and are reported", h.plain(function(t)
    local src, e = neap.canceller(), {}
    src.token:register(notes(t, "first"))
    src.token:register(function() error(e, 0) end)
    src.token:register(notes(t, "last"))
    assert.is_true(src:cancel())
    local reg = src.token:register(function() error("late", 0) end)
    assert.is_false(reg:unregister())
    assert.equal("last first", t:logged())
    local lost = t:take_unobserved()
    assert.equal(2, #lost)
    assert.equal(e, lost[1].err)
    assert.equal("late", lost[2].err)
  end))

  it("cannot await: misuse", h.run(function(t)
    local src, c = neap.canceller(), neap.completion()
    src.token:register(function()
      h.misuse(function() await(c.task) end)
      t:note("refused")
    end)
    src:cancel()
    assert.equal("refused", t:logged())
    c:resolve()
  end))

  it("[S237] wake, cancel and start tasks, none of which runs inline", h.run(function(t)
    local src, c, ch = neap.canceller(), neap.completion(), neap.channel()
    local sleeper, started
    local waiter = neap.start(function() await(c.task) t:note("waiter") end)
    local receiver = neap.start(function() t:note("got " .. select(2, await(ch:recv()))) end)
    sleeper = neap.start(function()
      local _ <close> = support.closing(notes(t, "sleeper"))
      await(neap.sleep(10))
    end)
    src.token:register(function()
      c:resolve()
      ch:try_send("x")
      sleeper:cancel()
      started = neap.start(function()
        t:note("prefix")
        await(neap.yield())
        t:note("rest")
      end)
    end)
    src:cancel()
    t:note("after")
    for _, task in ipairs({ waiter, receiver, sleeper, started }) do await(neap.settle(task)) end
    assert.equal("prefix after waiter got x sleeper rest", t:logged())
  end))

  it("[S237] that cancel the running task let it run to its next wait", h.run(function(t)
    local src, task = neap.canceller(), nil
    src.token:register(function() task:cancel("self") end)
    task = neap.start(function()
      await(neap.yield())
      src:cancel()
      t:note("goes on")
      await(neap.yield())
      t:note("never")
    end)
    assert.same({ "cancelled", "self" }, { await(neap.settle(task)) })
    assert.equal("goes on", t:logged())
  end))

  it("[S237] may cancel other tokens, whose callbacks run inside", h.plain(function(t)
    local a, b = neap.canceller(), neap.canceller()
    a.token:register(notes(t, "a1"))
    a.token:register(function(reason) b:cancel(reason .. "!") t:note("a2") end)
    b.token:register(function(reason) t:note("b" .. reason) a:cancel() end)
    a:cancel("x")
    assert.equal("bx! a2 a1", t:logged())
  end))

  it("[S229] see the local values of the moment of registration", h.run(function(t)
    local v, src = neap.localvar("default"), neap.canceller()
    src.token:register(function() t:note(v:get()) end)
    v:with("one", function() src.token:register(function() t:note(v:get()) v:set("lost") end) end)
    v:set("two")
    src.token:register(function() t:note(v:get()) end)
    local task = neap.start(function()
      v:set("canceller's")
      src:cancel()
      t:note(v:get())
    end)
    await(task)
    assert.equal("two one default canceller's", t:logged())
    assert.equal("two", v:get())
    v:with("now", function() src.token:register(function() t:note(v:get()) end) end)
    assert.equal("now", t.log[5])
  end))

  it("may be 10 000, registered and unregistered in linear time", h.plain(function()
    support.is_linear(function(n)
      local src, regs, calls = neap.canceller(), {}, 0
      local start = os.clock()
      for i = 1, n do regs[i] = src.token:register(function() calls = calls + 1 end) end
      for i = n, 1, -2 do assert(regs[i]:unregister()) end
      src:cancel()
      assert.equal(n // 2, calls)
      return os.clock() - start
    end, MANY)
  end))
end)

describe("a registration", function()
  it("is closable: its block unregisters", h.plain(function(t)
    local src = neap.canceller()
    do
      local reg <close> = src.token:register(notes(t, "never"))
      assert.is_truthy(reg)
    end
    do
      local reg <close> = src.token:register(notes(t, "never"))
      assert.is_true(reg:unregister())
    end
    pcall(function()
      local _ <close> = src.token:register(notes(t, "never"))
      error("leaves")
    end)
    src:cancel()
    assert.equal("", t:logged())
  end))

  it("need not be kept for the callback to run", h.plain(function(t)
    local src = neap.canceller()
    src.token:register(notes(t, "called"))
    collectgarbage()
    collectgarbage()
    src:cancel()
    assert.equal("called", t:logged())
  end))
end)
