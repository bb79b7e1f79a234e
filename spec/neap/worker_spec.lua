local h = require "spec.helper"
local jobs = require "spec.jobs"
local neap = require "neap"

local await, worker = neap.await, neap.worker
local run = worker.run

describe("neap.worker.run", function()
  before_each(jobs.make)
  after_each(jobs.remove)

  it("[S165] gives the results of a function from another thread", h.run(function()
    local function add(a, b) return a + b, a * b end
    assert.same({ 5, 6 }, { await(run(add, 2, 3)) })
  end))

  it("[S165] runs on another thread of this process", h.run(function()
    local function thread()
      local file <close> = assert(io.open("/proc/thread-self/stat"))
      return file:read("a"):match("^%d+")
    end
    local function process()
      local file <close> = io.open("/proc/self/stat")
      return file:read("a"):match("^%d+")
    end
    if not io.open("/proc/thread-self/stat") then return end
    assert.not_equal(thread(), await(run(thread)))
    assert.equal(process(), await(run(process)))
  end))

  it("[S165] keeps the loop turning: a 10 ms ticker ticks while it computes", h.plain(function()
    local ticks = 0
    neap.run(function()
      local begun, go = jobs.at("begun"), jobs.at("go")
      local task = run(jobs.hold, begun, go, "computed")
      for _ in neap.every(0.01) do
        ticks = ticks + 1
        if ticks == 20 then jobs.tell("go") end
        if task:is_done() then break end
      end
      assert.equal("computed", await(task))
    end)
    assert.is_true(ticks >= 20)
  end))

  it("[S165] overlaps with other jobs", h.run(function()
    local pool <close> = worker.pool(2)
    local function run_here(...) return pool:run(...) end
    local a = jobs.held(run_here, "a", 1)
    local b = jobs.held(run_here, "b", 2) -- runs while a does
    jobs.let_go("b")
    assert.equal(2, await(b))
    assert.is_false(a:is_done())
    jobs.let_go("a")
    assert.equal(1, await(a))
  end))

  it("[S166] keeps nils, and their number", h.run(function()
    local function echo(...) return select("#", ...), ... end
    assert.same(table.pack(0), table.pack(await(run(echo))))
    assert.same(table.pack(1, nil), table.pack(await(run(echo, nil))))
    local results = table.pack(await(run(echo, nil, false, nil, nil)))
    assert.same(table.pack(4, nil, false, nil, nil), results)
    assert.same(table.pack(), table.pack(await(run(function() end))))
  end))

  it("[S166] takes and gives 250 values", h.run(function()
    local list = {}
    for i = 1, 250 do list[i] = i end
    local results = table.pack(await(run(function(...) return ... end, table.unpack(list))))
    assert.equal(250, results.n)
    for i = 1, 250 do assert.equal(i, results[i]) end
  end))

  it("[S166] keeps integers, floats, booleans and the bytes of strings", h.run(function()
    local function kinds(...)
      local list = {}
      for i, value in ipairs({ ... }) do list[i] = math.type(value) or type(value) end
      return table.concat(list, " "), ...
    end
    local job = run(kinds, 1, 1.0, math.mininteger, math.huge, true, "a\0b\xff")
    local results = table.pack(await(job))
    assert.equal("integer float integer float boolean string", results[1])
    assert.equal("integer", math.type(results[2]))
    assert.equal("float", math.type(results[3]))
    assert.equal(math.mininteger, results[4])
    assert.equal(math.huge, results[5])
    assert.is_true(results[6])
    assert.equal("a\0b\xff", results[7])
  end))

  it("[S166] keeps cycles and shared references, but no metatables", h.run(function()
    local shared = { "shared" }
    local given = setmetatable({ a = shared, b = shared }, { __index = { c = 1 } })
    given.self = given
    local got, is_cycle, has_meta = await(run(function(t)
      return t, t.self == t and t.a == t.b, getmetatable(t) ~= nil
    end, given))
    assert.is_true(is_cycle)
    assert.is_false(has_meta)
    assert.not_equal(given, got)
    assert.is_true(got.self == got and got.a == got.b and got.a ~= shared)
    assert.is_nil(getmetatable(got))
    assert.is_nil(got.c)
  end))

  it("[S166] gives the function copies of its upvalues", h.run(function()
    local count, list = 1, { 10 }
    local function step(n) return n * 2 end
    local function job()
      count = count + 1
      list[1] = step(list[1])
      return count, list[1]
    end
    assert.same({ 2, 20 }, { await(run(job)) })
    assert.same({ 2, 20 }, { await(run(job)) })
    assert.equal(1, count)
    assert.equal(10, list[1])
  end))

  it("[S166] takes functions as arguments and gives them as results", h.run(function()
    local base = 100
    local function apply(fn, x)
      local offset = fn(x)
      return function(y) return offset + y end
    end
    local add = await(run(apply, function(x) return base + x end, 5))
    assert.equal(112, add(7))
  end))

  it("[S166] refuses what cannot cross before the start, with the path to it", h.run(function()
    local function job(path) io.open(path, "w"):close() end
    local path = jobs.at("ran")
    local co = coroutine.create(print)
    local function refused(n, text, ...)
      local message = h.bad_argument("run", n, run, ...)
      assert.is_truthy(message:find(text, 1, true), message)
    end
    refused(3, "argument 3: a coroutine", job, path, co)
    refused(3, "argument 3.items[2]", job, path, { items = { 1, co } })
    refused(3, "argument 3", job, path, io.stdout)
    refused(3, "argument 3", job, path, print)
    refused(3, "argument 3", job, path, neap.completion())
    refused(1, "co", function() return co end, path)
    refused(1, "argument 1", print)
    assert.is_false(jobs.exists("ran"))
  end))

  it("[S166] fails when a result cannot cross", h.run(function()
    local err = h.raises("EINVAL", function()
      await(run(function() return 1, { f = { coroutine.create(print) } } end))
    end)
    assert.is_truthy(err.message:find("result 2.f[1]: a coroutine", 1, true), err.message)
  end))

  it("raises argument errors", h.run(function()
    h.bad_argument("run", 1, run)
    h.bad_argument("run", 1, run, 5)
    for _, name in ipairs({ "", "f", ".f", "m.", "m.f\0", "m\0.f" }) do
      h.bad_argument("run", 1, run, name)
    end
    h.bad_argument("run", 1, function() worker.pool(1):run(nil) end)
    h.bad_argument("with", 1, worker.with)
    h.bad_argument("with", 1, worker.with, { loops = true })
    h.bad_argument("with", 1, worker.with, { pool = {} })
    h.bad_argument("pool", 1, worker.pool, 0)
    h.bad_argument("pool", 1, worker.pool, 1.5)
  end))

  it("is a Task like others: results are kept, and it has a place in dump()", h.run(function()
    local pool <close> = worker.pool(1)
    local task = jobs.held(function(...) return pool:run(...) end, "a", "x", nil)
    local waiter = neap.start(function() return await(task) end)
    assert.equal("pending", task:status())
    local lines = {}
    neap.dump({ write = function(_, ...) lines[#lines + 1] = table.concat({ ... }) end })
    local text = table.concat(lines)
    jobs.let_go("a")
    assert.is_truthy(text:find("worker.run", 1, true), text)
    assert.is_truthy(text:find("awaits task " .. task:id(), 1, true), text)
    assert.same(table.pack("x", nil), table.pack(await(task)))
    assert.same(table.pack("x", nil), table.pack(await(task)))
    assert.same(table.pack("x", nil), table.pack(await(waiter)))
  end))

  it("runs on when nobody awaits it, and its scope joins it", h.run(function()
    local task
    neap.scope(function()
      task = jobs.held(run, "a")
      jobs.let_go("a")
    end)
    assert.equal("done", task:status())
  end))

  it("combines with all, any and each", h.run(function()
    local function double(n) return 2 * n end
    local list = await(neap.all{ run(double, 1), run(double, 2), run(double, 3) })
    assert.equal("2 4 6", table.concat(list, " "))
    assert.equal(8, await(await(neap.any{ run(double, 4) })))
  end))

  it("fails without memory, and leaves nothing behind", h.run(function()
    h.each_failure(function()
      assert.equal(6, await(run(function(a, b) return a + b end, 2, 4)))
    end)
  end))
end)
