local h = require "spec.helper"
local neap = require "neap"
local await = neap.await

local function rejected(err)
  local c = neap.completion()
  c:reject(err)
  return c
end

local function resolved(...)
  local c = neap.completion()
  c:resolve(...)
  return c
end

local function cancelled(reason)
  local c = neap.completion()
  c:cancel(reason)
  return c
end

describe("neap.completion", function()
  it("[S1] gives a pending task, the same object on every read", h.run(function()
    local c = neap.completion()
    assert.equal("pending", c.task:status())
    assert.is_false(c.task:is_done())
    assert.is_true(rawequal(c.task, c.task))
  end))

  it("[S1] is not reached by the cancellation of the scope it was made in", h.run(function()
    local c
    local absorbed = neap.scope(function(scope)
      c = neap.completion()
      scope:cancel("over")
      await(neap.sleep(1))
    end)
    assert.is_false(absorbed)
    assert.equal("pending", c.task:status())
    assert.is_false(c.task:cancel_requested())
    c:resolve(4)
    assert.equal(4, await(c.task))
  end))

  it("[S1] is not dropped by the scope it was made in", h.run(function()
    local c
    neap.scope(function() c = neap.completion() end)
    assert.equal("pending", c.task:status())
    assert.is_true(c:try_resolve("later"))
    assert.equal("later", await(c.task))
  end))

  it("[S1] cancelling its task calls on_cancel with the reason, then cancels", h.run(function(t)
    local c
    c = neap.completion(function(reason)
      t:note(reason)
      t:note(c.task:status())
    end)
    assert.is_true(c.task:cancel("enough"))
    assert.equal("enough pending", t:logged())
    assert.equal("cancelled", c.task:status())
  end))

  it("[S1] on_cancel may complete it instead", h.run(function()
    local c
    c = neap.completion(function() c:resolve("saved") end)
    c.task:cancel()
    assert.equal("done", c.task:status())
    assert.equal("saved", await(c.task))
  end))

  it("[S1] cancelling its task without on_cancel cancels it", h.run(function()
    local c = neap.completion()
    assert.is_true(c.task:cancel("why"))
    assert.same({"cancelled", "why"}, {await(neap.settle(c.task))})
  end))

  it("[S2] resolve completes the task before any waiter has run", h.run(function(t)
    local c = neap.completion()
    local waiter = neap.start(function() t:note(await(c.task)) end)
    c:resolve("v")
    t:note(c.task:status())
    await(waiter)
    assert.equal("done v", t:logged())
  end))

  it("[S2] resolve works without a loop", h.plain(function()
    local c = neap.completion()
    c:resolve(1, 2)
    assert.is_true(c.task:is_done())
    assert.same({1, 2}, {c.task:result()})
  end))

  it("[S3] completing twice is misuse and leaves the first outcome", h.run(function()
    local function check(c, status, ...)
      h.misuse(function() c:resolve(9) end)
      h.misuse(function() c:reject("again") end)
      h.misuse(function() c:cancel("again") end)
      assert.same({status, ...}, {await(neap.settle(c.task))})
    end
    check(resolved(1), "done", 1)
    check(rejected("e"), "failed", "e")
    check(cancelled("r"), "cancelled", "r")
  end))

  it("[S3] the try_ forms return true, and false on a completed one", h.run(function()
    local function check(c, status, ...)
      assert.is_false(c:try_resolve(9))
      assert.is_false(c:try_reject("again"))
      assert.is_false(c:try_cancel("again"))
      assert.same({status, ...}, {await(neap.settle(c.task))})
    end
    local a, b, c = neap.completion(), neap.completion(), neap.completion()
    assert.is_true(a:try_resolve(1))
    check(a, "done", 1)
    assert.is_true(b:try_reject("e"))
    check(b, "failed", "e")
    assert.is_true(c:try_cancel("r"))
    check(c, "cancelled", "r")
  end))

  it("[S4] reject fails the task with that very error", h.run(function()
    local e = {}
    local c = rejected(e)
    assert.equal("failed", c.task:status())
    assert.is_true(c.task:is_done())
    assert.is_true(rawequal(e, c.task:error()))
  end))

  it("[S4] cancel makes the task cancelled, without an error", h.run(function()
    local c = cancelled("r")
    assert.equal("cancelled", c.task:status())
    assert.is_true(c.task:is_done())
    assert.is_nil(c.task:error())
  end))

  it("[S5] rejecting with nothing or nil still fails", h.run(function()
    local c = neap.completion()
    c:reject()
    assert.equal("failed", c.task:status())
    local outcome = table.pack(pcall(await, c.task))
    assert.is_false(outcome[1])
    assert.is_nil(outcome[2])
    local d = rejected(nil)
    assert.equal("failed", d.task:status())
    assert.is_nil(d.task:error())
  end))
end)

describe("Task:result", function()
  it("[S6] returns the values of a done task", h.plain(function()
    local results = table.pack(neap.completed(1, nil, 3, nil):result())
    assert.same({n = 4, 1, nil, 3}, results)
  end))

  it("[S6] raises the very error of a failed task", h.plain(function()
    local e = {}
    local ok, err = pcall(function() return neap.failed(e):result() end)
    assert.is_false(ok)
    assert.is_true(rawequal(e, err))
  end))

  it("[S6] raises ECANCELLED for a cancelled task", h.plain(function()
    local task = neap.cancelled("r")
    local err = h.raises("ECANCELLED", function() task:result() end)
    assert.is_true(rawequal(task, err.task))
    assert.equal("r", err.reason)
  end))

  it("[S6] is misuse on a pending task, and does not yield", h.run(function(t)
    neap.start(function()
      await(neap.yield())
      t:note("other")
    end)
    local c = neap.completion()
    h.misuse(function() c.task:result() end)
    assert.equal("", t:logged())
  end))
end)

describe("neap.completed, failed, cancelled", function()
  it("[S7] are complete on return", h.plain(function()
    local e = {}
    local done, failed, gone = neap.completed(1, 2), neap.failed(e), neap.cancelled("r")
    assert.equal("done", done:status())
    assert.equal("failed", failed:status())
    assert.equal("cancelled", gone:status())
    assert.is_true(done:is_done() and failed:is_done() and gone:is_done())
    assert.is_true(rawequal(e, failed:error()))
  end))
end)

describe("Task:cancel", function()
  it("[S8] on a completed task returns false and changes nothing", h.run(function()
    local done, failed, gone = neap.completed(1), neap.failed("e"), neap.cancelled("r")
    for _, task in ipairs{done, failed, gone} do
      assert.is_false(task:cancel("late"))
    end
    assert.same({"done", 1}, {await(neap.settle(done))})
    assert.same({"failed", "e"}, {await(neap.settle(failed))})
    assert.same({"cancelled", "r"}, {await(neap.settle(gone))})
  end))

  it("[S9] is true, then false, and the first reason stays", h.run(function()
    local task = neap.start(function() await(neap.sleep(10)) end)
    assert.is_false(task:cancel_requested())
    assert.is_true(task:cancel("a"))
    assert.is_false(task:cancel("b"))
    assert.same({"cancelled", "a"}, {await(neap.settle(task))})
    assert.equal("a", h.raises("ECANCELLED", await, task).reason)
  end))

  it("[S10] a body that catches its cancellation and returns is done", h.run(function()
    local task = neap.start(function()
      pcall(await, neap.sleep(10))
      return 5
    end)
    task:cancel()
    assert.equal(5, await(task))
    assert.equal("done", task:status())
    assert.is_true(task:cancel_requested())
  end))

  it("[S11] a body that turns its cancellation into an error has failed", h.run(function()
    local e = {}
    local task = neap.start(function()
      pcall(await, neap.sleep(10))
      error(e)
    end)
    task:cancel()
    local _, err = pcall(await, task)
    assert.is_true(rawequal(e, err))
    assert.equal("failed", task:status())
  end))
end)

describe("a Task's lifetime", function()
  local function collected_after(ending)
    local weak = setmetatable({}, {__mode = "k"})
    local task = neap.start(function()
      local precious = {}
      weak[precious] = true
      await(neap.yield())
      ending()
      return #precious
    end)
    assert.is_not_nil(next(weak))
    await(neap.settle(task))
    collectgarbage()
    collectgarbage()
    return next(weak) == nil and task
  end

  it("[S12] a done task keeps neither its coroutine nor locals", h.run(function()
    local task = collected_after(function() end)
    assert.equal(0, task:result())
  end))

  it("[S12] a failed task keeps neither its coroutine nor locals", h.run(function()
    local task = collected_after(function() error("e", 0) end)
    assert.equal("e", task:error())
  end))

  it("[S13] a pending task that nobody holds completes and closes", h.run(function(t)
    neap.start(function()
      local _ <close> = setmetatable({}, {__close = function() t:note("closed") end})
      await(neap.sleep(1))
      t:note("completed")
    end)
    collectgarbage()
    collectgarbage()
    await(neap.sleep(2))
    assert.equal("completed closed", t:logged())
  end))
end)
