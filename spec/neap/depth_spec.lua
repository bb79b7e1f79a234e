local h = require "spec.helper"
local support = require "spec.support"
local neap = require "neap"
local core = require "neap.core"

local async, await = neap.async, neap.await

--- Kilobytes that Lua uses after a full collection.
local function used_memory()
  collectgarbage()
  collectgarbage()
  return collectgarbage("count")
end

--- Processor time that fn takes.
local function cost_of(fn)
  collectgarbage()
  local start = os.clock()
  fn()
  return os.clock() - start
end

describe("recursion through await", function()
  it("[S231] works for 20 000 levels without suspending", h.run(function()
    local turns = support.turn_counter()
    local f
    f = async(function(n) return n == 0 and 0 or 1 + await(f(n - 1)) end)
    local task = f(20000)
    assert.equal("done", task:status())
    assert.equal(20000, await(task))
    assert.equal(1, turns.count)
    turns.stop()
  end))

  it("[S231] gives the error of the lowest of 20 000 levels", h.run(function()
    local e = {}
    local f
    f = async(function(n)
      if n == 0 then error(e) end
      return await(f(n - 1))
    end)
    local ok, err = pcall(await, f(20000))
    assert.is_false(ok)
    assert.is_true(rawequal(e, err))
  end))

  it("[S231] takes linear time", h.run(function()
    local f
    f = async(function(n) return n == 0 and 0 or 1 + await(f(n - 1)) end)
    support.is_linear(function(n) return cost_of(function() await(f(n)) end) end, 4000)
  end))

  it("[S232] works for 5 000 levels with a suspension at the bottom", h.run(function()
    local f
    f = async(function(n)
      if n == 0 then
        await(neap.sleep(1))
        return 0
      end
      return 1 + await(f(n - 1))
    end)
    support.takes(1, function() assert.equal(5000, await(f(5000))) end)
  end))

  it("[S232] is cancelled from the top, the lowest level first", h.run(function()
    local closed, in_order = 0, true
    local f
    f = async(function(n)
      local _ <close> = support.closing(function()
        in_order = in_order and closed == n
        closed = closed + 1
      end)
      if n == 0 then
        await(neap.sleep(1))
      else
        await(f(n - 1))
      end
    end)
    local task = f(5000)
    task:cancel("enough")
    assert.equal("cancelled", (await(neap.settle(task))))
    assert.equal(5001, closed)
    assert.is_true(in_order)
  end))
end)

describe("100 000 tasks", function()
  it("[S233] sleep at the same time and complete", h.run(function()
    local woken, tasks = 0, {}
    local function body()
      await(neap.sleep(1))
      woken = woken + 1
    end
    support.takes(1, function()
      for i = 1, 100000 do tasks[i] = neap.start(body) end
      assert.equal(0, woken)
      await(neap.all(tasks))
    end)
    assert.equal(100000, woken)
  end))

  it("[S233] take less than 2 KiB each while they wait", h.run(function()
    local tasks = {}
    for i = 1, 100000 do tasks[i] = false end
    local gate = neap.completion()
    local function body() await(gate.task) end
    local before = used_memory()
    for i = 1, 100000 do tasks[i] = neap.start(body) end
    local each = (used_memory() - before) * 1024 / 100000
    gate:resolve()
    await(tasks[100000])
    assert.is_true(each < 2048, each .. " bytes for each")
  end))

  it("[S236] wait for one completion and wake in linear time", h.run(function()
    local function wake(n)
      local c, woken, tasks = neap.completion(), 0, {}
      for i = 1, n do
        tasks[i] = neap.start(function() await(c.task) woken = woken + 1 end)
      end
      local cost = cost_of(function()
        c:resolve()
        await(tasks[n])
      end)
      assert.equal(n, woken)
      return cost
    end
    support.is_linear(wake, 5000)
    wake(100000)
  end))

  it("[S86, S236] leave a completion that they waited for in linear time", h.run(function()
    local c = neap.completion()
    local function leave(n)
      local tasks = {}
      local function body() await(c.task) end
      return cost_of(function()
        neap.scope(function(scope)
          for i = 1, n do tasks[i] = neap.start(body) end
          scope:cancel("enough")
          pcall(await, neap.all(tasks))
        end)
      end)
    end
    support.is_linear(leave, 5000)
    c:resolve()
  end))
end)

describe("an await loop", function()
  it("[S234] over a completed task uses constant memory", h.run(function()
    local done = neap.completed(1)
    for _ = 1, 1000 do await(done) end
    local before = used_memory()
    local sum = 0
    for _ = 1, 1000000 do sum = sum + await(done) end
    assert.equal(1000000, sum)
    assert.is_true(used_memory() - before < 64)
  end))

  it("[S234] over new tasks and yields uses constant memory", h.run(function()
    local f = async(function(x) return x end)
    local function step(n)
      for i = 1, n do
        await(f(i))
        await(neap.yield())
      end
    end
    step(1000)
    local before, operations = used_memory(), core.stats().operations
    step(100000)
    assert.is_true(used_memory() - before < 64)
    assert.equal(operations, core.stats().operations)
  end))
end)

describe("nested scopes", function()
  --- Opens n close forms in the current task, then calls fn.
  local function nest(n, fn)
    if n == 0 then return fn() end
    local _ <close> = neap.deadline(1000 + n)
    local result = nest(n - 1, fn)
    return result
  end

  --- Opens a function form in each of n tasks, each awaiting the next.
  local chain
  chain = async(function(n)
    return neap.timeout(1000 + n, function()
      if n == 0 then return await(neap.sleep(1)) end
      return await(chain(n - 1))
    end)
  end)

  it("[S235] of 10 000 close forms open and close in one task", h.run(function()
    support.takes(1, function()
      nest(10000, function() await(neap.sleep(1)) end)
    end)
  end))

  it("[S235] of 10 000 close forms are cancelled from outside", h.run(function()
    local task = neap.start(nest, 10000, function() await(neap.sleep(1)) end)
    task:cancel("enough")
    support.takes(0, function() await(neap.settle(task)) end)
    assert.equal("cancelled", task:status())
  end))

  it("[S235] of close forms take linear time to open and close", h.run(function()
    support.is_linear(function(n)
      return cost_of(function()
        nest(n, function() await(neap.yield()) end)
      end)
    end, 2500)
  end))

  it("[S235] of close forms take linear time to cancel", h.run(function()
    support.is_linear(function(n)
      return cost_of(function()
        local task = neap.start(nest, n, function() await(neap.sleep(1)) end)
        task:cancel("enough")
        await(neap.settle(task))
      end)
    end, 2500)
  end))

  it("[S235] of function forms over 5 000 tasks end", h.run(function()
    support.takes(1, function() await(chain(5000)) end)
  end))

  it("[S235] of function forms over tasks take linear time to cancel", h.run(function()
    support.is_linear(function(n)
      return cost_of(function()
        local task = chain(n)
        task:cancel("enough")
        await(neap.settle(task))
      end)
    end, 1250)
  end))

  it("[S235] of 100 function forms work in one task", h.run(function()
    local function scopes(n)
      if n == 0 then return await(support.returns_after(1, "bottom")) end
      local _, result = neap.scope(function() return scopes(n - 1) end)
      return result
    end
    assert.equal("bottom", scopes(100))
  end))

  it("[S235] of 1 000 function forms in one task raise an error that says so", h.run(function()
    local function scopes(n)
      if n == 0 then return end
      neap.scope(function() scopes(n - 1) end)
    end
    local ok, err = pcall(scopes, 1000)
    assert.is_false(ok)
    local text = tostring(err):lower()
    assert.is_truthy(text:find("nest") or text:find("deep") or text:find("levels"), text)
    support.takes(1, function()
      neap.scope(function() await(neap.sleep(1)) end)
    end)
  end))
end)

describe("transfer", function()
  local transfer = core.transfer

  it("copies what is nested 200 000 deep", h.plain(function()
    local list = {}
    for _ = 1, 200000 do list = { list } end
    local copy, depth = transfer(list), 0
    while copy[1] do copy, depth = copy[1], depth + 1 end
    assert.equal(200000, depth)
  end))

  it("copies chains of functions 100 000 long", h.plain(function()
    local f = function() return 0 end
    for _ = 1, 100000 do
      local inner = f
      f = function() return inner end
    end
    local copy, depth = transfer(f), 0
    while copy ~= 0 do copy, depth = copy(), depth + 1 end
    assert.equal(100001, depth)
  end))

  it("names what cannot cross 100 000 deep", h.plain(function()
    local list = { coroutine.create(print) }
    for _ = 1, 100000 do list = { list } end
    local ok, err = pcall(transfer, list)
    assert.is_false(ok)
    assert.is_truthy(err:find("argument 1" .. ("[1]"):rep(16) .. "..." .. ("[1]"):rep(17), 1, true))
  end))

  it("keeps the code of 100 000 closures of a function once", h.plain(function()
    local function collect() collectgarbage() collectgarbage() end
    local function use(n)
      for i = 1, n do assert(transfer(function() return i end)() == i) end
    end
    use(1000)
    collect()
    local before = collectgarbage("count")
    use(99000)
    collect()
    assert.is_true(collectgarbage("count") < before + 16)
  end))
end)
