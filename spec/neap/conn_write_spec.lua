-- Writing to a connection: what it takes, the order, errors, and how much was written.
local h = require "spec.helper"
local support = require "spec.support"
local wires = require "spec.wires"
local neap = require "neap"

local await = neap.await
local read_bytes = wires.read_bytes
local MEBIBYTE = ("0123456789abcdef"):rep(65536)

--- More than the system buffers.
local LARGE = 32

local function large() return MEBIBYTE:rep(LARGE) end

for _, kind in ipairs(wires.kinds) do
  local function with_pair(fn) return wires.with_pair(kind, fn) end

  describe("write over " .. kind, function()
    it("takes strings and numbers, empty ones and none", with_pair(function(conn, peer)
      assert.equal(9, await(conn:write("a", 1, "", 2.5, "", -7, "bc", "")))
      assert.equal(0, await(conn:write()))
      assert.equal(0, await(conn:write("")))
      assert.equal(0, await(conn:write("", "", "", "", "", "")))
      await(conn:shutdown())
      assert.equal("a12.5-7bc", await(peer:read_all()))
    end))

    it("takes 250 arguments, and 5000", with_pair(function(conn, peer)
      for _, n in ipairs{ 250, 5000 } do
        local parts = {}
        for i = 1, n do parts[i] = i % 3 == 0 and i or i .. "," end
        local text = table.concat(parts)
        assert.equal(#text, await(conn:write(table.unpack(parts))))
        assert.is_true(text == await(peer:read_exactly(#text)))
      end
    end))

    it("writes many arguments whole that are more than the system takes", with_pair(
      function(conn, peer)
        local parts = {}
        for i = 1, 300 do parts[i] = ("%03d,"):format(i):rep(10000) end
        local text = table.concat(parts)
        local write = conn:write(table.unpack(parts))
        assert.equal("pending", write:status())
        assert.is_true(text == await(peer:read_exactly(#text)))
        assert.equal(#text, await(write))
      end))

    it("changes none of its arguments", with_pair(function(conn)
      local n = 12
      await(conn:write(n))
      assert.equal("integer", math.type(n))
    end))

    it("keeps the order of writes that are pending, and of a shutdown behind them", with_pair(
      function(conn, peer)
        local tasks, expected = {}, {}
        for i = 1, 50 do
          expected[i] = i % 7 == 0 and "" or ("%d "):format(i):rep(i * 1000)
          tasks[i] = conn:write(expected[i])
        end
        tasks[51] = conn:shutdown()
        assert.is_true(table.concat(expected) == await(peer:read_all()))
        await(neap.all(tasks))
      end))

    it("waits while the other end does not read, and goes on when it does", with_pair(
      function(conn, peer)
        local data = large()
        local write = conn:write(data)
        await(neap.sleep(60))
        assert.equal("pending", write:status())
        assert.is_true(read_bytes(peer, #data) == data)
        assert.equal(#data, await(write))
      end))

    it("[C6] that is cancelled tells exactly how much goes out", with_pair(function(conn, peer)
      local data = large()
      for round = 1, 3 do
        local write = conn:write(data)
        if round == 2 then wires.settle() end
        if round == 3 then read_bytes(peer, 1 << 20) end
        assert.is_true(write:cancel("enough"))
        local err = h.raises("ECANCELLED", await, write)
        local left = err.written - (round == 3 and 1 << 20 or 0)
        local mark = neap.start(function() await(conn:write("|", round)) end)
        local got = await(peer:read_until("|", 1 << 30))
        assert.equal(left, #got)
        assert.is_true(data:sub(err.written - left + 1, err.written) == got)
        assert.equal(tostring(round), await(peer:read(1)))
        await(mark)
      end
    end))

    it("[C6] that is cancelled before it began sends nothing", with_pair(function(conn, peer)
      local first, second, third = conn:write(large()), conn:write("second"), conn:write("third")
      assert.is_true(second:cancel("enough"))
      assert.is_nil(h.raises("ECANCELLED", await, second).written)
      local reader = neap.start(read_bytes, peer, LARGE * #MEBIBYTE + 5)
      await(first)
      await(third)
      assert.equal("third", await(reader):sub(-5))
    end))

    it("[C6, S8] that is cancelled after completion keeps its result", with_pair(
      function(conn, peer)
        local write = conn:write("x")
        assert.is_false(write:cancel("late"))
        assert.equal(1, await(write))
        assert.equal("x", await(peer:read()))
      end))

    it("fails with EPIPE after a shutdown, which does not end reading", with_pair(
      function(conn, peer)
        await(conn:write("last"))
        await(conn:shutdown())
        local err = h.raises("EPIPE", function() await(conn:write("more")) end)
        assert.equal("write", err.syscall)
        assert.is_nil(err.written)
        assert.equal("last", await(peer:read_all()))
        await(peer:write("answer"))
        assert.equal("answer", await(conn:read()))
      end))

    it("fails when the other end has gone, and so does what is pending", with_pair(
      function(conn, peer)
        local writes = { conn:write(large()), conn:write("x") }
        await(peer:close())
        for i, write in ipairs(writes) do
          local status, err = await(neap.settle(write))
          assert.equal("failed", status, i)
          assert.is_truthy(err.code == "EPIPE" or err.code == "ECONNRESET", tostring(err))
        end
        local ok, err = pcall(await, conn:write("y"))
        assert.is_false(ok)
        assert.is_truthy(err.code == "EPIPE" or err.code == "ECONNRESET", tostring(err))
      end))

    it("[S223] that is pending fails with ECLOSED at a close; err.written is a lower bound",
      with_pair(function(conn, peer)
        local write, next_one = conn:write(large()), conn:write("x")
        await(conn:close())
        local err = h.raises("ECLOSED", await, write)
        assert.is_nil(h.raises("ECLOSED", await, next_one).written)
        local got = #await(peer:read_all())
        assert.is_true(err.written <= got, err.written .. " of " .. got)
        assert.is_true(got > 0)
      end))
  end)

  describe("shutdown over " .. kind, function()
    it("is harmless when repeated", with_pair(function(conn, peer)
      local first, second = conn:shutdown(), conn:shutdown()
      await(second)
      await(first)
      await(conn:shutdown())
      assert.is_nil((await(peer:read())))
    end))

    it("of both ends ends both directions", with_pair(function(conn, peer)
      await(conn:write("a"))
      await(conn:shutdown())
      assert.equal("a", await(peer:read_all()))
      await(peer:write("b"))
      await(peer:shutdown())
      assert.equal("b", await(conn:read_all()))
      assert.is_nil((await(conn:read())))
      assert.is_nil((await(peer:read())))
    end))

    it("of one end while the other still writes loses none of it", with_pair(
      function(conn, peer)
        local write = peer:write(MEBIBYTE)
        await(conn:shutdown())
        assert.is_nil((await(peer:read())))
        assert.is_true(MEBIBYTE == await(conn:read_exactly(#MEBIBYTE)))
        await(write)
      end))

    it("[C6] that is cancelled behind a write does not happen", with_pair(function(conn, peer)
      local write, shutdown = conn:write(large()), conn:shutdown()
      assert.is_true(shutdown:cancel("enough"))
      local reader = neap.start(read_bytes, peer, LARGE * #MEBIBYTE + 4)
      await(write)
      await(conn:write("more"))
      assert.equal("more", await(reader):sub(-4))
    end))
  end)
end

describe("write", function()
  it("raises an argument error for what is no string or number, and writes nothing",
    wires.with_pair("TCP", function(conn, peer)
      for _, value in ipairs{ true, {}, print, conn } do
        h.bad_argument("write", 3, function() return conn:write("a", 1, value) end)
      end
      h.bad_argument("write", 2, function() return conn:write("a", nil, "b") end)
      await(conn:write("c"))
      assert.equal("c", await(peer:read()))
    end))

  it("survives failing allocations, and either writes or fails", h.plain(function(t)
    local data = ("x"):rep(3 << 20)
    h.each_failure(function()
      local got = neap.run({ clock = t.clock }, function()
        local conn, peer = wires.pair("TCP")
        local _ <close> = wires.closes(conn, peer)
        local writes = { conn:write("a", "b", "c", "d", "e", "f"), conn:write(data), conn:write(1) }
        local ended = conn:shutdown()
        local got = await(peer:read_all())
        await(neap.all(writes))
        await(ended)
        return #got
      end)
      assert(got == #data + 7, "a run that succeeded has a wrong result")
    end)
    t:take_unobserved()
    t:take_warnings()
  end))
end)

describe("a slow reader", function()
  it("holds up the writer, which keeps no more than one write", h.run(function()
    local conn, peer = wires.pair("TCP")
    local _ <close> = wires.closes(conn, peer)
    local PIECE, COUNT = 256 * 1024, 256
    local most = 0
    local writer = neap.start(function()
      local piece = ("x"):rep(PIECE)
      for _ = 1, COUNT do await(conn:write(piece)) end
      await(conn:shutdown())
    end)
    collectgarbage()
    local before, read = support.resident(), 0
    for chunk in peer do
      read = read + #chunk
      if read % (4 << 20) < 65536 then
        collectgarbage()
        most = math.max(most, support.resident() - before)
      end
    end
    await(writer)
    assert.equal(PIECE * COUNT, read)
    assert.is_true(most < 16 * PIECE, most .. " bytes more") -- of 256
  end))
end)
