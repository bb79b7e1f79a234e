-- read, read_exactly, read_until, read_all and the loop, of all that can be read.
local h = require "spec.helper"
local wires = require "spec.wires"

local await = require("neap").await

local function reads_nil(object, name, ...)
  assert.same({ nil, n = 1 }, table.pack(await(object[name](object, ...))))
end

--- The pieces of all that `read(n)` gives up to the end.
local function drain(object, n)
  local pieces = {}
  for piece in function() return (await(object:read(n))) end do pieces[#pieces + 1] = piece end
  return table.concat(pieces)
end

for _, kind in ipairs(wires.sources) do
  local function with(pieces, fn) return wires.with_content(kind, pieces, fn) end

  describe("read of " .. kind, function()
    it("gives what there is, n bytes at most, then nil", with({ "0123456789" }, function(object)
      assert.equal("012", await(object:read(3)))
      assert.equal("3456789", await(object:read(100)))
      reads_nil(object, "read")
      reads_nil(object, "read", 1)
    end))

    it("gives nothing for n = 0, before the end and at it", with({ "x" }, function(object)
      assert.equal("", await(object:read(0)))
      assert.equal("x", await(object:read()))
      reads_nil(object, "read")
      assert.equal("", await(object:read(0)))
    end))

    it("gives all bytes, whatever n is", with({ ("0123456789"):rep(1000) }, function(object)
      assert.is_true(("0123456789"):rep(1000) == drain(object, 37))
    end))

    it("in a loop gives pieces until the end", with({ "ab", "cd", "e" }, function(object)
      local pieces = {}
      for piece in object do pieces[#pieces + 1] = piece end
      assert.equal("abcde", table.concat(pieces))
      for _ in object do error("a piece behind the end") end
    end))

    it("in a loop that is left leaves the rest", with({ ("x"):rep(60000), "y" }, function(object)
      local n = 0
      for piece in object do
        n = n + #piece
        if n > 0 then break end
      end
      assert.equal(60001, n + #await(object:read_all()))
    end))
  end)

  describe("read_exactly of " .. kind, function()
    it("gives n bytes however they come", with({ "0", "1234", "56789" }, function(object)
      assert.equal("01", await(object:read_exactly(2)))
      assert.equal("", await(object:read_exactly(0)))
      assert.equal("23456", await(object:read_exactly(5)))
      assert.equal("789", await(object:read_exactly(3)))
      assert.equal("", await(object:read_exactly(0)))
    end))

    it("fails at an end that comes too soon, with what came", with({ "01", "234" }, function(object)
      assert.equal("0", await(object:read_exactly(1)))
      local err = h.raises("EOF", function() await(object:read_exactly(5)) end)
      assert.equal("1234", err.partial)
      err = h.raises("EOF", function() await(object:read_exactly(1)) end)
      assert.equal("", err.partial)
      reads_nil(object, "read")
    end))

    it("gives large pieces whole", with({ ("x"):rep(50000), "y" }, function(object)
      assert.is_true(("x"):rep(50000) == await(object:read_exactly(50000)))
      assert.equal("y", await(object:read_exactly(1)))
    end))
  end)

  describe("read_until of " .. kind, function()
    it("gives what comes before, then nil", with({ "a--b", "-", "-", "---" }, function(object)
      assert.equal("a", await(object:read_until("--")))
      assert.equal("b", await(object:read_until("--")))
      assert.equal("", await(object:read_until("--")))
      assert.equal("", await(object:read_until("-")))
      reads_nil(object, "read_until", "--")
      reads_nil(object, "read_until", "--")
    end))

    it("fails at the end without a delimiter, with the rest", with({ "a;b", "c" }, function(object)
      assert.equal("a", await(object:read_until(";")))
      local err = h.raises("EOF", function() await(object:read_until(";")) end)
      assert.equal("bc", err.partial)
      reads_nil(object, "read_until", ";")
    end))

    it("takes any bytes as delimiter", with({ "a\0\0b\0", "\255c\0\255" }, function(object)
      assert.equal("a\0\0b", await(object:read_until("\0\255")))
      assert.equal("c", await(object:read_until("\0\255")))
    end))

    it("finds a delimiter behind a false start of it", with({ "aab", "aabaa", "c" },
      function(object) assert.equal("aab", await(object:read_until("aabaac"))) end))

    it("counts to max what comes before the delimiter", with({ "12345ab", "123456ab" },
      function(object)
        assert.equal("12345", await(object:read_until("ab", 5)))
        h.raises("ETOOLARGE", function() await(object:read_until("ab", 5)) end)
        assert.equal("123456", await(object:read_until("ab", 6)))
      end))

    it("minds max whatever pieces it comes in", with({ "12", "34a", "b1", "2345", "a" },
      function(object)
        assert.equal("1234", await(object:read_until("ab", 4)))
        h.raises("ETOOLARGE", function() await(object:read_until("ab", 5)) end)
        local err = h.raises("EOF", function() await(object:read_until("ab", 6)) end)
        assert.equal("12345a", err.partial)
      end))

    it("raises an argument error for a bad delimiter", with({ "x" }, function(object)
      h.bad_argument("read_until", 1, function() return object:read_until("") end)
      h.bad_argument("read_until", 1, function() return object:read_until() end)
      h.bad_argument("read_until", 1, function() return object:read_until({}) end)
      h.bad_argument("read_until", 2, function() return object:read_until("x", -1) end)
      assert.equal("x", await(object:read()))
    end))
  end)

  describe("read_all of " .. kind, function()
    it("gives all, then nothing again and again", with({ "a", "b", ("c"):rep(60000) },
      function(object)
        assert.equal("a", await(object:read(1)))
        assert.is_true("b" .. ("c"):rep(60000) == await(object:read_all()))
        assert.equal("", await(object:read_all()))
        assert.equal("", await(object:read_all(0)))
      end))

    it("gives nothing of nothing", with({}, function(object)
      assert.equal("", await(object:read_all()))
    end))

    it("of more than max bytes fails and loses nothing", with({ "abc", "def" }, function(object)
      h.raises("ETOOLARGE", function() await(object:read_all(5)) end)
      h.raises("ETOOLARGE", function() await(object:read_all(0)) end)
      assert.equal("abcdef", await(object:read_all(6)))
    end))

    it("raises an argument error for a bad max", with({}, function(object)
      h.bad_argument("read_all", 1, function() return object:read_all(-1) end)
      h.bad_argument("read_all", 1, function() return object:read_all({}) end)
    end))
  end)

  describe("a read of " .. kind, function()
    it("that is cancelled at once takes nothing", with({ "abc", "def\n", "rest" },
      function(object)
        local taken = ""
        for _, name in ipairs{ "read", "read_exactly", "read" } do
          local task = object[name](object, 2)
          if not task:cancel("enough") then taken = taken .. await(task) end
        end
        assert.equal("abcdef\nrest", taken .. await(object:read_all()))
      end))

    it("raises an argument error for a bad number", with({ "x" }, function(object)
      h.bad_argument("read", 1, function() return object:read(-1) end)
      h.bad_argument("read", 1, function() return object:read((1 << 30) + 1) end)
      h.bad_argument("read_exactly", 1, function() return object:read_exactly() end)
      h.bad_argument("read_exactly", 1, function() return object:read_exactly(-1) end)
      h.bad_argument("read_exactly", 1, function() return object:read_exactly((1 << 30) + 1) end)
      assert.equal("x", await(object:read()))
    end))

    it("on a closed object raises ECLOSED, whatever is in the buffer", with({ "abc\nd" },
      function(object)
        await(object:read(1))
        await(object:close())
        for _, name in ipairs{ "read", "read_line", "read_all" } do
          h.raises("ECLOSED", function() await(object[name](object)) end)
        end
        h.raises("ECLOSED", function() await(object:read_exactly(1)) end)
        h.raises("ECLOSED", function() await(object:read_until("\n")) end)
        h.raises("ECLOSED", function() for _ in object do error("no") end end)
        h.raises("ECLOSED", function() for _ in object:lines() do error("no") end end)
      end))
  end)
end
