local h = require "spec.helper"
local neap = require "neap"
local async, await = neap.async, neap.await

describe("neap.async", function()
  it("[S14] runs the body to its first suspending await, then returns", h.run(function(t)
    local f = async(function()
      t:note("b")
      await(neap.yield())
      t:note("d")
    end)
    t:note("a")
    local task = f()
    t:note("c")
    await(task)
    t:note("e")
    assert.equal("a b c d e", t:logged())
  end))

  it("[S14] does not stop at an await that does not suspend", h.run(function(t)
    local f = async(function()
      await(neap.completed())
      t:note("f")
      await(neap.yield())
    end)
    local task = f()
    t:note("main")
    await(task)
    assert.equal("f main", t:logged())
  end))

  it("[S15] nests the synchronous prefixes", h.run(function(t)
    local g = async(function()
      t:note("g1")
      await(neap.yield())
      t:note("g2")
    end)
    local f = async(function()
      t:note("f1")
      local task = g()
      t:note("f2")
      await(task)
      t:note("f3")
    end)
    local task = f()
    t:note("caller")
    await(task)
    assert.equal("f1 g1 f2 caller g2 f3", t:logged())
  end))

  it("[S16] without an await returns a completed task", h.run(function()
    local task = async(function(a, b) return a + b end)(2, 3)
    assert.equal("done", task:status())
    assert.equal(5, task:result())
  end))

  it("[S17] an error before the first await fails the task, not the caller", h.run(function()
    local e = {}
    local task = async(function() error(e) end)()
    assert.equal("failed", task:status())
    assert.is_true(rawequal(e, task:error()))
  end))

  it("[S18] what is not callable is an argument error at the definition", h.plain(function()
    h.bad_argument("async", 1, function() async(nil) end)
    h.bad_argument("async", 1, function() async("f") end)
    h.bad_argument("async", 1, function() async({}) end)
    h.bad_argument("async", 1, function() async() end)
  end))

  it("[S18] takes any callable value", h.run(function()
    local callable = setmetatable({}, {__call = function(_, x) return x * 2 end})
    assert.equal(6, await(async(callable)(3)))
  end))

  it("[S19] two calls are independent tasks with their own locals", h.run(function()
    local count = async(function(limit)
      local n = 0
      while n < limit do
        n = n + 1
        await(neap.yield())
      end
      return n
    end)
    local first, second = count(3), count(5)
    assert.is_false(rawequal(first, second))
    assert.are_not.equal(first:id(), second:id())
    assert.equal(3, await(first))
    assert.equal(5, await(second))
  end))

  it("[S20] passes arguments by position, nils and trailing nils kept", h.run(function()
    local f = async(function(...) return select("#", ...), ... end)
    assert.same({n = 4, 3, nil, 2, nil}, table.pack(await(f(nil, 2, nil))))
    assert.equal(0, await(f()))
    assert.same({n = 4, 3, nil, 2, nil}, table.pack(await(neap.start(function(...)
      return select("#", ...), ...
    end, nil, 2, nil))))
  end))

  it("[S21] without a loop runs the prefix; the next run completes it", h.plain(function(t)
    local task = async(function()
      t:note("prefix")
      await(neap.yield())
      t:note("rest")
      return 7
    end)()
    t:note("caller")
    assert.equal("pending", task:status())
    neap.run({clock = t.clock}, function() t:note("main") end)
    assert.equal("done", task:status())
    assert.equal(7, task:result())
    assert.equal("prefix caller", t:logged():sub(1, #"prefix caller"))
    assert.is_truthy(t:logged():find("rest", 1, true))
  end))

  it("[S21] without a loop is completed by t:wait()", h.plain(function(t)
    local task = async(function()
      t:note("prefix")
      await(neap.yield())
      return 7, nil
    end)()
    t:note("caller")
    assert.same({n = 2, 7}, table.pack(task:wait()))
    assert.equal("prefix caller", t:logged())
  end))

  it("[S22] used as a method receives self first", h.run(function()
    local object = {factor = 3}
    object.times = async(function(self, x)
      await(neap.yield())
      return self.factor * x
    end)
    assert.equal(12, await(object:times(4)))
  end))

  it("[S23] a plain function called by a task may await", h.run(function(t)
    local function inner()
      await(neap.sleep(1))
      return "inner"
    end
    local function outer() return (inner()) end
    assert.equal("inner", outer())
    assert.equal("fetched", await(async(function()
      assert(outer())
      return "fetched"
    end)()))
    assert.equal(2, t.clock:now())
  end))

  it("[S24] called in a table.sort comparator runs its prefix there", h.run(function(t)
    local tasks = {}
    local compare = async(function(a, b)
      t:note("prefix")
      await(neap.yield())
      return a < b
    end)
    table.sort({2, 1}, function(a, b)
      local task = compare(a, b)
      t:note(task:status())
      tasks[#tasks + 1] = task
      return a < b
    end)
    assert.equal("prefix pending", t:logged():sub(1, #"prefix pending"))
    for _, task in ipairs(tasks) do assert.is_boolean(await(task)) end
  end))

  it("[S24] awaiting in the comparator is misuse", h.run(function()
    local task = async(function() await(neap.yield()) end)()
    h.misuse(function()
      table.sort({2, 1}, function() await(task) end)
    end)
    await(task)
  end))

  it("[S25] a returned task is a value", h.run(function()
    local inner = async(function()
      await(neap.yield())
      return "inner"
    end)
    local outer = async(function() return inner() end)
    local value = await(outer())
    assert.equal("pending", value:status())
    assert.equal("inner", await(value))
    assert.equal("inner", await(await(outer())))
  end))
end)

describe("neap.start", function()
  it("[S14, S20] runs any function as a hot task", h.run(function(t)
    local task = neap.start(function(...)
      t:note("prefix")
      await(neap.yield())
      return ...
    end, 1, nil)
    t:note("caller")
    assert.same({n = 2, 1}, table.pack(await(task)))
    assert.equal("prefix caller", t:logged())
  end))

  it("[S21] without a loop starts the prefix at once", h.plain(function(t)
    local task = neap.start(function()
      t:note("prefix")
      await(neap.yield())
      return 1
    end)
    assert.equal("prefix", t:logged())
    assert.equal(1, task:wait())
  end))
end)

describe("neap.flatten", function()
  it("[S25] has the inner task's outcome", h.run(function()
    local e = {}
    local function outer(inner) return neap.start(function() return inner end) end
    assert.same({"done", 1, 2}, {await(neap.settle(neap.flatten(outer(neap.completed(1, 2)))))})
    local _, err = pcall(await, neap.flatten(outer(neap.failed(e))))
    assert.is_true(rawequal(e, err))
    local gone = neap.flatten(outer(neap.cancelled("r")))
    assert.same({"cancelled", "r"}, {await(neap.settle(gone))})
  end))

  it("[S25] follows an inner task that completes later than the outer", h.run(function(t)
    local flat = neap.flatten(neap.start(function()
      return neap.start(function()
        await(neap.sleep(3))
        return "inner"
      end)
    end))
    assert.equal("pending", flat:status())
    assert.equal("inner", await(flat))
    assert.equal(3, t.clock:now())
  end))

  it("[S26] a failed outer gives the same error", h.run(function()
    local e = {}
    local _, now = pcall(await, neap.flatten(neap.failed(e)))
    assert.is_true(rawequal(e, now))
    local _, later = pcall(await, neap.flatten(neap.start(function()
      await(neap.yield())
      error(e)
    end)))
    assert.is_true(rawequal(e, later))
  end))

  it("[S26] a cancelled outer gives a cancelled task", h.run(function()
    local flat = neap.flatten(neap.cancelled("r"))
    assert.same({"cancelled", "r"}, {await(neap.settle(flat))})
    local c = neap.completion()
    local later = neap.flatten(c.task)
    c:cancel("s")
    assert.same({"cancelled", "s"}, {await(neap.settle(later))})
  end))

  it("[S26] with a complete inner completes when a pending outer does", h.run(function(t)
    local inner = neap.completed("inner")
    local flat = neap.flatten(neap.start(function()
      await(neap.sleep(2))
      return inner
    end))
    assert.equal("pending", flat:status())
    assert.equal("inner", await(flat))
    assert.equal(2, t.clock:now())
  end))
end)
