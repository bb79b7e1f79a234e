-- The states of one wait: what is awaited may have ended, may end later, in each of three ways;
-- the waiter may be cancelled before, during and after it.

local h = require "spec.helper"
local neap = require "neap"
local await = neap.await

--- A task in the background that waits for `awaited` and notes how that went.
local function waiter_on(t, awaited)
  return neap.start(function()
    local results = table.pack(pcall(await, awaited))
    if results[1] then
      t:note("got:" .. tostring(results[2]))
    elseif neap.is_cancel(results[2]) then
      t:note("own cancel")
      error(results[2])
    else
      local err = results[2]
      t:note("raised:" .. tostring(type(err) == "table" and err.code or err))
    end
  end)
end

local endings = {
  {name = "resolve", shown = "got:v", status = "done"},
  {name = "reject", shown = "raised:v", status = "failed"},
  {name = "cancel", shown = "raised:ECANCELLED", status = "cancelled"},
}

describe("a wait on a task", function()
  for _, ending in ipairs(endings) do
    it("[S27, S36, S66] that ended before by " .. ending.name, h.run(function(t)
      local c = neap.completion()
      c[ending.name](c, "v")
      local waiter = waiter_on(t, c.task)
      assert.equal("done", waiter:status())
      assert.equal(ending.shown, t:logged())
    end))

    it("[S28, S36, S66] that ends later by " .. ending.name, h.run(function(t)
      local c = neap.completion()
      local waiter = waiter_on(t, c.task)
      assert.equal("pending", waiter:status())
      c[ending.name](c, "v")
      assert.equal("", t:logged())
      assert.equal(ending.status, c.task:status())
      await(waiter)
      assert.equal(ending.shown, t:logged())
    end))

    it("[S72] the outcome of " .. ending.name .. " wins over a later cancel", h.run(function(t)
      local c = neap.completion()
      local waiter = waiter_on(t, c.task)
      c[ending.name](c, "v")
      assert.is_true(waiter:cancel())
      await(waiter)
      assert.equal(ending.shown, t:logged())
    end))

    it("[S67] a cancel wins over a later " .. ending.name, h.run(function(t)
      local c = neap.completion()
      local waiter = waiter_on(t, c.task)
      waiter:cancel("r")
      c[ending.name](c, "v")
      assert.same({"cancelled", "r"}, {await(neap.settle(waiter))})
      assert.equal("own cancel", t:logged())
      assert.equal(ending.status, c.task:status())
      pcall(await, c.task)
    end))
  end

  it("[S67] is withdrawn by cancel; the awaited task is untouched", h.run(function(t)
    local c = neap.completion()
    local waiter = waiter_on(t, c.task)
    waiter:cancel("r")
    assert.equal("", t:logged())
    assert.same({"cancelled", "r"}, {await(neap.settle(waiter))})
    assert.equal("pending", c.task:status())
    c:resolve(1)
    assert.equal(1, await(c.task))
  end))

  it("[S9, S67] cancelled twice is resumed once", h.run(function(t)
    local c = neap.completion()
    local waiter = waiter_on(t, c.task)
    waiter:cancel("r")
    waiter:cancel("s")
    assert.same({"cancelled", "r"}, {await(neap.settle(waiter))})
    assert.equal("own cancel", t:logged())
  end))

  it("[S71] begun after the cancellation raises, unless the task has ended", h.run(function(t)
    local pending = neap.completion()
    local waiter = neap.start(function()
      pcall(await, neap.sleep(1))
      t:note(await(neap.completed("ended")))
      await(pending.task)
    end)
    waiter:cancel("r")
    assert.same({"cancelled", "r"}, {await(neap.settle(waiter))})
    assert.equal("ended", t:logged())
    assert.equal("pending", pending.task:status())
  end))

  it("[S30] of one cancelled waiter leaves the other waiters", h.run(function(t)
    local c = neap.completion()
    local first, second, third = waiter_on(t, c.task), waiter_on(t, c.task), waiter_on(t, c.task)
    second:cancel()
    await(neap.settle(second))
    c:resolve("v")
    await(first)
    await(third)
    assert.equal("own cancel got:v got:v", t:logged())
  end))

  it("[S13] lasts though nobody holds the awaited task", h.run(function(t)
    local waiter = waiter_on(t, neap.start(function()
      await(neap.sleep(1))
      return "v"
    end))
    collectgarbage()
    collectgarbage()
    await(waiter)
    assert.equal("got:v", t:logged())
  end))

  it("[S13] lasts though nobody holds the waiter", h.run(function(t)
    local c = neap.completion()
    waiter_on(t, c.task)
    collectgarbage()
    collectgarbage()
    c:resolve("v")
    await(neap.yield())
    await(neap.yield())
    assert.equal("got:v", t:logged())
  end))

  it("[S21, S27] on a task of an earlier run gives its outcome", h.plain(function(t)
    local task = neap.run({clock = t.clock}, function()
      return neap.start(function()
        await(neap.sleep(1))
        return "old"
      end)
    end)
    assert.equal("old", task:result())
    assert.equal("old", neap.run({clock = t.clock}, await, task))
  end))
end)
