-- read_line and lines(), over each kind of wire.
local h = require "spec.helper"
local wires = require "spec.wires"
local neap = require "neap"

local await = neap.await

for _, kind in ipairs(wires.kinds) do
  local with_pair = function(fn) return wires.with_pair(kind, fn) end

  describe("read_line over " .. kind, function()
    it("gives lines without their ends, then nil again and again", with_pair(function(conn, peer)
      await(peer:write("one\ntwo\r\n\n\r\nfive"))
      await(peer:shutdown())
      for _, line in ipairs{ "one", "two", "", "", "five" } do
        assert.equal(line, await(conn:read_line()))
      end
      assert.same({ nil, n = 1 }, table.pack(await(conn:read_line())))
      assert.same({ nil, n = 1 }, table.pack(await(conn:read_line())))
    end))

    it("keeps a return that is not before the end of the line", with_pair(function(conn, peer)
      await(peer:write("a\rb\r\r\n\r"))
      await(peer:shutdown())
      assert.equal("a\rb\r", await(conn:read_line()))
      assert.equal("\r", await(conn:read_line()))
      assert.is_nil((await(conn:read_line())))
    end))

    it("finds an end that comes in two pieces", with_pair(function(conn, peer)
      local line = conn:read_line()
      wires.write_pieces(peer, "on", "e\r", "\ntwo", "\n")
      assert.equal("one", await(line))
      assert.equal("two", await(conn:read_line()))
    end))

    it("counts the line to max, not its end", with_pair(function(conn, peer)
      wires.write_pieces(peer, "12345\n", "12345\r", "\n", "123456\n")
      assert.equal("12345", await(conn:read_line(5)))
      assert.equal("12345", await(conn:read_line(5)))
      h.raises("ETOOLARGE", function() await(conn:read_line(5)) end)
      assert.equal("123456", await(conn:read_line(6)))
    end))

    it("waits for the end of a line of max bytes", with_pair(function(conn, peer)
      local line = conn:read_line(3)
      wires.write_pieces(peer, "abc", "\r")
      assert.equal("pending", line:status())
      await(peer:write("\n"))
      assert.equal("abc", await(line))
      line = conn:read_line(3)
      wires.write_pieces(peer, "abc\r", "d")
      h.raises("ETOOLARGE", await, line)
      assert.equal("abc\rd", await(conn:read()))
    end))

    it("of a line without an end fails as soon as it is too long", with_pair(function(conn, peer)
      local line = conn:read_line(3)
      await(peer:write("abcd"))
      h.raises("ETOOLARGE", await, line)
      h.raises("ETOOLARGE", function() await(conn:read_line(3)) end)
      assert.equal("abcd", await(conn:read()))
    end))

    it("of an unterminated last line minds max", with_pair(function(conn, peer)
      await(peer:write("abc\r"))
      await(peer:shutdown())
      h.raises("ETOOLARGE", function() await(conn:read_line(3)) end)
      assert.equal("abc\r", await(conn:read_line(4)))
      assert.is_nil((await(conn:read_line(4))))
    end))

    it("with max 0 gives empty lines only", with_pair(function(conn, peer)
      await(peer:write("\n\r\nx\n"))
      assert.equal("", await(conn:read_line(0)))
      assert.equal("", await(conn:read_line(0)))
      h.raises("ETOOLARGE", function() await(conn:read_line(0)) end)
      assert.equal("x", await(conn:read_line(1)))
    end))

    it("allows 1 MiB unless told otherwise", with_pair(function(conn, peer)
      local line = ("x"):rep(1 << 20)
      local writer = neap.start(function() await(peer:write(line, "\n", line, "y\n")) end)
      assert.is_true(line == await(conn:read_line()))
      h.raises("ETOOLARGE", function() await(conn:read_line()) end)
      assert.is_true(line .. "y" == await(conn:read_line(#line + 1)))
      await(writer)
    end))

    it("[C6] that is cancelled in a line loses nothing of it", with_pair(function(conn, peer)
      local line = conn:read_line()
      wires.write_pieces(peer, "one", " and")
      assert.is_true(line:cancel("enough"))
      await(peer:write(" two\nthree\n"))
      assert.equal("one and two", await(conn:read_line()))
      assert.equal("three", await(conn:read_line()))
    end))

    it("raises an argument error for a bad max", with_pair(function(conn)
      h.bad_argument("read_line", 1, function() return conn:read_line(-1) end)
      h.bad_argument("read_line", 1, function() return conn:read_line("x") end)
      h.bad_argument("read_line", 1, function() return conn:read_line(1.5) end)
    end))
  end)

  describe("lines over " .. kind, function()
    it("gives each line", with_pair(function(conn, peer, t)
      await(peer:write("a\nb\r\n\nc"))
      await(peer:shutdown())
      for line in conn:lines() do t:note("<" .. line .. ">") end
      assert.equal("<a> <b> <> <c>", t:logged())
    end))

    it("gives none of nothing", with_pair(function(conn, peer)
      await(peer:shutdown())
      for line in conn:lines() do error(line) end
    end))

    it("leaves the rest unread, and the object open, when it is left", with_pair(
      function(conn, peer)
        await(peer:write("a\nb\nc\n"))
        for line in conn:lines() do
          if line == "b" then break end
        end
        assert.equal("c", await(conn:read_line()))
      end))

    it("raises ETOOLARGE in the loop", with_pair(function(conn, peer, t)
      await(peer:write("a\nlonger\n"))
      h.raises("ETOOLARGE", function()
        for line in conn:lines(3) do t:note(line) end
      end)
      assert.equal("a", t:logged())
      assert.equal("longer", await(conn:read_line()))
    end))

    it("raises ECLOSED when the object is closed meanwhile", with_pair(function(conn)
      local task = neap.start(function()
        for _ in conn:lines() do error("no line was sent") end
      end)
      await(conn:close())
      h.raises("ECLOSED", await, task)
    end))

    it("raises an argument error for a bad max or object", with_pair(function(conn)
      h.bad_argument("lines", 1, function() return conn:lines(-1) end)
      for _, other in ipairs{ 5, "x", io.stdout, {} } do
        assert.is_false((pcall(conn.lines, other)))
      end
    end))
  end)
end
