-- Channels that drop items when they are full.
local h = require "spec.helper"
local neap = require "neap"

local await = neap.await

--- All that is buffered, first values only, as text.
local function content(ch)
  local items = {}
  for i = 1, #ch do items[i] = tostring(select(2, ch:try_recv())) end
  return table.concat(items, " ")
end

describe("a channel that is full", function()
  it("[S195] drops the oldest, the newest or the new item", h.run(function(t)
    local expected = {
      drop_oldest = { "4 5 6", "1 2 3" },
      drop_newest = { "1 2 6", "3 4 5" },
      drop_write = { "1 2 3", "4 5 6" },
    }
    for full, lists in pairs(expected) do
      t.log = {}
      local ch = neap.channel(3, { full = full, on_drop = function(item) t:note(item) end })
      for i = 1, 6 do assert.equal("done", ch:send(i):status()) end
      assert.equal(3, #ch)
      assert.equal(lists[1], content(ch), full)
      assert.equal(lists[2], t:logged(), full)
    end
  end))

  it("[S195] drops without on_drop as well, also at capacity 1", h.run(function()
    for full, left in pairs({ drop_oldest = "3", drop_newest = "3", drop_write = "1" }) do
      local ch = neap.channel(1, { full = full })
      for i = 1, 3 do await(ch:send(i)) end
      assert.equal(left, content(ch), full)
    end
  end))

  it("[S195] drops for try_send too, outside a task", h.plain(function(t)
    for full, left in pairs({ drop_oldest = "2 3", drop_newest = "1 3" }) do
      local ch = neap.channel(2, { full = full, on_drop = function(...) t:note(...) end })
      for i = 1, 3 do assert.same({ true }, { ch:try_send(i) }) end
      assert.equal(left, content(ch), full)
    end
    assert.equal(2, #t.log)
  end))

  it("[S195] drops nothing while there is room or a receiver waits", h.run(function(t)
    for _, full in ipairs({ "drop_oldest", "drop_newest", "drop_write" }) do
      local ch = neap.channel(1, { full = full, on_drop = function() t:note("dropped") end })
      local recv = ch:recv()
      await(ch:send("direct"))
      await(ch:send("buffered"))
      assert.same({ true, "direct" }, { await(recv) })
      assert.same({ true, "buffered" }, { await(ch:recv()) })
      assert.same({ false, "empty" }, { ch:try_recv() })
    end
    assert.equal("", t:logged())
  end))

  it("[S189] refuses a send when it is closed, and drops nothing", h.run(function(t)
    local ch = neap.channel(1, { full = "drop_oldest", on_drop = function() t:note("drop") end })
    ch:try_send(1)
    ch:close()
    h.raises("ECLOSED", await, ch:send(2))
    assert.same({ false, "closed" }, { ch:try_send(2) })
    assert.equal("1", content(ch))
    assert.equal("", t:logged())
  end))

  it("[S71] drops nothing for a send in a cancelled scope", h.run(function(t)
    local ch = neap.channel(1, { full = "drop_oldest", on_drop = function() t:note("drop") end })
    ch:try_send(1)
    neap.scope(function(scope)
      scope:cancel()
      assert.equal("cancelled", ch:send(2):status())
    end)
    assert.equal("1", content(ch))
    assert.equal("", t:logged())
  end))

  it("keeps nothing of dropped items", h.run(function()
    local weak = setmetatable({}, { __mode = "v" })
    local ch = neap.channel(1, { full = "drop_oldest" })
    local function fill()
      for i = 1, 3 do
        local item = { i }
        weak[i] = item
        ch:try_send(item)
      end
    end
    fill()
    collectgarbage()
    collectgarbage()
    assert.same({ nil, nil, { 3 } }, { weak[1], weak[2], weak[3] })
    assert.equal(1, #ch)
  end))

  it("needs a capacity of 1 or more", h.plain(function()
    for _, full in ipairs({ "drop_oldest", "drop_newest", "drop_write" }) do
      for _, capacity in ipairs({ false, 0 }) do
        local ok, err = pcall(neap.channel, capacity or nil, { full = full })
        assert.is_false(ok)
        assert.matches("bad argument", tostring(err), 1, true)
        assert.matches("channel", tostring(err), 1, true)
      end
    end
  end))
end)

describe("on_drop", function()
  it("[S195] gets all values of the item, nils kept", h.run(function()
    local got
    local ch = neap.channel(1, {
      full = "drop_oldest",
      on_drop = function(...) got = table.pack(...) end,
    })
    ch:try_send(nil, 2, nil)
    await(ch:send("new"))
    assert.same(table.pack(nil, 2, nil), got)
  end))

  it("[S195] is called within send, before it returns", h.run(function(t)
    local ch = neap.channel(1, { full = "drop_write", on_drop = function(x) t:note(x) end })
    ch:try_send("a")
    local send = ch:send("b")
    t:note("returned")
    await(send)
    assert.equal("b returned", t:logged())
  end))

  it("[S237] sees the channel as it is after the drop", h.run(function(t)
    local ch
    ch = neap.channel(2, { full = "drop_oldest", on_drop = function(dropped)
      t:note(dropped .. "," .. #ch .. "," .. tostring(select(2, ch:try_recv())))
    end })
    for i = 1, 3 do ch:try_send(i) end
    assert.equal("1,2,2", t:logged())
    assert.equal("3", content(ch))
  end))

  it("[S195, S237] may send to its own channel", h.run(function(t)
    local ch
    ch = neap.channel(3, { full = "drop_oldest", on_drop = function(dropped)
      t:note(dropped)
      if dropped == 1 then ch:try_send("again") end
    end })
    for i = 1, 4 do ch:try_send(i) end
    assert.equal("1 2", t:logged())
    assert.equal("3 4 again", content(ch))
  end))

  it("[S237] may send elsewhere, and wakes nobody inline", h.run(function(t)
    local overflow = neap.channel()
    local ch = neap.channel(1, { full = "drop_oldest", on_drop = function(x)
      overflow:try_send(x)
      t:note("callback")
    end })
    local task = neap.start(function()
      local _, item = await(overflow:recv())
      t:note("overflow " .. item)
    end)
    ch:try_send("a")
    ch:try_send("b")
    t:note("after")
    await(task)
    assert.equal("callback after overflow a", t:logged())
  end))

  it("[S237] may close its channel: the send has succeeded", h.run(function()
    local ch
    ch = neap.channel(1, { full = "drop_oldest", on_drop = function() ch:close() end })
    ch:try_send("a")
    await(ch:send("b"))
    assert.same({ true, "b" }, { await(ch:recv()) })
    assert.same({ false }, { await(ch:recv()) })
  end))

  it("[S237] may cancel the sender, whose send is done", h.run(function(t)
    local task
    local ch = neap.channel(1, { full = "drop_oldest", on_drop = function()
      task:cancel("dropped")
    end })
    ch:try_send("a")
    task = neap.start(function()
      await(neap.yield())
      await(ch:send("b"))
      t:note("sent")
      await(neap.yield())
      t:note("never")
    end)
    assert.same({ "cancelled", "dropped" }, { await(neap.settle(task)) })
    assert.equal("sent", t:logged())
    assert.equal("b", content(ch))
  end))

  it("[S195] that fails is reported, and the send succeeds", h.run(function(t)
    local e = {}
    local ch = neap.channel(1, { full = "drop_oldest", on_drop = function() error(e, 0) end })
    ch:try_send("a")
    await(ch:send("b"))
    assert.is_true(ch:try_send("c"))
    assert.equal("c", content(ch))
    local lost = t:take_unobserved()
    assert.equal(2, #lost)
    assert.equal(e, lost[1].err)
    assert.equal(e, lost[2].err)
  end))

  it("cannot await: misuse, which is reported", h.run(function(t)
    local c = neap.completion()
    local ch = neap.channel(1, { full = "drop_oldest", on_drop = function() await(c.task) end })
    ch:try_send("a")
    assert.is_true(ch:try_send("b"))
    local lost = t:take_unobserved()
    assert.equal(1, #lost)
    assert.equal("EMISUSE", lost[1].err.code)
    assert.equal("b", content(ch))
    c:resolve()
  end))

  it("that holds its channel is collected with it", h.run(function()
    local weak = setmetatable({}, { __mode = "v" })
    local function forget()
      local ch
      ch = neap.channel(1, { full = "drop_oldest", on_drop = function() return #ch end })
      ch:try_send(1)
      ch:try_send(2)
      weak.ch = ch
    end
    forget()
    collectgarbage()
    collectgarbage()
    assert.is_nil(weak.ch)
  end))
end)
