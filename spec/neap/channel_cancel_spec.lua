-- Cancelled sends and receives: before, while they wait, in the turn of the hand-over, after.
local h = require "spec.helper"
local support = require "spec.support"
local neap = require "neap"

local await = neap.await
-- 10 000 at most; a collection per turn makes all costs quadratic.
local MANY = os.getenv("NEAP_STRESS_GC") and 50 or 2500

--- A task that receives once, notes the item, and then awaits a yield, which raises if cancelled.
local function receiver(t, ch)
  return neap.start(function()
    local _, item = await(ch:recv())
    t:note(item)
    await(neap.yield())
    t:note("not cancelled")
  end)
end

--- Asserts that the task ends as cancelled, with this reason.
local function is_cancelled(task, reason)
  assert.same({ "cancelled", reason }, { await(neap.settle(task)) })
end

describe("send and recv in a cancelled scope", function()
  it("[S71] have no effect: the item stays, nothing is added", h.run(function()
    local ch = neap.channel()
    ch:try_send("kept")
    assert.same({ false, "stop" }, { neap.scope(function(scope)
      scope:cancel("stop")
      local recv, send = ch:recv(), ch:send("new")
      assert.equal("cancelled", recv:status())
      assert.equal("cancelled", send:status())
      assert.equal(1, #ch)
      assert.is_true(neap.is_cancel(select(2, pcall(await, recv))))
      await(send)
    end) })
    assert.same({ true, "kept" }, { ch:try_recv() })
    assert.same({ false, "empty" }, { ch:try_recv() })
  end))

  it("[S71] do not serve those that wait either", h.run(function()
    local ch = neap.channel(0)
    local recv = ch:recv()
    neap.scope(function(scope)
      scope:cancel()
      assert.equal("cancelled", ch:send("x"):status())
    end)
    assert.equal("pending", recv:status())
    assert.is_true(ch:try_send("y"))
    assert.same({ true, "y" }, { await(recv) })
  end))

  it("[S157] leave try_send and try_recv working", h.run(function()
    local ch = neap.channel(1)
    neap.scope(function(scope)
      scope:cancel()
      assert.same({ true }, { ch:try_send(1) })
      assert.same({ false, "full" }, { ch:try_send(2) })
      assert.same({ true, 1 }, { ch:try_recv() })
    end)
  end))

  it("[C4] behind a shield work as ever", h.run(function()
    local ch = neap.channel(0)
    local sender = neap.start(function() await(neap.sleep(2)) await(ch:send("x")) end)
    neap.scope(function(scope)
      scope:cancel()
      assert.same({ true, "x" }, { neap.shield(function() return await(ch:recv()) end) })
    end)
    await(sender)
  end))
end)

describe("a cancelled send", function()
  it("[S191] that waited is never delivered, later ones keep order: 42, 44", h.run(function()
    for capacity = 0, 1 do
      local ch, tasks = neap.channel(capacity), {}
      for i = 1, 3 do tasks[i] = neap.start(function() await(ch:send(41 + i)) end) end
      tasks[2]:cancel("why")
      assert.same({ true, 42 }, { await(ch:recv()) })
      assert.same({ true, 44 }, { await(ch:recv()) })
      assert.same({ false, "empty" }, { ch:try_recv() })
      is_cancelled(tasks[2], "why")
      await(tasks[3])
    end
  end))

  it("[S191] at the head and at the tail of the queue", h.run(function()
    local ch = neap.channel(0)
    local sends = {}
    for i = 1, 5 do sends[i] = ch:send(i) end
    assert.is_true(sends[1]:cancel("why"))
    assert.is_true(sends[5]:cancel("why"))
    for i = 2, 4 do assert.same({ true, i }, { ch:try_recv() }) end
    assert.same({ false, "empty" }, { ch:try_recv() })
    is_cancelled(sends[1], "why")
    is_cancelled(sends[5], "why")
  end))

  it("[S191] lets go of its item", h.run(function()
    local weak = setmetatable({}, { __mode = "v" })
    local ch = neap.channel(0)
    local send
    local function begin()
      local item = {}
      weak.item = item
      send = ch:send(item)
    end
    begin()
    send:cancel()
    collectgarbage()
    collectgarbage()
    assert.is_nil(weak.item)
    assert.equal("cancelled", send:status())
  end))

  it("[C6] in the turn in which its item was taken is done", h.run(function(t)
    local ch = neap.channel(0)
    local sender = neap.start(function()
      await(ch:send("x"))
      t:note("sent")
      await(neap.yield())
      t:note("never")
    end)
    assert.same({ true, "x" }, { ch:try_recv() })
    sender:cancel("late")
    is_cancelled(sender, "late")
    assert.equal("sent", t:logged())
  end))

  it("[C6] in the turn in which it got a slot is done, the item stays", h.run(function(t)
    local ch = neap.channel(1)
    ch:try_send(1)
    local sender = neap.start(function()
      await(ch:send(2))
      t:note("sent")
      await(neap.yield())
      t:note("never")
    end)
    assert.same({ true, 1 }, { ch:try_recv() })
    sender:cancel("late")
    is_cancelled(sender, "late")
    assert.equal("sent", t:logged())
    assert.same({ true, 2 }, { ch:try_recv() })
  end))

  it("[C6] just before a receiver comes lets the next one be taken", h.run(function()
    local ch = neap.channel(0)
    local first = neap.start(function() await(ch:send("first")) end)
    local second = neap.start(function() await(ch:send("second")) end)
    first:cancel("early")
    assert.same({ true, "second" }, { ch:try_recv() })
    is_cancelled(first, "early")
    await(second)
  end))

  it("[S8] that is done stays done", h.run(function()
    local ch = neap.channel(1)
    local send = ch:send(1)
    assert.is_false(send:cancel())
    assert.equal("done", send:status())
    assert.equal(1, #ch)
  end))
end)

describe("a cancelled recv", function()
  it("[S192] takes nothing; the next recv gets the item", h.run(function()
    local ch = neap.channel()
    local task = neap.start(function() await(ch:recv()) end)
    await(neap.sleep(1))
    task:cancel("why")
    ch:try_send("x")
    assert.equal(1, #ch)
    assert.same({ true, "x" }, { await(ch:recv()) })
    is_cancelled(task, "why")
  end))

  it("[S192] before it began takes nothing", h.run(function(t)
    local ch = neap.channel()
    ch:try_send("x")
    local task = neap.start(function()
      pcall(await, neap.yield())
      await(ch:recv())
      t:note("never")
    end)
    task:cancel("before")
    is_cancelled(task, "before")
    assert.equal("", t:logged())
    assert.equal(1, #ch)
  end))

  it("[S192, S193] lets the next receiver have the item, in order", h.run(function(t)
    local ch = neap.channel(0)
    local tasks = {}
    for i = 1, 4 do
      tasks[i] = neap.start(function()
        local _, item = await(ch:recv())
        t:note(i .. item)
      end)
    end
    tasks[1]:cancel()
    tasks[3]:cancel()
    assert.is_true(ch:try_send("a"))
    assert.is_true(ch:try_send("b"))
    assert.same({ false, "full" }, { ch:try_send("c") })
    for i = 1, 4 do await(neap.settle(tasks[i])) end
    assert.equal("2a 4b", t:logged())
  end))

  it("[C6, S72] in the turn of the hand-over gets the item", h.run(function(t)
    local ch = neap.channel()
    local task = receiver(t, ch)
    ch:try_send("x")
    task:cancel("late")
    assert.equal(0, #ch)
    is_cancelled(task, "late")
    assert.equal("x", t:logged())
    assert.same({ false, "empty" }, { ch:try_recv() })
  end))

  it("[C6, S72] whose scope is cancelled in the turn of the hand-over gets it", h.run(function(t)
    local ch = neap.channel(0)
    local scope
    local task = neap.start(function()
      return neap.scope(function(own)
        scope = own
        local _, item = await(ch:recv())
        t:note(item)
        await(neap.yield())
      end)
    end)
    ch:try_send("x")
    scope:cancel("late")
    assert.same({ false, "late" }, { await(task) })
    assert.equal("x", t:logged())
  end))

  it("[C6] just before the hand-over leaves the item", h.run(function(t)
    local ch = neap.channel()
    local first, second = receiver(t, ch), receiver(t, ch)
    first:cancel("early")
    ch:try_send("x")
    is_cancelled(first, "early")
    await(second)
    assert.equal("x not cancelled", t:logged())
  end))

  it("[C6] under a timeout that ends in the turn of a send loses no item", h.run(function()
    local ch = neap.channel()
    local sender = neap.start(function() await(neap.sleep(1)) ch:try_send("x") end)
    local in_time, received, item = neap.try_for(1, function() return await(ch:recv()) end)
    await(sender)
    if in_time then
      assert.same({ true, "x", 0 }, { received, item, #ch })
    else
      assert.same({ "timeout", 1 }, { received, #ch })
    end
  end))

  it("[S133] under a timeout leaves the item that comes later", h.run(function()
    local ch = neap.channel()
    support.takes(1, function()
      assert.same({ false, "timeout" }, { neap.try_for(1, function() await(ch:recv()) end) })
    end)
    ch:try_send("later")
    assert.equal(1, #ch)
  end))

  it("[S100] by a sibling's failure leaves the item", h.run(function()
    local ch, e = neap.channel(), {}
    local ok, err = pcall(neap.group, function(g)
      g:spawn(function() await(ch:recv()) end)
      g:spawn(function() await(neap.sleep(1)) error(e, 0) end)
    end)
    assert.is_false(ok)
    assert.equal(e, err)
    ch:try_send("x")
    assert.equal(1, #ch)
  end))

  it("[S8] that is done keeps its item", h.run(function()
    local ch = neap.channel()
    local recv = ch:recv()
    ch:try_send("x")
    assert.is_false(recv:cancel())
    assert.same({ true, "x" }, { await(recv) })
  end))

  it("[S12] that is done is collected with its item", h.run(function()
    local weak = setmetatable({}, { __mode = "v" })
    local ch = neap.channel()
    local function receive()
      local recv = ch:recv()
      local item = {}
      weak.item = item
      ch:try_send(item)
      assert.equal("done", recv:status())
    end
    receive()
    collectgarbage()
    collectgarbage()
    assert.is_nil(weak.item)
    assert.equal(0, #ch)
  end))
end)

describe("many waits in a channel", function()
  --- begin(ch) makes a wait; seconds for cancelling n of them, from the last and from the middle.
  local function cost_of_cancelling(begin)
    return function(n)
      local ch, list = neap.channel(0), {}
      local start = os.clock()
      for i = 1, n do list[i] = begin(ch) end
      for i = n, 1, -2 do assert(list[i]:cancel()) end
      for i = 1, n do list[i]:cancel() end
      assert.same({ false, "empty" }, { ch:try_recv() })
      assert.same({ false, "full" }, { ch:try_send(1) })
      return os.clock() - start
    end
  end

  it("[S86] of receivers are cancelled in linear time, and leave nothing", h.run(function()
    support.is_linear(cost_of_cancelling(function(ch) return ch:recv() end), MANY)
  end))

  it("[S86] of senders are cancelled in linear time, and leave nothing", h.run(function()
    support.is_linear(cost_of_cancelling(function(ch) return ch:send("x") end), MANY)
  end))

  it("[S86] of 10 000 tasks are cancelled in linear time, with their group", h.run(function()
    support.is_linear(function(n)
      local ch = neap.channel()
      local start = os.clock()
      neap.group(function(g)
        for _ = 1, n do g:spawn(function() await(ch:recv()) end) end
        g:cancel()
      end)
      ch:try_send(1)
      assert.equal(1, #ch)
      return os.clock() - start
    end, MANY)
  end))
end)
