-- neap.from_callback and neap.wrap.

local h = require "spec.helper"
local support = require "spec.support"
local neap = require "neap"

local await = neap.await
local takes = support.takes

--- Calls cb(...) when so many seconds have passed; a timer library as it were.
local function later(seconds, cb, ...)
  neap.background(function(...)
    await(neap.sleep(seconds))
    cb(...)
  end, ...)
end

--- A function for from_callback that notes its cancellation; its cb is in .cb then.
local function cancellable(t)
  local pending = {}
  return setmetatable(pending, { __call = function(_, cb)
    t:note("called")
    pending.cb = cb
    return function(...) t:note(table.concat({ "cancelled", ... }, ":")) end
  end })
end

local function assert_warned(t, count)
  await(neap.yield())
  assert.equal(count, #t:take_warnings())
end

describe("neap.from_callback", function()
  it("[S256] has ended on return when cb was called at once", h.run(function()
    local task = neap.from_callback(function(a, b, cb) cb(nil, b, nil, a, nil) end, "a", "b")
    assert.equal("done", task:status())
    assert.same({ "b", nil, "a", nil, n = 4 }, table.pack(await(task)))
    assert.equal(0, select("#", await(neap.from_callback(function(cb) cb() end))))
  end))

  it("[S256] waits for cb that is called later", h.run(function()
    takes(2, function()
      local task = neap.from_callback(function(x, cb) later(2, cb, nil, x, nil, 3) end, "x")
      assert.equal("pending", task:status())
      assert.same({ "x", nil, 3, n = 3 }, table.pack(await(task)))
      assert.equal("x", (await(task)))
    end)
  end))

  it("[S20] passes its arguments on, nils kept, cb behind them", h.run(function()
    local n, last = await(neap.from_callback(function(...)
      local args = table.pack(...)
      args[args.n](nil, args.n, type(args[args.n]))
    end, nil, 2, nil))
    assert.same({ 4, "function" }, { n, last })
  end))

  it("[S256] fails with the error given to cb, the very same value", h.run(function()
    for _, e in ipairs({ {}, "text", 5, true }) do
      local task = neap.from_callback(function(cb) cb(e, "ignored") end)
      assert.equal("failed", task:status())
      assert.is_true(rawequal(e, task:error()))
      local ok, err = pcall(await, neap.from_callback(function(cb) later(1, cb, e) end))
      assert.is_false(ok)
      assert.is_true(rawequal(e, err))
    end
  end))

  it("[S256] takes false for an error as well", h.run(function()
    local task = neap.from_callback(function(cb) cb(false, 1) end)
    assert.equal("failed", task:status())
    assert.is_false(task:error())
  end))

  it("[S256] fails with what the function raises", h.run(function()
    local e = {}
    local task = neap.from_callback(function() error(e, 0) end)
    assert.equal("failed", task:status())
    assert.is_true(rawequal(e, task:error()))
    local ok, err = pcall(await, task)
    assert.is_false(ok)
    assert.is_true(rawequal(e, err))
  end))

  it("[S256] ignores a second cb, with one warning", h.run(function(t)
    local task = neap.from_callback(function(cb)
      cb(nil, "first")
      cb("second")
    end)
    assert.equal("first", await(task))
    assert_warned(t, 1)
    local kept
    task = neap.from_callback(function(cb) kept = cb end)
    kept("bad")
    kept(nil, "good")
    assert.same({ "failed", "bad" }, { await(neap.settle(task)) })
    assert_warned(t, 1)
  end))

  it("[S256] calls the canceller once, with the reason", h.run(function(t)
    local fn = cancellable(t)
    local task = neap.from_callback(fn)
    await(neap.yield())
    assert.is_true(task:cancel("why"))
    assert.is_false(task:cancel("again"))
    takes(0, function()
      assert.same({ "cancelled", "why" }, { await(neap.settle(task)) })
    end)
    assert.equal("called cancelled:why", t:logged())
    local err = h.raises("ECANCELLED", await, task)
    assert.equal(task, err.task)
  end))

  it("[S256] calls the canceller where a scope or a time limit ends it", h.run(function(t)
    local fn = cancellable(t)
    assert.same({ false, "enough" }, { neap.scope(function(scope)
      neap.start(function() await(neap.sleep(1)) scope:cancel("enough") end)
      await(neap.from_callback(fn))
    end) })
    assert.is_false((neap.try_for(1, function() await(neap.from_callback(fn)) end)))
    assert.equal("called cancelled:enough called cancelled:timeout", t:logged())
  end))

  it("[S256] ignores a cb after the cancellation silently", h.run(function(t)
    for _, fn in ipairs({ cancellable(t), setmetatable({}, { __call = function(self, cb)
      self.cb = cb
      return "no canceller", function() t:note("not asked") end
    end }) }) do
      local task = neap.from_callback(fn)
      task:cancel("why")
      await(neap.settle(task))
      fn.cb(nil, "late")
      fn.cb("later still")
      assert.equal("cancelled", task:status())
    end
    assert_warned(t, 0)
    assert.equal("called cancelled:why", t:logged())
  end))

  it("[S256] is cancelled though the canceller calls cb", h.run(function(t)
    local task = neap.from_callback(function(cb)
      return function(reason) cb("aborted: " .. reason) end
    end)
    task:cancel("why")
    assert.same({ "cancelled", "why" }, { await(neap.settle(task)) })
    assert_warned(t, 0)
  end))

  it("[S72] [C6] keeps a result that came before the cancellation", h.run(function(t)
    local fn = cancellable(t)
    local callback_task
    local task = neap.start(function()
      callback_task = neap.from_callback(fn)
      t:note(await(callback_task))
      await(neap.yield())
      t:note("never")
    end)
    await(neap.yield())
    fn.cb(nil, "result")
    task:cancel("late")
    assert.equal("cancelled", (await(neap.settle(task))))
    assert.equal("done", callback_task:status())
    assert.equal("called result", t:logged())
  end))

  it("[S71] [C4] calls nothing in a cancelled scope", h.run(function(t)
    neap.scope(function(scope)
      scope:cancel("closed")
      assert.equal("cancelled", neap.from_callback(cancellable(t)):status())
      assert.equal("cancelled", neap.wrap(cancellable(t))():status())
    end)
    assert.equal("", t:logged())
  end))

  it("[S95] is joined by the scope around it", h.run(function()
    local task
    takes(2, function()
      neap.scope(function()
        task = neap.from_callback(function(cb) later(2, cb, nil, "x") end)
      end)
    end)
    assert.equal("x", task:result())
  end))

  it("[S96] is cancelled when the body of its scope fails", h.run(function(t)
    local ok, err = pcall(neap.scope, function()
      neap.from_callback(cancellable(t))
      await(neap.yield())
      error("bad", 0)
    end)
    assert.same({ false, "bad" }, { ok, err })
    assert.matches("^called cancelled", t:logged())
  end))

  it("goes on when its Task is dropped", h.run(function(t)
    neap.from_callback(function(cb)
      later(2, function() cb(nil, t:note("called back")) end)
    end)
    collectgarbage()
    await(neap.sleep(3))
    assert.equal("called back", t:logged())
  end))

  it("[S159] reports a failure that nobody sees", h.plain(function(t)
    local e = {}
    local ok, err = pcall(neap.run, { clock = t.clock }, function()
      neap.from_callback(function(cb) cb(e) end)
    end)
    assert.is_false(ok)
    assert.is_true(rawequal(e, err))
    assert.equal(1, #t:take_unobserved())
  end))

  it("[S250] that nobody can call back is a deadlock", h.plain(function(t)
    h.raises("EDEADLOCK", neap.run, { clock = t.clock }, function()
      await(neap.from_callback(function() end))
    end)
  end))

  it("[S252] in the background is cancelled at the end of run, cb is silent then", h.plain(
    function(t)
      local fn = cancellable(t)
      neap.run({ clock = t.clock }, function()
        neap.background(function() await(neap.from_callback(fn)) end)
        await(neap.yield())
      end)
      assert.matches("^called cancelled", t:logged())
      fn.cb(nil, "late")
      neap.run({ clock = t.clock }, function() await(neap.yield()) end)
    end))

  it("[S21] works with no loop running", h.plain(function()
    local task = neap.from_callback(function(x, cb) cb(nil, x) end, "x")
    assert.equal("x", task:wait())
  end))

  it("raises an argument error for what is not callable", h.run(function()
    h.bad_argument("from_callback", 1, neap.from_callback)
    h.bad_argument("from_callback", 1, neap.from_callback, 5)
  end))

  it("[S256] survives failing allocations", h.plain(function(t)
    h.each_failure(function()
      local result = neap.run({ clock = t.clock }, function()
        return neap.group(function()
          local kept
          local f = neap.wrap(function(x, cb) cb(nil, x) end)
          local task = neap.from_callback(function(cb) kept = cb end)
          neap.try_for(1, function()
            await(neap.from_callback(function() return tostring end))
          end)
          if kept then kept(nil, 2) end
          return await(f(1)) + await(task)
        end)
      end)
      assert(result == 3, "a run that succeeded has a wrong result")
    end)
    t:take_unobserved()
    t:take_warnings()
  end))
end)

describe("neap.wrap", function()
  it("[S256] makes an async function that may be called many times", h.run(function()
    local f = neap.wrap(function(seconds, x, cb) later(seconds, cb, nil, x, nil) end)
    takes(3, function()
      local a, b = f(3, "a"), f(1, "b")
      assert.same({ "b", nil, n = 2 }, table.pack(await(b)))
      assert.equal("pending", a:status())
      assert.same({ "a", nil, n = 2 }, table.pack(await(a)))
    end)
  end))

  it("[S22] makes a method of a method", h.run(function()
    local object = { name = "object" }
    function object.get(self, x, cb) cb(nil, self.name .. x) end
    object.get_async = neap.wrap(object.get)
    assert.equal("object!", await(object:get_async("!")))
  end))

  it("[S256] fails, and is cancelled, as from_callback", h.run(function(t)
    local e, fn = {}, cancellable(t)
    local ok, err = pcall(await, neap.wrap(function(cb) cb(e) end)())
    assert.is_false(ok)
    assert.is_true(rawequal(e, err))
    assert.equal("bad", neap.wrap(function() error("bad", 0) end)():error())
    local task = neap.wrap(fn)()
    task:cancel("why")
    assert.equal("cancelled", (await(neap.settle(task))))
    assert.equal("called cancelled:why", t:logged())
  end))

  it("[S256] with raw = true takes all arguments of cb for results", h.run(function(t)
    local f = neap.wrap(function(cb, ...) cb(...) end, { raw = true })
    assert.same({ "x", nil, 3, nil, n = 4 }, table.pack(await(neap.wrap(function(cb)
      cb("x", nil, 3, nil)
    end, { raw = true })())))
    assert.equal(0, select("#", await(f())))
    assert.equal("bad", neap.wrap(function() error("bad", 0) end, { raw = true })():error())
    local twice = neap.wrap(function(cb) cb(1) cb(2) end, { raw = true })
    assert.equal(1, await(twice()))
    assert_warned(t, 1)
  end))

  it("raises argument errors at once", h.run(function()
    h.bad_argument("wrap", 1, neap.wrap)
    h.bad_argument("wrap", 1, neap.wrap, 5)
    h.bad_argument("wrap", 2, neap.wrap, print, 5)
  end))
end)
