-- Channels between threads, within one state: both ends are objects of it. What waits is woken by
-- way of the loop's inbox, as it is from another thread.
local h = require "spec.helper"
local core = require "neap.core"
local neap = require "neap"
local worker = require "neap.worker"

local await = neap.await

--- Two objects of one channel: the second one has crossed.
local function ends(capacity)
  local ch = worker.channel(capacity)
  return ch, (core.transfer(ch))
end

--- A task that receives one item, notes its first value, and returns it.
local function receiver(t, ch)
  return neap.start(function()
    local _, item = await(ch:recv())
    t:note(item)
    return item
  end)
end

local function is_cancelled(task, reason)
  assert.same({ "cancelled", reason }, { await(neap.settle(task)) })
end

describe("neap.worker.channel", function()
  it("rejects a capacity that is none", h.plain(function()
    for _, capacity in ipairs({ -1, 1.5, 0 / 0, -math.huge, "many", {}, true, print }) do
      h.bad_argument("channel", 1, worker.channel, capacity)
    end
  end))

  it("gives objects whose tostring tells what is in them", h.plain(function()
    local ch = worker.channel(2)
    ch:try_send(1)
    assert.equal("neap.ThreadChannel (1 of 2 items)", tostring(ch))
    ch:close()
    assert.equal("neap.ThreadChannel (1 of 2 items): closed", tostring(ch))
    assert.equal("neap.ThreadChannel (0 items)", tostring(worker.channel()))
  end))

  it("gives objects whose methods reject objects of another kind", h.plain(function()
    local ch = worker.channel()
    for _, name in ipairs({ "send", "recv", "try_send", "try_recv", "close" }) do
      for _, object in ipairs({ 7, "ch", {}, io.stdout, neap.channel() }) do
        local ok, err = pcall(ch[name], object)
        assert.is_false(ok, name)
        assert.matches("bad argument", tostring(err), 1, true)
      end
    end
    assert.is_true((ch:try_send("still open")))
  end))

  it("crosses: the other object is equal, and has the same items", h.plain(function()
    local ch, other = ends(2)
    assert.is_false(rawequal(ch, other))
    assert.is_true(ch == other)
    assert.is_false(ch == worker.channel(2))
    assert.is_true(ch:try_send("x"))
    assert.equal(1, #other)
    assert.same({ true, "x" }, { other:try_recv() })
  end))

  it("crosses through itself and another", h.run(function()
    local ch, reply = worker.channel(), worker.channel()
    await(ch:send({ reply = reply }))
    local _, request = await(ch:recv())
    await(request.reply:send("answer"))
    assert.same({ true, "answer" }, { await(reply:recv()) })
  end))
end)

describe("items of a channel between threads", function()
  it("[S183] arrive in order, an unbounded send never waits", h.run(function()
    local ch, other = ends()
    for i = 1, 1000 do assert.equal("done", ch:send(i):status()) end
    assert.equal(1000, #ch)
    for i = 1, 1000 do
      local ok, item = await(other:recv())
      assert(ok == true and item == i)
    end
    assert.equal(0, #other)
  end))

  it("[S184] a full channel makes send wait until there is room", h.run(function()
    local ch, other = ends(2)
    await(ch:send(1))
    await(ch:send(2))
    local send = ch:send(3)
    assert.equal("pending", send:status())
    assert.same({ true, 1 }, { await(other:recv()) })
    await(send)
    assert.equal(2, #ch)
  end))

  it("[S185] capacity 0: send is done when the item is received", h.run(function()
    local ch, other = ends(0)
    local send = ch:send("x")
    await(neap.sleep(1))
    assert.equal("pending", send:status())
    assert.same({ true, "x" }, { await(other:recv()) })
    await(send)
    local recv = other:recv()
    assert.equal("done", ch:send("y"):status())
    assert.same({ true, "y" }, { await(recv) })
  end))

  it("are copies of any number of values, nils included", h.run(function()
    local ch, other = ends()
    local sent = { list = { 1, 2 }, f = function(n) return n + 1 end }
    sent.self = sent
    await(ch:send(nil, sent, nil))
    await(ch:send())
    local got = table.pack(await(other:recv()))
    assert.same({ 4, true }, { got.n, got[1] })
    assert.is_false(rawequal(sent, got[3]))
    assert.is_true(got[3].self == got[3] and got[3].f(1) == 2)
    assert.same({ 1, 2 }, got[3].list)
    assert.same({ n = 1, true }, table.pack(await(other:recv())))
  end))

  it("are what they were when send was called", h.run(function()
    local ch, other = ends(0)
    local item = { "before" }
    local send = ch:send(item)
    item[1] = "after"
    assert.same({ true, { "before" } }, { await(other:recv()) })
    await(send)
  end))

  it("are given to receivers in the order of their calls", h.run(function(t)
    local ch, other = ends(0)
    neap.group(function()
      for _ = 1, 3 do receiver(t, other) end
      for i = 1, 3 do await(ch:send(i)) end
    end)
    assert.equal("1 2 3", t:logged())
  end))

  it("give the same results to each await of the Task", h.run(function()
    local ch = worker.channel()
    await(ch:send({}, 2))
    local recv = ch:recv()
    local _, first = await(recv)
    local _, second, two = await(recv)
    assert.is_true(rawequal(first, second) and two == 2)
  end))

  it("that cannot cross are argument errors at the caller's line, nothing is sent", h.run(function()
    local ch = worker.channel(0)
    local recv = ch:recv()
    local bad = { items = { 1, 2, coroutine.create(print) } }
    for name, method in pairs({
      send = function() return ch:send(1, bad) end,
      try_send = function() return ch:try_send(1, bad) end,
    }) do
      local text = h.bad_argument(name, 2, method)
      assert.matches("argument 2.items[3]: a coroutine cannot cross", text, 1, true)
      assert.matches("thread_channel_spec.lua:%d+: ", text)
    end
    local text = h.bad_argument("close", 1, function() return ch:close(bad) end)
    assert.matches("argument 1.items[3]: a coroutine", text, 1, true)
    assert.equal("pending", recv:status())
    assert.is_true(ch:try_send("good"))
    assert.same({ true, "good" }, { await(recv) })
  end))

  it("are iterated over by for, the rest stays after break", h.run(function(t)
    local ch, other = ends()
    for i = 1, 4 do await(ch:send(i, i * i)) end
    for i, square in other do
      t:note(i .. "=" .. square)
      if i == 2 then break end
    end
    ch:close()
    for i in other do t:note(i) end
    assert.equal("1=1 2=4 3 4", t:logged())
  end))
end)

describe("try_send and try_recv of a channel between threads", function()
  it("[S187] never wait, and work outside a task", h.plain(function()
    local ch, other = ends(1)
    assert.same({ false, "empty" }, { other:try_recv() })
    assert.same({ true }, { ch:try_send(1, nil) })
    assert.same({ false, "full" }, { ch:try_send(2) })
    assert.same({ n = 3, true, 1 }, table.pack(other:try_recv()))
    ch:close()
    assert.same({ false, "closed" }, { ch:try_send(3) })
    assert.same({ false, "closed" }, { other:try_recv() })
  end))

  it("do not overtake those that wait", h.run(function()
    local ch = worker.channel(1)
    await(ch:send(1))
    local send = ch:send(2)
    assert.same({ true, 1 }, { ch:try_recv() })
    assert.same({ false, "full" }, { ch:try_send(3) })
    await(send)
    assert.same({ true, 2 }, { ch:try_recv() })
  end))
end)

describe("closing a channel between threads", function()
  it("[S188] gives what is buffered first, then false; true the first time only", h.run(function()
    local ch, other = ends()
    await(ch:send("last"))
    assert.is_true(ch:close())
    assert.is_false(other:close())
    assert.same({ true, "last" }, { await(other:recv()) })
    assert.same({ n = 1, false }, table.pack(await(other:recv())))
    for _ in other do error("there is nothing left") end
  end))

  it("tells receivers that wait at once", h.run(function()
    local ch, other = ends()
    local recv = other:recv()
    ch:close()
    assert.same({ false }, { await(recv) })
  end))

  it("with an error raises a copy of it at the end, for each receiver its own", h.run(function()
    local ch, other = ends()
    local why = { code = 7, f = function() return "code" end }
    await(ch:send("last"))
    assert.is_true(ch:close(why))
    assert.is_false(ch:close("other"))
    assert.same({ true, "last" }, { await(other:recv()) })
    local copies = {}
    for i = 1, 2 do
      local recv = other:recv()
      local ok, err = pcall(await, recv)
      assert.is_false(ok)
      assert.is_true(err.code == 7 and err.f() == "code")
      assert.is_true(rawequal(err, select(2, pcall(await, recv))))
      copies[i] = err
    end
    assert.is_false(rawequal(copies[1], copies[2]) or rawequal(copies[1], why))
    local ok, err = pcall(function() for _ in other do error("no item") end end)
    assert.is_true(not ok and err.code == 7)
  end))

  it("raises it at receivers that wait, as a neap.Error if it is one", h.run(function()
    local ch, other = ends()
    local recv = other:recv()
    ch:close(neap.error("EPIPE", "broken", { task = recv, count = 3 }))
    local err = h.raises("EPIPE", await, recv)
    assert.same({ 3, "broken" }, { err.count, err.message })
    assert.is_nil(err.task)
  end))

  it("keeps userdata out of the error: it has many receivers", h.run(function()
    local ch, other = ends()
    h.bad_argument("close", 1, function() return ch:close({ other }) end)
    ch:close(neap.error("EPIPE", "broken", { channel = other }))
    assert.is_nil(h.raises("EPIPE", await, other:recv()).channel)
  end))

  it("[S189] fails sends with ECLOSED, also those that wait, the error in .cause", h.run(function()
    local ch, other = ends(0)
    local send = ch:send("x")
    other:close({ "broken" })
    for _, task in ipairs({ send, ch:send("y") }) do
      local err = h.raises("ECLOSED", await, task)
      assert.equal("the channel is closed", err.message)
      assert.same({ "broken" }, err.cause)
    end
    local plain = worker.channel()
    plain:close()
    assert.is_nil(h.raises("ECLOSED", await, plain:send(1)).cause)
  end))

  it("does not look at what is sent to a closed channel", h.run(function()
    local ch = worker.channel()
    ch:close()
    h.raises("ECLOSED", await, ch:send(coroutine.create(print)))
  end))
end)

describe("cancelling on a channel between threads", function()
  it("[S71] send and recv in a cancelled scope have no effect", h.run(function()
    local ch = worker.channel()
    ch:try_send("kept")
    assert.same({ false, "stop" }, { neap.scope(function(scope)
      scope:cancel("stop")
      local recv, send = ch:recv(), ch:send("new")
      assert.equal("cancelled", recv:status())
      assert.equal("cancelled", send:status())
      await(send)
    end) })
    assert.equal(1, #ch)
    assert.same({ true, "kept" }, { ch:try_recv() })
  end))

  it("[S190] a receiver that waits takes nothing, the others keep their order", h.run(function(t)
    local ch = worker.channel(0)
    local tasks = {}
    for i = 1, 3 do tasks[i] = receiver(t, ch) end
    tasks[2]:cancel("enough")
    is_cancelled(tasks[2], "enough")
    await(ch:send("a"))
    await(ch:send("b"))
    await(neap.all({ tasks[1], tasks[3] }))
    assert.equal("a b", t:logged())
  end))

  it("[S191] a sender that waits has not sent", h.run(function()
    local ch = worker.channel(0)
    local first, second = ch:send(1), ch:send(2)
    assert.is_true(first:cancel("enough"))
    assert.is_false(first:cancel("again"))
    assert.same({ true, 2 }, { await(ch:recv()) })
    await(second)
    assert.equal("cancelled", first:status())
  end))

  it("[S72] an item that is under way is delivered, and the next await raises", h.run(function(t)
    local ch = worker.channel(0)
    local task = neap.start(function()
      local _, item = await(ch:recv())
      t:note(item)
      await(neap.yield())
      t:note("not cancelled")
    end)
    assert.is_true(ch:try_send("item"))
    task:cancel("late")
    is_cancelled(task, "late")
    assert.equal("item", t:logged())
  end))

  it("[S72] a send whose item was taken is done, however it is cancelled", h.run(function()
    local ch = worker.channel(0)
    local send = ch:send("x")
    assert.same({ true, "x" }, { ch:try_recv() })
    send:cancel()
    assert.equal("done", send:status())
    await(send)
  end))

  it("[S72] holds for combined tasks and time limits, too", h.run(function()
    local ch = worker.channel(0)
    local ok, how = neap.try_for(1, function() return await(ch:recv()) end)
    assert.same({ false, "timeout" }, { ok, how })
    assert.same({ false, "full" }, { ch:try_send("nobody") })
    local recv = ch:recv()
    local all = neap.start(function() return await(neap.all({ recv })) end)
    assert.is_true(ch:try_send("item"))
    all:cancel()
    await(neap.settle(all))
    assert.same({ true, "item" }, { await(recv) })
  end))

  it("[S99] a receive that nobody awaits ends with its scope", h.run(function()
    local ch = worker.channel(0)
    neap.scope(function() ch:recv() end)
    assert.same({ false, "full" }, { ch:try_send("x") })
  end))

  it("a receive that was dropped takes its item", h.run(function()
    local ch = worker.channel(0)
    ch:recv()
    collectgarbage()
    assert.is_true(ch:try_send("lost"))
    await(neap.yield())
    collectgarbage()
    assert.same({ false, "full" }, { ch:try_send("x") })
  end))
end)

describe("waiting on a channel between threads", function()
  it("[S250] that nobody else has is a deadlock", h.plain(function(t)
    local err = h.raises("EDEADLOCK", neap.run, { clock = t.clock }, function()
      local ch, other = ends(0)
      neap.start(function() await(other:send(1)) end)
      await(ch:recv())
      await(ch:recv())
    end)
    assert.matches("awaits worker.channel:recv", tostring(err), 1, true)
  end))

  it("[S149] lets a virtual clock jump at once when nobody else has it", h.run(function(t)
    local ch, other = ends(0)
    neap.start(function()
      await(neap.sleep(100))
      await(other:send("late"))
    end)
    local before = os.clock()
    assert.same({ true, "late" }, { await(ch:recv()) })
    assert.equal(100, t.clock:now())
    assert(os.clock() - before < 10)
  end))

  it("ends with the run: what still waits is dropped", h.plain(function(t)
    local ch
    neap.run({ clock = t.clock }, function()
      ch = worker.channel(0)
      neap.background(function() await(ch:recv()) end)
      neap.background(function() await(ch:recv()) end):cancel()
      await(ch:send("x"))
      ch:send("y")
    end)
    assert.same({ false, "empty" }, { ch:try_recv() })
    assert.same({ false, "full" }, { ch:try_send("z") })
  end))

  it("keeps the channel: its objects may be collected", h.run(function()
    local recv, send
    do
      local ch, other = ends(0)
      recv = ch:recv()
      send = other:send("x")
    end
    collectgarbage()
    assert.same({ true, "x" }, { await(recv) })
    await(send)
  end))

  it("ends with its Lua state, in any state of a wait", h.plain(function()
    local out, how, code = h.process([[
      local neap, worker = require "neap", require "neap.worker"
      local ch, full = worker.channel(0), worker.channel(1)
      setmetatable({}, { __gc = function() print(ch:try_recv()) end })
      neap.run(function()
        neap.start(function() neap.await(ch:recv()) end)
        full:try_send({ ch })
        neap.start(function() neap.await(full:send({ ch })) end)
        neap.await(ch:send("under way"))
        os.exit(0, true)
      end)
    ]])
    assert.same({ "exit", 0 }, { how, code })
    assert.equal("false\tempty\n", out)
  end))
end)

describe("a channel between threads without memory", function()
  it("loses no item silently", h.plain(function(t)
    local received
    h.each_failure(function()
      neap.run({ clock = t.clock }, function()
        local ch, other = ends(1)
        local recv = ch:recv()
        await(other:send({ 1 }, "one"))
        await(other:send({ 2 }))
        local _, first = await(recv)
        local _, second = await(other:recv())
        ch:close({ "broken" })
        local ok, err = pcall(await, ch:recv())
        if type(err) ~= "table" or err[1] ~= "broken" then error(err, 0) end
        received = not ok and first[1] + second[1]
      end)
      assert(received == 3)
      received = nil
    end)
    t:take_unobserved()
    t:take_warnings()
  end))
end)
