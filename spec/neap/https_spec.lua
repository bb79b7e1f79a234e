-- neap.http.serve with TLS: what the specs of the server do, as far as TLS can make a difference.
local certificates = require "spec.certificates"
local h = require "spec.helper"
local support = require "spec.support"
local web = require "spec.http_wire"
local neap = require "neap"
local core = require "neap.core"

local await, net = neap.await, neap.net

local LARGE = 1 << 20

local c
setup(function() c = certificates.make() end)
teardown(function() c.remove() end)

--- Serves as web.serve does, with TLS; the options of the listening may be given, too.
local function serve(handler, opts, tls)
  local all = { tls = { cert = c.good.cert, key = c.good.key }, host = "127.0.0.1", port = 0 }
  for name, value in pairs(tls or {}) do all.tls[name] = value end
  for name, value in pairs(opts or {}) do all[name] = value end
  all.idle_timeout = all.idle_timeout or math.huge
  all.header_timeout = all.header_timeout or math.huge
  all.handshake_timeout = all.handshake_timeout or math.huge
  local ready, server = neap.event(), nil
  all.on_listen = function(listening)
    server = listening
    ready:set()
  end
  local task = neap.http.serve(all, handler)
  await(neap.any{ task, ready:wait() })
  return task, server
end

local function client_options(more)
  local tls = { ca = c.ca, server_name = "localhost" }
  for name, value in pairs(more or {}) do tls[name] = value end
  return { tls = tls }
end

local function connect(server, more)
  local host, port = server:address()
  return await(net.connect(host, port, client_options(more)))
end

--- A connection that has not begun to speak TLS.
local function connect_plain(server) return web.connect(server) end

local function ask(server, bytes, method)
  local conn <close> = connect(server)
  await(conn:write(bytes))
  return web.read(conn, method)
end

--- Lets what was sent arrive, in no time.
local function arrive()
  for _ = 1, 20 do await(neap.yield()) end
  await(neap.sleep(0.001))
end

--- Bytes that are nowhere the same.
local function noise(n)
  local parts = {}
  for i = 1, n // 8 do parts[i] = ("%08x"):format(i * 2654435761 % (1 << 32)) end
  return table.concat(parts)
end

--- The rest of a connection, a few bytes at a time; whether its end was told.
local function read_slowly(conn, pause)
  local parts = {}
  while true do
    local ok, data = pcall(await, conn:read(5000))
    if not ok then return table.concat(parts), data end
    if not data then return table.concat(parts) end
    parts[#parts + 1] = data
    if #parts % 20 == 0 then await(neap.sleep(pause)) end
  end
end

local function body_of(text) return text:match("\r\n\r\n(.*)$") end

describe("neap.http.serve with TLS", function()
  it("answers", h.scoped(function()
    local task, server = serve(function(req) return req.method .. " " .. req.path end)
    local status, headers, body = ask(server, web.get("/a"))
    assert.same({ 200, "6", "GET /a" }, { status, headers["content-length"], body })
    web.stop(task)
  end))

  it("keeps connections, and answers requests that come together", h.scoped(function(t)
    local task, server = serve(function(req) return req.path end,
      { on_error = function(err) t:note(err) end })
    local conn <close> = connect(server)
    for i = 1, 3 do
      await(conn:write(web.get("/" .. i)))
      assert.equal("/" .. i, (select(3, web.read(conn))))
    end
    local all = {}
    for i = 1, 500 do all[i] = web.get("/" .. i) end
    await(conn:write(table.concat(all)))
    for i = 1, 500 do assert.equal("/" .. i, (select(3, web.read(conn)))) end
    await(conn:close())
    arrive()
    assert.equal("", t:logged())
    web.stop(task)
  end))

  it("takes a request in pieces, one record for each byte", h.scoped(function()
    local task, server = serve(function(req) return req:text() end)
    local conn <close> = connect(server)
    for byte in ("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc"):gmatch(".") do
      await(conn:write(byte))
    end
    assert.equal("abc", (select(3, web.read(conn))))
    web.stop(task)
  end))

  it("answers those who have ended their direction", h.scoped(function()
    local task, server = serve(function(req) return req.path end)
    local conn <close> = connect(server)
    await(conn:write(web.get("/1"), web.get("/2"), web.get("/3")))
    await(conn:shutdown())
    for i = 1, 3 do assert.equal("/" .. i, (select(3, web.read(conn)))) end
    assert.equal("", await(conn:read_all()))
    web.stop(task)
  end))

  it("tells the end of a connection", h.scoped(function()
    local task, server = serve(function(_, res)
      res:header("Connection", "close")
      return "last"
    end)
    local conn <close> = connect(server) -- without allow_truncated: a cut would be an error
    await(conn:write(web.get("/")))
    assert.matches("\r\n\r\nlast$", await(conn:read_all()))
    web.stop(task)
  end))

  it("tells it after a refusal, too", h.scoped(function()
    local task, server = serve(function() return "x" end)
    local conn <close> = connect(server)
    await(conn:write("nonsense\r\n\r\n", ("x"):rep(100000)))
    assert.matches("^HTTP/1.1 400 ", await(conn:read_all()))
    web.stop(task)
  end))

  it("takes large bodies, also where the handler is slow", h.scoped(function()
    local body = noise(LARGE)
    local task, server = serve(function(req)
      local parts = {}
      for chunk in req do
        parts[#parts + 1] = chunk
        await(neap.sleep(0.01))
      end
      assert(table.concat(parts) == body)
      return #table.concat(parts) .. " bytes"
    end)
    local conn <close> = connect(server)
    await(conn:write("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: ", LARGE, "\r\n\r\n", body))
    assert.equal(LARGE .. " bytes", (select(3, web.read(conn))))
    await(conn:write("POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"))
    for i = 0, 15 do
      await(conn:write("10000\r\n", body:sub(i * 65536 + 1, (i + 1) * 65536), "\r\n"))
    end
    await(conn:write("0\r\n\r\n"))
    assert.equal(LARGE .. " bytes", (select(3, web.read(conn))))
    web.stop(task)
  end))

  it("keeps a client back whose body nobody reads", h.scoped(function()
    local ready = neap.event()
    local task, server = serve(function(req)
      await(ready:wait())
      return #await(req:text()) .. ""
    end)
    local conn <close> = connect(server)
    local size = 16 * LARGE
    await(conn:write("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: ", size, "\r\n\r\n"))
    local writing = conn:write(("x"):rep(size))
    arrive()
    assert.equal("pending", writing:status())
    ready:set()
    await(writing)
    assert.equal(tostring(size), (select(3, web.read(conn))))
    web.stop(task)
  end))

  it("asks for a body with 100 Continue", h.scoped(function()
    local task, server = serve(function(req) return req:text() end)
    local conn <close> = connect(server)
    await(conn:write("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n",
      "Expect: 100-continue\r\n\r\n"))
    assert.equal(100, (web.read(conn)))
    await(conn:write("abc"))
    assert.equal("abc", (select(3, web.read(conn))))
    web.stop(task)
  end))

  it("sends large responses to slow readers, whole and piece by piece", h.scoped(function()
    local body = noise(4 * LARGE)
    local task, server = serve(function(req, res)
      res:header("Connection", "close")
      if req.path == "/whole" then return body end
      res:header("Content-Length", #body)
      for i = 1, #body, 100000 do await(res:write(body:sub(i, i + 99999))) end
    end)
    for _, path in ipairs{ "/whole", "/pieces" } do
      local conn <close> = connect(server)
      await(conn:write(web.get(path)))
      await(neap.sleep(1))
      local text, err = read_slowly(conn, 0.01)
      assert.is_nil(err)
      assert.is_true(body_of(text) == body)
    end
    web.stop(task)
  end))

  it("holds a handler back whose client does not read", h.scoped(function(t)
    local task, server = serve(function(_, res)
      for _ = 1, 24 do
        await(res:write(("x"):rep(LARGE)))
        t.written = (t.written or 0) + 1
      end
    end)
    local conn <close> = connect(server)
    await(conn:write(web.get("/")))
    for _ = 1, 50 do arrive() end
    assert.is_true((t.written or 0) < 24)
    assert.equal(24 * LARGE, #select(3, web.read(conn)))
    web.stop(task)
  end))

  it("answers many large requests that came together, one after the other", h.scoped(function()
    local body = noise(LARGE)
    local task, server = serve(function(req) return req.path .. body end)
    local conn <close> = connect(server)
    local all = {}
    for i = 1, 10 do all[i] = web.get("/" .. i) end
    await(conn:write(table.concat(all)))
    await(neap.sleep(1))
    for i = 1, 10 do
      local _, _, text = web.read(conn)
      assert.is_true(text == "/" .. i .. body)
    end
    web.stop(task)
  end))

  it("sends files, and parts of them", h.scoped(function()
    local directory = support.temp_dir()
    local _ <close> = neap.defer(function() support.remove_tree(directory) end)
    local large, small = noise(LARGE), "small"
    support.spit(directory .. "/large.txt", large)
    support.spit(directory .. "/small.txt", small)
    local task, server = serve(neap.http.files(directory))
    local conn <close> = connect(server)
    await(conn:write(web.get("/large.txt"), web.get("/small.txt")))
    await(neap.sleep(1))
    assert.is_true((select(3, web.read(conn))) == large)
    assert.equal(small, (select(3, web.read(conn))))
    await(conn:write(web.get("/large.txt", "Range: bytes=1000-300999\r\n")))
    local status, headers, part = web.read(conn)
    local range = ("bytes 1000-300999/%d"):format(LARGE)
    assert.same({ 206, range }, { status, headers["content-range"] })
    assert.is_true(part == large:sub(1001, 301000))
    await(conn:write((web.get("/large.txt"):gsub("^GET", "HEAD"))))
    status, headers = web.read(conn, "HEAD")
    assert.same({ 200, tostring(LARGE) }, { status, headers["content-length"] })
    await(conn:write(web.get("/small.txt")))
    assert.equal(small, (select(3, web.read(conn))))
    web.stop(task)
  end))

  it("offers HTTP/1, unless other protocols are given", h.scoped(function(t)
    local task, server = serve(function(req) return req:tls().alpn or "none" end,
      { on_error = function(err) t:note(err.code) end })
    for _, alpn in ipairs{ { "http/1.1" }, { "h2", "http/1.1" } } do
      local conn <close> = connect(server, { alpn = alpn })
      assert.equal("http/1.1", conn:tls().alpn)
      await(conn:write(web.get("/")))
      assert.equal("http/1.1", (select(3, web.read(conn))))
    end
    local old <close> = connect(server, { alpn = { "http/1.0" } })
    assert.equal("http/1.0", old:tls().alpn)
    assert.equal("none", (select(3, ask(server, web.get("/")))))
    local ok, err = pcall(connect, server, { alpn = { "h2" } })
    assert.same({ false, "ETLS" }, { ok, err.code })
    arrive()
    assert.equal("ETLS", t:logged())
    web.stop(task)
    task, server = serve(function(req) return req:tls().alpn end, nil, { alpn = { "own" } })
    local conn <close> = connect(server, { alpn = { "own" } })
    await(conn:write(web.get("/")))
    assert.equal("own", (select(3, web.read(conn))))
    web.stop(task)
  end))

  it("takes a context", h.scoped(function()
    local context = neap.tls.context{ cert = c.good.cert, key = c.good.key }
    for _, tls in ipairs{ context, { context = context } } do
      local task, server = serve(function() return "x" end, { tls = tls })
      assert.equal("x", (select(3, ask(server, web.get("/")))))
      web.stop(task)
    end
  end))

  it("refuses options that are wrong where it is called", h.scoped(function()
    for _, tls in ipairs{ true, "cert", {}, { cert = c.good.cert, key = 7 } } do
      h.bad_argument("serve", 1, neap.http.serve, { tls = tls, port = 0 }, print)
    end
    h.bad_argument("serve", 1, neap.http.serve, { port = 0, handshake_timeout = -1 }, print)
    h.raises("ENOENT", function()
      await(neap.http.serve({ tls = { cert = "/nowhere.pem" }, port = 0 }, print))
    end)
  end))
end)

describe("req:tls", function()
  it("has the certificate of the client", h.scoped(function()
    local tls = { ca = c.ca, client_auth = "optional" }
    local task, server = serve(function(req)
      local info = req:tls()
      return info.version .. " " .. (info.peer and info.peer.subject or "nobody")
    end, nil, tls)
    assert.equal("TLSv1.3 nobody", (select(3, ask(server, web.get("/")))))
    local conn <close> = connect(server, { cert = c.client.cert, key = c.client.key })
    await(conn:write(web.get("/")))
    assert.matches("^TLSv1.3 .*a client", (select(3, web.read(conn))))
    web.stop(task)
  end))

  it("is nil without TLS, and misuse when the request is over", h.scoped(function()
    local kept
    local task, server = web.serve(function(req)
      kept = req
      return tostring(req:tls())
    end)
    assert.equal("nil", (select(3, web.ask(server, web.get("/")))))
    h.misuse(kept.tls, kept)
    web.stop(task)
  end))
end)

describe("a handshake", function()
  it("that fails is told, and disturbs nobody", h.scoped(function()
    local errors = {}
    local task, server = serve(function() return "x" end,
      { on_error = function(err) errors[#errors + 1] = err end })
    local conn <close> = connect(server)
    local plain <close> = connect_plain(server)
    await(plain:write(web.get("/")))
    pcall(await, plain:read_all())
    arrive()
    assert.same({ "ETLS", "handshake" }, { errors[1].code, errors[1].syscall })
    await(conn:write(web.get("/")))
    assert.equal("x", (select(3, web.read(conn))))
    assert.equal(1, #errors)
    web.stop(task)
  end))

  it("that hangs has its limit, and holds up nobody", h.scoped(function()
    local errors = {}
    local task, server = serve(function() return "x" end,
      { on_error = function(err) errors[#errors + 1] = err end, handshake_timeout = 7 })
    support.takes(7, function()
      local silent <close> = connect_plain(server)
      await(silent:write("\x16\x03\x01"))
      assert.equal("x", (select(3, ask(server, web.get("/")))))
      assert.equal(0, #errors)
      assert.equal("", await(silent:read_all()))
    end)
    assert.same({ "ETIMEDOUT", 1 }, { errors[1].code, #errors })
    web.stop(task)
  end))

  it("whose client leaves is told", h.scoped(function()
    local errors = {}
    local task, server = serve(function() return "x" end,
      { on_error = function(err) errors[#errors + 1] = err end })
    local leaving = connect_plain(server)
    await(leaving:write("\x16\x03\x01"))
    arrive()
    await(leaving:close())
    arrive()
    assert.same({ "ETLS", 1 }, { errors[1].code, #errors })
    local reset = connect_plain(server)
    await(reset:write("\x16\x03\x01"))
    arrive()
    await(reset:reset())
    arrive()
    assert.same({ "ECONNRESET", 2 }, { errors[2].code, #errors })
    assert.equal("x", (select(3, ask(server, web.get("/")))))
    web.stop(task)
  end))

  it("takes no time of the first request's", h.scoped(function()
    local task, server = serve(function() return "x" end,
      { handshake_timeout = 50, header_timeout = 10 })
    local conn <close> = connect_plain(server)
    await(neap.sleep(40))
    await(conn:start_tls(client_options().tls))
    support.takes(10, function() assert.equal("", await(conn:read_all())) end)
    web.stop(task)
  end))
end)

describe("a client with TLS that leaves", function()
  local ways = {
    close = function(conn) await(conn:close()) end,
    reset = function(conn) await(conn:reset()) end,
    shutdown = function(conn) await(conn:shutdown()) end,
  }

  --- Only a reset does not tell TLS.
  local function each_way(fn)
    for _, way in ipairs{ "close", "reset", "shutdown" } do fn(ways[way], way) end
  end

  it("between requests is an ordinary end", h.scoped(function(t)
    local task, server = serve(function() return "x" end,
      { on_error = function(err) t:note(err) end })
    each_way(function(leave)
      local conn <close> = connect(server)
      await(conn:write(web.get("/")))
      web.read(conn)
      leave(conn)
    end)
    arrive()
    assert.equal("", t:logged())
    web.stop(task)
  end))

  it("cancels its handler", h.scoped(function(t)
    local task, server = serve(function(req)
      local _ <close> = neap.defer(function() t:note(req.path) end)
      await(neap.sleep(1000))
    end)
    each_way(function(leave, way)
      local conn <close> = connect(server)
      await(conn:write(web.get("/" .. way)))
      arrive()
      support.takes(0.002, function()
        leave(conn)
        arrive()
        arrive()
      end)
    end)
    assert.equal("/close /reset /shutdown", t:logged())
    web.stop(task)
  end))

  it("with further requests gets the answers up to the one that waits", h.scoped(function(t)
    local task, server = serve(function(req)
      if req.path ~= "/3" then return req.path end
      local _ <close> = neap.defer(function() t:note("cancelled") end)
      await(neap.sleep(1000))
    end)
    local conn <close> = connect(server)
    await(conn:write(web.get("/1"), web.get("/2"), web.get("/3")))
    await(conn:shutdown())
    support.takes(0.001, function()
      for i = 1, 2 do assert.equal("/" .. i, (select(3, web.read(conn)))) end
      -- Nothing else comes; the server hangs up, and may have had no room to say so in TLS.
      local ok, rest = pcall(await, conn:read_all())
      assert.is_true(ok and rest == "" or rest.code == "ETLS")
      arrive()
    end)
    assert.equal("cancelled", t:logged())
    web.stop(task)
  end))

  it("in the middle of an upload fails the reads of it", h.scoped(function(t)
    local task, server = serve(function(req)
      neap.shield(function()
        local ok, err = pcall(await, req:text())
        t:note(ok)
        t:note(err.code)
      end)
    end)
    each_way(function(leave)
      local conn <close> = connect(server)
      await(conn:write("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nabc"))
      arrive()
      leave(conn)
      arrive()
    end)
    assert.equal("false ECONNRESET false ECONNRESET false ECONNRESET", t:logged())
    web.stop(task)
  end))

  it("in the middle of a response fails what is written to it", h.scoped(function(t)
    local task, server = serve(function(_, res)
      neap.shield(function()
        local ok, err = true, nil
        while ok do ok, err = pcall(await, res:write(("x"):rep(100000))) end
        t:note(err.code)
      end)
    end)
    for _, way in ipairs{ "close", "reset" } do
      local conn <close> = connect(server)
      await(conn:write(web.get("/")))
      await(conn:read(1000))
      ways[way](conn)
      arrive()
    end
    assert.matches("^E%u+ E%u+$", t:logged())
    assert.equal(0, #t:take_unobserved())
    web.stop(task)
  end))

  it("gets its answer where that is asked for", h.scoped(function()
    local task, server = serve(function()
      await(neap.sleep(10))
      return "late"
    end, { cancel_on_disconnect = false })
    local conn <close> = connect(server)
    await(conn:write(web.get("/")))
    await(conn:shutdown())
    assert.equal("late", (select(3, web.read(conn))))
    web.stop(task)
  end))

  it("or takes nothing ends after the idle time", h.scoped(function(t)
    local task, server = serve(function(req, res)
      if req.path == "/whole" then return ("x"):rep(50000000) end
      local ok, err = pcall(await, res:write(("x"):rep(50000000)))
      t:note(ok)
      error(err, 0)
    end, { idle_timeout = 50 })
    for _, path in ipairs{ "/whole", "/stream" } do
      local conn <close> = connect(server)
      await(conn:write(web.get(path)))
      await(neap.sleep(500))
      local text, err = read_slowly(conn, 0)
      assert.is_true(#text < 50000000)
      assert.equal("ETLS", err.code) -- cut, not ended
    end
    assert.equal("false", t:logged())
    web.stop(task)
  end))
end)

describe("the end of neap.http.serve with TLS", function()
  it("closes idle connections at once, and tells them", h.scoped(function()
    local handles = core.stats().handles
    local task, server = serve(function() return "x" end)
    local conns = {}
    for i = 1, 10 do
      conns[i] = connect(server)
      await(conns[i]:write(web.get("/")))
      web.read(conns[i])
    end
    support.takes(0, function()
      web.stop(task)
      for i = 1, 10 do assert.equal("", await(conns[i]:read_all())) end
    end)
    for i = 1, 10 do await(conns[i]:close()) end
    assert.equal(handles, core.stats().handles)
  end))

  it("lets handlers read, answer and write", h.scoped(function()
    local task, server = serve(function(req, res)
      local text = await(req:text())
      await(res:write(text))
      await(neap.sleep(3))
      await(res:write("late"))
    end)
    local conn <close> = connect(server)
    await(conn:write("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 6\r\n\r\nabc"))
    arrive()
    task:cancel("stop")
    arrive()
    await(conn:write("def"))
    local status, headers, body = web.read(conn)
    assert.same({ 200, "close", "abcdeflate" }, { status, headers.connection, body })
    assert.equal("", await(conn:read_all()))
    await(neap.settle(task))
  end))

  it("waits for a client that reads slowly", h.scoped(function()
    local body = noise(4 * LARGE)
    local task, server = serve(function() return body end, { grace = 100 })
    local conn <close> = connect(server)
    await(conn:write(web.get("/")))
    arrive()
    task:cancel("stop")
    local text, err = read_slowly(conn, 0.01)
    assert.is_nil(err)
    assert.is_true(body_of(text) == body)
    await(neap.settle(task))
  end))

  it("cancels handlers, and cuts handshakes, when their grace is over", h.scoped(function(t)
    local task, server = serve(function()
      local _ <close> = neap.defer(function() t:note("cancelled") end)
      await(neap.sleep(1000))
    end, { grace = 7 })
    local conn <close> = connect(server)
    local silent <close> = connect_plain(server)
    await(conn:write(web.get("/")))
    arrive()
    task:cancel("stop")
    support.takes(7, function() await(neap.settle(task)) end)
    assert.equal("cancelled", t:logged())
    assert.equal("", await(silent:read_all()))
  end))
end)

describe("a Lua state that ends with open connections", function()
  it("is in order, also in the middle of everything", function()
    local output, how, code = h.process(([[
      local neap = require "neap"
      local await = neap.await
      neap.run(function()
        local tls = { cert = %q, key = %q }
        local server = await(neap.net.listen("127.0.0.1", 0, { tls = tls }))
        neap.background(function()
          await(neap.http.serve{ server = server, handler = function(req, res)
            if req.path == "/write" then await(res:write(("x"):rep(50000000))) end
            if req.path == "/read" then await(req:text()) end
            if req.path == "/wait" then await(neap.sleep(1000)) end
            return "x"
          end })
        end)
        local host, port = server:address()
        conns = {}
        for i, path in ipairs{ "/", "/write", "/read", "/wait" } do
          conns[i] = await(neap.net.connect(host, port, { tls = { verify = false } }))
          local fields = " HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\n"
          await(conns[i]:write("POST ", path, fields, "abc"))
        end
        conns[5] = await(neap.net.connect(host, port))
        for _ = 1, 20 do await(neap.yield()) end
        print("there")
        os.exit(true, true)
      end)
    ]]):format(c.good.cert, c.good.key))
    assert.same({ "there\n", "exit", 0 }, { output, how, code })
  end)
end)

describe("memory that fails once", function()
  -- With a collection after every turn each try takes long: some of them then.
  local STEP = os.getenv("NEAP_STRESS_GC") == "1" and 40 or 1

  --- Two requests on one connection.
  local function ask_twice(tls, client)
    local task, server = serve(function(req)
      return 200, await(req:text()), { ["X-A"] = "b" }
    end, { on_error = function() end, tls = tls })
    local _ <close> = neap.defer(function() task:cancel() end)
    local host, port = server:address()
    local conn <close> = await(net.connect(host, port, { tls = client }))
    await(conn:write("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc", web.get("/")))
    local first = web.read(conn)
    return first, (web.read(conn))
  end

  local function try(n)
    local fired, first, second = false, nil, nil
    local former = neap.on_unobserved(function() end)
    pcall(neap.run, { clock = neap.test_clock{ autojump = true } }, function()
      local tls = neap.tls.context{ cert = c.good.cert, key = c.good.key }
      local client = neap.tls.context{ verify = false }
      core.fail_allocation(n)
      local _
      _, _, first, second = neap.try_for(60, pcall, ask_twice, tls, client)
      fired = core.fail_allocation()
    end)
    fired = core.fail_allocation() or fired
    neap.on_unobserved(former)
    return fired, first, second
  end

  it("costs what it fails in, and leaves nothing behind", h.plain(function()
    local n, fired, first, second = 0, true, nil, nil
    while fired and n < 1000 do
      n = n + STEP
      fired, first, second = try(n)
    end
    local attempts = 0 -- the clock of the test may jump while the machine is busy
    while first ~= 200 and attempts < 20 do
      attempts = attempts + 1
      fired, first, second = try(n)
    end
    assert.same({ 200, 200 }, { first, second })
    assert.is_true(not fired and n > 50 and n < 1000, n)
  end))
end)
