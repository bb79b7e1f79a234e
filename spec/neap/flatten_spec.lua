local h = require "spec.helper"
local support = require "spec.support"
local neap = require "neap"

local async, await = neap.async, neap.await
local returns_after, fails_after = support.returns_after, support.fails_after
local takes = support.takes

describe("neap.flatten", function()
  it("[S25] of completed tasks is complete on return", h.run(function()
    local flat = neap.flatten(neap.completed(neap.completed(1, nil)))
    assert.equal("done", flat:status())
    assert.same({ 1, nil, n = 2 }, table.pack(await(flat)))
  end))

  it("[S25] gives what the task of an async function's task gives", h.run(function()
    local inner = async(function() await(neap.sleep(1)) return "x" end)
    local outer = async(function() await(neap.sleep(1)) return inner() end)
    takes(2, function() assert.equal("x", await(neap.flatten(outer()))) end)
  end))

  it("[S26] raises the outer task's error", h.run(function()
    local e = {}
    local ok, err = pcall(await, neap.flatten(neap.failed(e)))
    assert.is_false(ok)
    assert.is_true(rawequal(e, err))
    assert.same({ "failed", "late" }, { await(neap.settle(neap.flatten(fails_after(1, "late")))) })
  end))

  it("[S26] is cancelled when the outer task is", h.run(function()
    local flat = neap.flatten(neap.cancelled("why"))
    assert.equal("cancelled", flat:status())
    h.raises("ECANCELLED", await, flat)
  end))

  it("[S26] of a pending outer and a complete inner task completes with outer", h.run(function()
    takes(2, function()
      assert.equal("x", await(neap.flatten(returns_after(2, neap.completed("x")))))
    end)
  end))

  it("[S25] raises the inner task's error", h.run(function()
    local e = {}
    local ok, err = pcall(await, neap.flatten(neap.completed(fails_after(1, e))))
    assert.is_false(ok)
    assert.is_true(rawequal(e, err))
  end))

  it("[S25] is cancelled when the inner task is", h.run(function()
    local inner = neap.start(function() await(neap.sleep(10)) end)
    local flat = neap.flatten(neap.completed(inner))
    inner:cancel("why")
    assert.same({ "cancelled", "why" }, { await(neap.settle(flat)) })
  end))

  it("leaves both tasks alone when it is cancelled itself", h.run(function()
    local inner = returns_after(2, "x")
    local outer = returns_after(1, inner)
    local early, late = neap.flatten(outer), neap.flatten(outer)
    early:cancel("mine")
    assert.equal("cancelled", (await(neap.settle(early))))
    await(outer)
    await(neap.yield())
    late:cancel("mine")
    assert.equal("cancelled", (await(neap.settle(late))))
    assert.equal("x", await(inner))
  end))

  it("[C11, C12] lets tasks go that the cancellation does not reach", h.run(function()
    local outside = returns_after(5, neap.completed("x"))
    takes(1, function()
      neap.scope({ timeout = 1 }, function() await(neap.flatten(outside)) end)
    end)
    assert.equal("x", await(neap.flatten(outside)))
  end))

  it("[C11] waits for an inner task that the same cancellation reaches", h.run(function(t)
    takes(3, function()
      neap.scope({ timeout = 1 }, function()
        local inside = support.cleans_up(2, function() t:note("child") end)
        local _ <close> = support.closing(function() t:note("waiter") end)
        await(neap.flatten(neap.completed(inside)))
      end)
    end)
    assert.equal("child waiter", t:logged())
  end))

  it("[C4] of a pending task comes back cancelled in a cancelled scope", h.run(function()
    local outer = returns_after(1, neap.completed())
    neap.scope(function(scope)
      scope:cancel("closed")
      assert.equal("cancelled", neap.flatten(outer):status())
    end)
    await(outer)
  end))

  it("may be made twice of one task", h.run(function()
    local outer = returns_after(1, returns_after(2, "x"))
    local first, second = neap.flatten(outer), neap.flatten(outer)
    assert.equal("x", await(first))
    assert.equal("x", await(second))
  end))

  it("that is dropped leaves nothing behind", h.run(function()
    local inner = returns_after(2, "x")
    neap.flatten(returns_after(1, inner))
    collectgarbage()
    await(inner)
    await(neap.yield())
  end))

  it("raises an argument error for what is no Task", h.run(function()
    h.bad_argument("flatten", 1, neap.flatten, 5)
  end))
end)
