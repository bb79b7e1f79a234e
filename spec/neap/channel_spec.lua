-- Channels: order, capacity, values, the try_ forms, the for loop. Closing, cancellation and the
-- drop modes are in files of their own.
local h = require "spec.helper"
local support = require "spec.support"
local neap = require "neap"

local await = neap.await

--- A task that receives one item, notes its first value after the name, and returns it.
local function receiver(t, ch, name)
  return neap.start(function()
    local _, item = await(ch:recv())
    t:note(name .. tostring(item))
    return item
  end)
end

--- Asserts that fn(neap.channel(...)) is refused with an error that names the function.
local function refused(...)
  local ok, err = pcall(neap.channel, ...)
  assert.is_false(ok)
  assert.matches("bad argument", tostring(err), 1, true)
  assert.matches("channel", tostring(err), 1, true)
end

describe("neap.channel", function()
  it("rejects a capacity that is none", h.plain(function()
    for _, capacity in ipairs({ -1, 1.5, 0 / 0, -math.huge, "many", {}, true, print }) do
      h.bad_argument("channel", 1, neap.channel, capacity)
    end
  end))

  it("rejects options that are none", h.plain(function()
    h.bad_argument("channel", 2, neap.channel, 1, 7)
    h.bad_argument("channel", 2, neap.channel, 1, "wait")
    refused(1, { full = "drop" })
    refused(1, { full = 7 })
    refused(1, { on_drop = "print" })
    refused(1, { on_drop = {} })
  end))

  it("accepts capacities as integers, floats without a fraction and math.huge", h.plain(function()
    for _, capacity in ipairs({ 0, 1, 2.0, math.huge }) do
      local ch = neap.channel(capacity)
      assert.equal(0, #ch)
      assert.equal(capacity > 0, (ch:try_send(1)))
    end
    assert.is_true((neap.channel(2, { full = "wait" }):try_send(1)))
  end))

  it("gives objects whose tostring names the class", h.plain(function()
    assert.matches("^neap%.Channel", tostring(neap.channel()))
    assert.matches("^neap%.Channel", tostring(neap.channel(0)))
  end))

  it("gives objects whose methods reject objects of another kind", h.plain(function()
    local ch = neap.channel()
    for _, name in ipairs({ "send", "recv", "try_send", "try_recv", "close" }) do
      for _, object in ipairs({ 7, "ch", {}, io.stdout, neap.completed() }) do
        local ok, err = pcall(ch[name], object)
        assert.is_false(ok, name)
        assert.matches("bad argument", tostring(err), 1, true)
      end
    end
    assert.is_true((ch:try_send("still open")))
  end))
end)

describe("an unbounded channel", function()
  it("[S183] never makes send wait, items arrive in order", h.run(function()
    for _, capacity in ipairs({ false, math.huge }) do
      local ch = neap.channel(capacity or nil)
      for i = 1, 1000 do assert.equal("done", ch:send(i):status()) end
      assert.equal(1000, #ch)
      for i = 1, 1000 do
        local ok, item = await(ch:recv())
        assert(ok == true and item == i)
      end
      assert.equal(0, #ch)
    end
  end))

  it("[S183] gives the Task of a send no results", h.run(function()
    local ch = neap.channel()
    assert.equal(0, select("#", await(ch:send(1, 2))))
    local waiting = ch:recv()
    assert.equal(0, select("#", await(ch:send(3))))
    assert.equal("done", waiting:status())
  end))

  it("[S183] takes no turn for a send or for a recv of what is there", h.run(function()
    local ch, turns = neap.channel(), support.turn_counter()
    for i = 1, 20 do await(ch:send(i)) end
    for _ = 1, 20 do await(ch:recv()) end
    assert.equal(1, turns.count)
    turns.stop()
  end))
end)

describe("a bounded channel", function()
  it("[S184] of capacity 1 suspends the second send until a recv", h.run(function(t)
    local ch = neap.channel(1)
    local sender = neap.start(function()
      for i = 1, 3 do
        await(ch:send(i))
        t:note("sent " .. i)
      end
    end)
    assert.equal("sent 1", t:logged())
    assert.equal(1, #ch)
    await(neap.sleep(1))
    assert.equal("sent 1", t:logged())
    for i = 1, 3 do assert.same({ true, i }, { await(ch:recv()) }) end
    await(sender)
    assert.equal("sent 1 sent 2 sent 3", t:logged())
  end))

  it("[S184] counts what is buffered, not what waits", h.run(function()
    local ch = neap.channel(2)
    local sends = {}
    for i = 1, 4 do sends[i] = ch:send(i) end
    assert.equal(2, #ch)
    assert.equal("done", sends[2]:status())
    assert.equal("pending", sends[3]:status())
    assert.same({ true, 1 }, { ch:try_recv() })
    assert.equal(2, #ch)
    assert.equal("done", sends[3]:status())
    assert.equal("pending", sends[4]:status())
    for i = 2, 4 do assert.same({ true, i }, { ch:try_recv() }) end
    assert.equal("done", sends[4]:status())
    assert.equal(0, #ch)
  end))

  it("[S194] lets no try_send take a slot that is a waiting sender's", h.run(function()
    local ch = neap.channel(1)
    await(ch:send(1))
    local waiting = ch:send(2)
    assert.same({ true, 1 }, { ch:try_recv() })
    assert.same({ false, "full" }, { ch:try_send("thief") })
    assert.equal("done", waiting:status())
    assert.same({ true, 2 }, { ch:try_recv() })
    assert.same({ false, "empty" }, { ch:try_recv() })
  end))

  it("[S197] passes 100 000 items through capacity 10 in order", h.run(function()
    local ch = neap.channel(10)
    local producer = neap.start(function()
      for i = 1, 100000 do await(ch:send(i)) end
      ch:close()
    end)
    local expected = 0
    for item in ch do
      expected = expected + 1
      assert(item == expected and #ch <= 10)
    end
    assert.equal(100000, expected)
    await(producer)
  end))
end)

describe("a channel of capacity 0", function()
  it("[S185] completes a send only when a receiver took the item", h.run(function(t)
    local ch = neap.channel(0)
    local sender = neap.start(function() await(ch:send("x")) t:note("sent") end)
    await(neap.sleep(5))
    assert.equal("", t:logged())
    assert.equal(0, #ch)
    assert.same({ true, "x" }, { await(ch:recv()) })
    await(sender)
    assert.equal("sent", t:logged())
  end))

  it("[S185] completes a send at once if a receiver waits", h.run(function()
    local ch = neap.channel(0)
    local first, second = ch:recv(), ch:recv()
    assert.equal("done", ch:send("a"):status())
    assert.is_true(ch:try_send("b"))
    assert.same({ true, "a" }, { await(first) })
    assert.same({ true, "b" }, { await(second) })
    assert.same({ false, "full" }, { ch:try_send("c") })
    assert.same({ false, "empty" }, { ch:try_recv() })
  end))

  it("[S185] gives try_recv the item of the first waiting sender", h.run(function()
    local ch = neap.channel(0)
    local first, second = ch:send(1), ch:send(2)
    assert.same({ true, 1 }, { ch:try_recv() })
    assert.equal("done", first:status())
    assert.equal("pending", second:status())
    assert.same({ true, 2 }, { ch:try_recv() })
    assert.same({ false, "empty" }, { ch:try_recv() })
  end))

  it("[S154] makes two tasks play ping-pong in strict alternation", h.run(function(t)
    local ping, pong = neap.channel(0), neap.channel(0)
    local other = neap.start(function()
      for n in ping do
        t:note("b" .. n)
        await(pong:send(n))
      end
    end)
    for n = 1, 3 do
      t:note("a" .. n)
      await(ping:send(n))
      await(pong:recv())
    end
    ping:close()
    await(other)
    assert.equal("a1 b1 a2 b2 a3 b3", t:logged())
  end))
end)

describe("an item", function()
  it("[S186] carries several values and nils, whichever way it goes", h.run(function()
    local buffered, direct = neap.channel(), neap.channel(0)
    await(buffered:send(nil, 2))
    assert.same(table.pack(true, nil, 2), table.pack(await(buffered:recv())))
    await(buffered:send(1, nil, nil))
    assert.same(table.pack(true, 1, nil, nil), table.pack(buffered:try_recv()))
    local recv = direct:recv()
    assert.is_true(direct:try_send(nil, "x", nil))
    assert.same(table.pack(true, nil, "x", nil), table.pack(await(recv)))
    local send = direct:send(nil)
    assert.same(table.pack(true, nil), table.pack(await(direct:recv())))
    await(send)
  end))

  it("[S186] may be of no value, and of 250", h.run(function()
    local ch = neap.channel(1)
    await(ch:send())
    assert.same(table.pack(true), table.pack(await(ch:recv())))
    local values = {}
    for i = 1, 250 do values[i] = i end
    await(ch:send(table.unpack(values)))
    assert.same({ true, table.unpack(values) }, { await(ch:recv()) })
  end))

  it("[S193] goes to the receiver that has waited longest", h.run(function(t)
    local ch = neap.channel()
    local tasks = {}
    for i, name in ipairs({ "a", "b", "c" }) do tasks[i] = receiver(t, ch, name) end
    for i = 1, 3 do ch:try_send(i) end
    assert.equal("", t:logged())
    await(neap.all(tasks))
    assert.equal("a1 b2 c3", t:logged())
  end))

  it("[S193] assigned to a waiter is not stolen by try_recv or recv", h.run(function()
    local ch = neap.channel()
    local waiter = ch:recv()
    ch:try_send("mine")
    assert.equal(0, #ch)
    assert.same({ false, "empty" }, { ch:try_recv() })
    local later = ch:recv()
    assert.equal("pending", later:status())
    assert.same({ true, "mine" }, { await(waiter) })
    assert.is_true(later:cancel())
  end))

  it("[S193] is received in a later turn than its sending", h.run(function(t)
    local ch = neap.channel()
    local task = receiver(t, ch, "got ")
    ch:try_send(1)
    t:note("after")
    await(task)
    assert.equal("after got 1", t:logged())
  end))
end)

describe("try_send and try_recv", function()
  it("[S157] work outside a task, and what they leave is received by a run", h.plain(function(t)
    local ch = neap.channel(1)
    assert.same({ false, "empty" }, { ch:try_recv() })
    assert.same({ true }, { ch:try_send("a") })
    assert.same({ false, "full" }, { ch:try_send("b") })
    neap.run({ clock = t.clock }, function()
      assert.same({ true, "a" }, { await(ch:recv()) })
      await(ch:send("c", nil))
    end)
    assert.same(table.pack(true, "c", nil), table.pack(ch:try_recv()))
    assert.is_true(ch:close())
    assert.same({ false, "closed" }, { ch:try_send("d") })
    assert.same({ false, "closed" }, { ch:try_recv() })
  end))
end)
