local h = require "spec.helper"
local support = require "spec.support"
local neap = require "neap"
local core = require "neap.core"

local await, net = neap.await, neap.net

--- A server on a free port of the loopback, a connection to it, and the server's end of that.
local function connected()
  local server = await(net.listen("127.0.0.1", 0))
  local accepting = server:accept()
  local conn = await(net.connect(server:address()))
  return server, conn, await(accepting)
end

--- Closes all of them, in a block that may be left by an error too.
local function closes(...)
  local objects = table.pack(...)
  return support.closing(function()
    for i = objects.n, 1, -1 do objects[i]:close() end
  end)
end

describe("neap.net.listen", function()
  it("picks a free port for port 0", h.run(function()
    local a <close> = await(net.listen("127.0.0.1", 0))
    local b <close> = await(net.listen("127.0.0.1", 0, { backlog = 16 }))
    local host, port = a:address()
    local _, other = b:address()
    assert.equal("127.0.0.1", host)
    assert.equal("integer", math.type(port))
    assert.is_true(port > 0 and other > 0 and port ~= other)
  end))

  it("[S50] fails with EADDRINUSE for a port that is taken", h.run(function()
    local before = core.stats().handles
    local server = await(net.listen("127.0.0.1", 0))
    local _, port = server:address()
    local err = h.raises("EADDRINUSE", function() await(net.listen("127.0.0.1", port)) end)
    assert.is_string(err.message)
    assert.is_string(err.syscall)
    assert.is_truthy(tostring(err.address):find("127.0.0.1", 1, true))
    await(server:close())
    await(neap.yield())
    assert.equal(before, core.stats().handles)
  end))

  it("raises an argument error for a bad host or port", h.run(function()
    h.bad_argument("listen", 1, net.listen, "127.0.0.1\0", 0)
    h.bad_argument("listen", 1, net.listen)
    h.bad_argument("listen", 2, net.listen, "127.0.0.1", -1)
    h.bad_argument("listen", 2, net.listen, "127.0.0.1", 65536)
    h.bad_argument("listen", 2, net.listen, "127.0.0.1", "http")
  end))

  it("[S71] comes back cancelled in a cancelled scope", h.run(function()
    local before = core.stats().handles
    neap.scope(function(scope)
      scope:cancel("closed")
      assert.equal("cancelled", net.listen("127.0.0.1", 0):status())
    end)
    assert.equal(before, core.stats().handles)
  end))
end)

describe("neap.net.connect", function()
  it("gives a connection; peer and address mirror each other", h.run(function()
    local server, conn, accepted = connected()
    local _ <close> = closes(server, conn, accepted)
    assert.same({ server:address() }, { conn:peer() })
    assert.same({ accepted:peer() }, { conn:address() })
    assert.same({ conn:peer() }, { accepted:address() })
  end))

  it("takes a name", h.run(function()
    local server <close> = await(net.listen("127.0.0.1", 0))
    local _, port = server:address()
    local accepting = server:accept()
    local conn <close> = await(net.connect("localhost", port))
    local accepted <close> = await(accepting)
    assert.same({ accepted:peer() }, { conn:address() })
  end))

  it("[S50] fails with ECONNREFUSED where nobody listens", h.run(function()
    local server = await(net.listen("127.0.0.1", 0))
    local host, port = server:address()
    await(server:close())
    local err = h.raises("ECONNREFUSED", function() await(net.connect(host, port)) end)
    assert.equal("connect", err.syscall)
    assert.is_string(err.message)
    assert.is_truthy(tostring(err.address):find("127.0.0.1", 1, true))
    assert.is_truthy(tostring(err):find("127.0.0.1", 1, true))
    assert.is_nil(tostring(err):find("\n", 1, true))
  end))

  it("raises an argument error for a bad host or port", h.run(function()
    h.bad_argument("connect", 1, net.connect, "local\0host", 80)
    h.bad_argument("connect", 1, net.connect)
    h.bad_argument("connect", 2, net.connect, "127.0.0.1")
    h.bad_argument("connect", 2, net.connect, "127.0.0.1", -1)
    h.bad_argument("connect", 2, net.connect, "127.0.0.1", 65536)
  end))

  it("[S71] comes back cancelled in a cancelled scope", h.run(function()
    local server <close> = await(net.listen("127.0.0.1", 0))
    local before = core.stats().handles
    neap.scope(function(scope)
      scope:cancel("closed")
      assert.equal("cancelled", net.connect(server:address()):status())
    end)
    assert.equal(before, core.stats().handles)
  end))

  it("[C13] leaves no handle when it is cancelled while it connects", h.run(function()
    local server <close> = await(net.listen("127.0.0.1", 0))
    local before = core.stats().handles
    for _ = 1, 20 do
      local connect = net.connect(server:address())
      assert.is_true(connect:cancel("enough"))
      h.raises("ECANCELLED", await, connect)
    end
    await(neap.sleep(1))
    assert.equal(before, core.stats().handles)
  end))

  it("[C3] leaves no handle when its task is cancelled while it connects", h.run(function()
    local server <close> = await(net.listen("127.0.0.1", 0))
    local before = core.stats().handles
    local task = neap.start(function() return await(net.connect(server:address())) end)
    task:cancel("enough")
    assert.same({ "cancelled", "enough" }, { await(neap.settle(task)) })
    await(neap.sleep(1))
    assert.equal(before, core.stats().handles)
  end))

  it("frees what it has read of its options when one of them is wrong", h.run(function()
    for _, port in ipairs{ -1, 65536, "x" } do
      h.bad_argument("connect", 3, net.connect, "127.0.0.1", 1, {
        local_host = "127.0.0.1", local_port = port,
      })
    end
  end))

  it("[C6, S8] keeps its result when it is cancelled after completion", h.run(function()
    local server <close> = await(net.listen("127.0.0.1", 0))
    local connect = net.connect(server:address())
    await(neap.settle(connect))
    assert.is_false(connect:cancel("late"))
    local conn <close> = await(connect)
    assert.same({ server:address() }, { conn:peer() })
  end))
end)

describe("Server:accept", function()
  it("gives connections that came before it was called", h.run(function()
    local server <close> = await(net.listen("127.0.0.1", 0))
    local a <close> = await(net.connect(server:address()))
    local b <close> = await(net.connect(server:address()))
    local first <close> = await(server:accept())
    local second <close> = await(server:accept())
    assert.same({ a:address() }, { first:peer() })
    assert.same({ b:address() }, { second:peer() })
  end))

  it("[S71] takes nothing in a cancelled scope", h.run(function()
    local server <close> = await(net.listen("127.0.0.1", 0))
    local conn <close> = await(net.connect(server:address()))
    neap.scope(function(scope)
      scope:cancel("closed")
      assert.equal("cancelled", server:accept():status())
    end)
    local accepted <close> = await(server:accept())
    assert.same({ conn:address() }, { accepted:peer() })
  end))

  it("[C6] that is cancelled loses no connection", h.run(function()
    local server <close> = await(net.listen("127.0.0.1", 0))
    local accept = server:accept()
    accept:cancel("enough")
    h.raises("ECANCELLED", await, accept)
    assert.is_false((neap.try_for(1, function() await(server:accept()) end)))
    local conn <close> = await(net.connect(server:address()))
    local accepted <close> = await(server:accept())
    assert.same({ conn:address() }, { accepted:peer() })
  end))

  it("fails with ECLOSED when the server is closed meanwhile", h.run(function()
    local server = await(net.listen("127.0.0.1", 0))
    local accept = server:accept()
    await(server:close())
    h.raises("ECLOSED", await, accept)
  end))

  it("on a closed server raises ECLOSED", h.run(function()
    local server = await(net.listen("127.0.0.1", 0))
    await(server:close())
    h.raises("ECLOSED", function() await(server:accept()) end)
  end))

  it("[S99] that is dropped does not hold up a scope", h.run(function()
    local server <close> = await(net.listen("127.0.0.1", 0))
    support.takes(0, function()
      neap.scope(function() server:accept() end)
    end)
  end))
end)

describe("Server:close", function()
  it("[S225] frees the port, however often it is called", h.run(function()
    local server = await(net.listen("127.0.0.1", 0))
    local host, port = server:address()
    local first, second = server:close(), server:close()
    await(second)
    await(first)
    await(server:close())
    h.raises("ECONNREFUSED", function() await(net.connect(host, port)) end)
  end))

  it("is what <close> does", h.run(function()
    local host, port
    do
      local server <close> = await(net.listen("127.0.0.1", 0))
      host, port = server:address()
    end
    h.raises("ECONNREFUSED", function() await(net.connect(host, port)) end)
  end))

  it("leaves accepted connections open", h.run(function()
    local server, conn, accepted = connected()
    local _ <close> = closes(conn, accepted)
    await(server:close())
    await(conn:write("still"))
    assert.equal("still", await(accepted:read()))
  end))
end)

describe("a server", function()
  --- Sends back what comes, until the end.
  local function echo(conn)
    local _ <close> = conn
    while true do
      local chunk = await(conn:read())
      if not chunk then return end
      await(conn:write(chunk))
    end
  end

  --- Accepts so many connections and echoes on each.
  local function serve(server, count)
    return neap.start(function()
      local tasks = {}
      for i = 1, count do tasks[i] = neap.start(echo, await(server:accept())) end
      await(neap.all(tasks))
    end)
  end

  --- Sends data over a new connection, shuts it down and gives all that comes back.
  local function send(server, data)
    local conn <close> = await(net.connect(server:address()))
    local writer = neap.start(function()
      assert.equal(#data, await(conn:write(data)))
      await(conn:shutdown())
    end)
    local chunks = {}
    for chunk in function() return (await(conn:read())) end do chunks[#chunks + 1] = chunk end
    await(writer)
    return table.concat(chunks)
  end

  it("echoes 1 MiB", h.run(function()
    local server <close> = await(net.listen("127.0.0.1", 0))
    local served = serve(server, 1)
    local data = ("0123456789abcdef"):rep(65536)
    assert.is_true(send(server, data) == data)
    await(served)
  end))

  it("serves 200 connections at the same time", h.run(function()
    local server <close> = await(net.listen("127.0.0.1", 0, { backlog = 256 }))
    local served = serve(server, 200)
    local tasks = {}
    for i = 1, 200 do
      tasks[i] = neap.start(function() return send(server, "hello " .. i) end)
    end
    local r = await(neap.all(tasks))
    for i = 1, 200 do assert.equal("hello " .. i, r[i]) end
    await(served)
  end))
end)
