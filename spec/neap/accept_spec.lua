-- Accepting: the order, cancellation, the end, connections that have gone, too few descriptors.
local h = require "spec.helper"
local wires = require "spec.wires"
local neap = require "neap"

local await = neap.await

for _, kind in ipairs(wires.kinds) do
  describe("Server:accept over " .. kind, function()
    it("serves those who wait in order", h.run(function(t)
      local server <close> = wires.listen(kind)
      for i = 1, 20 do
        neap.start(function()
          local conn <close> = await(server:accept())
          t:note(i)
          await(conn:write(i))
        end)
      end
      for i = 1, 20 do
        local conn <close> = wires.connect(server)
        assert.equal(tostring(i), await(conn:read_all()))
      end
    end))

    it("[C6] that is cancelled loses no connection, whatever the moment", h.run(function()
      local server <close> = wires.listen(kind)
      for i = 1, 60 do
        local conn <close> = wires.connect(server)
        await(conn:write(i))
        local accepted
        while not accepted do
          local task = server:accept()
          for _ = 1, i % 4 do await(neap.yield()) end
          if not task:cancel("enough") then accepted = await(task) end
          if i % 4 == 0 then wires.settle() end
        end
        local _ <close> = accepted
        assert.equal(tostring(i), await(accepted:read()))
      end
    end))

    it("in a loop ends with the server", h.run(function(t)
      local server = wires.listen(kind)
      local task = neap.start(function()
        for conn in server do
          t:note(await(conn:read_all()))
          await(conn:close())
        end
        for _ in server do error("a connection to a closed server") end
      end)
      for i = 1, 3 do
        local conn <close> = wires.connect(server)
        await(conn:write(i))
      end
      await(neap.sleep(1))
      await(server:close())
      await(task)
      assert.equal("1 2 3", t:logged())
    end))

    it("gives also a connection whose other end has gone", h.run(function()
      local server <close> = wires.listen(kind)
      for i = 1, 3 do
        local conn = wires.connect(server)
        await(conn:write("x"))
        if i == 1 and kind == "TCP" then await(conn:reset()) else await(conn:close()) end
      end
      for i = 1, 3 do
        local conn <close> = await(server:accept())
        assert.matches("^neap.Conn", tostring(conn))
        if i > 1 then assert.equal("x", await(conn:read_all())) end
      end
    end))

    it("survives failing allocations, and loses no connection", h.plain(function(t)
      h.each_failure(function()
        local got = neap.run({ clock = t.clock }, function()
          local conn, peer = wires.pair(kind)
          local _ <close> = wires.closes(conn, peer)
          await(conn:write("x"))
          return await(peer:read())
        end)
        assert(got == "x")
      end)
      t:take_unobserved()
      t:take_warnings()
    end))
  end)
end

--- Runs a program that may have so many descriptors open.
local function with_descriptors(n, program)
  return (h.process(program, ([[timeout 20 sh -c 'ulimit -n %d; exec "$0" "$@"']]):format(n)))
end

-- Clients take all descriptors; the system answers them, and the server cannot.
local exhaust = [[
  local neap = require "neap"
  local await, net = neap.await, neap.net
  local clients = {}
  local function fill(server)
    while true do
      local ok, conn = pcall(await, net.connect(server:address()))
      if not ok then return conn.code end
      clients[#clients + 1] = conn
    end
  end
  local function free()
    for i, conn in ipairs(clients) do await(conn:close()) clients[i] = nil end
    collectgarbage()
    await(neap.sleep(0.01))
  end
]]

describe("a server without descriptors", function()
  it("fails the accept, and gives the connection when there are some", function()
    local output = with_descriptors(40, exhaust .. [[
      neap.run(function()
        local server <close> = await(net.listen("127.0.0.1", 0))
        print(fill(server))
        local ok, err = pcall(await, server:accept())
        print(ok, err.code, err.syscall)
        free()
        local conn <close> = await(net.connect(server:address()))
        await(conn:write("x"))
        repeat
          local accepted <close> = await(server:accept())
          local got = await(accepted:read())
        until got
        print("served")
      end)
    ]])
    assert.equal("EMFILE\nfalse\tEMFILE\taccept\nserved\n", output)
  end)

  it("serves again also under neap.net.serve", function()
    local output = with_descriptors(40, exhaust .. [[
      neap.run(function()
        local server = await(net.listen("127.0.0.1", 0))
        print(fill(server))
        local failures = {}
        local function on_error(err) failures[err.code] = true end
        local opts = { server = server, grace = 0, on_error = on_error }
        local task = net.serve(opts, function(conn)
          await(conn:write(await(conn:read_line()) or ""))
        end)
        await(neap.sleep(0.01))
        free()
        local conn <close> = await(net.connect(server:address()))
        await(conn:write("again\n"))
        print(await(conn:read_all()), failures.EMFILE)
        task:cancel()
      end)
    ]])
    assert.equal("EMFILE\nagain\ttrue\n", output)
  end)
end)
