local h = require "spec.helper"
local support = require "spec.support"
local neap = require "neap"
local core = require "neap.core"

local await, net = neap.await, neap.net

local LOCAL = { host = "127.0.0.1" }

--- Two sockets of the loopback.
local function pair()
  return await(net.udp(LOCAL)), await(net.udp(LOCAL))
end

local function closes(...)
  local objects = table.pack(...)
  return support.closing(function()
    for i = objects.n, 1, -1 do objects[i]:close() end
  end)
end

local function port_of(udp)
  return select(2, udp:address())
end

--- A port of the loopback that nobody listens on.
local function free_port()
  local udp = await(net.udp(LOCAL))
  local port = port_of(udp)
  await(udp:close())
  return port
end

local function has_ipv6()
  return (pcall(function() await(await(net.udp{ host = "::1" }):close()) end))
end

describe("neap.net.udp", function()
  it("binds to a free port, of all addresses by default", h.run(function()
    local a <close> = await(net.udp())
    local b <close> = await(net.udp{ host = "127.0.0.1", port = 0 })
    assert.is_true(port_of(a) > 0 and port_of(b) > 0 and port_of(a) ~= port_of(b))
    assert.equal("neap.Udp 127.0.0.1:" .. port_of(b), tostring(b))
    assert.is_truthy(tostring(a):find(":" .. port_of(a), 1, true))
  end))

  it("takes a name", h.run(function()
    local udp <close> = await(net.udp{ host = "localhost" })
    local host = udp:address()
    assert.is_truthy(host == "127.0.0.1" or host == "::1")
  end))

  it("[S50] fails with EADDRINUSE for a port that is taken", h.run(function()
    local udp <close> = await(net.udp(LOCAL))
    local before = core.stats().handles
    local opts = { host = "127.0.0.1", port = port_of(udp) }
    local err = h.raises("EADDRINUSE", await, net.udp(opts))
    assert.equal("bind", err.syscall)
    assert.equal("127.0.0.1:" .. port_of(udp), err.address)
    assert.equal(before, core.stats().handles)
  end))

  it("shares a port where both want it", h.run(function()
    for _, option in ipairs{ "reuse_address", "reuse_port" } do
      local a <close> = await(net.udp{ host = "127.0.0.1", [option] = true })
      local opts = { host = "127.0.0.1", port = port_of(a), [option] = true }
      local b <close> = await(net.udp(opts))
      assert.equal(port_of(a), port_of(b))
    end
  end))

  it("fails for an address that is not of this machine, and for what is no name", h.run(function()
    h.raises("EADDRNOTAVAIL", await, net.udp{ host = "192.0.2.99" })
    h.raises("EAI_NONAME", await, net.udp{ host = ("x"):rep(64) })
    assert.equal(0, core.stats().handles)
  end))

  it("raises an argument error for bad options", h.run(function()
    h.bad_argument("udp", 1, net.udp, "127.0.0.1")
    for option, value in pairs{ host = "a\0b", port = -1, reuse_port = 1, broadcast = "yes" } do
      local text = h.bad_argument("udp", 1, net.udp, { [option] = value })
      assert.is_truthy(text:find("option '" .. option .. "'", 1, true))
    end
  end))

  it("[S71] starts nothing in a cancelled scope", h.run(function()
    neap.scope(function(scope)
      scope:cancel("closed")
      assert.equal("cancelled", net.udp():status())
      assert.equal("cancelled", net.udp{ host = "localhost" }:status())
    end)
    assert.equal(0, core.stats().handles)
  end))

  it("[C13] that is cancelled leaves nothing behind", h.run(function()
    for _ = 1, 10 do
      local task = net.udp{ host = "localhost" }
      assert.is_true(task:cancel("enough"))
      h.raises("ECANCELLED", await, task)
    end
    assert.equal(0, core.stats().handles)
  end))

  it("and all that is done with it leave nothing behind when there is no memory", h.run(function()
    h.each_failure(function()
      local a <close> = await(net.udp{ host = "localhost" })
      local _, port = a:address()
      await(a:send("x", "localhost", port))
      await(a:recv())
    end)
  end))
end)

describe("Udp:send", function()
  it("sends datagrams, which arrive whole, with where they come from", h.run(function()
    local a, b = pair()
    local _ <close> = closes(a, b)
    local sizes = { 1, 1000, 0, 60000 }
    for _, size in ipairs(sizes) do
      local data = ("x"):rep(size)
      local task = a:send(data, "127.0.0.1", port_of(b))
      assert.equal("done", task:status())
      assert.equal(size, await(task))
      assert.same({ data, "127.0.0.1", port_of(a), false }, { await(b:recv()) })
    end
  end))

  it("takes any bytes, and numbers", h.run(function()
    local a, b = pair()
    local _ <close> = closes(a, b)
    for _, data in ipairs{ "\0\xff\n", 12, 1.5 } do
      await(a:send(data, "127.0.0.1", port_of(b)))
      assert.equal(tostring(data), await(b:recv()))
    end
  end))

  it("sends several in order", h.run(function()
    local a, b = pair()
    local _ <close> = closes(a, b)
    local tasks = {}
    for i = 1, 10 do tasks[i] = a:send(i, "127.0.0.1", port_of(b)) end
    await(neap.all(tasks))
    for i = 1, 10 do assert.equal(tostring(i), await(b:recv())) end
  end))

  it("takes a name, and reaches IPv4 from a socket for both", h.run(function()
    local a <close> = await(net.udp(LOCAL))
    local b <close> = await(net.udp())
    await(b:send("to a name", "localhost", port_of(a)))
    local data, host, port = await(a:recv())
    assert.same({ "to a name", "127.0.0.1", port_of(b) }, { data, host, port })
    await(a:send("back", host, port))
    assert.same({ "back", "127.0.0.1", port_of(a), false }, { await(b:recv()) })
  end))

  it("reaches IPv6", h.run(function()
    if not has_ipv6() then return end
    local a <close> = await(net.udp{ host = "::1" })
    local b <close> = await(net.udp())
    await(b:send("six", "::1", port_of(a)))
    local data, host, port = await(a:recv())
    assert.same({ "six", "::1", port_of(b) }, { data, host, port })
    local c <close> = await(net.udp{ ipv6_only = true })
    assert.is_false((pcall(await, c:send("four", "127.0.0.1", port_of(b)))))
  end))

  it("[S50] fails with a code and the address", h.run(function()
    local a <close> = await(net.udp(LOCAL))
    local err = h.raises("EMSGSIZE", await, a:send(("x"):rep(65508), "127.0.0.1", 9))
    assert.equal("127.0.0.1:9", err.address)
    assert.equal("sendmsg", err.syscall)
    h.raises("EMSGSIZE", await, a:send(("x"):rep(1 << 20), "127.0.0.1", 9))
    h.raises("EDESTADDRREQ", await, a:send("x"))
    h.raises("EAI_NONAME", await, a:send("x", ("x"):rep(64), 9))
  end))

  it("[C13] that is cancelled while it resolves has not happened", h.run(function()
    local a, b = pair()
    local _ <close> = closes(a, b)
    local task = a:send("x", "localhost", port_of(b))
    assert.is_true(task:cancel("enough"))
    h.raises("ECANCELLED", await, task)
    assert.is_false((neap.try_for(1, function() await(b:recv()) end)))
  end))

  it("[S8] that has happened cannot be cancelled", h.run(function()
    local a, b = pair()
    local _ <close> = closes(a, b)
    local task = a:send("x", "127.0.0.1", port_of(b))
    assert.is_false(task:cancel("late"))
    assert.equal(1, await(task))
    assert.equal("x", await(b:recv()))
  end))

  it("[S71] has no effect in a cancelled scope", h.run(function()
    local a, b = pair()
    local _ <close> = closes(a, b)
    neap.scope(function(scope)
      scope:cancel("closed")
      assert.equal("cancelled", a:send("x", "127.0.0.1", port_of(b)):status())
    end)
    assert.is_false((neap.try_for(1, function() await(b:recv()) end)))
  end))

  it("fails with ECLOSED when the socket is closed, also while it resolves", h.run(function()
    local a = await(net.udp(LOCAL))
    local task = a:send("x", "localhost", 9)
    await(a:close())
    h.raises("ECLOSED", await, task)
    h.raises("ECLOSED", await, a:send("x", "127.0.0.1", 9))
    h.raises("ECLOSED", await, a:send("x", "localhost", 9))
    h.raises("ECLOSED", await, a:send("x"))
  end))

  it("raises an argument error for bad arguments", h.run(function()
    local a <close> = await(net.udp(LOCAL))
    h.bad_argument("send", 1, function() a:send() end)
    h.bad_argument("send", 2, function() a:send("x", nil, 9) end)
    h.bad_argument("send", 2, function() a:send("x", "a\0b", 9) end)
    h.bad_argument("send", 3, function() a:send("x", "127.0.0.1") end)
    h.bad_argument("send", 3, function() a:send("x", "127.0.0.1", 65536) end)
  end))
end)

describe("Udp:recv", function()
  it("gives what came before it was called, in order", h.run(function()
    local a, b = pair()
    local _ <close> = closes(a, b)
    for i = 1, 50 do await(a:send(i, "127.0.0.1", port_of(b))) end
    for i = 1, 50 do assert.equal(tostring(i), await(b:recv())) end
  end))

  it("tells when a datagram was longer", h.run(function()
    local a, b = pair()
    local _ <close> = closes(a, b)
    for _ = 1, 4 do await(a:send("hello", "127.0.0.1", port_of(b))) end
    assert.same({ "hel", "127.0.0.1", port_of(a), true }, { await(b:recv(3)) })
    assert.same({ "", "127.0.0.1", port_of(a), true }, { await(b:recv(0)) })
    assert.is_false((select(4, await(b:recv(5)))))
    assert.is_false((select(4, await(b:recv()))))
  end))

  it("raises EMISUSE while another one waits", h.run(function()
    local a, b = pair()
    local _ <close> = closes(a, b)
    local task = b:recv()
    h.misuse(function() return b:recv() end)
    await(a:send("x", "127.0.0.1", port_of(b)))
    assert.equal("x", await(task))
  end))

  it("[C6] that is cancelled has received nothing", h.run(function()
    local a, b = pair()
    local _ <close> = closes(a, b)
    local task = b:recv()
    await(a:send("x", "127.0.0.1", port_of(b)))
    assert.is_true(task:cancel("enough"))
    h.raises("ECANCELLED", await, task)
    assert.equal("x", await(b:recv()))
  end))

  it("[C3] is cancelled with its task", h.run(function()
    local a <close> = await(net.udp(LOCAL))
    local task = neap.start(function() return await(a:recv()) end)
    task:cancel("enough")
    assert.same({ "cancelled", "enough" }, { await(neap.settle(task)) })
  end))

  it("[S8] keeps its datagram when it is cancelled after completion", h.run(function()
    local a, b = pair()
    local _ <close> = closes(a, b)
    local task = b:recv()
    await(a:send("x", "127.0.0.1", port_of(b)))
    await(neap.settle(task))
    assert.is_false(task:cancel("late"))
    assert.equal("x", await(task))
  end))

  it("[S71] takes nothing in a cancelled scope", h.run(function()
    local a, b = pair()
    local _ <close> = closes(a, b)
    await(a:send("x", "127.0.0.1", port_of(b)))
    neap.scope(function(scope)
      scope:cancel("closed")
      assert.equal("cancelled", b:recv():status())
    end)
    assert.equal("x", await(b:recv()))
  end))

  it("fails with ECLOSED when the socket is closed meanwhile, and from then on", h.run(function()
    local a = await(net.udp(LOCAL))
    local task = a:recv()
    a:close()
    h.raises("ECLOSED", await, task)
    h.raises("ECLOSED", await, a:recv())
    assert.equal("neap.Udp: closed", tostring(a))
  end))

  it("[S99] that is dropped does not hold up a scope", h.run(function()
    local a <close> = await(net.udp(LOCAL))
    support.takes(0, function()
      neap.scope(function() assert(a:recv()) end)
    end)
  end))

  it("keeps its socket, which nobody else holds", h.run(function()
    local a <close> = await(net.udp(LOCAL))
    local b = await(net.udp(LOCAL))
    local task, port = b:recv(), port_of(b)
    b = nil -- luacheck: ignore
    collectgarbage()
    collectgarbage()
    await(a:send("x", "127.0.0.1", port))
    assert.equal("x", await(task))
  end))

  it("raises an argument error for a bad size", h.run(function()
    local a <close> = await(net.udp(LOCAL))
    h.bad_argument("recv", 1, function() a:recv(-1) end)
    h.bad_argument("recv", 1, function() a:recv("much") end)
  end))
end)

describe("a loop over a socket", function()
  it("gets datagrams, empty ones too, until it is closed", h.run(function(t)
    local a, b = pair()
    local _ <close> = closes(a, b)
    for _, data in ipairs{ "one", "", "two" } do await(a:send(data, "127.0.0.1", port_of(b))) end
    for data, host, port in b do
      assert.same({ "127.0.0.1", port_of(a) }, { host, port })
      t:note("<" .. data .. ">")
      if data == "two" then neap.start(function()
        await(neap.yield())
        await(b:close())
      end) end
    end
    assert.equal("<one> <> <two>", t:logged())
  end))
end)

describe("Udp:connect", function()
  it("sends there and receives from there alone", h.run(function()
    local a, b = pair()
    local c <close> = await(net.udp(LOCAL))
    local _ <close> = closes(a, b)
    h.raises("ENOTCONN", function() return a:peer() end)
    await(a:connect("127.0.0.1", port_of(b)))
    assert.same({ "127.0.0.1", port_of(b) }, { a:peer() })
    await(a:send("x"))
    assert.equal("x", await(b:recv()))
    await(c:send("stranger", "127.0.0.1", port_of(a)))
    await(b:send("friend", "127.0.0.1", port_of(a)))
    assert.equal("friend", await(a:recv()))
    h.raises("EISCONN", await, a:send("x", "127.0.0.1", port_of(c)))
    a:disconnect()
    await(a:send("x", "127.0.0.1", port_of(c)))
    assert.equal("x", await(c:recv()))
    h.raises("ENOTCONN", function() a:disconnect() end)
  end))

  it("takes a name, also on a socket for both families", h.run(function()
    local a <close> = await(net.udp(LOCAL))
    local b <close> = await(net.udp())
    await(b:connect("localhost", port_of(a)))
    assert.same({ "127.0.0.1", port_of(a) }, { b:peer() })
    await(b:send("x"))
    assert.equal("x", await(a:recv()))
  end))

  it("has ECONNREFUSED told to who receives", h.run(function()
    local a <close> = await(net.udp(LOCAL))
    await(a:connect("127.0.0.1", free_port()))
    local task = a:recv()
    await(a:send("x"))
    local err = h.raises("ECONNREFUSED", await, task)
    assert.equal("recvmsg", err.syscall)
  end))

  it("has ECONNREFUSED told to who sends next", h.run(function()
    local a <close> = await(net.udp(LOCAL))
    await(a:connect("127.0.0.1", free_port()))
    await(a:send("x"))
    h.raises("ECONNREFUSED", await, a:send("y"))
  end))

  it("raises an argument error for bad arguments", h.run(function()
    local a <close> = await(net.udp(LOCAL))
    h.bad_argument("connect", 1, function() a:connect() end)
    h.bad_argument("connect", 2, function() a:connect("127.0.0.1") end)
  end))
end)

describe("multicast", function()
  it("reaches who has joined", h.run(function()
    local a <close> = await(net.udp())
    a:join("239.255.77.1", "127.0.0.1")
    a:set_multicast_interface("127.0.0.1")
    a:set_multicast_loop(true)
    a:set_multicast_ttl(1)
    await(a:send("all", "239.255.77.1", port_of(a)))
    assert.equal("all", await(a:recv()))
    a:leave("239.255.77.1", "127.0.0.1")
    await(a:send("all", "239.255.77.1", port_of(a)))
    assert.is_false((neap.try_for(1, function() await(a:recv()) end)))
  end))

  it("and other options raise at once when they cannot be set", h.run(function()
    local a = await(net.udp(LOCAL))
    a:set_ttl(3)
    a:set_broadcast(true)
    local err = h.raises("EADDRNOTAVAIL", function() a:leave("239.255.77.1", "127.0.0.1") end)
    assert.equal("setsockopt", err.syscall)
    h.bad_argument("join", 1, function() a:join("localhost") end)
    h.bad_argument("join", 2, function() a:join("239.255.77.1", "lo") end)
    h.bad_argument("set_ttl", 1, function() a:set_ttl(0) end)
    h.bad_argument("set_multicast_ttl", 1, function() a:set_multicast_ttl(256) end)
    h.bad_argument("set_broadcast", 1, function() a:set_broadcast(1) end)
    await(a:close())
    for _, call in ipairs{
      function() a:join("239.255.77.1") end,
      function() a:set_ttl(1) end,
      function() a:set_multicast_interface() end,
      function() a:disconnect() end,
      function() return a:address() end,
    } do
      h.raises("ECLOSED", call)
    end
  end))
end)

describe("a socket", function()
  it("[S225] may be closed again and again, also in a cancelled scope", h.run(function()
    local a = await(net.udp())
    neap.scope(function(scope)
      scope:cancel("closed")
      assert.equal("cancelled", a:close():status())
    end)
    local first, second = a:close(), a:close()
    await(second)
    await(first)
    assert.equal(0, core.stats().handles)
  end))

  it("that nobody holds is closed when it is collected", h.run(function()
    await(net.udp())
    collectgarbage()
    collectgarbage()
    assert.equal(0, core.stats().handles)
  end))

  it("may be open, and waited on, when the Lua state closes", function()
    local output, how, code = h.process([[
      local neap = require "neap"
      neap.run(function()
        a = neap.await(neap.net.udp())
        b = neap.await(neap.net.udp{ host = "127.0.0.1" })
      end)
      receiving, sending = a:recv(), a:send("x", "localhost", 9)
      print("ended")
      os.exit(true, true)
    ]])
    assert.same({ "ended\n", "exit", 0 }, { output, how, code })
  end)
end)
