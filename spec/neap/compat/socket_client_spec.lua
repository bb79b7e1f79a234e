-- A client's sending and receiving in tasks: time, cancellation, back-pressure, two tasks at once.
local h = require "spec.helper"
local sockets = require "spec.sockets"
local support = require "spec.support"
local wires = require "spec.wires"
local neap = require "neap"
local socket = require "neap.compat.socket"

local await = neap.await
local with_pair = sockets.with_pair

--- Writes the pieces, one each so many seconds.
local function drip(peer, seconds, ...)
  local pieces = { ... }
  return neap.start(function()
    for _, piece in ipairs(pieces) do
      await(neap.sleep(seconds))
      await(peer:write(piece))
    end
  end)
end

local patterns = { "*l", "l", "*a", "a", 10 }

describe("receive of neap.compat.socket", function()
  it("suspends its task and nobody else", with_pair(function(client, peer, t)
    local task = neap.start(function() t:note(client:receive()) end)
    t:note("others run")
    await(peer:write("line\n"))
    await(task)
    assert.equal("others run line", t:logged())
  end))

  it("takes patterns without a star, and lines by default", with_pair(function(client, peer)
    await(peer:write("one\ntwo\nthree\nrest"))
    await(peer:shutdown())
    assert.equal("one", client:receive())
    assert.equal("two", client:receive("l"))
    assert.equal("three", client:receive("*line"))
    assert.equal("rest", client:receive("a"))
  end))

  it("finds lines however they are cut into pieces", with_pair(function(client, peer)
    local text = "one\r\n\r\ntwo\n\nthe third\r\nend"
    local writer = drip(peer, 0.01, table.unpack((function()
      local bytes = {}
      for i = 1, #text do bytes[i] = text:sub(i, i) end
      return bytes
    end)()))
    for _, line in ipairs{ "one", "", "two", "", "the third" } do
      assert.equal(line, client:receive())
    end
    await(writer)
    await(peer:close())
    local line, why, partial = client:receive()
    assert.is_nil(line)
    assert.equal("closed end", why .. " " .. partial)
  end))

  it("takes many lines and large blocks from one stream", with_pair(function(client, peer)
    local random = wires.new_random(7)
    local lines, block = {}, ("block"):rep(60000)
    for i = 1, 2000 do lines[i] = ("x"):rep(random(80)) end
    local writing = peer:write(table.concat(lines, "\r\n"), "\r\n", block, "after\n")
    for i = 1, #lines do assert.equal(lines[i], client:receive()) end
    assert.is_true(block == client:receive(#block))
    assert.equal("after", client:receive())
    await(writing)
    assert.is_false(client:dirty())
  end))

  for _, mode in ipairs{ "b", "t" } do
    it("counts the limit " .. mode .. " from the beginning of the call, as LuaSocket", with_pair(
      function(client, peer)
        client:settimeout(1, mode)
        local writer = drip(peer, 0.3, "a", "b", "c", "d", "e")
        support.takes(1, function()
          local data, why, partial = client:receive(10)
          assert.is_nil(data)
          assert.equal("timeout abc", why .. " " .. partial)
        end)
        support.takes(1, function()
          assert.equal("de", select(3, client:receive("*a", "")))
        end)
        await(writer)
      end))
  end

  it("has a limit for each wait beside the one of the call", with_pair(function(client, peer)
    client:settimeout(0.5)
    client:settimeout(2, "t")
    local writer = drip(peer, 0.4, "a", "b", "c", "d", "e", "f")
    support.takes(2, function() assert.equal("abcd", select(3, client:receive(10))) end)
    await(writer)
    support.takes(0.5, function() assert.equal("ef", select(3, client:receive(10))) end)
  end))

  it("without time gives what there is, and lets others run", with_pair(function(client, peer)
    client:settimeout(0)
    local turns = support.turn_counter()
    support.takes(0, function()
      for _, pattern in ipairs(patterns) do
        local data, why, partial = client:receive(pattern)
        assert.is_nil(data)
        assert.equal("timeout", why)
        assert.equal("", partial)
      end
    end)
    assert.is_true(turns.count > 1)
    turns.stop()
    await(peer:write("whole\npart"))
    -- A system that is disturbed on purpose may say once more that there is nothing.
    local line
    repeat line = client:receive() until line
    assert.equal("whole", line)
    local data, why, partial = client:receive()
    assert.is_nil(data)
    assert.equal("timeout part", why .. " " .. partial)
  end))

  it("raises Cancelled, and the next one has all that had come", with_pair(function(client, peer)
    for _, pattern in ipairs(patterns) do
      local task = neap.start(function() return client:receive(pattern) end)
      await(peer:write("a"))
      wires.settle()
      task:cancel("enough")
      assert.equal("cancelled", await(neap.settle(task)))
    end
    await(peer:write("b\n"))
    assert.equal("aaaaab", client:receive())
  end))

  it("raises Cancelled of a limit around it, even where it has a limit of its own", with_pair(
    function(client, peer)
      client:settimeout(5)
      h.raises("ETIMEDOUT", neap.timeout, 1, function() client:receive() end)
      client:settimeout(0.5)
      neap.timeout(1, function() assert.equal("timeout", select(2, client:receive())) end)
      await(peer:write("x\n"))
      assert.equal("x", client:receive())
    end))

  it("begins nothing in a cancelled scope", with_pair(function(client, peer)
    await(peer:write("kept\n"))
    neap.scope(function(scope)
      scope:cancel("closed")
      for _, call in ipairs{
        function() client:receive() end,
        function() client:send("x") end,
        function() socket.sleep(1) end,
        function() socket.select({ client }, nil, 1) end,
      } do
        local ok, err = pcall(call)
        assert.is_false(ok)
        assert.is_true(neap.is_cancel(err))
      end
    end)
    assert.equal("kept", client:receive())
  end))

  it("is misused by two tasks at once, and the first one goes on", with_pair(
    function(client, peer)
      local task = neap.start(function() return client:receive() end)
      h.misuse(function() client:receive(1) end)
      h.misuse(function() socket.select({ client }, nil, 0) end)
      await(peer:write("line\n"))
      assert.equal("line", await(task))
    end))

  it("ends when another task closes the socket", with_pair(function(client, peer)
    await(peer:write("part"))
    local task = neap.start(function() return client:receive() end)
    wires.settle()
    client:close()
    local data, why, partial = await(task)
    assert.is_nil(data)
    assert.equal("closed part", why .. " " .. partial)
  end))

  it("gives nothing after a shutdown of its direction", with_pair(function(client, peer)
    client:shutdown("receive")
    await(peer:write("x\n"))
    assert.equal("closed", select(2, client:receive()))
    assert.equal(1, client:send("y"))
    assert.equal("y", await(peer:read()))
  end))
end)

describe("send of neap.compat.socket", function()
  local large = ("0123456789abcdef"):rep(1 << 19) -- 8 MiB, more than the system takes

  it("waits until the system has all, while another task receives", with_pair(
    function(client, peer)
      local sending = neap.start(function() return client:send(large) end)
      wires.settle()
      assert.equal("pending", sending:status())
      await(peer:write("meanwhile\n"))
      assert.equal("meanwhile", client:receive())
      assert.is_true(large == wires.read_bytes(peer, #large))
      assert.equal(#large, await(sending))
    end))

  it("keeps the messages of two tasks whole", with_pair(function(client, peer)
    local a, b = ("a"):rep(1 << 22), ("b"):rep(1 << 22)
    local tasks = {
      neap.start(function() return client:send(a) end),
      neap.start(function() return client:send(b) end),
    }
    assert.is_true(a .. b == wires.read_bytes(peer, #a + #b))
    assert.equal(#a, await(tasks[1]))
    assert.equal(#b, await(tasks[2]))
  end))

  it("tells where to go on when its time is over, and loses no byte", with_pair(
    function(client, peer)
      client:settimeout(0.5)
      local first = 7
      support.takes(0.5, function()
        local n, why, last = client:send(large, first)
        assert.is_nil(n)
        assert.equal("timeout", why)
        assert.is_true(last >= first and last < #large)
        first = last + 1
      end)
      client:settimeout(nil)
      local sending = neap.start(function() return client:send(large, first) end)
      assert.is_true(large:sub(7) == wires.read_bytes(peer, #large - 6))
      assert.equal(#large, await(sending))
    end))

  it("works without time, with select", with_pair(function(client, peer)
    client:settimeout(0)
    local sending = neap.start(function()
      local last, waits = 0, 0
      repeat
        local n, why, partial = client:send(large, last + 1)
        assert(n or why == "timeout", why)
        last = n or partial
        if not n then
          local _, writable = socket.select(nil, { client }, 10)
          assert.equal(client, writable[1])
          waits = waits + 1
        end
      until n
      return waits
    end)
    assert.is_true(large == wires.read_bytes(peer, #large))
    assert.is_true(await(sending) > 0)
    local _, sent = client:getstats()
    assert.equal(#large, sent)
  end))

  it("of nothing waits for what was sent before", with_pair(function(client, peer)
    client:settimeout(0)
    local last = select(3, client:send(large))
    assert.equal("timeout", select(2, client:send("")))
    local sending = neap.start(function()
      client:settimeout(nil)
      return client:send("")
    end)
    assert.is_true(large:sub(1, last) == wires.read_bytes(peer, last))
    assert.equal(0, await(sending))
  end))

  it("raises Cancelled, which tells how much has left", with_pair(function(client)
    local task = neap.start(function()
      local ok, err = pcall(client.send, client, large)
      assert(not ok and neap.is_cancel(err))
      assert(err.written > 0 and err.written < #large)
      error(err, 0)
    end)
    wires.settle()
    task:cancel("enough")
    assert.equal("cancelled", await(neap.settle(task)))
  end))

  it("fails when the peer resets the connection in the middle", with_pair(function(client, peer)
    local sending = neap.start(function() return client:send(large) end)
    wires.settle()
    await(peer:reset())
    local n, why, last = await(sending)
    assert.is_nil(n)
    assert.equal("closed", why)
    assert.is_true(last < #large)
    assert.equal("closed", select(2, client:receive()))
  end))
end)

describe("a client of neap.compat.socket", function()
  it("is reset on close where linger says so", with_pair(function(client, peer)
    assert.equal(1, client:setoption("linger", { on = true, timeout = 0 }))
    assert.equal("setsockopt failed",
      select(2, client:setoption("linger", { on = true, timeout = 5 })))
    client:close()
    h.raises("ECONNRESET", await, peer:read())
  end))

  it("says what it cannot set", with_pair(function(client)
    for _, name in ipairs{ "recv-buffer-size", "send-buffer-size", "bindtodevice" } do
      assert.equal("setsockopt failed", select(2, client:setoption(name, 1)))
    end
    assert.equal("getsockopt failed", select(2, client:getoption("recv-buffer-size")))
    h.bad_argument("setoption", 1, function() client:setoption("nonsense", 1) end)
    h.bad_argument("getoption", 1, function() client:getoption("nonsense") end)
    h.bad_argument("send", 1, function() client:send({}) end)
    h.bad_argument("receive", 1, function() client:receive("*n") end)
  end))

  it("sends what was sent before its end, and hears the answer", with_pair(
    function(client, peer)
      local large = ("x"):rep(1 << 22)
      local sending = neap.start(function() return client:send(large) end)
      assert.equal(1, client:shutdown("send"))
      assert.equal("closed", select(2, client:send("more")))
      assert.equal(#large, #await(peer:read_all()))
      assert.equal(#large, await(sending))
      await(peer:write("thanks\n"))
      assert.equal("thanks", client:receive())
    end))

  it("is closed by the collector when it is dropped", h.run(function()
    local client, peer = sockets.pair()
    client:send("x")
    client = nil -- luacheck: ignore 311
    collectgarbage()
    collectgarbage()
    assert.equal("x", await(peer:read_all()))
    await(peer:close())
  end))
end)
