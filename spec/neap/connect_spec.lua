-- Connecting: names, options, Unix sockets, errors. The timing of several addresses is in
-- core/test/test_connect.c.
local h = require "spec.helper"
local support = require "spec.support"
local wires = require "spec.wires"
local neap = require "neap"
local core = require "neap.core"

local await, net = neap.await, neap.net

--- A port on which nobody listens.
local function free_port(host)
  local server <close> = await(net.listen(host or "127.0.0.1", 0))
  return (select(2, server:address()))
end

describe("neap.net.connect", function()
  it("takes one table", h.run(function()
    local server <close> = await(net.listen("127.0.0.1", 0))
    local host, port = server:address()
    local conn <close> = await(net.connect{ host = host, port = port, nodelay = false })
    assert.same({ host, port }, { conn:peer() })
    assert.matches("^neap.Conn 127%.0%.0%.1:%d+$", tostring(conn))
  end))

  it("goes over IPv6", h.run(function()
    local server <close> = await(net.listen("::1", 0))
    local _, port = server:address()
    local conn <close> = await(net.connect("::1", port))
    assert.same({ "::1", port }, { conn:peer() })
    assert.matches("%[::1%]:%d+$", tostring(conn))
  end))

  it("to a name tries all of its addresses", h.run(function()
    local server <close> = await(net.listen("127.0.0.1", 0))
    local _, port = server:address()
    local conn <close> = await(net.connect("localhost", port))
    assert.equal("127.0.0.1", (conn:peer()))
    local one <close> = await(net.connect("localhost", port, { family = "ipv4" }))
    assert.equal("127.0.0.1", (one:peer()))
  end))

  it("to a name without an address of the family fails", h.run(function()
    local server <close> = await(net.listen("127.0.0.1", 0))
    local _, port = server:address()
    local ok, err = pcall(await, net.connect("localhost", port, { family = "ipv6" }))
    assert.is_false(ok)
    assert.equal("localhost:" .. port, err.address)
    assert.is_truthy(err.code:match("^EAI_") or err.code == "ECONNREFUSED", err.code)
  end))

  it("fails when all addresses of a name have failed", h.run(function()
    local before = core.stats().handles
    local port = free_port()
    local err = h.raises("ECONNREFUSED", function() await(net.connect("localhost", port)) end)
    assert.equal("connect", err.syscall)
    assert.equal("localhost:" .. port, err.address)
    await(neap.yield())
    assert.equal(before, core.stats().handles)
  end))

  it("to a name that nobody has fails with a code of getaddrinfo", h.run(function()
    for _, name in ipairs{ "no-such-host.invalid", "" } do
      local ok, err = pcall(await, net.connect(name, 80))
      assert.is_false(ok)
      assert.matches("^E", err.code)
      assert.equal("getaddrinfo", err.syscall)
      assert.equal(name .. ":80", err.address)
    end
  end))

  --- A connection from a port that was free a moment ago; somebody else may have got it meanwhile.
  local function connect_from(free_at, host, port, opts)
    for _ = 1, 50 do
      opts.local_port = free_port(free_at)
      local ok, result = pcall(await, net.connect(host, port, opts))
      if ok then return result, opts.local_port end
      if result.code ~= "EADDRINUSE" then error(result, 0) end
    end
    error("no port was free")
  end

  it("binds to the local address and port it is given", h.run(function()
    local server <close> = await(net.listen("127.0.0.1", 0))
    local host, port = server:address()
    local conn, own = connect_from(nil, host, port, { local_host = "127.0.0.2" })
    assert.same({ "127.0.0.2", own }, { conn:address() })
    local accepted <close> = await(server:accept())
    assert.same({ "127.0.0.2", own }, { accepted:peer() })
    await(conn:reset())
    local other, its_own = connect_from(nil, "localhost", port, {})
    assert.equal(its_own, select(2, other:address()))
    await(other:close())
  end))

  it("binds to a local port over IPv6, too", h.run(function()
    local server <close> = await(net.listen("::1", 0))
    local _, port = server:address()
    local conn, own = connect_from("::1", "::1", port, {})
    assert.same({ "::1", own }, { conn:address() })
    await(conn:close())
  end))

  it("tries the addresses of a local host's family only", h.run(function()
    local server <close> = await(net.listen("::1", 0))
    local _, port = server:address()
    local ok, err = pcall(await, net.connect("localhost", port, { local_host = "127.0.0.1" }))
    assert.is_false(ok)
    assert.equal("ECONNREFUSED", err.code)
  end))

  it("fails where the local address is another one's", h.run(function()
    local server <close> = await(net.listen("127.0.0.1", 0))
    local host, port = server:address()
    h.raises("EADDRNOTAVAIL", function()
      await(net.connect(host, port, { local_host = "192.0.2.1" }))
    end)
  end))

  it("sets options of the socket, which can be changed later", h.run(function()
    local server <close> = await(net.listen("127.0.0.1", 0))
    local host, port = server:address()
    local conn <close> = await(net.connect(host, port, { keepalive = 30, nodelay = false }))
    conn:set_nodelay(true)
    conn:set_keepalive(true)
    conn:set_keepalive(true, 10)
    conn:set_keepalive(false)
    h.bad_argument("set_nodelay", 1, function() conn:set_nodelay(1) end)
    h.bad_argument("set_keepalive", 1, function() conn:set_keepalive() end)
    h.bad_argument("set_keepalive", 2, function() conn:set_keepalive(true, 0) end)
    h.bad_argument("set_keepalive", 2, function() conn:set_keepalive(true, 40000) end)
    assert.equal("integer", math.type(conn:fd()))
    await(conn:close())
    for _, name in ipairs{ "set_nodelay", "set_keepalive" } do
      h.raises("ECLOSED", function() conn[name](conn, true) end)
    end
    for _, name in ipairs{ "fd", "address", "peer" } do
      h.raises("ECLOSED", function() conn[name](conn) end)
    end
    assert.equal("neap.Conn: closed", tostring(conn))
  end))

  it("raises an argument error for options of a wrong type", h.run(function()
    for name, value in pairs{
      family = "ipv5", nodelay = 1, keepalive = -1, local_host = "a name", local_port = 65536,
    } do
      for _, call in ipairs{
        { 3, "::1", 1, { [name] = value } }, { 1, { host = "::1", port = 1, [name] = value } },
      } do
        local text = h.bad_argument("connect", call[1], net.connect, table.unpack(call, 2))
        assert.is_truthy(text:find("'" .. name .. "'", 1, true), text)
      end
    end
    for name, value in pairs{ host = 5, port = "http", path = 1, local_host = {} } do
      local opts = { host = "127.0.0.1", port = 0 }
      opts[name] = value
      local text = h.bad_argument("connect", 1, net.connect, opts)
      assert.is_truthy(text:find("'" .. name .. "'", 1, true), text)
    end
    h.bad_argument("connect", 1, net.connect, {})
    h.bad_argument("connect", 1, net.connect, { host = "::1" })
    h.bad_argument("connect", 1, net.connect, { path = "a\0b" })
    h.bad_argument("connect", 3, net.connect, "::1", 80, 5)
  end))

  it("[C3, C13] that is cancelled at any moment leaves no handle", h.run(function()
    local server <close> = await(net.listen("127.0.0.1", 0))
    local host, port = server:address()
    local before = core.stats().handles
    for _, name in ipairs{ host, "localhost", "no-such-host.invalid" } do
      for pauses = 0, 8 do
        local task = net.connect(name, port)
        for _ = 1, pauses do await(neap.yield()) end
        if not task:cancel("enough") and task:status() == "done" then
          await(await(task):close())
        elseif task:status() == "failed" then
          pcall(await, task)
        end
      end
    end
    await(neap.sleep(1))
    assert.equal(before, core.stats().handles)
  end))

  it("survives failing allocations, and leaves no handle", h.plain(function(t)
    h.each_failure(function()
      neap.run({ clock = t.clock }, function()
        local server <close> = await(net.listen("127.0.0.1", 0))
        local host, port = server:address()
        for _, name in ipairs{ host, "localhost" } do
          local conn <close> = await(net.connect(name, port, { local_port = 0 }))
          await(conn:write("x"))
        end
        local unix <close> = await(net.listen{ path = wires.name() })
        local conn <close> = await(net.connect{ path = unix:address() })
        await(conn:write("x"))
      end)
    end)
    t:take_unobserved()
    t:take_warnings()
  end))
end)

describe("neap.net.connect to a path", function()
  it("gives a connection that knows its names", h.run(function()
    local path = os.tmpname()
    os.remove(path)
    local server <close> = await(net.listen{ path = path })
    local conn <close> = await(net.connect{ path = path })
    local accepted <close> = await(server:accept())
    assert.equal(path, conn:peer())
    assert.equal("", conn:address())
    assert.equal("", accepted:peer())
    assert.equal(path, accepted:address())
    assert.equal("neap.Conn " .. path, tostring(conn))
    assert.equal("neap.Conn (no name)", tostring(accepted))
    h.raises("ENOTSUP", function() conn:set_nodelay(true) end)
    h.raises("ENOTSUP", function() conn:set_keepalive(true) end)
  end))

  it("fails for a path that is missing, too long, empty or no socket", h.run(function()
    local path = os.tmpname()
    local _ <close> = support.closing(function() os.remove(path) end)
    for p, code in pairs{
      [path .. "x"] = "ENOENT", [("x"):rep(108)] = "ENAMETOOLONG", [""] = "EINVAL",
      [path] = "ECONNREFUSED", ["@" .. ("x"):rep(108)] = "ENAMETOOLONG",
      [wires.name()] = "ECONNREFUSED",
    } do
      local err = h.raises(code, function() await(net.connect{ path = p }) end)
      assert.equal(p, err.address)
      assert.equal("connect", err.syscall)
    end
  end))

  it("waits for a place where too many wait to be accepted", h.run(function()
    local server <close> = await(net.listen{ path = wires.name(), backlog = 1 })
    local path = server:address()
    local tasks = {}
    for i = 1, 12 do tasks[i] = net.connect{ path = path } end
    await(neap.sleep(1))
    assert.equal("pending", tasks[12]:status())
    assert.is_true(tasks[12]:cancel("enough"))
    for _ = 1, 11 do
      local conn <close> = await(server:accept())
      await(conn:write("x"))
    end
    for i = 1, 11 do
      local conn <close> = await(tasks[i])
      assert.equal("x", await(conn:read()))
    end
  end))

  it("[C3] waits no longer when the server closes", h.run(function()
    local server = await(net.listen{ path = wires.name(), backlog = 1 })
    local path = server:address()
    local tasks = {}
    for i = 1, 8 do tasks[i] = net.connect{ path = path } end
    await(server:close())
    for i = 1, 8 do
      local status, result = await(neap.settle(tasks[i]))
      if status == "done" then await(result:close()) end
      assert.is_true(status == "done" or result.code == "ECONNREFUSED", i)
    end
    assert.equal("failed", tasks[8]:status())
  end))
end)

describe("neap.net.connect with a family", function()
  it("refuses an address of the other one", h.run(function()
    local ok, err = pcall(await, net.connect("::1", 80, { family = "ipv4" }))
    assert.is_false(ok)
    assert.matches("^EAI_", err.code)
    assert.equal("[::1]:80", err.address)
  end))
end)
