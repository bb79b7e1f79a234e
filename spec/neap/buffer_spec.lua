-- Buffers: making, reading and writing them, slices, what is immutable, closing.
local h = require "spec.helper"
local support = require "spec.support"
local neap = require "neap"

local buffer = neap.buffer

describe("buffer", function()
  it("of a string has its bytes and is immutable", h.plain(function()
    local buf = buffer("some\0bytes")
    assert.equal(10, #buf)
    assert.equal("some\0bytes", buf:string())
    assert.is_false(buf:is_writable())
    assert.equal(2, #buffer("10"))
  end))

  it("of a number has so many zeros and is writable", h.plain(function()
    local buf = buffer(5)
    assert.equal(("\0"):rep(5), buf:string())
    assert.is_true(buf:is_writable())
    assert.equal(0, #buffer(0))
    assert.equal(3, #buffer(3.0))
  end))

  it("of anything else is an argument error", h.plain(function()
    for _, value in ipairs{ -1, 2.5, math.maxinteger, math.mininteger, {}, true, buffer(1) } do
      h.bad_argument("buffer", 1, function() buffer(value) end)
    end
    h.bad_argument("buffer", 1, function() buffer() end)
  end))

  it("says in tostring how large it is, not what is in it", h.plain(function()
    assert.equal("neap.Buffer: 3 bytes", tostring(buffer("abc")))
    assert.equal("neap.Buffer: 8 bytes, writable", tostring(buffer(8)))
    local buf = buffer(1)
    buf:close()
    assert.equal("neap.Buffer: closed", tostring(buf))
  end))

  it("is equal to Buffers with the same bytes", h.plain(function()
    assert.is_true(buffer("abc") == buffer("xabcx"):slice(2, 4))
    assert.is_true(buffer(2) == buffer("\0\0"))
    assert.is_true(buffer("") == buffer(0))
    assert.is_false(buffer("abc") == buffer("abd"))
    assert.is_false(buffer("abc") == buffer("ab"))
    assert.is_false(buffer("abc") == "abc")
    local closed = buffer("abc")
    closed:close()
    assert.is_false(closed == buffer("abc"))
    assert.is_true(closed == closed)
  end))

  it("hides its metatable", h.plain(function()
    assert.is_false(getmetatable(buffer(1)))
  end))

  it("fails with ENOMEM without memory, and leaves nothing behind", h.plain(function()
    h.each_failure(function()
      local buf = buffer("abc")
      assert(buf:slice(2):string() == "bc")
      assert(#buffer(100) == 100)
    end)
  end))

  it("is told to the collector, which takes what nobody has", h.plain(function()
    local before = support.resident()
    for _ = 1, 200 do buffer(4 * 1024 * 1024):fill(1) end
    assert.is_true(support.resident() - before < 400 * 1024 * 1024)
  end))
end)

describe("a slice", function()
  it("shares the bytes", h.plain(function()
    local buf = buffer(6)
    local slice = buf:slice(3, 4)
    slice:set(1, "xy")
    assert.equal("\0\0xy\0\0", buf:string())
    buf:set(4, "z")
    assert.equal("xz", slice:string())
    assert.equal("z", slice:slice(2):string())
  end))

  it("keeps them when the Buffer it is of is closed or collected", h.plain(function()
    local buf = buffer("abcdef")
    local slice = buf:slice(2, 3)
    buf:close()
    collectgarbage()
    assert.equal("bc", slice:string())
  end))

  it("may be empty", h.plain(function()
    local slice = buffer("abc"):slice(3, 2)
    assert.equal(0, #slice)
    assert.equal("", slice:string())
    assert.is_nil(slice:find("a"))
  end))

  it("cannot be written beyond its end", h.plain(function()
    local buf = buffer(6)
    local slice = buf:slice(2, 3)
    h.bad_argument("set", 2, function() slice:set(2, "xy") end)
    h.bad_argument("set", 1, function() slice:set(4, "") end)
    slice:fill(255, 1, 100)
    assert.equal("\0\xff\xff\0\0\0", buf:string())
  end))
end)

describe("set", function()
  it("puts strings, numbers and Buffers, and gives the place behind them", h.plain(function()
    local buf = buffer(8)
    assert.equal(4, buf:set(1, "abc"))
    assert.equal(6, buf:set(4, 12))
    assert.equal(9, buf:set(-3, buffer("xyz")))
    assert.equal("abc12xyz", buf:string())
    assert.equal(9, buf:set(9, ""))
  end))

  it("copies between slices of one block that overlap", h.plain(function()
    local buf = buffer(6)
    buf:set(1, "abcdef")
    buf:set(2, buf:slice(1, 5))
    assert.equal("aabcde", buf:string())
    buf:set(1, buf:slice(3))
    assert.equal("bcdede", buf:string())
  end))

  it("refuses what does not fit", h.plain(function()
    local buf = buffer(3)
    for _, place in ipairs{ 0, 5, -4, math.maxinteger, math.mininteger, 1.5, "x", {} } do
      h.bad_argument("set", 1, function() buf:set(place, "a") end)
    end
    h.bad_argument("set", 2, function() buf:set(2, "abc") end)
    h.bad_argument("set", 2, function() buf:set(1, {}) end)
    h.bad_argument("set", 2, function() buf:set(1) end)
    assert.equal("\0\0\0", buf:string())
  end))
end)

describe("fill", function()
  it("takes a byte and a range as string.sub does, and gives the Buffer", h.plain(function()
    local buf = buffer(4)
    assert.equal(buf, buf:fill(65))
    buf:fill(66, -2)
    buf:fill(67, 2, 2)
    buf:fill(68, 4, 3)
    assert.equal("ACBB", buf:string())
    for _, value in ipairs{ -1, 256, 1.5, "x" } do
      h.bad_argument("fill", 1, function() buf:fill(value) end)
    end
  end))
end)

describe("unpack and pack", function()
  it("read and write what string.unpack and string.pack do", h.plain(function()
    local buf = buffer(64)
    local format = "<i1 >I4 d s2 z B"
    local place = buf:pack(5, format, -7, 0xdeadbeef, 0.5, "counted", "ended", 255)
    assert.equal(5 + #string.pack(format, -7, 0xdeadbeef, 0.5, "counted", "ended", 255), place)
    local values = table.pack(buf:unpack(format, 5))
    assert.same({ -7, 0xdeadbeef, 0.5, "counted", "ended", 255, place, n = 7 }, values)
    assert.equal(-7, (buf:unpack("i1", 5)))
  end))

  it("align from the beginning of the Buffer", h.plain(function()
    local buf = buffer(100)
    for place = 1, 40 do
      local behind = buf:fill(0):pack(place, "!16 i1 i8 i2 i16", 1, 2, 3, 4)
      local values = table.pack(string.unpack("!16 i1 i8 i2 i16", buf:string(), place))
      assert.same({ 1, 2, 3, 4, behind, n = 5 }, values)
      assert.same(values, table.pack(buf:unpack("!16 i1 i8 i2 i16", place)))
    end
  end))

  it("find strings of any length without a copy of all that follows", h.plain(function()
    for _, n in ipairs{ 0, 1, 62, 63, 64, 65, 1000, 20000, 300000 } do
      local text = ("x"):rep(n)
      local buf = buffer("ab" .. string.pack("zs4", text, text) .. "tail")
      local first, second, place = buf:unpack("zs4", 3)
      assert.is_true(first == text and second == text)
      assert.equal("tail", buf:sub(place))
    end
  end))

  it("raise errors of their own arguments", h.plain(function()
    local buf = buffer(8)
    assert.matches("data string too short",
      h.bad_argument("unpack", 1, function() buf:unpack("i8", 2) end), 1, true)
    assert.matches("unfinished string",
      h.bad_argument("unpack", 1, function() buf:fill(1):unpack("z") end), 1, true)
    assert.matches("invalid format option 'k'",
      h.bad_argument("unpack", 1, function() buf:unpack("k") end), 1, true)
    h.bad_argument("unpack", 1, function() buf:unpack() end)
    h.bad_argument("unpack", 2, function() buf:unpack("b", 10) end)
    h.bad_argument("pack", 1, function() buf:pack(10, "b", 1) end)
    h.bad_argument("pack", 2, function() buf:pack(1, "k", 1) end)
    h.bad_argument("pack", 2, function() buf:pack(2, "i8", 1) end)
    h.bad_argument("pack", 2, function() buf:pack(1) end)
    h.bad_argument("pack", 4, function() buf:pack(1, "bb", 1, {}) end)
    h.bad_argument("pack", 3, function() buf:pack(1, "b", 1000) end)
  end))

  it("take nothing, or many values", h.plain(function()
    local buf = buffer(1000)
    assert.equal(1, buf:pack(1, ""))
    assert.equal(1001, buf:unpack("", 1001))
    local values = {}
    for i = 1, 250 do values[i] = i end
    assert.equal(1001, buf:pack(1, ("i4"):rep(250), table.unpack(values)))
    values[251] = 1001
    assert.same(values, { buf:unpack(("i4"):rep(250)) })
  end))

  it("are safe from a finalizer that closes the Buffer meanwhile", h.plain(function()
    for _ = 1, 20 do
      local buf = buffer(("x"):rep(100000) .. "\0")
      setmetatable({}, { __gc = function() buf:close() end })
      local ok, err = pcall(function()
        while true do buf:unpack("z") end
      end)
      assert.is_false(ok)
      assert.equal("EMISUSE", err.code)
    end
  end))
end)

describe("an immutable Buffer", function()
  it("refuses to be written, and so do its slices", h.plain(function()
    local buf = buffer("abc")
    for _, view in ipairs{ buf, buf:slice(2) } do
      h.misuse(function() view:set(1, "x") end)
      h.misuse(function() view:fill(0) end)
      h.misuse(function() view:pack(1, "b", 1) end)
    end
    assert.equal("abc", buf:string())
  end))

  it("comes of freeze, with all slices of the block", h.plain(function()
    local buf = buffer(3)
    local slice = buf:slice(2)
    slice:set(1, "b")
    assert.equal(buf, buf:freeze())
    assert.is_false(slice:is_writable())
    h.misuse(function() slice:set(1, "x") end)
    assert.equal("\0b\0", buf:freeze():string())
  end))
end)

describe("a closed Buffer", function()
  it("raises EMISUSE for all but close and tostring", h.plain(function()
    local buf = buffer(3)
    buf:close()
    buf:close()
    for name, arguments in pairs{
      sub = { 1 }, string = {}, byte = {}, find = { "a" }, slice = {}, unpack = { "b" },
      set = { 1, "a" }, pack = { 1, "b", 1 }, fill = { 0 }, freeze = {}, is_writable = {},
    } do
      local err = h.misuse(function() buf[name](buf, table.unpack(arguments)) end)
      assert.matches("the buffer is closed", err.message, 1, true)
    end
    h.misuse(function() return #buf end)
    h.misuse(function() buffer(3):set(1, buf) end)
  end))

  it("comes of the end of its block", h.plain(function()
    local kept
    do
      local buf <close> = buffer(3)
      kept = buf
    end
    h.misuse(function() return #kept end)
  end))

  it("gives its memory back at once", h.plain(function()
    local size = 64 * 1024 * 1024
    local buf = buffer(size):fill(1)
    local before = support.resident()
    buf:close()
    assert.is_true(before == 0 or before - support.resident() > size // 2)
  end))
end)

describe("a method of a Buffer", function()
  it("wants a Buffer", h.plain(function()
    local buf = buffer(1)
    for _, name in ipairs{ "sub", "string", "byte", "find", "slice", "unpack", "set", "pack",
      "fill", "freeze", "is_writable", "close" } do
      assert.is_false(pcall(buf[name], "x"))
      assert.is_false(pcall(buf[name]))
      assert.is_false(pcall(buf[name], io.stdout, 1, "b", 1))
    end
  end))
end)
