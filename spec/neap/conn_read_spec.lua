-- Around the reads of a connection: two at once, its close, a reset, memory, long lines.
local h = require "spec.helper"
local support = require "spec.support"
local wires = require "spec.wires"
local neap = require "neap"
local core = require "neap.core"

local await = neap.await

local reads = {
  function(conn) return conn:read() end,
  function(conn) return conn:read_exactly(3) end,
  function(conn) return conn:read_until("--") end,
  function(conn) return conn:read_line() end,
  function(conn) return conn:read_all() end,
}

for _, kind in ipairs(wires.kinds) do
  local function with_pair(fn) return wires.with_pair(kind, fn) end

  describe("reads over " .. kind, function()
    it("are misuse while one waits, of whatever kinds, and do not disturb it", with_pair(
      function(conn, peer)
        local line = conn:read_line()
        for _, read in ipairs(reads) do h.misuse(function() read(conn) end) end
        h.misuse(function() for _ in conn do error("a piece") end end)
        h.misuse(function() for _ in conn:lines() do error("a line") end end)
        await(peer:write("x\n"))
        assert.equal("x", await(line))
      end))

    it("fail with ECLOSED when it is closed meanwhile, whatever came", with_pair(
      function(_, _, t)
        for _, read in ipairs(reads) do
          local conn, peer = wires.pair(kind)
          local task = read(conn)
          await(peer:write("-"))
          wires.settle()
          if task:status() == "pending" then
            await(conn:close())
            h.raises("ECLOSED", await, task)
            t:note("closed")
          end
          await(conn:close())
          await(peer:close())
        end
        assert.equal("closed closed closed closed", t:logged())
      end))

    it("[S71] begin nothing in a cancelled scope", with_pair(function(conn, peer)
      await(peer:write("abc--\n"))
      wires.settle()
      neap.scope(function(scope)
        scope:cancel("closed")
        for _, read in ipairs(reads) do assert.equal("cancelled", read(conn):status()) end
      end)
      assert.equal("abc--\n", await(conn:read()))
    end))

    it("[C6] give what came before the cancellation to the next one", with_pair(
      function(conn, peer)
        for i, read in ipairs(reads) do
          local task = read(conn)
          if i > 1 then
            await(peer:write("a"))
            wires.settle()
          end
          assert.is_true(task:cancel("enough"), i)
        end
        await(peer:write("b"))
        assert.equal("aaaab", await(conn:read_exactly(5)))
      end))

    it("[C6, S8] keep their data when they are cancelled after completion", with_pair(
      function(conn, peer)
        local task = conn:read_line()
        await(peer:write("one\ntwo\n"))
        await(neap.settle(task))
        assert.is_false(task:cancel("late"))
        assert.equal("one", await(task))
        assert.equal("two", await(conn:read_line()))
      end))

    it("go on where another kind of read ended", with_pair(function(conn, peer)
      await(peer:write("line\r\n\0\0\0\5hello;rest of it\nthe\nend"))
      await(peer:shutdown())
      assert.equal("line", await(conn:read_line()))
      local size = string.unpack(">I4", await(conn:read_exactly(4)))
      assert.equal("hello", await(conn:read_exactly(size)))
      assert.equal("", await(conn:read_until(";")))
      assert.equal("rest", await(conn:read(4)))
      assert.equal(" of it", await(conn:read_line()))
      assert.equal("the\nend", await(conn:read_all()))
    end))

    it("find a line of 16 MiB in time that is linear in its length", h.run(function()
      support.is_linear(function(n)
        local conn, peer = wires.pair(kind)
        local writer = neap.start(function()
          local piece = ("x"):rep(65536)
          for _ = 1, n do await(peer:write(piece)) end
          await(peer:write("\n"))
        end)
        local start = os.clock()
        assert.equal(n * 65536, #await(conn:read_line(1 << 30)))
        local cost = os.clock() - start
        await(writer)
        await(conn:close())
        await(peer:close())
        return cost
      end, 64)
    end))

    it("survive failing allocations, and lose nothing", h.plain(function(t)
      h.each_failure(function()
        local got = neap.run({ clock = t.clock }, function()
          local conn, peer = wires.pair(kind)
          local _ <close> = wires.closes(conn, peer)
          await(peer:write("one\n", ("x"):rep(9000), "--", ("y"):rep(70000)))
          await(peer:shutdown())
          local line = await(conn:read_line())
          local until_dashes = await(conn:read_until("--"))
          return #line + #until_dashes + #await(conn:read_all())
        end)
        assert(got == 3 + 9000 + 70000, "a run that succeeded has a wrong result")
      end)
      t:take_unobserved()
      t:take_warnings()
    end))

    it("that fail for want of memory have read nothing", with_pair(function(conn, peer)
      local data = ("one\n" .. ("x"):rep(9000) .. "--" .. ("y"):rep(5000) .. "\n"):rep(20)
      local writer = neap.start(function()
        await(peer:write(data))
        await(peer:shutdown())
      end)
      local got, failures = {}, 0
      local function try_all(read, ending)
        local n, fired = 1, true
        while fired do
          core.fail_allocation(n)
          local ok, result = pcall(read)
          fired = core.fail_allocation()
          if ok then got[#got + 1] = result .. ending else failures = failures + 1 end
          n = n + 1
        end
      end
      try_all(function() return await(conn:read_line()) end, "\n")
      try_all(function() return await(conn:read_until("--")) end, "--")
      try_all(function() return await(conn:read_exactly(5000)) end, "")
      try_all(function() return await(conn:read(3000)) end, "")
      try_all(function() return await(conn:read_all()) end, "")
      await(writer)
      assert.is_true(table.concat(got) == data)
      assert.is_true(failures > 5, failures)
    end))
  end)
end

describe("a reset", function()
  it("is told after what came before it", wires.with_pair("TCP", function(conn, peer)
    local line = conn:read_line()
    await(peer:write("one\ntwo\nth"))
    assert.equal("one", await(line))
    await(peer:reset())
    wires.settle()
    assert.equal("two", await(conn:read_line()))
    local err = h.raises("ECONNRESET", function() await(conn:read_line()) end)
    assert.equal("read", err.syscall)
    assert.equal("th", await(conn:read()))
    h.raises("ECONNRESET", function() await(conn:read()) end)
    h.raises("ECONNRESET", function() await(conn:read_exactly(1)) end)
    h.raises("ECONNRESET", function() await(conn:read_all()) end)
  end))

  it("ends a read that waits", wires.with_pair("TCP", function(conn, peer)
    local read = conn:read()
    await(peer:reset())
    h.raises("ECONNRESET", await, read)
    h.raises("ECLOSED", function() await(peer:read()) end)
    await(peer:reset())
  end))

  it("is refused by what is no TCP connection, which stays open", wires.with_pair(
    "a Unix socket", function(conn, peer)
      h.raises("ENOTSUP", function() conn:reset() end)
      await(conn:write("x"))
      assert.equal("x", await(peer:read()))
    end))
end)
