-- What a program does with LuaSocket's interface, to be run with LuaSocket and with neap's: each
-- function gets the module and note(...), and all that it notes has to be the same. LuaSocket has
-- one thread, so that nothing here waits for what the other end does later.
local M = {}

local scenarios = {}

--- Both ends of a connection.
local function pair(socket)
  local server = assert(socket.bind("127.0.0.1", 0))
  local host, port = server:getsockname()
  local client = assert(socket.connect(host, port))
  local peer = assert(server:accept())
  server:close()
  return client, peer
end

local function close(...)
  for _, object in ipairs{ ... } do object:close() end
end

local function with_pair(fn)
  return function(socket, note)
    local client, peer = pair(socket)
    fn(client, peer, note, socket)
    close(client, peer)
  end
end

--- A port that nobody listens on.
local function free_port(socket)
  local server = assert(socket.bind("127.0.0.1", 0))
  local _, port = server:getsockname()
  server:close()
  return port
end

--- LuaSocket 3.1 says some ports as strings.
local function port_of(object, method)
  return tonumber((select(2, object[method](object))))
end

--- What is there without a wait, in one value: on the way it may be for a moment.
local function arrived(socket, object)
  return #socket.select({ object }, nil, 1)
end

scenarios["lines"] = with_pair(function(client, peer, note)
  note(peer:send("one\ntwo\r\n\r\n\nfo\rur\r\n"))
  note(client:receive())
  note(client:receive("*l"))
  note(client:receive("*l"))
  note(client:receive("*l", "prefix "))
  note(client:receive("*l"))
end)

scenarios["numbers of bytes"] = with_pair(function(client, peer, note)
  note(peer:send("0123456789"))
  note(client:receive(3))
  note(client:receive(0))
  note(client:receive("2"))
  note(client:receive(4, "ab"))
  note(client:receive(2, "abc"))
  note(client:receive(3, "abc"))
  note(client:receive(1.0))
  note(client:receive(2))
end)

scenarios["the end in a line"] = with_pair(function(client, peer, note)
  peer:send("whole\npar\rt")
  peer:close()
  note(client:receive())
  note(client:receive("*l", "a "))
  note(client:receive())
  note(client:receive(0))
end)

scenarios["the end in a number of bytes"] = with_pair(function(client, peer, note)
  peer:send("abc")
  peer:close()
  note(client:receive(5, "12"))
  note(client:receive(5))
end)

scenarios["the end before a number of bytes"] = with_pair(function(client, peer, note)
  peer:send("abc")
  peer:close()
  note(client:receive(5))
  note(client:receive(5, "12"))
end)

scenarios["all"] = with_pair(function(client, peer, note)
  peer:send("abc\r\ndef")
  peer:close()
  note(client:receive("*a"))
  note(client:receive("*a"))
  note(client:receive("*a", "prefix"))
end)

scenarios["all with a prefix"] = with_pair(function(client, peer, note)
  peer:send("abc")
  peer:close()
  note(client:receive("*a", "prefix "))
end)

scenarios["time-outs"] = with_pair(function(client, peer, note, socket)
  note(client:settimeout(0))
  note(client:receive())
  note(client:receive("*a"))
  note(client:receive(5, "pre"))
  note(client:receive(0))
  peer:send("par\rt")
  note(arrived(socket, client))
  note(client:receive())
  note(client:settimeout(0.01, "t"))
  peer:send("more")
  note(arrived(socket, client))
  note(client:receive(10, "x"))
  note(client:settimeout(0.01))
  note(client:receive("*a", "p"))
  note(client:gettimeout())
  note(client:settimeout(nil))
  note(client:settimeout(nil, "t"))
  note(client:gettimeout())
end)

scenarios["parts of a string"] = with_pair(function(client, peer, note)
  local text = "0123456789"
  note(client:send(text))
  note(client:send(text, 3))
  note(client:send(text, 3, 5))
  note(client:send(text, -3))
  note(client:send(text, -3, -2))
  note(client:send(text, 5, 3))
  note(client:send(text, 0, 100))
  note(client:send(text, 11))
  note(client:send(""))
  note(client:send(42))
  client:close()
  note(peer:receive("*a"))
end)

scenarios["closed sockets"] = with_pair(function(client, _, note)
  note(client:close())
  note(client:close())
  note(client:send("abc"))
  note(client:send("abc", 2))
  note(client:receive())
  note(client:receive(3, "x"))
  note(client:getfd())
end)

scenarios["half-closed connections"] = with_pair(function(client, peer, note)
  client:send("question")
  note(client:shutdown("send"))
  note(peer:receive("*a"))
  note(peer:send("answer\n"))
  note(client:receive())
  note(client:send("more"))
  peer:close()
  note(client:receive())
end)

scenarios["a peer that has gone"] = with_pair(function(client, peer, note)
  client:send("unread")
  peer:close()
  client:settimeout(1)
  note(client:receive())
  for _ = 1, 3 do client:send("x") end
  note(client:send("x"))
end)

scenarios["refused connections"] = function(socket, note)
  local port = free_port(socket)
  note(socket.connect("127.0.0.1", port))
  local client = socket.tcp()
  note(client:connect("127.0.0.1", port))
  note(tostring(client):match("^[^:]*"))
  note(client:send("x"))
  note(client:close())
end

scenarios["sockets that begin anew"] = function(socket, note)
  local server = socket.bind("127.0.0.1", 0)
  local host, port = server:getsockname()
  local client = socket.tcp()
  for _ = 1, 2 do
    note(client:connect(host, port))
    local peer = server:accept()
    client:send("hello\n")
    note(peer:receive())
    close(client, peer)
    note(client:receive())
  end
  note(client:getsockname())
  note(client:getpeername())
  note(socket.tcp():getsockname())
  note(socket.tcp():getpeername())
  note(server:getpeername())
  note(socket.tcp4():listen())
  close(server)
end

scenarios["names and ports that are none"] = function(socket, note)
  note(socket.connect("nobody.invalid", 80))
  note((select(2, socket.tcp4():connect("::1", 80)))
    == "Address family for hostname not supported")
  note(pcall(function() return socket.tcp():connect("127.0.0.1") end) == false)
end

scenarios["servers"] = function(socket, note)
  local server = socket.tcp()
  note(server:bind("127.0.0.1", 0))
  note(server:listen())
  note(tostring(server):match("^[^:]*"))
  local host, port, family = server:getsockname()
  note(host, family)
  local other = socket.tcp()
  note(other:bind("127.0.0.1", port))
  note(socket.bind("127.0.0.1", port))
  note(server:settimeout(0))
  note(server:accept())
  server:settimeout(0.01)
  note(server:accept())
  local client = socket.tcp()
  note(client:connect("127.0.0.1", tostring(port)))
  note(client:getpeername() == host, port_of(client, "getpeername") == tonumber(port))
  client:connect("127.0.0.1", port) -- Linux may call this one done
  note(client:connect("127.0.0.1", port))
  server:settimeout(1)
  local peer = server:accept()
  note(tostring(peer):match("^[^:]*"))
  note(peer:gettimeout())
  note(port_of(peer, "getpeername") == port_of(client, "getsockname"))
  note(server:close())
  note(server:accept())
  close(other, client, peer)
end

scenarios["addresses of one's own"] = function(socket, note)
  local server = socket.bind("127.0.0.1", 0)
  local _, port = server:getsockname()
  local client = socket.connect("127.0.0.1", port, "127.0.0.2", 0)
  note((client:getsockname()))
  note((server:accept():getpeername()))
  local second = socket.tcp()
  note(second:bind("127.0.0.3", 0))
  local _, bound = second:getsockname()
  note(second:connect("127.0.0.1", port))
  note((second:getsockname()), port_of(second, "getsockname") == tonumber(bound))
  close(server, client, second)
end

scenarios["methods of another class"] = with_pair(function(client, _, note, socket)
  note((pcall(client.accept, client)))
  note((pcall(client.listen, client)))
  note((pcall(client.bind, client, "127.0.0.1", 0)))
  local master = socket.tcp()
  note((pcall(master.send, master, "x")))
  note((pcall(master.receive, master)))
  note((pcall(master.accept, master)))
  note((pcall(client.receive, client, "*x")))
  note((pcall(client.receive, client, -1)))
  note((pcall(client.settimeout, client, 1, "x")))
  note((pcall(client.shutdown, client, "x")))
  note((pcall(client.setoption, client, "none", true)))
end)

scenarios["counts"] = with_pair(function(client, peer, note)
  client:send("12345\r\n")
  peer:receive()
  local received, sent, age = client:getstats()
  note(received, sent, age >= 0)
  note((peer:getstats()))
  note(client:setstats(10, 20, 1000))
  received, sent, age = client:getstats()
  note(received, sent, age >= 1000 and age < 1010)
end)

scenarios["what is buffered"] = with_pair(function(client, peer, note)
  note(client:dirty())
  peer:send("one\ntwo\n")
  client:receive()
  note(client:dirty())
  client:receive()
  note(client:dirty())
end)

scenarios["options"] = with_pair(function(client, _, note)
  for _, name in ipairs{ "keepalive", "tcp-nodelay", "reuseaddr" } do
    note(client:setoption(name, true))
    note(client:getoption(name))
  end
  note(client:setoption("keepalive", false))
  note(client:getoption("keepalive"))
  note(client:setoption("linger", { on = true, timeout = 0 }))
  local linger = client:getoption("linger")
  note(linger.on, linger.timeout)
  note(client:getoption("error"))
  note((pcall(client.setoption, client, "keepalive", "yes")))
end)

scenarios["select"] = with_pair(function(client, peer, note, socket)
  local function counts(readable, writable, why)
    note(#readable, #writable, why)
    return readable, writable
  end
  counts(socket.select({ client }, nil, 0))
  counts(socket.select({ client }, { client, peer }, 0))
  counts(socket.select(nil, nil, 0))
  counts(socket.select({}, {}, 0.001))
  peer:send("one\ntwo\n")
  local readable = counts(socket.select({ peer, client }, nil, 1))
  note(readable[1] == client, readable[client])
  note(client:receive())
  counts(socket.select({ client }, nil, 0))
  note(client:receive())
  counts(socket.select({ client }, nil, 0))
  local server = socket.bind("127.0.0.1", 0)
  counts(socket.select({ server }, nil, 0))
  local host, port = server:getsockname()
  local late = socket.connect(host, port)
  readable = counts(socket.select({ server, client }, nil, 1))
  note(readable[server])
  local last = server:accept()
  peer:close()
  counts(socket.select({ client }, nil, 1))
  note(client:receive())
  close(server, late, last)
end)

scenarios["exceptions"] = function(socket, note)
  local finalized = 0
  local try = socket.newtry(function() finalized = finalized + 1 end)
  local protected = socket.protect(function(...) return try(...) end)
  note(protected(1, 2, 3))
  note(protected(nil, "reason", "more"))
  note(finalized)
  note(socket.protect(function() return socket.try(false, "no") end)())
  local ok, err = pcall(socket.protect(function() error("other", 0) end))
  note(ok, err)
  note(socket.skip(1, "a", "b", "c"))
  note(socket.skip(3, "a"))
end

scenarios["sources and sinks"] = with_pair(function(client, peer, note, socket)
  local sink = socket.sink("close-when-done", peer)
  note(sink("0123456789"))
  note(sink("abc"))
  note((sink(nil)))
  local source = socket.source("by-length", client, 10)
  note(source())
  note(source())
  source = socket.source(client)
  note(source())
  note(source())
  note((pcall(socket.sink, "none", client)))
end)

scenarios["datagrams"] = function(socket, note)
  local a, b = socket.udp(), socket.udp()
  note(tostring(a):match("^[^:]*"))
  note(a:setsockname("127.0.0.1", 0))
  local host, port = a:getsockname()
  note(host)
  note(a:setsockname("127.0.0.1", 0))
  note(a:settimeout(0))
  note(a:receive())
  note(a:receivefrom())
  note(b:sendto("hello", "127.0.0.1", port))
  note(arrived(socket, a))
  local data, from, number = a:receivefrom()
  note(data, from, number == port_of(b, "getsockname"))
  note(b:setpeername("127.0.0.1", port))
  note(tostring(b):match("^[^:]*"))
  note(b:getpeername() == host)
  for _, text in ipairs{ "123456", "", "last" } do note(b:send(text)) end
  a:settimeout(1)
  note(a:receive(3))
  note(a:receive())
  note(a:receive())
  note((pcall(b.sendto, b, "x", "127.0.0.1", port)), (pcall(a.send, a, "x")))
  note((pcall(b.receivefrom, b)), (pcall(a.getpeername, a)))
  note(b:setpeername("*"))
  note(tostring(b):match("^[^:]*"))
  note(b:setoption("broadcast", true), b:getoption("broadcast"))
  note(a:dirty())
  note(a:close(), b:close())
end

scenarios["names"] = function(socket, note)
  local ip, resolved = socket.dns.toip("127.0.0.1")
  note(ip, #resolved.ip, #resolved.alias)
  note(socket.dns.toip("nobody.invalid"))
  note(socket.dns.getaddrinfo("nobody.invalid"))
  local list = socket.dns.getaddrinfo("127.0.0.1")
  note(#list, list[1].family, list[1].addr)
  note(socket.dns.getaddrinfo("::1")[1].family)
  note(socket.dns.tohostname("127.0.0.1"))
  note(socket.dns.gethostname())
end

scenarios["constants"] = function(socket, note)
  note(socket._VERSION, socket.BLOCKSIZE, socket._DATAGRAMSIZE)
  note(math.abs(socket.gettime() - os.time()) < 5)
end

local function show(x)
  if type(x) == "string" then return ("%q"):format(x) end
  if type(x) == "number" and math.type(x) == "float" and x == math.floor(x) then
    return ("%d"):format(x)
  end
  return (tostring(x):gsub(": 0x%x+", ""))
end

--- What one of them notes, a line for each note. LuaSocket's further nils do not count.
function M.transcript(name, socket)
  local lines = {}
  scenarios[name](socket, function(...)
    local values = table.pack(...)
    local n = values.n
    while n > 1 and values[n] == nil do n = n - 1 end
    for i = 1, n do values[i] = show(values[i]) end
    lines[#lines + 1] = table.concat(values, " ", 1, n)
  end)
  return table.concat(lines, "\n")
end

function M.names()
  local names = {}
  for name in pairs(scenarios) do
    names[#names + 1] = name
  end
  table.sort(names)
  return names
end

return M
