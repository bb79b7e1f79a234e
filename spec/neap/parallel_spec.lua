-- Loops over the threads of workers. Bodies and specs meet in counters, which all threads share.
local h = require "spec.helper"
local neap = require "neap"

local await, parallel = neap.await, neap.parallel
local counters = neap.worker.counters

--- Waits without letting the loop turn.
local function spin(counter, i, value)
  while counter:get(i) < value do end
end

local function squares(n)
  local list = {}
  for i = 1, n do list[i] = i * i end
  return list
end

describe("parallel.range", function()
  it("[S174] visits every index once", h.run(function()
    local seen = counters(100)
    local result = await(parallel.range(1, 100, function(i) seen:add(i, 1) end))
    assert.same({ completed = true }, result)
    for i = 1, 100 do assert.equal(1, seen:get(i)) end
  end))

  it("[S174] visits every index once, whatever the chunks and the workers", h.run(function()
    local ways = { { chunk = 1 }, { chunk = 7 }, { chunk = 999 }, { workers = 1 }, { workers = 5 } }
    for _, opts in ipairs(ways) do
      local seen = counters(101)
      await(parallel.range(-50, 50, function(i) seen:add(i + 51, 1) end, opts))
      for i = 1, 101 do assert.equal(1, seen:get(i)) end
    end
  end))

  it("[S174] of nothing has ended without a call", h.run(function()
    local calls = counters(1)
    local task = parallel.range(5, 4, function() calls:add(1, 1) end)
    assert.equal("done", task:status())
    assert.same({ completed = true }, await(task))
    assert.equal(0, calls:get(1))
  end))

  it("takes the ends of the integers", h.run(function()
    local sum = counters(1)
    local top = math.maxinteger
    await(parallel.range(top - 2, top, function(i) sum:add(1, top - i) end, { chunk = 1 }))
    assert.equal(3, sum:get(1))
    h.bad_argument("range", 2, parallel.range, math.mininteger, math.maxinteger, print)
  end))

  it("[S175] breaks: all below have run", h.run(function()
    local seen = counters(1000)
    local result = await(parallel.range(1, 1000, function(i, loop)
      seen:add(i, 1)
      if i == 10 then loop:break_() end
    end, { chunk = 1, workers = 3 }))
    assert.same({ completed = false, lowest_break = 10 }, result)
    for i = 1, 10 do assert.equal(1, seen:get(i)) end
    local above = 0
    for i = 11, 1000 do above = above + seen:get(i) end
    assert.is_true(above < 990)
  end))

  it("[S175] gives the lowest of several breaks", h.run(function()
    local result = await(parallel.range(1, 1000, function(i, loop)
      if i >= 10 then loop:break_() end
    end, { chunk = 5, workers = 4 }))
    assert.equal(10, result.lowest_break)
  end))

  it("tells a body that the loop has been ended early", h.run(function()
    local told = counters(2)
    local result = await(parallel.range(1, 2, function(i, loop)
      if i == 1 then
        while told:get(1) == 0 do end
        loop:break_()
        told:set(2, 1)
      else
        told:set(1, loop:should_exit() and 2 or 1)
        while told:get(2) == 0 do end
        if loop:should_exit() then told:add(1, 10) end
      end
    end, { chunk = 1, workers = 2 }))
    assert.equal(1, result.lowest_break)
    assert.equal(11, told:get(1))
  end))

  it("[S176] stops: nothing more is begun", h.run(function()
    local calls = counters(1)
    local result = await(parallel.range(1, 100000, function(i, loop)
      calls:add(1, 1)
      if i == 10 then loop:stop() end
    end, { chunk = 1 }))
    assert.same({ completed = false }, result)
    assert.is_true(calls:get(1) < 100000)
  end))

  it("[S176] refuses both ways to end it early", h.run(function()
    local alone = { workers = 1 } -- or several would fail
    local err = h.raises("EMISUSE", await, parallel.range(1, 10, function(_, loop)
      loop:stop()
      loop:break_()
    end, alone))
    assert.match("parallel_spec.lua:%d+$", err.where)
    h.raises("EMISUSE", await, parallel.range(1, 10, function(_, loop)
      loop:break_()
      loop:stop()
    end, alone))
  end))

  it("[S177] raises a body's error when the chunks that run have ended", h.run(function()
    local log = counters(2) -- begun, ended
    local task = parallel.range(1, 1000, function(i, loop)
      if i == 1 then
        while log:get(1) == 0 do end
        error("E", 0)
      elseif i == 11 then
        log:set(1, 1)
        while not loop:should_exit() do end -- the other one has failed
      elseif i >= 20 then
        log:set(2, i)
      end
    end, { chunk = 10, workers = 2 })
    local ok, err = pcall(await, task)
    assert.is_false(ok)
    assert.equal("E", err)
    assert.equal(20, log:get(2)) -- the chunk from 11 to 20, and none after it
  end))

  it("[S177] has the traceback of the body", h.run(function()
    local line = h.line() + 1
    local task = parallel.range(1, 1, function() error("boom") end)
    await(neap.settle(task))
    assert.match("parallel_spec.lua:" .. line .. ": boom", (task:traceback()))
    assert.match("parallel_spec.lua:" .. line .. ": in local 'fn'", (task:traceback()))
  end))

  it("fails with nil, and begins no more chunks", h.run(function()
    local calls = counters(1)
    local ok, err = pcall(await, parallel.range(1, 100000, function(i)
      calls:add(1, 1)
      if i == 1 then error(nil) end
    end, { chunk = 1 }))
    assert.is_false(ok)
    assert.is_nil(err)
    assert.is_true(calls:get(1) < 100000)
  end))

  it("reports the errors of other bodies", h.run(function(context)
    local begun = counters(1)
    local ok, err = pcall(await, parallel.range(1, 2, function(i)
      begun:add(1, 1)
      while begun:get(1) < 2 do end
      error("E" .. i, 0)
    end, { chunk = 1, workers = 2 }))
    assert.is_false(ok)
    local other = context:take_unobserved()
    assert.equal(1, #other)
    local both = { err, other[1].err }
    table.sort(both)
    assert.same({ "E1", "E2" }, both)
  end))

  it("[S181] a cancellation comes before a body's error, which is reported", h.run(function(context)
    local reported = 0
    for _ = 1, 50 do
      local begun = counters(1)
      local ok, reason = neap.scope(function(scope)
        local task = parallel.range(1, 1, function()
          local _ <close> = setmetatable({}, { __close = function() begun:set(1, 1) end })
          error("E", 0)
        end)
        spin(begun, 1, 1)
        local until_when = os.clock() + 0.01
        repeat until os.clock() > until_when -- its outcome arrives, and is not looked at
        scope:cancel("enough")
        await(task)
      end)
      assert.is_false(ok)
      assert.equal("enough", reason)
      local unobserved = context:take_unobserved()
      reported = reported + #unobserved
      if unobserved[1] then assert.equal("E", unobserved[1].err) end
      if reported > 0 then break end
    end
    assert.is_true(reported > 0)
  end))

  it("[S182] sees the local variables of the caller", h.run(function()
    local user = neap.localvar("nobody")
    local offset = 1000
    local sum, right = counters(1), counters(1)
    user:set("caller")
    await(parallel.range(1, 10, function(i)
      sum:add(1, i + offset)
      if user:get() == "caller" then right:add(1, 1) end
    end, { chunk = 1 }))
    assert.equal(10055, sum:get(1))
    assert.equal(10, right:get(1))
  end))

  it("[S182] as do map, reduce and invoke, with the values at the call", h.run(function()
    local user = neap.localvar("nobody")
    user:set("caller")
    local function name() return user:get() end
    local items = { 1, 2, 3 }
    local tasks = {
      parallel.map(items, name, { chunk = 1, workers = 1 }),
      parallel.reduce(items, function(all) return all .. user:get() .. " " end, "", {
        chunk = 1,
        combine = function(a, b) return a .. b end,
      }),
      parallel.invoke(name, name),
    }
    user:set("somebody else")
    assert.same({ n = 3, "caller", "caller", "caller" }, await(tasks[1]))
    assert.equal("caller caller caller ", await(tasks[2]))
    assert.same({ n = 2, "caller", "caller" }, await(tasks[3]))
  end))

  it("stops its bodies when it is cancelled", h.run(function()
    local begun = counters(1)
    local task = parallel.range(1, 2, function()
      begun:add(1, 1)
      while true do string.rep("x", 100) end
    end, { chunk = 1, workers = 2 })
    while begun:get(1) < 2 do await(neap.yield()) end
    assert.is_true(task:cancel("enough"))
    assert.same({ "cancelled", "enough" }, { await(neap.settle(task)) })
  end))

  it("in a cancelled scope calls nothing", h.run(function()
    local calls = counters(1)
    neap.scope(function(scope)
      scope:cancel()
      local tasks = {
        parallel.range(1, 10, function() calls:add(1, 1) end),
        parallel.map({ 1 }, function() calls:add(1, 1) end),
        parallel.reduce({ 1 }, function() calls:add(1, 1) end, 0),
        parallel.invoke(function() calls:add(1, 1) end),
      }
      for _, task in ipairs(tasks) do assert.equal("cancelled", task:status()) end
    end)
    assert.equal(0, calls:get(1))
  end))

  it("is joined by its scope", h.run(function()
    local calls = counters(1)
    neap.scope(function()
      parallel.range(1, 100, function() calls:add(1, 1) end)
    end)
    assert.equal(100, calls:get(1))
  end))

  it("refuses a function that cannot cross, before anything runs", h.run(function()
    local thread = coroutine.create(print)
    local text = h.bad_argument("range", 3, parallel.range, 1, 10, function() return thread end)
    assert.match("the function upvalue 'thread': a coroutine cannot cross", text)
    h.bad_argument("range", 3, parallel.range, 1, 10, print)
  end))

  it("checks its arguments", h.run(function()
    local function body() end
    h.bad_argument("range", 1, parallel.range, 1.5, 2, body)
    h.bad_argument("range", 2, parallel.range, 1, "x", body)
    h.bad_argument("range", 3, parallel.range, 1, 2, {})
    h.bad_argument("range", 4, parallel.range, 1, 2, body, 5)
    h.bad_argument("range", 4, parallel.range, 1, 2, body, { chunk = 0 })
    h.bad_argument("range", 4, parallel.range, 1, 2, body, { workers = "2" })
    h.bad_argument("range", 4, parallel.range, 1, 2, body, { pool = {} })
  end))
end)

describe("parallel.map", function()
  it("gives the results in the order of the list", h.run(function()
    local function add(x, i) return x + i end
    local results = await(parallel.map(squares(1000), add, { chunk = 3 }))
    assert.equal(1000, results.n)
    for i = 1, 1000 do assert.equal(i * i + i, results[i]) end
  end))

  it("keeps nils as holes, and n", h.run(function()
    local function even(x) if x % 2 == 0 then return x end end
    local results = await(parallel.map({ 1, 2, 3, 4 }, even))
    assert.same({ n = 4, [2] = 2, [4] = 4 }, results)
    assert.same({ n = 0 }, await(parallel.map({}, function() end)))
  end))

  it("takes the list as it was at the call", h.run(function()
    local list = { 1, 2, 3 }
    local task = parallel.map(list, function(x) return x end)
    list[1], list[4] = 10, 4
    assert.same({ n = 3, 1, 2, 3 }, await(task))
  end))

  it("[S177] raises the first error, and begins no more chunks", h.run(function()
    local calls = counters(1)
    local ok, err = pcall(await, parallel.map(squares(10000), function(_, i)
      calls:add(1, 1)
      if i == 3 then error({ code = "E3" }) end
    end, { chunk = 1 }))
    assert.is_false(ok)
    assert.equal("E3", err.code)
    assert.match("parallel_spec.lua:%d+: in local 'fn'", err.worker_traceback)
    assert.is_true(calls:get(1) < 10000)
  end))

  it("names an item that cannot cross", h.run(function()
    local list = squares(50)
    list[33] = { on_done = coroutine.create(print) }
    local task = parallel.map(list, function(x) return x end, { chunk = 7 })
    local err = h.raises("EINVAL", await, task)
    assert.match("^item 33%.on_done: a coroutine cannot cross", err.message)
    local text = h.bad_argument("map", 2, parallel.map, {}, function() return list end)
    assert.match("the function upvalue 'list'%[33%]%.on_done", text)
  end))

  it("has bounded work under way", h.run(function()
    local pool <close> = neap.worker.pool(1)
    local begun, done = counters(1), false
    local function note() begun:add(1, 1) end
    local task = parallel.map(squares(1000), note, { pool = pool, chunk = 1 })
    task:on_done(function() done = true end)
    spin(begun, 1, 2) -- two jobs were given to the pool, and no more while the loop does not turn
    local until_when = os.clock() + 0.02
    repeat until os.clock() > until_when
    assert.equal(2, begun:get(1))
    await(task)
    await(neap.yield())
    assert.is_true(done)
    assert.equal(1000, begun:get(1))
  end))
end)

describe("parallel.reduce", function()
  it("folds the list from left to right", h.run(function()
    local words = {}
    for i = 1, 500 do words[i] = i .. " " end
    for _, chunk in ipairs{ 1, 7, 499, 1000 } do
      local function join(a, b) return a .. b end
      local text = await(parallel.reduce(words, join, ">", { chunk = chunk }))
      assert.equal(">" .. table.concat(words), text)
    end
  end))

  it("of an empty list is init", h.run(function()
    assert.equal(7, await(parallel.reduce({}, function() end, 7)))
  end))

  it("combines results of another kind than items", h.run(function()
    local function count(totals, word)
      totals[word] = (totals[word] or 0) + 1
      return totals
    end
    local function merge(a, b)
      for word, n in pairs(b) do a[word] = (a[word] or 0) + n end
      return a
    end
    local words = { "a", "b", "a", "c", "a", "b" }
    local totals = await(parallel.reduce(words, count, {}, { combine = merge, chunk = 2 }))
    assert.same({ a = 3, b = 2, c = 1 }, totals)
  end))

  it("refuses what cannot cross, naming the argument, before anything runs", h.run(function()
    local thread = coroutine.create(print)
    local function add(a, b) return a + b end
    local function bad() return thread end
    local text = h.bad_argument("reduce", 2, parallel.reduce, { 1 }, bad, 0)
    assert.match("the function upvalue 'thread': a coroutine cannot cross", text)
    text = h.bad_argument("reduce", 3, parallel.reduce, { 1 }, add, { here = thread })
    assert.match("init.here: a coroutine cannot cross", text)
    h.bad_argument("reduce", 4, parallel.reduce, { 1 }, add, 0, { combine = bad })
    h.bad_argument("reduce", 4, parallel.reduce, { 1 }, add, 0, { combine = 5 })
    local err = h.raises("EINVAL", await, parallel.reduce({ 1, { thread } }, add, 0))
    assert.match("^item 2%[1%]: a coroutine cannot cross", err.message)
  end))

  it("fails when its function has come to hold what cannot cross", h.run(function()
    local held, calls = nil, counters(1)
    local function first(a)
      calls:add(1, 1)
      return held or a
    end
    local pool <close> = neap.worker.pool(1)
    local task = parallel.reduce(squares(100), first, 0, { pool = pool, chunk = 1 })
    held = coroutine.create(print) -- two chunks are under way, no more
    local err = h.raises("EINVAL", await, task)
    assert.match("^the function upvalue 'held': a coroutine cannot cross", err.message)
  end))

  it("keeps its pool to its end", h.run(function()
    local task
    local function add(a, b) return a + b end
    do
      local pool <close> = neap.worker.pool(2)
      task = parallel.reduce(squares(10), add, 0, { pool = pool, chunk = 1 })
    end
    assert.equal("done", task:status())
    assert.equal(385, await(task))
  end))

  it("raises what the function raises, in the chunks and behind them", h.run(function()
    local function fail(_, x) if x == 4 then error("E", 0) end end
    local ok, err = pcall(await, parallel.reduce({ 1, 2, 3, 4 }, fail, nil, { chunk = 2 }))
    assert.same({ false, "E" }, { ok, err })
    ok, err = pcall(await, parallel.reduce({ 1, 2 }, function(a) return a end, 0, {
      combine = function() error("C", 0) end,
      chunk = 1,
    }))
    assert.same({ false, "C" }, { ok, err })
  end))
end)

describe("parallel.invoke", function()
  it("runs functions at the same time and gives their first results", h.run(function()
    local met = counters(1)
    local function meet(name)
      return function()
        met:add(1, 1)
        while met:get(1) < 2 do end
        return name, "more"
      end
    end
    if neap.worker.size() < 2 then return end -- one processor
    assert.same({ n = 2, "a", "b" }, await(parallel.invoke(meet("a"), meet("b"))))
  end))

  it("of nothing is an argument error, as is what is no function", h.run(function()
    h.bad_argument("invoke", 1, parallel.invoke)
    h.bad_argument("invoke", 2, parallel.invoke, function() end, 5)
    local thread = coroutine.create(print)
    h.bad_argument("invoke", 2, parallel.invoke, function() end, function() return thread end)
  end))

  it("begins nothing after an error", h.run(function()
    local calls = counters(1)
    local functions = { function() error("E", 0) end }
    for i = 2, 200 do functions[i] = function() calls:add(1, 1) end end
    local ok, err = pcall(await, parallel.invoke(table.unpack(functions)))
    assert.same({ false, "E" }, { ok, err })
    assert.is_true(calls:get(1) < 199)
  end))
end)

describe("worker.counters", function()
  it("count from 0, and wrap around as integers do", h.run(function()
    local c = counters(3)
    assert.equal(3, #c)
    assert.equal("neap.Counters: 3", tostring(c))
    assert.equal(0, c:get(3))
    assert.equal(5, c:add(1, 5))
    assert.equal(6, c:add(1))
    assert.equal(6, c:exchange(1, 9))
    assert.equal(9, c:compare_exchange(1, 1, 8))
    assert.equal(9, c:compare_exchange(1, 1, 9))
    assert.equal(1, c:get(1))
    assert.equal(-2, c:min(1, -2))
    assert.equal(-2, c:min(1, 7))
    assert.equal(7, c:max(1, 7))
    assert.equal(7, c:max(1, -7))
    c:set(2, math.maxinteger)
    assert.equal(math.mininteger, c:add(2, 1))
  end))

  it("check their arguments", h.run(function()
    local c = counters(2)
    h.bad_argument("counters", 1, counters, 0)
    h.bad_argument("counters", 1, counters, "x")
    for _, i in ipairs{ 0, 3, -1 } do
      h.bad_argument("get", 1, function() c:get(i) end)
    end
    h.bad_argument("add", 2, function() c:add(1, "x") end)
  end))

  it("are shared with the threads that have them, and exact", h.run(function()
    local c = counters(1)
    await(parallel.range(1, 10000, function() c:add(1, 1) end, { workers = 4 }))
    assert.equal(10000, c:get(1))
    local function both(a, b) return a:add(1, 1) - b:get(1) + 1 end
    assert.equal(1, await(neap.worker.run(both, c, c)))
  end))

  it("leave nothing where memory fails", h.run(function()
    h.each_failure(function() counters(4) end)
  end))
end)

describe("a pool's loops", function()
  it("keep it open until they have ended", h.run(function()
    local calls = counters(1)
    do
      local pool <close> = neap.worker.pool(2)
      parallel.range(1, 50, function() calls:add(1, 1) end, { pool = pool })
    end
    assert.equal(50, calls:get(1))
  end))

  it("are refused once it is closed", h.run(function()
    local pool = neap.worker.pool(1)
    await(pool:close())
    h.misuse(parallel.range, 1, 2, function() end, { pool = pool })
    h.misuse(parallel.map, { 1 }, function() end, { pool = pool })
  end))

  it("run in no more threads than it has", h.run(function()
    local pool <close> = neap.worker.pool(2)
    local now, most = counters(1), counters(1)
    await(parallel.range(1, 300, function()
      most:max(1, now:add(1, 1))
      now:add(1, -1)
    end, { pool = pool, workers = 6, chunk = 1 }))
    assert.is_true(most:get(1) <= 2)
    assert.equal(0, now:get(1))
  end))
end)
