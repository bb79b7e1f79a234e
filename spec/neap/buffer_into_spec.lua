-- Reading into a Buffer: from connections, files and pipes; states of the read and of the Buffer.
local h = require "spec.helper"
local wires = require "spec.wires"
local neap = require "neap"

local await, buffer = neap.await, neap.buffer

local TEXT = {}
for i = 1, 9000 do TEXT[i] = ("%06d;"):format(i) end
TEXT = table.concat(TEXT)

--- Fills the Buffer from `pos` on; how many bytes came before the end.
local function fill(object, buf, pos, limit)
  local first = pos
  while pos <= #buf do
    local n = await(object:read_into(buf, pos, limit and math.min(limit, #buf - pos + 1)))
    if not n then break end
    pos = pos + n
  end
  return pos - first
end

for _, kind in ipairs(wires.sources) do
  local function with_content(pieces, fn) return wires.with_content(kind, pieces, fn) end

  describe("read_into from " .. kind, function()
    it("gives the number of bytes, and nil at the end", with_content({ "abc" }, function(object)
      local buf = buffer(10)
      assert.equal(3, await(object:read_into(buf)))
      assert.equal("abc\0\0\0\0\0\0\0", buf:string())
      assert.is_nil(await(object:read_into(buf)))
      assert.is_nil(await(object:read_into(buf, 4)))
      assert.equal("abc\0\0\0\0\0\0\0", buf:string())
    end))

    it("reads at a place, n bytes at most", with_content({ "abcdef" }, function(object)
      local buf = buffer(8):fill(46)
      assert.equal(2, await(object:read_into(buf, 3, 2)))
      assert.equal("..ab....", buf:string())
      assert.equal(1, await(object:read_into(buf, -1)))
      assert.equal("..ab...c", buf:string())
      assert.equal(0, await(object:read_into(buf, 9)))
      assert.equal(0, await(object:read_into(buf, 1, 0)))
      assert.equal("def", await(object:read(5)))
    end))

    it("brings all of it, in blocks of any size", with_content({ TEXT }, function(object)
      local buf = buffer(#TEXT + 10)
      assert.equal(10000, fill(object, buf:slice(1, 10000), 1, 7))
      assert.equal(30000, fill(object, buf:slice(10001, 40000), 1, 4099))
      assert.equal(#TEXT - 40000, fill(object, buf, 40001))
      assert.is_true(buf:sub(1, #TEXT) == TEXT)
    end))

    it("goes on where other reads have ended", with_content({ "line\nabcdef|rest" },
      function(object)
        local buf = buffer(4)
        assert.equal("line", await(object:read_line()))
        assert.equal(3, await(object:read_into(buf, 2)))
        assert.equal("\0abc", buf:string())
        assert.equal("def", await(object:read_until("|")))
        assert.equal(4, fill(object, buf, 1))
        assert.equal("rest", buf:string())
      end))

    it("is an argument error or EMISUSE where it cannot be", with_content({ "abc" },
      function(object)
        local buf = buffer(4)
        h.bad_argument("read_into", 1, function() return object:read_into("abcd") end)
        h.bad_argument("read_into", 1, function() return object:read_into() end)
        for _, place in ipairs{ 0, 6, -5, 1.5, {}, math.mininteger } do
          h.bad_argument("read_into", 2, function() return object:read_into(buf, place) end)
        end
        for _, n in ipairs{ -1, 4, 1.5, {}, math.maxinteger } do
          h.bad_argument("read_into", 3, function() return object:read_into(buf, 2, n) end)
        end
        h.misuse(function() return object:read_into(buffer("abcd")) end)
        buf:close()
        h.misuse(function() return object:read_into(buf) end)
        assert.equal("abc", await(object:read_exactly(3)))
      end))

    it("loses nothing to failing allocations", with_content({ "abcdef" }, function(object)
      local buf, place = buffer(8), 1
      h.each_failure(function()
        if kind == "a file" then place = await(object:seek("set", 0)) + 1 end
        repeat
          local n = await(object:read_into(buf, place, 2))
          place = place + (n or 0)
        until not n
        assert(buf:string() == "abcdef\0\0")
      end)
    end))
  end)
end

local function with_pair(fn) return wires.with_pair("TCP", fn) end

describe("a read_into that waits", function()
  it("puts the bytes there when it is done, awaited or not", with_pair(function(conn, peer)
    local buf = buffer(4)
    local reading = conn:read_into(buf)
    assert.equal("pending", reading:status())
    await(peer:write("abcdefg"))
    wires.settle()
    assert.equal("done", reading:status())
    assert.equal("abcd", buf:string())
    assert.equal(4, await(reading))
    assert.equal("efg", await(conn:read()))
  end))

  it("takes nothing when it is cancelled", with_pair(function(conn, peer)
    local buf = buffer(4)
    local reading = conn:read_into(buf)
    reading:cancel("enough")
    reading:cancel("again")
    await(peer:write("abc"))
    wires.settle()
    assert.equal("\0\0\0\0", buf:string())
    assert.equal(3, await(conn:read_into(buf)))
    assert.equal("abc\0", buf:string())
  end))

  it("has no effect in a cancelled scope", with_pair(function(conn, peer)
    local buf = buffer(4)
    await(peer:write("abc"))
    wires.settle()
    neap.scope(function(scope)
      scope:cancel("enough")
      assert.equal("cancelled", conn:read_into(buf):status())
    end)
    buf:freeze()
    assert.equal("\0\0\0\0", buf:string())
    assert.equal("abc", await(conn:read()))
  end))

  it("fails when the connection is closed", with_pair(function(conn)
    local buf = buffer(4)
    local reading = conn:read_into(buf)
    await(conn:close())
    h.raises("ECLOSED", await, reading)
    h.raises("ECLOSED", await, conn:read_into(buf))
    buf:freeze()
  end))

  it("is alone on its object", with_pair(function(conn)
    local buf = buffer(4)
    local reading = conn:read_into(buf)
    h.misuse(function() return conn:read_into(buf) end)
    h.misuse(function() return conn:read() end)
    reading:cancel("enough")
  end))

  it("keeps the memory of a Buffer that is closed or collected", with_pair(function(conn, peer)
    local buf = buffer(4)
    local slice = buf:slice(1, 2)
    local reading = conn:read_into(buf)
    buf:close()
    buf = nil -- luacheck: ignore 311
    collectgarbage()
    await(peer:write("abc"))
    assert.equal(3, await(reading))
    assert.equal("ab", slice:string())
  end))

  it("forbids to freeze the Buffer, until it has ended", with_pair(function(conn, peer)
    local buf = buffer(4)
    local slice = buf:slice(2)
    for _, ends in ipairs{
      function() await(peer:write("abc")) end,
      function(reading) reading:cancel("enough") end,
    } do
      local reading = conn:read_into(slice)
      assert.matches("under way", h.misuse(function() buf:freeze() end).message, 1, true)
      buf:set(1, "x") -- its own thread may write
      ends(reading)
      await(neap.settle(reading))
    end
    assert.equal("xabc", buf:freeze():string())
  end))

  it("may share its Buffer with others", with_pair(function(conn, peer)
    local buf = buffer(6)
    local first, second = conn:read_into(buf, 1, 3), peer:read_into(buf, 4, 3)
    await(peer:write("abc"))
    await(conn:write("def"))
    assert.same({ 3, 3 }, { await(first), await(second) })
    assert.equal("abcdef", buf:string())
  end))

  it("may be dropped with its Buffer and its connection", h.plain(function()
    neap.run(function()
      local conn = wires.pair("TCP")
      conn:read_into(buffer(100000))
    end)
    collectgarbage()
    local output, how, code = h.process([[
      local neap = require "neap"
      neap.start(function()
        local server = neap.await(neap.net.listen("127.0.0.1", 0))
        local conn = neap.await(neap.net.connect(server:address()))
        conn:read_into(neap.buffer(100000))
        os.exit(0, true)
      end):wait()
    ]])
    assert.same({ "", "exit", 0 }, { output, how, code })
  end))

  it("brings a large stream whole", with_pair(function(conn, peer)
    local text = TEXT:rep(40)
    local writing = peer:write(text)
    local buf = buffer(#text)
    assert.equal(#text, fill(conn, buf, 1))
    assert.is_true(buf:string() == text)
    await(writing)
  end))
end)

describe("read_at_into", function()
  local function with_file(fn)
    return wires.with_content("a file", { "0123456789" }, fn)
  end

  it("reads at a place of its own", with_file(function(file)
    local buf = buffer(6):fill(46)
    assert.equal(3, await(file:read_at_into(2, buf, 2, 3)))
    assert.equal(".234..", buf:string())
    assert.equal(2, await(file:read_at_into(8, buf)))
    assert.equal("8934..", buf:string())
    assert.is_nil(await(file:read_at_into(10, buf)))
    assert.equal(0, await(file:read_at_into(10, buf, 1, 0)))
    assert.equal("0123", await(file:read(4)))
  end))

  it("forbids to freeze the Buffer meanwhile", with_file(function(file)
    local buf = buffer(6)
    local reading = file:read_at_into(0, buf)
    h.misuse(function() buf:freeze() end)
    assert.equal(6, await(reading))
    assert.equal("012345", buf:freeze():string())
  end))

  it("leaves the Buffer alone once it is cancelled", with_file(function(file)
    for _ = 1, 20 do
      local buf = buffer(6)
      local reading = file:read_at_into(0, buf)
      assert.is_true(reading:cancel("enough"))
      buf:freeze()
      await(neap.sleep(0.001))
      assert.equal(("\0"):rep(6), buf:string())
    end
  end))

  it("checks its arguments", with_file(function(file)
    local buf = buffer(6)
    h.bad_argument("read_at_into", 1, function() return file:read_at_into(-1, buf) end)
    h.bad_argument("read_at_into", 2, function() return file:read_at_into(0, "x") end)
    h.bad_argument("read_at_into", 3, function() return file:read_at_into(0, buf, 8) end)
    h.bad_argument("read_at_into", 4, function() return file:read_at_into(0, buf, 2, 6) end)
    h.misuse(function() return file:read_at_into(0, buffer("x")) end)
    await(file:close())
    h.raises("ECLOSED", await, file:read_at_into(0, buf))
    buf:freeze()
  end))

  it("survives failing allocations", with_file(function(file)
    local buf = buffer(4)
    h.each_failure(function()
      assert(await(file:read_at_into(3, buf)) == 4 and buf:string() == "3456")
    end)
    buf:freeze()
  end))
end)
