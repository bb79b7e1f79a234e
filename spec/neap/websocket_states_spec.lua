-- neap.websocket against bytes by hand, on both sides: what peers do, states of what waits.
local h = require "spec.helper"
local neap = require "neap"
local core = require "neap.core"
local sockets = require "spec.websockets"
local support = require "spec.support"
local wires = require "spec.wires"

local await = neap.await

for side, is_server in pairs{ ["a server"] = true, ["a client"] = false } do
  local frame = sockets.for_side(is_server)

  local function with_peer(fn, opts) return sockets.with_peer(is_server, fn, opts) end

  describe(side .. " that receives", function()
    it("puts fragments together, with control frames between them", with_peer(function(ws, peer)
      await(peer:write(frame("text", "one ", { more = true }), frame("ping", "p"),
        frame("continuation", "", { more = true }), frame("pong", "nobody asked"),
        frame("continuation", "two")))
      assert.same({ "one two", "text" }, { await(ws:recv()) })
      assert.same({ "pong", "p", not is_server }, { sockets.read_frame(peer) })
    end))

    it("takes bytes one at a time", with_peer(function(ws, peer)
      local bytes = frame("text", "héllo") .. frame("binary", ("x"):rep(130))
      for i = 1, #bytes do
        await(peer:write(bytes:sub(i, i)))
        if i % 20 == 0 then sockets.settle() end
      end
      assert.same({ "héllo", "text" }, { await(ws:recv()) })
      assert.same({ ("x"):rep(130), "binary" }, { await(ws:recv()) })
    end))

    local faults = {
      ["a reserved bit"] = { 1002, "EPROTO", string.char(0xc1, is_server and 0x80 or 0) },
      ["an unknown opcode"] = { 1002, "EPROTO", string.char(0x83, is_server and 0x80 or 0) },
      ["the wrong mask"] = { 1002, "EPROTO", sockets.frame("text", "x", { mask = not is_server }) },
      ["a continuation of nothing"] = { 1002, "EPROTO", frame("continuation", "x") },
      ["a message within another"] = { 1002, "EPROTO",
        frame("text", "x", { more = true }) .. frame("text", "y") },
      ["a fragmented ping"] = { 1002, "EPROTO", frame("ping", "x", { more = true }) },
      ["a code that must not be sent"] = { 1002, "EPROTO", frame("close", sockets.code(1005)) },
      ["half a code"] = { 1002, "EPROTO", frame("close", "x") },
      ["text that is none"] = { 1007, "EPROTO", frame("text", "\xff") },
      ["a reason that is no text"] = { 1007, "EPROTO", frame("close", sockets.code(1000, "\xff")) },
      ["a message that is too long"] = { 1009, "ETOOLARGE", frame("binary", ("x"):rep(1001)) },
      ["fragments that are too long"] = { 1009, "ETOOLARGE",
        frame("binary", ("x"):rep(600), { more = true }) .. frame("continuation", ("x"):rep(600)) },
    }
    for name, case in pairs(faults) do
      it("refuses " .. name, with_peer(function(ws, peer)
        await(peer:write(frame("text", "before"), case[3]))
        assert.equal("before", await(ws:recv()))
        local err = h.raises(case[2], function() await(ws:recv()) end)
        assert.equal(case[1], err.close_code)
        sockets.expect_close(peer, case[1])
        h.raises("ECLOSED", function() await(ws:send("x")) end)
        h.raises(case[2], function() await(ws:recv()) end)
        assert.is_nil(await(peer:read()))
        await(peer:shutdown())
        await(ws:close())
      end, { max_message = 1000 }))
    end

    it("takes the longest message that is allowed", with_peer(function(ws, peer)
      await(peer:write(frame("binary", ("x"):rep(1000))))
      assert.equal(1000, #await(ws:recv()))
    end, { max_message = 1000 }))

    it("hears of an end without a close", with_peer(function(ws, peer)
      await(peer:write(frame("text", "last"), frame("text", "cut"):sub(1, -2)))
      await(peer:close())
      assert.equal("last", await(ws:recv()))
      local err = h.raises("ECONNRESET", function() await(ws:recv()) end)
      assert.equal(1006, err.close_code)
      assert.matches("without a closing handshake", tostring(err))
      assert.same({ 1006, "" }, { await(ws:close()) })
    end))

    it("hears of a reset", with_peer(function(ws, peer)
      local receiving = ws:recv()
      await(peer:reset())
      h.raises("ECONNRESET", await, receiving)
    end))

    it("hears of the end of its connection", with_peer(function(ws, _, _, conn)
      local receiving = ws:recv()
      await(conn:close())
      h.raises("ECLOSED", await, receiving)
    end))
  end)

  describe(side .. " that is closed by its peer", function()
    it("answers with the same code", with_peer(function(ws, peer)
      await(peer:write(frame("close", sockets.code(4321, "why"))))
      assert.same({ nil, 4321, "why" }, { await(ws:recv()) })
      sockets.expect_close(peer, 4321)
      if not is_server then await(peer:shutdown()) end
      assert.is_nil(await(peer:read()))
      assert.same({ 4321, "why" }, { await(ws:close()) })
    end))

    it("answers nothing to nothing", with_peer(function(ws, peer)
      await(peer:write(frame("close")))
      assert.same({ nil, 1005, "" }, { await(ws:recv()) })
      assert.same({ "close", "" }, { (sockets.read_frame(peer)), "" })
      if not is_server then await(peer:shutdown()) end
      await(ws:close())
    end))

    it("does not look at what follows", with_peer(function(ws, peer)
      await(peer:write(frame("close"), "\xff\xff\xff", frame("text", "x")))
      assert.same({ nil, 1005, "" }, { await(ws:recv()) })
      await(peer:shutdown())
      await(ws:close())
    end))

    it("wakes the one that receives and those that ping", with_peer(function(ws, peer)
      local receiving, pinging = ws:recv(), ws:ping()
      await(peer:write(frame("close", sockets.code(1001))))
      assert.same({ nil, 1001, "" }, { await(receiving) })
      await(peer:shutdown())
      h.raises("ECLOSED", await, pinging)
    end))
  end)

  describe(side .. " that closes", function()
    it("waits for the answer, and drops what comes before it", with_peer(function(ws, peer)
      local closing = ws:close(1000, "done")
      local expected = { "close", sockets.code(1000, "done"), not is_server }
      assert.same(expected, { sockets.read_frame(peer) })
      local close = frame("close", sockets.code(1000))
      await(peer:write(frame("text", "late"), frame("ping", "late"), close))
      if not is_server then await(peer:shutdown()) end
      assert.same({ 1000, "" }, { await(closing) })
      assert.same({ nil, 1000, "" }, { await(ws:recv()) })
      assert.is_nil(await(peer:read()))
    end))

    it("waits no longer than its limit", wires.with_pair("TCP", function(conn, peer)
      local ws = core.websocket(conn, { server = is_server, close_timeout = 3 })
      support.takes(3, function()
        assert.same({ 1006, "" }, { await(ws:close()) })
      end)
      sockets.expect_close(peer, 1000)
      assert.is_nil(await(peer:read()))
    end))

    it("ends at once when that is cancelled", with_peer(function(ws, peer)
      local closing = ws:close()
      sockets.settle()
      closing:cancel()
      assert.equal("cancelled", (await(neap.settle(closing))))
      sockets.expect_close(peer, 1000)
      assert.is_nil(await(peer:read()))
      assert.same({ nil, 1006, "" }, { await(ws:recv()) })
    end))

    it("in a scope that is cancelled does not wait", with_peer(function(ws, peer)
      local task = neap.start(function()
        local _ <close> = ws
        await(neap.sleep(1000))
      end)
      task:cancel()
      await(neap.settle(task))
      sockets.expect_close(peer, 1001)
      assert.is_nil(await(peer:read()))
    end))

    it("has what came before for those who receive", with_peer(function(ws, peer)
      await(peer:write(frame("text", "early")))
      sockets.settle()
      local closing = ws:close()
      await(peer:write(frame("close")))
      await(peer:shutdown())
      await(closing)
      assert.equal("early", await(ws:recv()))
      assert.same({ nil, 1005, "" }, { await(ws:recv()) })
    end))

    it("does so although the peer has sent more than it keeps", with_peer(function(ws, peer)
      local messages = frame("binary", ("x"):rep(200000)):rep(20)
      local writing = peer:write(messages, frame("close", sockets.code(1000)))
      sockets.settle()
      local closing = ws:close()
      await(writing)
      await(peer:shutdown())
      assert.same({ 1000, "" }, { await(closing) })
    end))
  end)

  describe(side .. " and its back-pressure", function()
    it("lets a peer wait that sends more than is received", with_peer(function(ws, peer)
      local writing = peer:write(frame("binary", ("x"):rep(100000)):rep(200))
      for _ = 1, 20 do sockets.settle() end
      assert.equal("pending", writing:status())
      for _ = 1, 200 do assert.equal(100000, #await(ws:recv())) end
      await(writing)
    end))

    it("lets a sender wait for a peer that does not read", with_peer(function(ws, peer)
      local text = ("x"):rep(30000000)
      local sending = ws:send(text)
      for _ = 1, 20 do sockets.settle() end
      assert.equal("pending", sending:status())
      local name, payload = sockets.read_frame(peer)
      assert.same({ "text", #text }, { name, #payload })
      await(sending)
    end))

    it("answers the last of many pings of a peer that does not read", with_peer(function(ws, peer)
      local sending = ws:send_binary(("x"):rep(30000000))
      for i = 1, 100 do await(peer:write(frame("ping", tostring(i)))) end
      for _ = 1, 20 do sockets.settle() end
      assert.equal("binary", (sockets.read_frame(peer)))
      await(sending)
      local name, payload = sockets.read_frame(peer)
      assert.equal("pong", name)
      if payload ~= "100" then
        name, payload = sockets.read_frame(peer)
      end
      assert.same({ "pong", "100" }, { name, payload })
    end))
  end)

  describe(side .. " that sends and is cancelled", function()
    it("sends nothing of a message that has not begun", with_peer(function(ws, peer)
      local first, second = ws:send_binary(("x"):rep(30000000)), ws:send("never")
      sockets.settle()
      second:cancel()
      assert.equal("cancelled", (await(neap.settle(second))))
      local third = ws:send("after")
      assert.equal("binary", (sockets.read_frame(peer)))
      assert.same({ "text", "after", not is_server }, { sockets.read_frame(peer) })
      await(neap.all{ first, third })
    end))

    it("ends when a part of the message has left", with_peer(function(ws, peer)
      local sending, other = ws:send_binary(("x"):rep(30000000)), ws:send("other")
      sockets.settle()
      sending:cancel()
      assert.equal("cancelled", (await(neap.settle(sending))))
      h.raises("ECLOSED", await, other)
      h.raises("ECLOSED", function() await(ws:send("x")) end)
      local err = h.raises("ECLOSED", function() await(ws:recv()) end)
      assert.matches("cancelled while it was sent", tostring(err))
      pcall(await, peer:read_all())
    end))
  end)

  describe(side .. " and its keep-alive", function()
    it("asks a silent peer, and gives it up", wires.with_pair("TCP", function(conn, peer)
      local ws = core.websocket(conn, { server = is_server, ping = 10, ping_timeout = 4 })
      support.takes(14, function()
        local err = h.raises("ETIMEDOUT", function() await(ws:recv()) end)
        assert.equal(1006, err.close_code)
      end)
      assert.equal("ping", (sockets.read_frame(peer)))
      assert.is_nil(await(peer:read()))
    end))

    it("goes on as long as something comes", wires.with_pair("TCP", function(conn, peer)
      local ws = core.websocket(conn, { server = is_server, ping = 10, ping_timeout = 4 })
      local receiving = ws:recv()
      for _ = 1, 3 do
        await(neap.sleep(12))
        local name, payload = sockets.read_frame(peer)
        assert.equal("ping", name)
        await(peer:write(frame("pong", payload)))
        sockets.settle()
      end
      await(peer:write(frame("text", "still here")))
      assert.equal("still here", await(receiving))
      ws:close()
      await(peer:shutdown())
    end))
  end)
end

--- All that both sides can do. Where one has no memory the other may only see that it has gone.
local function play(conn, peer)
  local server = core.websocket(conn, { server = true, ping = 100 })
  local client = core.websocket(peer, {})
  await(client:send("x"))
  await(server:recv())
  await(server:send("y"))
  await(client:recv())
  await(client:ping())
  local closing = client:close()
  await(server:recv())
  await(closing)
end

describe("a WebSocket", function()
  it("takes over a connection that nobody reads", wires.with_pair("TCP", function(conn)
    local reading = conn:read()
    h.misuse(function() core.websocket(conn, {}) end)
    reading:cancel()
    await(neap.settle(reading))
    local ws = core.websocket(conn, {})
    h.raises("EMISUSE", function() await(conn:read()) end)
    h.misuse(function() core.websocket(conn, {}) end)
    await(conn:close())
    h.raises("ECLOSED", function() core.websocket(conn, {}) end)
    assert.is_true(ws:is_closed())
  end))

  it("whose Task of a recv is dropped goes on", sockets.with_peer(true, function(ws, peer)
    do
      local _ = ws:recv()
    end
    collectgarbage()
    await(peer:write(sockets.frame("text", "one", { mask = true }),
      sockets.frame("text", "two", { mask = true })))
    sockets.settle()
    assert.equal("two", await(ws:recv()))
  end))

  it("may be in any state when the loop closes", h.plain(function(t)
    for _, state in ipairs{ "open", "receiving", "sending", "pinging", "closing" } do
      neap.run({ clock = t.clock }, function()
        local conn, peer = wires.pair("TCP")
        local ws = core.websocket(conn, { server = true, ping = 1 })
        if state == "receiving" then ws:recv() end
        if state == "sending" then ws:send_binary(("x"):rep(30000000)) end
        if state == "pinging" then ws:ping() end
        if state == "closing" then ws:close() end
        t:note(peer ~= nil)
      end)
      t:take_unobserved()
    end
    assert.equal("true true true true true", t:logged())
  end))

  it("survives want of memory", h.plain(function(t)
    h.each_failure(function()
      neap.run({ clock = t.clock }, function()
        local conn, peer = wires.pair("TCP")
        local _ <close> = wires.closes(conn, peer)
        local ok, err = pcall(play, conn, peer)
        local is_loss = type(err) == "table" and (err.code == "ECLOSED" or err.code == "ECONNRESET")
        if not ok and not is_loss then error(err, 0) end
      end)
    end)
    t:take_unobserved()
    t:take_warnings()
  end))
end)
