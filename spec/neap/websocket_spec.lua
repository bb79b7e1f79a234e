-- neap.websocket: clients and servers of ours: handshakes, messages, ends.
local certificates = require "spec.certificates"
local h = require "spec.helper"
local core = require "neap.core"
local neap = require "neap"
local sockets = require "spec.websockets"
local support = require "spec.support"
local web = require "spec.http_wire"

local await, net, websocket = neap.await, neap.net, neap.websocket

local KEY = "dGhlIHNhbXBsZSBub25jZQ=="
local ASK = "Upgrade: websocket\r\nConnection: keep-alive, Upgrade\r\nSec-WebSocket-Version: 13\r\n"

local function request(fields) return web.get("/", ASK .. fields) end

describe("messages", function()
  it("go both ways, as text and as bytes", sockets.with_server(sockets.echo, function(ws)
    await(ws:send("grüße"))
    await(ws:send_binary("\xff\0\xfe"))
    await(ws:send(""))
    assert.same({ "grüße", "text" }, { await(ws:recv()) })
    assert.same({ "\xff\0\xfe", "binary" }, { await(ws:recv()) })
    assert.same({ "", "text" }, { await(ws:recv()) })
  end))

  it("are of any length", sockets.with_server(sockets.echo, function(ws)
    for _, n in ipairs{ 1, 125, 126, 65535, 65536, 3000000 } do
      local sending = ws:send_binary(("x"):rep(n))
      local message, kind = await(ws:recv())
      await(sending)
      assert.same({ n, "binary" }, { #message, kind })
      assert.is_nil(message:find("[^x]"))
    end
  end))

  it("come from Buffers and numbers, too", sockets.with_server(sockets.echo, function(ws)
    await(ws:send_binary(neap.buffer("some bytes")))
    await(ws:send(neap.buffer("text")))
    await(ws:send(42))
    assert.same({ "some bytes", "binary" }, { await(ws:recv()) })
    assert.same({ "text", "text" }, { await(ws:recv()) })
    assert.same({ "42", "text" }, { await(ws:recv()) })
  end))

  it("of many writers stay whole and in order", sockets.with_server(function(ws)
    local last = {}
    for _ = 1, 40 do
      local message = await(ws:recv())
      local writer, number = message:match("^(%d+) (%d+) x*$")
      assert.equal((last[writer] or 0) + 1, tonumber(number))
      assert.equal(100000, #message)
      last[writer] = tonumber(number)
    end
    await(ws:send("all"))
  end, function(ws)
    for writer = 1, 4 do
      neap.start(function()
        for number = 1, 10 do
          local text = ("%d %d "):format(writer, number)
          await(ws:send(text .. ("x"):rep(100000 - #text)))
        end
      end)
    end
    assert.equal("all", await(ws:recv()))
  end))

  it("that are text must be UTF-8", sockets.with_server(sockets.echo, function(ws)
    local text = h.bad_argument("send", 1, function() ws:send("\xff") end)
    assert.matches("UTF%-8 expected; send_binary", text)
    h.bad_argument("send", 1, function() ws:send("\xc3") end)
    h.bad_argument("send", 1, function() ws:send({}) end)
  end))

  it("go over TLS, too", h.scoped(function()
    local c = certificates.make()
    local _ <close> = support.closing(c.remove)
    local tls = { cert = c.good.cert, key = c.good.key }
    local server = await(net.listen("127.0.0.1", 0, { tls = tls }))
    local opts = { server = server, handshake_timeout = math.huge,
      idle_timeout = math.huge, header_timeout = math.huge }
    local task = neap.http.serve(opts, function(req)
      local ws <close> = await(websocket.accept(req, sockets.endless()))
      sockets.echo(ws)
    end)
    local _, port = server:address()
    do
      local ws <close> = await(websocket.connect("wss://localhost:" .. port,
        sockets.endless{ tls = { ca = c.ca } }))
      local big = ("x"):rep(300000)
      await(ws:send("hello"))
      local sending = ws:send(big)
      assert.equal("hello", await(ws:recv()))
      assert.equal(big, (await(ws:recv())))
      await(sending)
    end
    web.stop(task)
  end))
end)

describe("recv", function()
  it("is one at a time", sockets.with_server(sockets.echo, function(ws)
    local first = ws:recv()
    local err = h.misuse(function() ws:recv() end)
    assert.matches("two recvs at once", tostring(err))
    await(ws:send("x"))
    assert.equal("x", await(first))
  end))

  it("that is cancelled loses nothing", sockets.with_server(sockets.echo, function(ws)
    local first = ws:recv()
    first:cancel()
    await(neap.settle(first))
    await(ws:send("x"))
    assert.equal("x", await(ws:recv()))
  end))

  it("gives what came before the end, then the end each time", sockets.with_server(function(ws)
    await(ws:send("one"))
    await(ws:send("two"))
    await(ws:close(4001, "enough"))
  end, function(ws)
    sockets.settle()
    assert.equal("one", await(ws:recv()))
    assert.equal("two", await(ws:recv()))
    assert.same({ nil, 4001, "enough" }, { await(ws:recv()) })
    assert.same({ nil, 4001, "enough" }, { await(ws:recv()) })
  end))
end)

describe("ping", function()
  it("takes the time to the peer's answer", sockets.with_server(sockets.echo, function(ws)
    local seconds = await(ws:ping())
    assert.is_true(seconds >= 0)
    local first, second = ws:ping(), ws:ping()
    await(neap.all{ first, second })
  end))

  it("is answered while nobody receives", sockets.with_server(function(ws)
    await(ws:ping())
    await(ws:send("answered"))
    await(ws:recv())
  end, function(ws)
    sockets.settle()
    assert.equal("answered", await(ws:recv()))
  end))

  it("fails when the connection ends", sockets.with_server(function() end, function(ws)
    local _, code = await(ws:recv())
    assert.equal(1000, code)
    h.raises("ECLOSED", function() await(ws:ping()) end)
  end))
end)

describe("close", function()
  it("gives the code that the peer has answered with", sockets.with_server(function(ws, _)
    local _, code, reason = await(ws:recv())
    assert.same({ 3000, "bye" }, { code, reason })
  end, function(ws)
    assert.same({ 3000, "" }, { await(ws:close(3000, "bye")) })
    assert.same({ 3000, "" }, { await(ws:close()) })
    assert.is_true(ws:is_closed())
    h.raises("ECLOSED", function() await(ws:send("x")) end)
    assert.same({ nil, 3000, "" }, { await(ws:recv()) })
  end))

  it("checks the code and the reason", sockets.with_server(sockets.echo, function(ws)
    h.bad_argument("close", 1, function() ws:close(1005) end)
    h.bad_argument("close", 1, function() ws:close(999) end)
    h.bad_argument("close", 1, function() ws:close(5000) end)
    h.bad_argument("close", 2, function() ws:close(1000, ("x"):rep(124)) end)
    h.bad_argument("close", 2, function() ws:close(1000, "\xff") end)
    assert.is_false(ws:is_closed())
  end))

  it("comes at the end of the block: 1000, or 1001 after an error", sockets.with_server(function(ws)
    local _ = pcall(function()
      local _ <close> = ws
      error("left")
    end)
  end, function(ws)
    assert.same({ nil, 1001, "" }, { await(ws:recv()) })
  end))

  it("comes when the handler returns", sockets.with_server(function() end, function(ws)
    assert.same({ nil, 1000, "" }, { await(ws:recv()) })
  end))
end)

describe("the handshake of a server", function()
  it("[RFC 6455, 1.3] answers the key", h.scoped(function()
    local task, server = sockets.serve(sockets.echo)
    local conn <close> = web.connect(server)
    await(conn:write(request("Sec-WebSocket-Key: " .. KEY .. "\r\n"),
      sockets.frame("text", "early", { mask = true })))
    local head = await(conn:read_until("\r\n\r\n"))
    assert.matches("^HTTP/1%.1 101 Switching Protocols\r\n", head)
    assert.matches("\r\nSec%-WebSocket%-Accept: s3pPLMBiTxaQ9kYGzzhZRbK%+xOo=", head)
    assert.same({ "text", "early", false }, { sockets.read_frame(conn) })
    await(conn:write(sockets.frame("close", "", { mask = true })))
    assert.same({ "close", "", false }, { sockets.read_frame(conn) })
    assert.is_nil(await(conn:read()))
    web.stop(task)
  end))

  local refused = {
    ["426 where it is no upgrade"] = { 426, web.get("/") },
    ["426 for another protocol"] = { 426,
      web.get("/", "Upgrade: h2c\r\nConnection: Upgrade\r\n") },
    ["426 for another version"] = { 426,
      (request("Sec-WebSocket-Key: " .. KEY .. "\r\n"):gsub("Version: 13", "Version: 8")) },
    ["426 for another method"] = { 426,
      (request("Sec-WebSocket-Key: " .. KEY .. "\r\n"):gsub("GET", "POST")) },
    ["400 without a key"] = { 400, request("") },
    ["400 for a key that is none"] = { 400, request("Sec-WebSocket-Key: short\r\n") },
    ["400 for two keys"] = { 400, request(("Sec-WebSocket-Key: %s\r\n"):format(KEY):rep(2)) },
    ["400 for a body"] = { 400,
      request("Content-Length: 2\r\nSec-WebSocket-Key: " .. KEY .. "\r\n") .. "ab" },
    ["403 for the page of another host"] = { 403,
      request("Origin: http://evil.example\r\nSec-WebSocket-Key: " .. KEY .. "\r\n") },
  }
  for name, case in pairs(refused) do
    it("is refused with " .. name, h.scoped(function(t)
      local task, server = web.serve(function(req)
        local ws, err = await(websocket.accept(req))
        t:note(ws) t:note(err.code) t:note(err.status)
      end)
      local status, headers = web.ask(server, case[2])
      assert.equal(case[1], status)
      if status == 426 then
        assert.same({ "websocket", "13" }, { headers.upgrade, headers["sec-websocket-version"] })
      end
      assert.equal("nil EHANDSHAKE " .. status, t:logged())
      web.stop(task)
    end))
  end

  local function status_for(origins, origin)
    local task, server = sockets.serve(function() end, { origins = origins })
    local headers = { Origin = origin, Host = "my.example" }
    local ok, err = pcall(sockets.connect, server, { headers = headers })
    if ok then await(err:close()) end
    web.stop(task)
    return ok and 101 or err.status
  end

  it("allows pages of its own host, and those that are named", h.scoped(function()
    assert.equal(101, status_for(nil, nil))
    assert.equal(101, status_for(nil, "https://My.Example"))
    assert.equal(403, status_for(nil, "https://my.example:81"))
    assert.equal(403, status_for(nil, "null"))
    assert.equal(101, status_for("*", "null"))
    assert.equal(101, status_for("https://a.example", "https://a.example"))
    assert.equal(403, status_for("https://a.example", "https://b.example"))
    assert.equal(101, status_for({ "https://a.example", "https://b.example" }, "https://b.example"))
    assert.equal(101, status_for(function(origin) return origin == nil end, nil))
    assert.equal(403, status_for(function(origin) return origin == nil end, "x"))
  end))

  it("chooses a subprotocol by its own order", h.scoped(function()
    local function agreed(ours, theirs)
      local task, server = sockets.serve(function(ws)
        await(ws:send(ws:protocol() or "none"))
      end, { protocols = ours })
      local protocol
      do
        local ws <close> = sockets.connect(server, { protocols = theirs })
        protocol = ws:protocol()
        assert.equal(protocol or "none", await(ws:recv()))
      end
      web.stop(task)
      return protocol
    end
    assert.equal("b", agreed({ "b", "a" }, { "a", "b" }))
    assert.is_nil(agreed({ "b" }, { "a" }))
    assert.is_nil(agreed({ "b" }, nil))
    assert.is_nil(agreed(nil, { "a" }))
  end))

  it("checks its arguments", h.scoped(function()
    local task, server = web.serve(function(req)
      h.bad_argument("accept", 1, function() websocket.accept({}) end)
      local bad = { { origins = 1 }, { protocols = { "a b" } }, { ping = -1 },
        { max_message = "x" }, { headers = { Upgrade = "x" } } }
      for _, opts in ipairs(bad) do
        h.bad_argument("accept", 2, function() websocket.accept(req, opts) end)
      end
      return "checked"
    end)
    local status, _, body = web.ask(server, web.get("/"))
    assert.same({ 200, "checked" }, { status, body })
    web.stop(task)
  end))

  it("comes before an answer, and once", h.scoped(function()
    local task, server = web.serve(function(req, res)
      if req.path == "/late" then
        await(res:write("x"))
        assert.is_nil((await(websocket.accept(req))))
      else
        local ws <close> = await(websocket.accept(req, sockets.endless()))
        h.misuse(function() await(websocket.accept(req)) end)
        await(ws:recv())
      end
    end)
    local ws = sockets.connect(server)
    await(ws:close())
    local status, _, body = web.ask(server, web.get("/late"))
    assert.same({ 200, "x" }, { status, body })
    web.stop(task)
  end))
end)

describe("the handshake of a client", function()
  --- A server that answers with these lines; `%s` is the right Sec-WebSocket-Accept.
  local function answered(lines, opts)
    local server <close> = await(net.listen("127.0.0.1", 0))
    local answering = neap.start(function()
      local conn <close> = await(server:accept())
      local head = await(conn:read_until("\r\n\r\n"))
      local accept = core.websocket_accept(head:match("Sec%-WebSocket%-Key: ([^\r]*)"))
      await(conn:write((lines:gsub("%%s", (accept:gsub("%%", "%%%%"))))))
      await(conn:shutdown())
      await(conn:read_all())
    end)
    local connecting = websocket.connect(sockets.url(server), sockets.endless(opts))
    local ok, result = pcall(await, connecting)
    if ok then await(result:close()) end
    await(neap.settle(answering))
    return ok, result
  end

  local RIGHT = "HTTP/1.1 101 X\r\nUpgrade: WebSocket\r\nConnection: foo, upgrade\r\n"
    .. "Sec-WebSocket-Accept: %s\r\n"

  it("takes an answer that is right", h.scoped(function()
    assert.is_true((answered(RIGHT .. "\r\n")))
    local chosen = RIGHT .. "Sec-WebSocket-Protocol: a\r\n\r\n"
    assert.is_true((answered(chosen, { protocols = { "a" } })))
  end))

  local wrong = {
    ["another status"] = "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n",
    ["no Upgrade"] = (RIGHT:gsub("Upgrade: WebSocket\r\n", "")) .. "\r\n",
    ["no Connection"] = (RIGHT:gsub("Connection: [^\r]*\r\n", "")) .. "\r\n",
    ["a wrong Accept"] = (RIGHT:gsub("%%s", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")) .. "\r\n",
    ["an extension"] = RIGHT .. "Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n",
    ["a subprotocol"] = RIGHT .. "Sec-WebSocket-Protocol: x\r\n\r\n",
    ["no HTTP"] = "SSH-2.0\r\n\r\n",
    ["an early end"] = "HTTP/1.1 101",
    ["a head without end"] = "HTTP/1.1 101 X\r\n" .. ("x"):rep(20000),
  }
  for name, lines in pairs(wrong) do
    it("refuses " .. name, h.scoped(function()
      local ok, err = answered(lines)
      assert.same({ false, "EHANDSHAKE" }, { ok, err.code })
      assert.matches("^ws://127", err.url)
    end))
  end

  it("tells the status of a refusal", h.scoped(function()
    local _, err = answered("HTTP/1.1 401 X\r\nWWW-Authenticate: Basic\r\n\r\n")
    assert.same({ 401, "Basic" }, { err.status, err.headers["www-authenticate"] })
  end))

  it("sends what it was given", h.scoped(function()
    local task, server = sockets.serve(function(ws, req)
      await(ws:send(table.concat({ req.target, req:header("Cookie"), req:header("X") }, " ")))
    end)
    do
      local ws <close> = await(websocket.connect(sockets.url(server, "/a?b=c"),
        sockets.endless{ headers = { Cookie = "d=e", X = { "f", "g" } } }))
      assert.equal("/a?b=c d=e f, g", await(ws:recv()))
    end
    web.stop(task)
  end))

  it("has a limit of time", h.scoped(function()
    local server <close> = await(net.listen("127.0.0.1", 0))
    support.takes(3, function()
      local err = h.raises("ETIMEDOUT", function()
        await(websocket.connect(sockets.url(server), { timeout = 3 }))
      end)
      assert.matches("within 3 seconds", tostring(err))
    end)
  end))

  it("that is cancelled leaves nothing behind", h.scoped(function()
    local server <close> = await(net.listen("127.0.0.1", 0))
    local task = websocket.connect(sockets.url(server), sockets.endless())
    sockets.settle()
    task:cancel()
    assert.equal("cancelled", (await(neap.settle(task))))
  end))

  it("fails where nobody listens", h.scoped(function()
    local server = await(net.listen("127.0.0.1", 0))
    local url = sockets.url(server)
    await(server:close())
    h.raises("ECONNREFUSED", function() await(websocket.connect(url)) end)
  end))

  it("checks its arguments", h.run(function()
    local urls = { "http://x", "ws:x", "ws://", "ws://x:0", "ws://x:99999", "ws://u@x", "ws://x/#a",
      "ws://x/a b", "ws://[::1", "ws://a:b:c" }
    for _, url in ipairs(urls) do
      h.bad_argument("connect", 1, function() websocket.connect(url) end)
    end
    h.bad_argument("connect", 1, function() websocket.connect(nil) end)
    local bad = { { timeout = "x" }, { protocols = "a" }, { max_message = -1 }, { tls = true },
      { ping = "x" }, { headers = { Upgrade = "x" } }, { headers = { A = "b\r\nc: d" } },
      { headers = { ["a b"] = "c" } } }
    for _, opts in ipairs(bad) do
      h.bad_argument("connect", 2, function() websocket.connect("ws://x", opts) end)
    end
  end))
end)

describe("a WebSocket", function()
  it("tells its peer and its name", sockets.with_server(sockets.echo, function(ws)
    local host, port = ws:peer()
    assert.equal(("neap.WebSocket %s:%d"):format(host, port), tostring(ws))
  end))

  it("that is collected ends", h.scoped(function(t)
    local task, server = sockets.serve(function(ws)
      local err = h.raises("ECONNRESET", function() await(ws:recv()) end)
      t:note(err.close_code)
    end)
    assert.is_truthy(sockets.connect(server))
    collectgarbage()
    collectgarbage()
    sockets.settle()
    sockets.settle()
    assert.equal("1006", t:logged())
    web.stop(task)
  end))

  it("of a server that stops ends with its grace", h.scoped(function(t)
    local task, server = sockets.serve(function(ws)
      local ok, err = pcall(sockets.echo, ws)
      t:note(ok) t:note(neap.is_cancel(err))
    end, nil, { grace = 3 })
    local ws = sockets.connect(server)
    sockets.settle()
    support.takes(3, function() web.stop(task) end)
    h.raises("ECONNRESET", function() await(ws:recv()) end)
    assert.equal("false true", t:logged())
  end))

  it("of a server that stops can be closed by on_stop", h.scoped(function()
    local open
    local task, server = sockets.serve(function(ws)
      open = ws
      sockets.echo(ws)
    end, nil, { on_stop = function() open:close(1001, "restart") end })
    local ws = sockets.connect(server)
    await(ws:send("x"))
    assert.equal("x", await(ws:recv()))
    local receiving = ws:recv()
    web.stop(task)
    assert.same({ nil, 1001, "restart" }, { await(receiving) })
    await(ws:close())
  end))
end)
