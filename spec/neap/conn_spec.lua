local h = require "spec.helper"
local support = require "spec.support"
local neap = require "neap"
local core = require "neap.core"

local await, net = neap.await, neap.net

--- Makes a spec of fn(conn, peer, t): the two ends of a connection, which it need not close.
local function with_pair(fn)
  return h.run(function(t)
    local server <close> = await(net.listen("127.0.0.1", 0))
    local accepting = server:accept()
    local conn <close> = await(net.connect(server:address()))
    local peer <close> = await(accepting)
    fn(conn, peer, t)
  end)
end

--- Reads until n bytes have come or the end; gives what came.
local function read_bytes(conn, n)
  local chunks, count = {}, 0
  while count < n do
    local chunk = await(conn:read(math.min(n - count, 65536)))
    if not chunk then break end
    chunks[#chunks + 1] = chunk
    count = count + #chunk
  end
  return table.concat(chunks)
end

--- Calls conn:write until it fails; gives the error.
local function write_until_error(conn)
  for _ = 1, 1000 do
    local ok, err = pcall(await, conn:write(("x"):rep(65536)))
    if not ok then return err end
    await(neap.sleep(0.01))
  end
  error("writing goes on and on")
end

describe("Conn:read", function()
  it("gives what the other side wrote, whatever bytes it has", with_pair(function(conn, peer)
    await(peer:write("a\0b\r\n\255"))
    assert.equal("a\0b\r\n\255", await(conn:read()))
  end))

  it("waits for data", with_pair(function(conn, peer)
    local read = conn:read()
    await(neap.sleep(1))
    assert.equal("pending", read:status())
    await(peer:write("x"))
    assert.equal("x", await(read))
  end))

  it("gives at most n bytes and keeps the rest", with_pair(function(conn, peer)
    await(peer:write("0123456789"))
    assert.equal("0123", read_bytes(conn, 4))
    assert.equal("456789", read_bytes(conn, 6))
    await(peer:write("0123456789"))
    await(neap.sleep(1))
    assert.equal("01", await(conn:read(2)))
    assert.equal("23456789", await(conn:read(100)))
  end))

  it("gives nil at the end, again and again", with_pair(function(conn, peer)
    await(peer:write("last"))
    await(peer:shutdown())
    assert.equal("last", await(conn:read()))
    assert.same({ nil, n = 1 }, table.pack(await(conn:read())))
    assert.same({ nil, n = 1 }, table.pack(await(conn:read())))
  end))

  it("gives nil when the other side closes", with_pair(function(conn, peer)
    local read = conn:read()
    await(peer:close())
    assert.is_nil((await(read)))
  end))

  it("raises an argument error for a bad count", with_pair(function(conn)
    h.bad_argument("read", 1, function() return conn:read(-1) end)
    h.bad_argument("read", 1, function() return conn:read("all") end)
  end))

  it("is misuse while another read waits, and does not disturb it", with_pair(function(conn, peer)
    local read = conn:read()
    h.misuse(function() await(conn:read()) end)
    await(peer:write("x"))
    assert.equal("x", await(read))
  end))

  it("[C6] that is cancelled while it waits loses no data", with_pair(function(conn, peer)
    local read = conn:read()
    assert.is_true(read:cancel("enough"))
    h.raises("ECANCELLED", await, read)
    await(peer:write("hello"))
    assert.equal("hello", await(conn:read()))
  end))

  it("[C6] under a timeout loses no data", with_pair(function(conn, peer)
    support.takes(1, function()
      local r = table.pack(neap.try_for(1, function() return await(conn:read()) end))
      assert.same({ false, "timeout", n = 2 }, r)
    end)
    await(peer:write("hello"))
    assert.equal("hello", await(conn:read()))
  end))

  it("[C6] that is cancelled when data is there loses none of it", with_pair(function(conn, peer)
    for i = 1, 50 do
      await(peer:write("hello " .. string.format("%02d", i)))
      local got = ""
      local read = conn:read()
      for _ = 1, i % 3 do await(neap.yield()) end
      if read:cancel("enough") then
        h.raises("ECANCELLED", await, read)
      else
        got = await(read)
      end
      got = got .. read_bytes(conn, 8 - #got)
      assert.equal("hello " .. string.format("%02d", i), got)
    end
  end))

  it("[S71] takes nothing in a cancelled scope", with_pair(function(conn, peer)
    await(peer:write("hello"))
    await(neap.sleep(1))
    neap.scope(function(scope)
      scope:cancel("closed")
      assert.equal("cancelled", conn:read():status())
    end)
    assert.equal("hello", await(conn:read()))
  end))

  it("[C6, S8] keeps its data when it is cancelled after completion", with_pair(function(conn, peer)
    local read = conn:read()
    await(peer:write("hello"))
    await(neap.settle(read))
    assert.is_false(read:cancel("late"))
    neap.scope(function(scope)
      scope:cancel("closed")
      assert.equal("hello", await(read))
    end)
  end))

  it("fails with ECLOSED when the connection is closed meanwhile", with_pair(function(conn)
    local read = conn:read()
    await(conn:close())
    h.raises("ECLOSED", await, read)
  end))

  it("on a closed connection raises ECLOSED", with_pair(function(conn, peer)
    await(peer:write("x"))
    await(conn:close())
    h.raises("ECLOSED", function() await(conn:read()) end)
  end))

  it("[S99] that is dropped does not hold up a scope", with_pair(function(conn)
    support.takes(0, function()
      neap.scope(function() conn:read() end)
    end)
  end))
end)

describe("Conn:write", function()
  it("writes its strings in order and gives the number of bytes", with_pair(function(conn, peer)
    assert.equal(6, await(conn:write("a", "bc", "", "d\0f")))
    assert.equal(0, await(conn:write("")))
    assert.equal(1, await(conn:write("g")))
    assert.equal("abcd\0fg", read_bytes(peer, 7))
  end))

  it("completes when all has been written", with_pair(function(conn, peer)
    local data = ("x"):rep(32 * 1024 * 1024)
    local write = conn:write(data)
    await(neap.sleep(1))
    assert.equal("pending", write:status())
    assert.is_true(read_bytes(peer, #data) == data)
    assert.equal(#data, await(write))
  end))

  it("keeps the order of several writes at once", with_pair(function(conn, peer)
    local list, expected = {}, {}
    for i = 1, 100 do
      expected[i] = ("%d "):format(i):rep(1000)
      list[i] = conn:write(expected[i])
    end
    expected = table.concat(expected)
    assert.is_true(read_bytes(peer, #expected) == expected)
    await(neap.all(list))
  end))

  it("raises an argument error for what is no string, and writes nothing", with_pair(
    function(conn, peer)
      h.bad_argument("write", 2, function() return conn:write("a", {}) end)
      h.bad_argument("write", 1, function() return conn:write(nil) end)
      await(conn:write("b"))
      assert.equal("b", await(peer:read()))
    end))

  it("[S50] fails when the other side has closed", with_pair(function(conn, peer)
    await(peer:close())
    local err = write_until_error(conn)
    assert.is_truthy(err.code == "EPIPE" or err.code == "ECONNRESET", tostring(err))
    assert.is_string(err.message)
    assert.is_string(err.syscall)
  end))

  it("[S71] writes nothing in a cancelled scope", with_pair(function(conn, peer)
    neap.scope(function(scope)
      scope:cancel("closed")
      assert.equal("cancelled", conn:write("x"):status())
    end)
    await(conn:write("y"))
    assert.equal("y", await(peer:read()))
  end))

  it("[C6] that is cancelled says in err.written how much went out", with_pair(function(conn, peer)
    local data = ("0123456789abcdef"):rep(2 * 1024 * 1024)
    local written
    support.takes(1, function()
      neap.scope({ timeout = 1 }, function()
        local ok, err = pcall(await, conn:write(data))
        assert.is_false(ok)
        assert.is_true(neap.is_cancel(err))
        written = err.written
      end)
    end)
    assert.equal("integer", math.type(written))
    assert.is_true(written > 0 and written < #data)
    local reader = neap.start(read_bytes, peer, #data)
    await(conn:write("the end"))
    await(conn:shutdown())
    assert.is_true(await(reader) == data:sub(1, written) .. "the end")
  end))

  it("fails with ECLOSED when the connection is closed meanwhile", with_pair(function(conn)
    local write = conn:write(("x"):rep(32 * 1024 * 1024))
    await(neap.sleep(1))
    await(conn:close())
    h.raises("ECLOSED", await, write)
  end))

  it("on a closed connection raises ECLOSED", with_pair(function(conn)
    await(conn:close())
    h.raises("ECLOSED", function() await(conn:write("x")) end)
  end))
end)

describe("Conn:shutdown", function()
  it("ends one direction only, after what was written", with_pair(function(conn, peer)
    local write = conn:write("question")
    await(conn:shutdown())
    await(write)
    assert.equal("question", await(peer:read()))
    assert.is_nil((await(peer:read())))
    await(peer:write("answer"))
    assert.equal("answer", await(conn:read()))
  end))

  it("on a closed connection raises ECLOSED", with_pair(function(conn)
    await(conn:close())
    h.raises("ECLOSED", function() await(conn:shutdown()) end)
  end))
end)

describe("Conn:close", function()
  it("[S225] closes once, however often it is called", with_pair(function(conn, peer)
    local before = core.stats().handles
    local first, second = conn:close(), conn:close()
    await(second)
    await(first)
    await(conn:close())
    assert.equal(before - 1, core.stats().handles)
    assert.is_nil((await(peer:read())))
  end))

  it("is what <close> does", with_pair(function(conn, peer)
    do
      local _ <close> = conn
      await(conn:write("bye"))
    end
    assert.equal("bye", await(peer:read()))
    assert.is_nil((await(peer:read())))
    h.raises("ECLOSED", function() await(conn:read()) end)
  end))

  it("[S223] releases the socket in a cancelled scope too", with_pair(function(conn, peer)
    neap.scope(function(scope)
      scope:cancel("closed")
      local _ <close> = conn
    end)
    assert.is_nil((await(peer:read())))
    h.raises("ECLOSED", function() await(conn:read()) end)
  end))

  it("happens to a connection that is dropped", h.run(function()
    local server <close> = await(net.listen("127.0.0.1", 0))
    local accepting = server:accept()
    await(net.connect(server:address()))
    local peer <close> = await(accepting)
    local read = peer:read()
    for _ = 1, 5 do
      collectgarbage()
      await(neap.yield())
    end
    assert.is_nil((await(read)))
  end))
end)

describe("A Conn that is dropped", function()
  it("stays open for the read that is pending on it, and is closed then", h.run(function()
    local server <close> = await(net.listen("127.0.0.1", 0))
    local accepting = server:accept()
    local conn = await(net.connect(server:address()))
    local peer <close> = await(accepting)
    local read = conn:read()
    conn = nil -- luacheck: ignore
    collectgarbage()
    collectgarbage()
    await(peer:write("here"))
    assert.equal("here", await(read))
    read = nil -- luacheck: ignore
    collectgarbage()
    collectgarbage()
    assert.is_nil((await(peer:read())))
  end))

  it("sends what is pending", h.run(function()
    local server <close> = await(net.listen("127.0.0.1", 0))
    local accepting = server:accept()
    local conn = await(net.connect(server:address()))
    local peer <close> = await(accepting)
    local size = 4 << 20
    conn:write(("x"):rep(size))
    conn = nil -- luacheck: ignore
    collectgarbage()
    collectgarbage()
    assert.equal(size, #await(peer:read_all()))
  end))

  it("is closed when its write was cancelled, though the peer takes nothing", h.run(function()
    local server <close> = await(net.listen("127.0.0.1", 0))
    local accepting = server:accept()
    local conn = await(net.connect(server:address()))
    local peer <close> = await(accepting)
    neap.try_for(1, function() await(conn:write(("x"):rep(32 << 20))) end)
    conn = nil -- luacheck: ignore
    collectgarbage()
    collectgarbage()
    assert.is_true(#await(peer:read_all()) < 32 << 20)
  end))
end)
