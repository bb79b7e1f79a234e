-- The module: what it gives is what LuaSocket gives; connecting and listening.
local h = require "spec.helper"
local scenarios = require "spec.socket_scenarios"
local sockets = require "spec.sockets"
local support = require "spec.support"
local neap = require "neap"
local socket = require "neap.compat.socket"

local await, net = neap.await, neap.net

--- Runs all scenarios with LuaSocket, in a process of its own.
local LUASOCKET = [[
local scenarios = require "spec.socket_scenarios"
local socket = require "socket"
for _, name in ipairs(scenarios.names()) do
  print("== " .. name)
  print(scenarios.transcript(name, socket))
end
print("== end")
]]

--- By name, what LuaSocket does in each scenario.
local function ask_luasocket()
  local output, how, code = h.process(LUASOCKET)
  assert(how == "exit" and code == 0, output)
  local transcripts, lines = {}, nil
  for line in output:gmatch("[^\n]*") do
    local name = line:match("^== (.*)$")
    if name then
      lines = {}
      transcripts[name] = lines
    elseif lines then
      lines[#lines + 1] = line
    end
  end
  return transcripts
end

describe("neap.compat.socket, where LuaSocket is,", function()
  if not sockets.has_module("socket.core") then return end
  local expected
  lazy_setup(function() expected = ask_luasocket() end)

  for _, name in ipairs(scenarios.names()) do
    it("does the same: " .. name, h.run(function()
      assert.equal(table.concat(expected[name], "\n"), scenarios.transcript(name, socket))
    end))
  end
end)

describe("neap.compat.socket", function()
  it("is misused outside a task, at the line of its user", h.plain(function()
    local client, datagrams = socket.tcp(), socket.udp()
    for _, call in ipairs{
      function() socket.connect("127.0.0.1", 1) end,
      function() socket.bind("127.0.0.1", 0) end,
      function() socket.sleep(0) end,
      function() socket.select(nil, nil, 0) end,
      function() socket.dns.toip("127.0.0.1") end,
      function() client:connect("127.0.0.1", 1) end,
      function() client:bind("127.0.0.1", 0) end,
      function() datagrams:sendto("x", "127.0.0.1", 1) end,
      function() datagrams:receive() end,
      function() datagrams:setsockname("*", 0) end,
      function() datagrams:setpeername("127.0.0.1", 1) end,
    } do
      local err = h.misuse(call)
      assert.is_truthy(err.where:find("compat/socket_spec.lua:", 1, true), err.where)
    end
    assert.equal(1, client:close())
    assert.equal(1, datagrams:close())
  end))

  it("is misused in a coroutine of one's own, and starts nothing there", sockets.with_pair(
    function(client, peer)
      local ok, err = coroutine.resume(coroutine.create(function() client:receive() end))
      assert.is_false(ok)
      assert.equal("EMISUSE", err.code)
      await(peer:write("still here\n"))
      assert.equal("still here", client:receive())
    end))

  it("sleeps without holding up others", h.run(function(t)
    local task = neap.start(function()
      socket.sleep(2)
      t:note("slept")
    end)
    support.takes(1, function() socket.sleep(1) end)
    t:note("first")
    await(task)
    support.takes(0, function() socket.sleep(-1) end)
    assert.equal("first slept", t:logged())
  end))

  it("tells the time of the loop's clock", h.run(function()
    local start = socket.gettime()
    socket.sleep(1.5)
    assert.near(1.5, socket.gettime() - start, 1e-6)
  end))

  it("is what drivers require once it is installed, and not before", h.plain(function()
    local names = { "socket", "socket.core", "socket.unix" }
    local before = {}
    for _, name in ipairs(names) do
      before[name], package.loaded[name] = package.loaded[name], nil
    end
    local _ <close> = support.closing(function()
      for _, name in ipairs(names) do package.loaded[name] = before[name] end
    end)
    assert.equal(socket, socket.install())
    assert.equal(socket, require "socket")
    assert.equal(socket, require "socket.core")
    assert.equal("unixstream{master}", tostring(require "socket.unix" ()):match("^[^:]*"))
  end))
end)

describe("connect of neap.compat.socket", function()
  it("without a wait goes on, and tells at the next call", h.run(function()
    local server <close> = await(net.listen("127.0.0.1", 0))
    local client = socket.tcp()
    client:settimeout(0)
    local host, port = server:address()
    local ok, why = client:connect("localhost", port) -- a name takes a turn of the thread pool
    assert.is_nil(ok)
    assert.equal("timeout", why)
    local _, writable = socket.select(nil, { client }, 5)
    assert.equal(client, writable[1])
    assert.equal(1, client:connect("localhost", port))
    assert.equal("already connected", select(2, client:connect(host, port)))
    client:close()
  end))

  it("without a wait tells at the next call that it was refused", h.run(function()
    local server = await(net.listen("127.0.0.1", 0))
    local _, port = server:address()
    await(server:close())
    local client = socket.tcp4()
    client:settimeout(0)
    assert.equal("timeout", select(2, client:connect("localhost", port)))
    socket.select(nil, { client }, 5)
    assert.equal("connection refused", select(2, client:connect("localhost", port)))
    assert.equal("connection refused", client:getoption("error"))
    assert.is_nil(client:getoption("error"))
    client:close()
  end))

  it("has a limit of time, and loses no error to others when it is dropped", h.run(function()
    sockets.with_silence(function(host, port)
      local client = socket.tcp()
      client:settimeout(0.5)
      support.takes(0.5, function()
        assert.equal("timeout", select(2, client:connect(host, port)))
      end)
      assert.equal("Operation already in progress", select(2, client:connect(host, port)))
      assert.equal("timeout", select(2, client:send("x")))
      assert.equal("timeout", select(2, client:receive()))
      client:close()
      assert.equal("closed", select(2, client:send("x")))
    end)
  end))

  it("raises Cancelled, and may begin anew afterwards", h.run(function()
    sockets.with_silence(function(host, port)
      local server <close> = await(net.listen("127.0.0.1", 0))
      local client = socket.tcp()
      h.raises("ETIMEDOUT", neap.timeout, 1, function() client:connect(host, port) end)
      assert.equal(1, client:connect(server:address()))
      client:close()
    end)
  end))

  it("takes one of two families", h.run(function()
    local server = socket.tcp6()
    local ok, why = server:bind("::1", 0)
    if not ok then return assert.equal("Cannot assign requested address", why) end
    server:listen()
    local host, port, family = server:getsockname()
    assert.equal("::1 inet6", host .. " " .. family)
    local client = assert(socket.connect6("::1", port))
    assert.equal("inet6", client:getfamily())
    assert.is_nil(socket.connect4("::1", port))
    local _ <close> = sockets.closes(server, client)
  end))

  it("reaches a Unix socket by its path", h.run(function()
    local path = os.tmpname()
    os.remove(path)
    local server = socket.unix()
    assert.equal(1, server:bind(path))
    assert.equal(1, server:listen())
    assert.equal(path, server:getsockname())
    local client = socket.unix.stream()
    assert.equal(1, client:connect(path))
    local peer = server:accept()
    assert.equal("unixstream{client}", tostring(peer):match("^[^:]*"))
    client:send("over a path\n")
    assert.equal("over a path", peer:receive())
    assert.equal("setsockopt failed", select(2, client:setoption("tcp-nodelay", true)))
    for _, object in ipairs{ client, peer, server } do object:close() end
    assert.equal("No such file or directory", select(2, socket.unix():connect(path)))
  end))
end)

describe("a server of neap.compat.socket", function()
  it("accepts for several tasks at once", h.run(function()
    local server = assert(socket.bind("127.0.0.1", 0))
    local _, port = server:getsockname()
    local tasks = {}
    for i = 1, 5 do tasks[i] = neap.start(function() return server:accept():receive() end) end
    for i = 1, 5 do
      local client = assert(socket.connect("127.0.0.1", port))
      client:send(i .. "\n")
      assert.equal(tostring(i), await(tasks[i]))
      client:close()
    end
    server:close()
  end))

  it("ends the accepts that wait when it is closed", h.run(function()
    local server = assert(socket.bind("127.0.0.1", 0))
    local task = neap.start(function() return server:accept() end)
    server:close()
    local client, why = await(task)
    assert.is_nil(client)
    assert.equal("closed", why)
  end))

  it("keeps a connection for the next accept when one is cancelled", h.run(function()
    local server = assert(socket.bind("127.0.0.1", 0))
    local _, port = server:getsockname()
    h.raises("ETIMEDOUT", neap.timeout, 1, function() server:accept() end)
    local client = assert(socket.connect("127.0.0.1", port))
    local peer = assert(server:accept())
    local _ <close> = sockets.closes(server, client, peer)
    client:send("hello\n")
    assert.equal("hello", peer:receive())
  end))
end)
