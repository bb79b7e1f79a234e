-- The for loop over a channel, many tasks on one channel, and what lives longer than a channel.
local h = require "spec.helper"
local neap = require "neap"
local core = require "neap.core"

local await = neap.await

local function collect()
  collectgarbage()
  collectgarbage()
end

describe("a for loop over a channel", function()
  it("[S187] gives the values of each item until the channel is closed", h.run(function(t)
    local ch = neap.channel(1)
    local producer = neap.start(function()
      for i = 1, 3 do await(ch:send(i, i * i, nil)) end
      await(neap.sleep(5))
      ch:close()
    end)
    for a, b, c in ch do t:note(a .. ":" .. b .. ":" .. tostring(c)) end
    assert.equal("1:1:nil 2:4:nil 3:9:nil", t:logged())
    assert.equal(5, neap.now())
    await(producer)
  end))

  it("ends at an item whose first value is nil; the channel stays open", h.run(function(t)
    local ch = neap.channel()
    for _, item in ipairs({ 1, false }) do ch:try_send(item) end
    ch:try_send(nil, "seen by recv only")
    ch:try_send(4)
    for item in ch do t:note(item) end
    assert.equal("1 false", t:logged())
    assert.same({ true, 4 }, { ch:try_recv() })
    assert.is_true(ch:try_send(5))
  end))

  it("left by break does not close the channel", h.run(function(t)
    local ch = neap.channel()
    for i = 1, 4 do ch:try_send(i) end
    for item in ch do
      t:note(item)
      if item == 2 then break end
    end
    assert.equal(2, #ch)
    assert.is_true(ch:close())
    for item in ch do t:note(item) end
    assert.equal("1 2 3 4", t:logged())
  end))

  it("[C4] raises Cancelled in a cancelled scope, and takes nothing", h.run(function(t)
    local ch = neap.channel()
    ch:try_send("kept")
    assert.same({ false, "stop" }, { neap.scope(function(scope)
      scope:cancel("stop")
      for item in ch do t:note(item) end
    end) })
    assert.equal("", t:logged())
    assert.same({ true, "kept" }, { ch:try_recv() })
  end))

  it("outside a task is misuse", h.plain(function()
    local ch = neap.channel()
    h.misuse(function() for _ in ch do error("an item out of nothing") end end)
    assert.equal(0, #ch)
  end))
end)

describe("a channel with many users", function()
  it("[S196] gives 10 items to 5 consumers once each, and all finish", h.run(function()
    for _, capacity in ipairs({ 0, 1, 3, math.huge }) do
      local ch, seen, ended = neap.channel(capacity), {}, 0
      neap.group(function(g)
        for _ = 1, 5 do
          g:spawn(function()
            for item in ch do
              seen[item] = (seen[item] or 0) + 1
              await(neap.sleep(item % 3))
            end
            ended = ended + 1
          end)
        end
        for i = 1, 10 do await(ch:send(i)) end
        assert.is_true(ch:close())
      end)
      assert.same({ 1, 1, 1, 1, 1, 1, 1, 1, 1, 1 }, seen)
      assert.equal(5, ended)
    end
  end))

  it("keeps the order of each of several producers", h.run(function()
    local ch, last, count = neap.channel(2), { 0, 0, 0 }, 0
    local producers = {}
    for p = 1, 3 do
      producers[p] = neap.start(function()
        for i = 1, 50 do await(ch:send(p, i)) end
      end)
    end
    neap.start(function() await(neap.all(producers)) ch:close() end)
    for p, i in ch do
      assert.equal(last[p] + 1, i)
      last[p], count = i, count + 1
    end
    assert.equal(150, count)
  end))

  it("passes channels through channels", h.run(function()
    local requests = neap.channel(0)
    neap.start(function()
      for x, reply in requests do await(reply:send(x * 2)) end
    end)
    for x = 1, 5 do
      local reply = neap.channel(1)
      await(requests:send(x, reply))
      assert.same({ true, x * 2 }, { await(reply:recv()) })
    end
    requests:close()
  end))
end)

describe("a deadlock", function()
  --- Runs fn(ch) in a task named "starving"; asserts that the error names it and the call.
  local function starves(t, ch, call, fn)
    local err = h.raises("EDEADLOCK", neap.run, { clock = t.clock }, function()
      neap.start(fn, ch):name("starving")
    end)
    local text = tostring(err)
    assert.matches("starving", text, 1, true)
    assert.matches(call, text, 1, true)
  end

  it("[S250] of a recv that nobody can serve is raised by run", h.plain(function(t)
    local ch = neap.channel()
    starves(t, ch, "recv", function() await(ch:recv()) end)
    assert.is_true(ch:try_send("nobody waits any more"))
    assert.equal(1, #ch)
  end))

  it("[S250] of a send that nobody receives is raised by run", h.plain(function(t)
    local ch = neap.channel(0)
    starves(t, ch, "send", function() await(ch:send(1)) end)
    assert.same({ false, "empty" }, { ch:try_recv() })
  end))

  it("[S250] of a for loop over a channel that nobody closes is raised by run", h.plain(function(t)
    starves(t, neap.channel(), "recv", function(ch)
      ch:try_send(1)
      for item in ch do t:note(item) end
    end)
    assert.equal("1", t:logged())
  end))
end)

describe("a wait that is pending when the run ends", function()
  it("[S252] takes nothing from the channel afterwards", h.plain(function(t)
    local ch, full = neap.channel(), neap.channel(0)
    neap.run({ clock = t.clock }, function()
      neap.background(function() await(ch:recv()) t:note("never") end)
      neap.background(function() await(full:send("lost")) t:note("never") end)
      await(neap.yield())
    end)
    assert.is_true(ch:try_send("kept"))
    assert.same({ false, "empty" }, { full:try_recv() })
    neap.run({ clock = t.clock }, function()
      assert.same({ true, "kept" }, { await(ch:recv()) })
    end)
    assert.equal("", t:logged())
  end))

  it("[S99] and that nobody awaits is dropped, and delays nothing", h.plain(function(t)
    local ch = neap.channel()
    local recv
    neap.run({ clock = t.clock }, function() recv = ch:recv() end)
    assert.equal("cancelled", recv:status())
    assert.equal(0, t.clock:now())
    assert.equal(0, core.stats().operations)
    assert.is_true(ch:try_send("kept"))
    assert.equal(1, #ch)
  end))

  it("[S99] in a scope that ends lets the next one have the item", h.run(function()
    local ch = neap.channel()
    neap.scope(function() ch:recv() end)
    local second = ch:recv()
    ch:try_send("x")
    assert.same({ true, "x" }, { await(second) })
  end))
end)

describe("a channel that nobody holds", function()
  it("is collected with the items in it", h.run(function()
    local weak = setmetatable({}, { __mode = "v" })
    local function forget()
      local ch, item = neap.channel(), {}
      ch:try_send(1, item)
      ch:try_send(ch)
      weak.ch, weak.item = ch, item
    end
    forget()
    collect()
    assert.is_nil(weak.item)
    assert.is_nil(weak.ch)
  end))

  it("is collected though items with itself waited in it", h.run(function()
    local weak = setmetatable({}, { __mode = "v" })
    local function forget()
      local ch = neap.channel(0)
      weak.ch = ch
      neap.scope(function() ch:send(ch) end)
    end
    forget()
    collect()
    assert.is_nil(weak.ch)
  end))

  it("keeps nothing of items that were received", h.run(function()
    local weak = setmetatable({}, { __mode = "v" })
    local ch = neap.channel(2)
    local function pass(through)
      for i = 1, 3 do
        local item = {}
        weak[i] = item
        through:send(item)
      end
      for _ = 1, 3 do through:try_recv() end
    end
    pass(ch)
    collect()
    assert.same({}, weak)
    assert.equal(0, #ch)
  end))

  it("leaves its pending Tasks working", h.run(function()
    local recv, send = neap.channel():recv(), neap.channel(0):send({})
    collect()
    assert.equal("pending", recv:status())
    assert.equal("pending", send:status())
    assert.is_true(recv:cancel("why"))
    assert.is_true(send:cancel("why"))
    assert.same({ "cancelled", "why" }, { await(neap.settle(recv)) })
    assert.same({ "cancelled", "why" }, { await(neap.settle(send)) })
  end))

  it("leaves a task that waits in it to its deadline", h.run(function()
    neap.start(function() await(neap.sleep(1)) collect() end)
    h.raises("ETIMEDOUT", neap.timeout, 2, function() await(neap.channel():recv()) end)
    assert.equal(2, neap.now())
  end))
end)
