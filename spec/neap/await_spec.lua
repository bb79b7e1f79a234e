local h = require "spec.helper"
local neap = require "neap"
local async, await = neap.async, neap.await

--- A value that calls fn when its block is left.
local function closing(fn)
  return setmetatable({}, {__close = function(_, err) fn(err) end})
end

describe("neap.await", function()
  it("[S27] on a done task gives its values", h.run(function()
    assert.same({n = 3, 1, nil, 3}, table.pack(await(neap.completed(1, nil, 3))))
  end))

  it("[S27] on a done task lets no other task in between", h.run(function(t)
    local other = neap.start(function()
      await(neap.yield())
      t:note("other")
    end)
    await(neap.completed())
    t:note("main")
    await(other)
    assert.equal("main other", t:logged())
  end))

  it("[S28] suspends only the calling task and goes on with locals intact", h.run(function(t)
    local c = neap.completion()
    local waiter = neap.start(function()
      local a, b = 1, "b"
      t:note("before")
      local got = await(c.task)
      t:note(a .. b .. got)
    end)
    local busy = neap.start(function()
      await(neap.yield())
      t:note("busy")
      await(neap.yield())
      c:resolve("c")
    end)
    t:note("main")
    await(waiter)
    await(busy)
    assert.equal("before main busy 1bc", t:logged())
  end))

  it("[S29] does not block the thread: two sleeps of 1 end at 1", h.run(function(t)
    local f = async(function() await(neap.sleep(1)) end)
    local a, b = f(), f()
    await(a)
    await(b)
    assert.equal(1, t.clock:now())
  end))

  it("[S29] the run of two sleepers ends at 1", h.plain(function(t)
    neap.run({clock = t.clock}, function()
      neap.start(function() await(neap.sleep(1)) end)
      neap.start(function() await(neap.sleep(1)) end)
    end)
    assert.equal(1, t.clock:now())
  end))

  it("[S30] many tasks await the same one, before and after it ended", h.run(function(t)
    local c = neap.completion()
    local waiters = {}
    for i = 1, 3 do
      waiters[i] = neap.start(function() t:note(i .. await(c.task)) end)
    end
    c:resolve("v")
    for i = 1, 3 do await(waiters[i]) end
    for _ = 1, 2 do t:note(await(c.task)) end
    assert.equal("1v 2v 3v v v", t:logged())
  end))

  it("[S30] each await of a failed task raises the same error", h.run(function()
    local e = {}
    local task = neap.start(function()
      await(neap.yield())
      error(e)
    end)
    for _ = 1, 3 do
      local ok, err = pcall(await, task)
      assert.is_false(ok)
      assert.is_true(rawequal(e, err))
    end
  end))
end)

describe("await works inside", function()
  local function later(...) return await(neap.sleep(1)) or ... end

  it("[S31] pcall", h.run(function()
    assert.same({true, 1}, {pcall(later, 1)})
  end))

  it("[S31] xpcall", h.run(function()
    assert.same({true, 1}, {xpcall(later, debug.traceback, 1)})
  end))

  it("[S31] operator metamethods, __index and __call", h.run(function()
    local meta = {}
    for _, event in ipairs{"add", "concat", "unm", "len", "index", "call", "idiv", "band"} do
      meta["__" .. event] = function() return later(event) end
    end
    local x = setmetatable({}, meta)
    assert.same({"add", "concat", "unm", "len", "index", "call", "idiv", "band"},
      {x + 1, x .. "", -x, #x, x.field, (x()), x // 2, x & 1})
  end))

  it("[S31] comparisons and __newindex", h.run(function(t)
    local meta = {
      __eq = function() return later(true) end,
      __lt = function() return later(true) end,
      __le = function() return later(true) end,
      __newindex = function(_, key) t:note(later(key)) end,
    }
    local a, b = setmetatable({}, meta), setmetatable({}, meta)
    assert.is_true(a == b and a < b and a <= b)
    a.key = 1
    assert.equal("key", t:logged())
  end))

  it("[S31] for iterators and __pairs", h.run(function(t)
    local function count(limit, i)
      if i < limit then return later(i + 1) end
    end
    for i in count, 3, 0 do t:note(i) end
    local object = setmetatable({}, {__pairs = function()
      return later(count), 2, 0
    end})
    for i in pairs(object) do t:note(i) end
    assert.equal("1 2 3 1 2", t:logged())
  end))

  it("[S31] __close, on normal exit, break and error", h.run(function(t)
    local function note_later(x)
      return closing(function() t:note(later(x)) end)
    end
    do
      local _ <close> = note_later("exit")
    end
    for i = 1, 2 do
      local _ <close> = note_later("break")
      if i == 1 then break end
    end
    pcall(function()
      local _ <close> = note_later("error")
      error("e")
    end)
    assert.equal("exit break error", t:logged())
  end))

  it("[S31] recursive Lua functions", h.run(function(t)
    local function depth(n)
      if n == 0 then return later(0) end
      return 1 + depth(n - 1)
    end
    assert.equal(1000, depth(1000))
    assert.equal(1, t.clock:now())
  end))
end)

describe("__await", function()
  it("[S32] makes a value awaitable, nils among the results kept", h.run(function()
    local x
    x = setmetatable({}, {__await = function(self)
      assert.is_true(rawequal(x, self))
      return nil, 2, nil
    end})
    assert.same({n = 3, nil, 2}, table.pack(await(x)))
  end))

  it("[S32] runs on the awaiting task and may await", h.run(function(t)
    local here = coroutine.running()
    local x = setmetatable({}, {__await = function()
      assert.equal(here, coroutine.running())
      await(neap.sleep(2))
      return "slept"
    end})
    assert.equal("slept", await(x))
    assert.equal(2, t.clock:now())
  end))

  it("[S32] an error in it propagates", h.run(function()
    local e = {}
    local x = setmetatable({}, {__await = function() error(e) end})
    local ok, err = pcall(await, x)
    assert.is_false(ok)
    assert.is_true(rawequal(e, err))
  end))
end)

describe("neap.yield", function()
  it("[S33] suspends for a turn though nothing else is ready", h.run(function(t)
    neap.start(function()
      await(neap.sleep(0))
      t:note("timer")
    end)
    await(neap.yield())
    await(neap.yield())
    t:note("main")
    assert.equal("timer main", t:logged())
  end))

  it("[S33] lets the others run for one turn", h.run(function(t)
    local function worker(name)
      return neap.start(function()
        for i = 1, 3 do
          t:note(name .. i)
          await(neap.yield())
        end
      end)
    end
    local a, b = worker("a"), worker("b")
    await(a)
    await(b)
    assert.equal("a1 b1 a2 b2 a3 b3", t:logged())
  end))
end)

describe("neap.settle", function()
  it("[S34] gives each outcome without raising", h.run(function()
    local e = {}
    assert.same({n = 4, "done", 1, nil, nil},
      table.pack(await(neap.settle(neap.completed(1, nil, nil)))))
    local status, err = await(neap.settle(neap.failed(e)))
    assert.equal("failed", status)
    assert.is_true(rawequal(e, err))
    assert.same({"cancelled", "r"}, {await(neap.settle(neap.cancelled("r")))})
  end))

  it("[S34] gives the outcome of a task that ends later", h.run(function()
    local function ending(fn)
      return neap.settle(neap.start(function()
        await(neap.sleep(1))
        return fn()
      end))
    end
    assert.same({"done", 1}, {await(ending(function() return 1 end))})
    assert.same({"failed", "e"}, {await(ending(function() error("e", 0) end))})
    local c = neap.completion()
    local settled = neap.settle(c.task)
    c:cancel("r")
    assert.same({"cancelled", "r"}, {await(settled)})
  end))

  it("[S34] raises the caller's own Cancelled", h.run(function(t)
    local c = neap.completion()
    local task = neap.start(function()
      local ok, err = pcall(await, neap.settle(c.task))
      t:note(ok)
      t:note(neap.is_cancel(err))
      error(err)
    end)
    task:cancel("mine")
    assert.same({"cancelled", "mine"}, {await(neap.settle(task))})
    assert.equal("false true", t:logged())
    assert.equal("pending", c.task:status())
  end))
end)

describe("neap.wait_for", function()
  it("[S35] with 0 on a completed task gives its outcome", h.run(function()
    local e = {}
    assert.same({1, 2}, {await(neap.wait_for(neap.completed(1, 2), 0))})
    local _, err = pcall(await, neap.wait_for(neap.failed(e), 0))
    assert.is_true(rawequal(e, err))
    local gone = await(neap.settle(neap.wait_for(neap.cancelled("r"), 0)))
    assert.equal("cancelled", gone)
  end))

  it("[S35] raises ETIMEDOUT when the time is over; the task goes on", h.run(function(t)
    local task = neap.start(function()
      await(neap.sleep(5))
      return "late"
    end)
    h.raises("ETIMEDOUT", await, neap.wait_for(task, 2))
    assert.equal(2, t.clock:now())
    assert.equal("pending", task:status())
    assert.is_false(task:cancel_requested())
    assert.equal("late", await(task))
    assert.equal(5, t.clock:now())
  end))

  it("[S35] with 0 on a pending task raises ETIMEDOUT", h.run(function(t)
    local c = neap.completion()
    h.raises("ETIMEDOUT", await, neap.wait_for(c.task, 0))
    assert.equal(0, t.clock:now())
    assert.equal("pending", c.task:status())
  end))

  it("[S35] gives the outcome when the task ends in time", h.run(function(t)
    local task = neap.start(function()
      await(neap.sleep(1))
      return "early", nil
    end)
    assert.same({n = 2, "early"}, table.pack(await(neap.wait_for(task, 2))))
    assert.equal(1, t.clock:now())
  end))
end)
