local h = require "spec.helper"
local support = require "spec.support"
local neap = require "neap"

local async, await = neap.async, neap.await

describe("synchronous completion", function()
  it("[S156] goes on after await(f()) before any other ready task", h.run(function(t)
    local f = async(function() t:note("body") return "x" end)
    local ready = neap.start(function() await(neap.yield()) t:note("other") end)
    t:note("before")
    assert.equal("x", await(f()))
    t:note("after")
    await(ready)
    assert.equal("before body after other", t:logged())
  end))

  it("[S156] holds through a chain of async functions", h.run(function()
    local turns = support.turn_counter()
    local inner = async(function(n) return n end)
    local middle = async(function(n) return await(inner(n)) + 1 end)
    local outer = async(function(n) return await(middle(n)) + 1 end)
    assert.equal(3, await(outer(1)))
    assert.equal(1, turns.count)
    turns.stop()
  end))

  it("[S156] holds for an f that fails at once", h.run(function()
    local turns = support.turn_counter()
    local f = async(function() error("bad", 0) end)
    assert.same({ false, "bad" }, { pcall(await, f()) })
    assert.equal(1, turns.count)
    turns.stop()
  end))

  it("[S156] holds for an await under the current task's scopes", h.run(function()
    local turns = support.turn_counter()
    local f = async(function() return "x" end)
    local ok, result = neap.scope(function()
      return neap.timeout(5, function() return await(f()) end)
    end)
    assert.same({ true, "x" }, { ok, result })
    assert.equal(1, turns.count)
    turns.stop()
  end))

  it("[S158] lets thousands of tasks await a cached Task without a turn", h.run(function()
    local cached = support.returns_after(1, "cached")
    await(cached)
    local turns = support.turn_counter()
    for _ = 1, 5000 do
      local task = neap.start(function() return await(cached) end)
      assert(task:status() == "done")
      assert(task:result() == "cached")
    end
    assert.equal(1, turns.count)
    turns.stop()
  end))

  it("[S158] gives a cached failure to each of its awaiting tasks", h.run(function()
    local e = {}
    local cached = neap.failed(e)
    local turns = support.turn_counter()
    for _ = 1, 1000 do
      local task = neap.start(function() return select(2, pcall(await, cached)) end)
      assert(rawequal(e, task:result()))
    end
    assert.equal(1, turns.count)
    turns.stop()
  end))
end)
