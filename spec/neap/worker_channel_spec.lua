-- Channels between threads, and counters, for what they are made: each end in a Lua state and a
-- loop of its own. What one state alone can show is in thread_channel_spec.
local h = require "spec.helper"
local neap = require "neap"

local await, worker = neap.await, neap.worker

--- Runs fn(run_there, context): jobs with loops on so many threads.
local function with_workers(size, fn)
  return h.run(function(context)
    local pool <close> = worker.pool(size)
    neap.scope(function() fn(worker.with{ pool = pool, loop = true }.run, context) end)
  end)
end

-- Jobs: functions without upvalues.

local function produce(ch, from, to)
  local n = require "neap"
  for i = from, to do n.await(ch:send(i, { square = i * i })) end
end

local function consume(ch)
  local sum, count = 0, 0
  for i, item in ch do
    assert(item.square == i * i)
    sum, count = sum + i, count + 1
  end
  return sum, count
end

--- Says on `ready` that its receive waits, then gives what came of it.
local function receive(ch, ready)
  local task = ch:recv()
  ready:try_send(true)
  return require("neap").await(task)
end

local function send(ch, ready, item)
  local task = ch:send(item)
  ready:try_send(true)
  return require("neap").await(task)
end

--- Starts `receive` or `send`; returns its task when it waits.
local function waiting(run_there, job, ch, ...)
  local ready = worker.channel()
  local task = run_there(job, ch, ready, ...)
  await(ready:recv())
  return task
end

local CAPACITIES = {
  ["without bounds"] = math.huge,
  ["of one item"] = 1,
  ["that is a rendezvous"] = 0,
}

for name, capacity in pairs(CAPACITIES) do
  describe("a channel " .. name .. " between a worker and here", function()
    it("[S183, S184, S185] brings a worker's items, in order", with_workers(1, function(run_there)
      local ch = worker.channel(capacity)
      local producer = run_there(produce, ch, 1, 100)
      for i = 1, 100 do
        assert.same({ true, i, { square = i * i } }, { await(ch:recv()) })
      end
      await(producer)
      assert.same({ false, "empty" }, { ch:try_recv() })
    end))

    it("takes items to a worker, until it is closed", with_workers(1, function(run_there)
      local ch = worker.channel(capacity)
      local consumer = run_there(consume, ch)
      for i = 1, 100 do await(ch:send(i, { square = i * i })) end
      ch:close()
      assert.same({ 5050, 100 }, { await(consumer) })
    end))

    it("gives each item of several workers to one of several", with_workers(4, function(run_there)
      local ch = worker.channel(capacity)
      local consumers = { run_there(consume, ch), run_there(consume, ch) }
      local producers = { run_there(produce, ch, 1, 60), run_there(produce, ch, 61, 120) }
      await(neap.all(producers))
      ch:close()
      local sums, counts = 0, 0
      for _, consumer in ipairs(consumers) do
        local sum, count = await(consumer)
        sums, counts = sums + sum, counts + count
      end
      assert.same({ 7260, 120 }, { sums, counts })
    end))
  end)
end

describe("channels between threads", function()
  it("carry requests and answers, also a channel in an item", with_workers(1, function(run_there)
    local requests = worker.channel()
    local server = run_there(function(ch)
      local n = require "neap"
      for request in ch do n.await(request.reply:send(request.x * 2)) end
      return "closed"
    end, requests)
    for x = 1, 50 do
      local reply = worker.channel(0)
      await(requests:send({ x = x, reply = reply }))
      assert.same({ true, 2 * x }, { await(reply:recv()) })
    end
    requests:close()
    assert.equal("closed", await(server))
  end))

  it("connect two workers, with nothing here in between", with_workers(2, function(run_there)
    local ch = worker.channel(1)
    local consumer = run_there(consume, ch)
    await(run_there(function(c, job)
      job(c, 1, 50)
      c:close()
    end, ch, produce))
    assert.same({ 1275, 50 }, { await(consumer) })
  end))

  it("serve a job without a loop, as long as it does not wait", h.run(function()
    local ch = worker.channel(1)
    ch:try_send("there")
    local is_sent, received, item = await(worker.run(function(c)
      local is_there, x = c:try_recv()
      return c:try_send("back"), is_there, x
    end, ch))
    assert.same({ true, true, "there" }, { is_sent, received, item })
    assert.same({ true, "back" }, { await(ch:recv()) })
    h.raises("EMISUSE", await, worker.run(function(c)
      require("neap").await(c:recv())
    end, ch))
  end))
end)

describe("closing a channel between threads", function()
  it("[S187] here ends a worker's wait for an item", with_workers(1, function(run_there)
    local ch = worker.channel(0)
    local receiver = waiting(run_there, receive, ch)
    assert.is_true(ch:close())
    assert.is_false(await(receiver))
  end))

  it("[S189] here fails a worker's send that waits", with_workers(1, function(run_there)
    local ch = worker.channel(0)
    local sender = waiting(run_there, send, ch, "item")
    assert.is_true(ch:close({ code = "WHY" }))
    local err = h.raises("ECLOSED", await, sender)
    assert.equal("WHY", err.cause.code)
  end))

  it("[S188] in a worker is seen here, with its error", with_workers(1, function(run_there)
    local ch = worker.channel()
    local receiver = neap.start(function() return await(ch:recv()) end)
    assert.is_true(await(run_there(function(c)
      return c:close(require("neap").error("EWORKER", "no more"))
    end, ch)))
    h.raises("EWORKER", await, receiver)
    assert.is_false(ch:close())
  end))
end)

describe("a worker that waits on a channel between threads", function()
  it("[S190] takes nothing once it is cancelled", with_workers(1, function(run_there)
    local ch = worker.channel(0)
    local receiver = waiting(run_there, receive, ch)
    assert.is_true(receiver:cancel("enough"))
    assert.same({ "cancelled", "enough" }, { await(neap.settle(receiver)) })
    assert.same({ false, "full" }, { ch:try_send("x") })
    local next_one = ch:recv()
    assert.is_true(ch:try_send("x"))
    assert.same({ true, "x" }, { await(next_one) })
  end))

  it("[S191] has sent nothing once it is cancelled", with_workers(1, function(run_there)
    local ch = worker.channel(0)
    local sender = waiting(run_there, send, ch, "never")
    sender:cancel()
    assert.equal("cancelled", (await(neap.settle(sender))))
    assert.same({ false, "empty" }, { ch:try_recv() })
  end))

  it("lets go when its job ends: the item is for others", with_workers(1, function(run_there)
    local ch = worker.channel(0)
    await(run_there(function(c)
      local n = require "neap"
      n.background(function() n.await(c:recv()) end)
      n.background(function() n.await(c:send("never")) end)
      n.await(n.yield())
    end, ch))
    assert.same({ false, "empty" }, { ch:try_recv() })
    assert.same({ false, "full" }, { ch:try_send("x") })
  end))

  it("and fails leaves those who wait here to others", with_workers(2, function(run_there)
    local ch = worker.channel(0)
    local receiver = neap.start(function() return select(2, await(ch:recv())) end)
    local ok, err = pcall(await, run_there(function() error("broken", 0) end, ch))
    assert.same({ false, "broken" }, { ok, err })
    await(run_there(function(c) require("neap").await(c:send("from another")) end, ch))
    assert.equal("from another", await(receiver))
  end))

  it("leaves its items when its state ends", h.run(function()
    local ch = worker.channel()
    do
      local pool <close> = worker.pool(1)
      await(worker.with{ pool = pool, loop = true }.run(produce, ch, 7, 8))
    end
    assert.same({ true, 7, { square = 49 } }, { await(ch:recv()) })
    assert.same({ true, 8, { square = 64 } }, { await(ch:recv()) })
  end))

  it("[S250] leaves a deadlock when its state ends while others wait", h.plain(function(t)
    local err = h.raises("EDEADLOCK", neap.run, { clock = t.clock }, function()
      local ch, pool = worker.channel(0), worker.pool(1)
      neap.start(function() await(ch:recv()) end)
      await(worker.with{ pool = pool, loop = true }.run(function(c) return #c end, ch))
      await(pool:close())
    end)
    assert.matches("awaits worker.channel:recv", tostring(err), 1, true)
  end))
end)

describe("counters that several threads have", function()
  it("count exactly what all of them add", with_workers(3, function(run_there)
    local c = worker.counters(2)
    local function count(counters, n)
      for i = 1, n do
        counters:add(1)
        counters:max(2, i)
      end
    end
    local tasks = {}
    for i = 1, 3 do tasks[i] = run_there(count, c, 1000 * i) end
    count(c, 500)
    await(neap.all(tasks))
    assert.same({ 6500, 3000 }, { c:get(1), c:get(2) })
  end))

  it("hand out each number once", with_workers(2, function(run_there)
    local c = worker.counters()
    local function draw(counters)
      local drawn = {}
      for i = 1, 500 do drawn[i] = counters:add(1) end
      return drawn
    end
    local seen = {}
    for _, task in ipairs{ run_there(draw, c), run_there(draw, c) } do
      for _, number in ipairs(await(task)) do
        assert.is_nil(seen[number])
        seen[number] = true
      end
    end
    assert.equal(1000, #seen)
  end))

  it("let one thread through at a time", with_workers(2, function(run_there)
    local c = worker.counters(2) -- the lock; what it guards
    local function work(counters)
      for _ = 1, 200 do
        while counters:compare_exchange(1, 1, 0) ~= 0 do end
        counters:set(2, counters:get(2) + 1)
        counters:exchange(1, 0)
      end
    end
    await(neap.all{ run_there(work, c), run_there(work, c) })
    assert.equal(400, c:get(2))
  end))

  it("cross in items of channels, and outlive the state that made them", h.run(function()
    local ch = worker.channel()
    do
      local pool <close> = worker.pool(1)
      await(worker.with{ pool = pool, loop = true }.run(function(reply)
        local n = require "neap"
        local made = n.worker.counters(1)
        made:set(1, 41)
        n.await(reply:send(made))
      end, ch))
    end
    local _, c = await(ch:recv())
    assert.equal(42, c:add(1))
  end))
end)
