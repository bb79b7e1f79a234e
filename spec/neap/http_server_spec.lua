-- neap.http.serve: requests and responses.
local h = require "spec.helper"
local support = require "spec.support"
local web = require "spec.http_wire"
local neap = require "neap"

local await, http = neap.await, neap.http

--- A spec with a server; `fn(server, t)`.
local function served(handler, fn, opts)
  return h.scoped(function(t)
    local task, server = web.serve(function(...) return handler(t, ...) end, opts)
    fn(server, t)
    web.stop(task)
  end)
end

--- What the handler returns becomes the response: status, headers and body of it.
local function answers(handler, request)
  local result
  served(function(_, ...) return handler(...) end, function(server)
    result = table.pack(web.ask(server, request or web.get("/")))
  end)()
  return table.unpack(result, 1, result.n)
end

describe("neap.http.serve", function()
  it("answers with what the handler returns", function()
    local status, headers, body = answers(function() return "hello" end)
    assert.same({ 200, "hello", "5" }, { status, body, headers["content-length"] })
    assert.equal("text/plain; charset=utf-8", headers["content-type"])
    assert.matches("^%a%a%a, %d%d %a%a%a %d%d%d%d %d%d:%d%d:%d%d GMT$", headers.date)
  end)

  it("takes a status, alone or before a body", function()
    local status, _, body = answers(function() return 404 end)
    assert.same({ 404, "Not Found" }, { status, body })
    status, _, body = answers(function() return 201, "made" end)
    assert.same({ 201, "made" }, { status, body })
  end)

  it("takes headers behind the body", function()
    local status, headers = answers(function()
      return 200, "x", { ["X-One"] = 1, Two = { "a", "b" } }
    end)
    assert.same({ 200, "1", "a, b" }, { status, headers["x-one"], headers.two })
  end)

  it("makes JSON of a table", function()
    local status, headers, body = answers(function() return 201, { 1, 2 } end)
    assert.same({ 201, "application/json", "[1,2]" }, { status, headers["content-type"], body })
    status, headers, body = answers(function() return { a = true } end)
    assert.equal("application/json", headers["content-type"])
    assert.same({ 200, '{"a":true}' }, { status, body })
  end)

  it("answers 204 when the handler returns nothing", function()
    local status, headers, body = answers(function() end)
    assert.same({ 204, "" }, { status, body })
    assert.is_nil(headers["content-length"])
  end)

  it("waits for a Task that the handler returns", function()
    local status, _, body = answers(function() return support.returns_after(1, 202, "later") end)
    assert.same({ 202, "later" }, { status, body })
  end)

  it("runs the handler as a task that may wait", served(function(_, req)
    await(neap.sleep(5))
    return req.path
  end, function(server)
    support.takes(5, function() assert.same({ 200, "/a" }, { (function()
      local status, _, body = web.ask(server, web.get("/a"))
      return status, body
    end)() }) end)
  end))

  it("serves connections at the same time", served(function(_, req)
    await(neap.sleep(1))
    return req.path
  end, function(server)
    support.takes(1, function()
      local tasks = {}
      for i = 1, 20 do
        tasks[i] = neap.start(function() return (select(3, web.ask(server, web.get("/" .. i)))) end)
      end
      for i = 1, 20 do assert.equal("/" .. i, await(tasks[i])) end
    end)
  end))

  it("gives task-local values to its handlers", h.scoped(function()
    local name = neap.localvar("none")
    local task, server
    name:with("mine", function() task, server = web.serve(function() return name:get() end) end)
    assert.equal("mine", (select(3, web.ask(server, web.get("/")))))
    web.stop(task)
  end))

  it("names an option that is wrong at the line of its caller", h.run(function()
    assert.matches("handler", h.bad_argument("serve", 1, http.serve, { port = 0 }))
    local fn = function() end
    assert.matches("max_body", h.bad_argument("serve", 1, http.serve, { port = 0, handler = fn,
      max_body = -1 }))
    assert.matches("idle_timeout", h.bad_argument("serve", 1, http.serve, { port = 0, handler = fn,
      idle_timeout = "x" }))
    assert.matches("port", h.bad_argument("serve", 1, http.serve, { port = -1, handler = fn }))
  end))

  it("listens at 127.0.0.1 unless it is told otherwise", h.scoped(function(t)
    local task = http.serve{ port = 0, handler = function() end, on_listen = function(server)
      t:note((server:address()))
    end }
    assert.equal("127.0.0.1", t:logged())
    web.stop(task)
  end))
end)

describe("a request", function()
  local function shows(expected, fn, request)
    local _, _, body = answers(function(req) return tostring(fn(req)) end, request)
    assert.equal(expected, body)
  end

  it("has method, path, target and version", function()
    shows("GET", function(req) return req.method end)
    shows("M-SEARCH", function(req) return req.method end, "M-SEARCH / HTTP/1.1\r\nHost: x\r\n\r\n")
    shows("/a b/ü", function(req) return req.path end, web.get("/a%20b/%c3%bC?x=1"))
    shows("/100%/%zz", function(req) return req.path end, web.get("/100%/%zz"))
    shows("/a%20b?x", function(req) return req.target end, web.get("/a%20b?x"))
    shows("1.0", function(req) return req.version end, "GET / HTTP/1.0\r\n\r\n")
    shows("nil", function(req) return req.nothing end)
  end)

  it("may name the host in its target", function()
    shows("/p", function(req) return req.path end, web.get("http://host:80/p?q=1"))
    shows("1", function(req) return req.query.q end, web.get("http://host?q=1"))
    shows("/", function(req) return req.path end, web.get("http://host"))
    shows("*", function(req) return req.path end, "OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n")
  end)

  it("has its query decoded, the first of each name", function()
    shows("1 2&", function(req) return req.query.a end, web.get("/?a=1+2%26&a=3&b"))
    shows("", function(req) return req.query.b end, web.get("/?a=1&b"))
    shows("nil", function(req) return req.query.c end, web.get("/?a=1&b"))
    shows("1,3", function(req) return table.concat(req:query_values("a"), ",") end,
      web.get("/?a=1&&b=2&a=3"))
    shows("true", function(req) return req.query == req.query end)
  end)

  local fields = "Accept: a\r\nX-Empty:\r\naccept:  b \r\nCookie: c=1\r\ncookie: d=2\r\n"

  it("has headers whatever their case, repeated ones joined", function()
    shows("a, b", function(req) return req.headers.Accept end, web.get("/", fields))
    shows("a, b", function(req) return req.headers["accept"] end, web.get("/", fields))
    shows("c=1; d=2", function(req) return req.headers.cookie end, web.get("/", fields))
    shows("", function(req) return req.headers["x-empty"] end, web.get("/", fields))
    shows("nil", function(req) return req.headers["x-none"] end, web.get("/", fields))
    shows("5", function(req)
      local n = 0
      for name in pairs(req.headers) do n = n + (name == name:lower() and 1 or 100) end
      return n + 1
    end, web.get("/", fields))
  end)

  it("gives one header without the others, or all of a name", function()
    shows("a, b", function(req) return req:header("ACCEPT") end, web.get("/", fields))
    shows("c=1; d=2", function(req) return req:header("cookie") end, web.get("/", fields))
    shows("nil", function(req) return req:header("x-none") end, web.get("/", fields))
    shows("a|b", function(req) return table.concat(req:header_values("Accept"), "|") end,
      web.get("/", fields))
  end)

  it("knows its peer", function()
    shows("127.0.0.1", function(req) return (req:peer()) end)
  end)

  it("is over when its handler has ended", served(function(t, req, res)
    t.req, t.res = req, res
    return "x"
  end, function(server, t)
    web.ask(server, web.get("/"))
    assert.matches("the request is over", tostring(h.misuse(function() return t.req.path end)))
    assert.matches("the response is over", tostring(h.misuse(function() t.res:send() end)))
    assert.equal("neap.http.ServerRequest: over", tostring(t.req))
    t.req, t.res = nil, nil
  end))

  it("shows itself", function()
    shows("neap.http.ServerRequest: GET /a", function(req) return req end, web.get("/a"))
  end)
end)

describe("the body of a request", function()
  local function post(body, fields)
    local head = "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n%s\r\n%s"
    return head:format(#body, fields or "", body)
  end
  local chunked = "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    .. "3\r\nabc\r\n4;ext=1\r\ndefg\r\n0\r\nTrailer: x\r\n\r\n"

  local function receives(expected, request, fn)
    local _, _, body = answers(function(req) return tostring(fn(req)) end, request)
    assert.equal(expected, body)
  end

  it("is read as text", function()
    receives("hello", post("hello"), function(req) return await(req:text()) end)
    receives("abcdefg", chunked, function(req) return await(req:text()) end)
    receives("", web.get("/"), function(req) return await(req:text()) end)
  end)

  it("is read as JSON", function()
    receives("2", post('{"a":[1,2]}'), function(req)
      return math.tointeger(await(req:json()).a[2])
    end)
    receives("EINVAL", post("{"), function(req)
      return select(2, pcall(await, req:json())).code
    end)
  end)

  it("is read in pieces, by lines, and in a loop", function()
    receives("ab|cd|", post("abcd"), function(req)
      return await(req:read(2)) .. "|" .. await(req:read_exactly(2)) .. "|"
        .. (await(req:read()) or "")
    end)
    receives("a,b", post("a\r\nb\n"), function(req)
      local list = {}
      for line in req:lines() do list[#list + 1] = line end
      return table.concat(list, ",")
    end)
    receives("7", chunked, function(req)
      local n = 0
      for chunk in req do n = n + #chunk end
      return n
    end)
  end)

  it("has a length where it was told", function()
    receives("5", post("hello"), function(req) return req.length end)
    receives("nil", chunked, function(req) return req.length end)
  end)

  it("comes as it is sent", served(function(t, req)
    for chunk in req do t:note(chunk) end
    return "end"
  end, function(server, t)
    local conn <close> = web.connect(server)
    await(conn:write("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 6\r\n\r\n"))
    for _, piece in ipairs{ "ab", "cd", "ef" } do
      await(neap.sleep(1))
      await(conn:write(piece))
    end
    assert.equal("end", (select(3, web.read(conn))))
    assert.equal("ab cd ef", t:logged())
  end))

  it("waits in the network while nobody reads it", served(function(_, req)
    await(neap.sleep(10))
    return tostring(#await(req:text()))
  end, function(server)
    local conn <close> = web.connect(server)
    local body = ("x"):rep(8 * 1024 * 1024)
    local writing = conn:write(post(body))
    await(neap.sleep(5))
    assert.equal("pending", writing:status())
    assert.equal(tostring(#body), (select(3, web.read(conn))))
    assert.equal("done", writing:status())
  end))

  it("is asked for by 100 Continue when it is read first", served(function(_, req)
    await(neap.sleep(1))
    return await(req:text())
  end, function(server)
    local conn <close> = web.connect(server)
    await(conn:write((post("ok", "Expect: 100-continue\r\n"):sub(1, -3))))
    assert.equal(100, (web.read(conn)))
    await(conn:write("ok"))
    assert.same({ 200, "ok" }, { (function() local s, _, b = web.read(conn) return s, b end)() })
  end))

  it("is not asked for when nobody wants it, and the connection ends", served(function()
    return 403
  end, function(server)
    local all = web.ask_all(server, (post("ok", "Expect: 100-continue\r\n"):sub(1, -3)))
    assert.matches("^HTTP/1%.1 403 ", all)
  end))

  it("is dropped when the handler leaves it, and the connection goes on", served(function(_, req)
    return req.method
  end, function(server)
    local conn <close> = web.connect(server)
    await(conn:write(post(("x"):rep(100000)), chunked, web.get("/")))
    for _, method in ipairs{ "POST", "POST", "GET" } do
      assert.equal(method, (select(3, web.read(conn))))
    end
  end))

  it("ends the connection when it is long and nobody reads it", served(function() return "no" end,
    function(server)
      local head = "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n"
      local all = web.ask_all(server, head .. "abc")
      assert.matches("\r\n\r\nno$", all)
    end))

  it("has one reader at a time", served(function(_, req)
    local first = req:read()
    local err = h.misuse(function() return req:read() end)
    await(first)
    return tostring(err)
  end, function(server)
    local conn <close> = web.connect(server)
    await(conn:write("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\n"))
    await(neap.sleep(1))
    await(conn:write("abc"))
    assert.matches("two reads at once", (select(3, web.read(conn))))
  end))

  it("is not read by a task that outlives the handler", served(function(t, req)
    t.task = neap.start(function() return await(req:text()) end)
    return "early"
  end, function(server, t)
    local conn <close> = web.connect(server)
    await(conn:write("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\n"))
    assert.equal("early", (select(3, web.read(conn))))
    h.raises("ECLOSED", await, t.task)
    t.task = nil
  end))
end)

describe("a response", function()
  it("is sent in one piece", function()
    local status, headers, body = answers(function(_, res)
      res.status = 202
      res:header("Content-Type", "text/html")
      res:send("<p>")
    end)
    assert.same({ 202, "text/html", "<p>" }, { status, headers["content-type"], body })
    status, headers, body = answers(function(_, res) res:send(418, "tea") return "ignored" end)
    assert.equal("3", headers["content-length"])
    assert.same({ 418, "tea" }, { status, body })
  end)

  it("is sent as JSON, or leads elsewhere", function()
    local status, headers, body = answers(function(_, res) res:json(400, { error = "x" }) end)
    assert.same({ 400, "application/json", '{"error":"x"}' },
      { status, headers["content-type"], body })
    status, headers = answers(function(_, res) res:redirect("/there") end)
    assert.same({ 302, "/there" }, { status, headers.location })
    status = answers(function(_, res) res:redirect("/there", 308) end)
    assert.equal(308, status)
  end)

  it("has headers that are set, added, read and taken away", function()
    local _, headers, body = answers(function(_, res)
      res:header("X-A", "1")
      res:header("x-a", "2")
      res:add_header("Set-Cookie", "a=1")
      res:add_header("Set-Cookie", "b=2")
      res:header("X-Gone", "y")
      res:header("x-gone", nil)
      return tostring(res:header("X-A")) .. tostring(res:header("X-Gone"))
    end)
    assert.same({ "2", "a=1, b=2", nil, "2nil" },
      { headers["x-a"], headers["set-cookie"], headers["x-gone"], body })
  end)

  it("refuses what would break its head", served(function(_, _, res)
    h.bad_argument("header", 2, function() res:header("A", "x\r\nB: y") end)
    h.bad_argument("header", 2, function() res:header("A", "x\ny") end)
    h.bad_argument("header", 2, function() res:header("A\n", "x") end)
    h.bad_argument("header", 2, function() res:header("A:", "x") end)
    h.bad_argument("header", 2, function() res:header("", "x") end)
    h.bad_argument("header", 2, function() res:header("A", "\0") end)
    h.bad_argument("add_header", 2, function() res:add_header("A", "x\r") end)
    h.bad_argument("header", 1, function() res:header("Transfer-Encoding", "chunked") end)
    h.bad_argument("header", 1, function() res:header("Connection", "upgrade") end)
    h.bad_argument("header", 2, function() res:header("Content-Length", "1x") end)
    h.bad_argument("redirect", 1, function() res:redirect("/\r\nX: y") end)
    h.bad_argument("send", 1, function() res:send(99) end)
    h.misuse(function() res.other = 1 end)
    return "fine"
  end, function(server)
    local _, headers, body = web.ask(server, web.get("/"))
    assert.same({ "fine", nil }, { body, headers.b })
  end))

  it("is sent once", served(function(_, _, res)
    assert.is_false(res.is_sent)
    res:send("a")
    assert.is_true(res.is_sent)
    h.misuse(function() res:send("b") end)
    h.misuse(function() res:header("A", "b") end)
    h.misuse(function() return res:write("b") end)
  end, function(server)
    assert.equal("a", (select(3, web.ask(server, web.get("/")))))
  end))

  it("is streamed in chunks", served(function(_, _, res)
    for i = 1, 3 do
      await(res:write("part ", i, ";"))
      await(res:write(""))
      await(neap.sleep(1))
    end
  end, function(server)
    local status, headers, body = web.ask(server, web.get("/"))
    assert.same({ 200, "chunked", "part 1;part 2;part 3;" },
      { status, headers["transfer-encoding"], body })
  end))

  it("goes out piece by piece", served(function(_, _, res)
    await(res:write("first"))
    await(neap.sleep(60))
    await(res:write("second"))
  end, function(server)
    local conn <close> = web.connect(server)
    await(conn:write(web.get("/")))
    support.takes(0, function() await(conn:read_until("first\r\n")) end)
    support.takes(60, function() await(conn:read_until("second\r\n")) end)
    assert.equal("0\r\n\r\n", await(conn:read_exactly(5)))
  end))

  it("is streamed as it is where its length was told", function()
    local _, headers, body = answers(function(_, res)
      res:header("Content-Length", "6")
      await(res:write("abc"))
      await(res:write("def"))
    end)
    assert.same({ "6", nil, "abcdef" },
      { headers["content-length"], headers["transfer-encoding"], body })
  end)

  it("holds to its length", served(function(_, req, res)
    res:header("Content-Length", "3")
    await(res:write("ab"))
    if req.path == "/long" then h.misuse(function() return res:write("cd") end) end
  end, function(server, t)
    assert.matches("\r\n\r\nab$", web.ask_all(server, web.get("/long")))
    assert.matches("\r\n\r\nab$", web.ask_all(server, web.get("/short")))
    assert.equal(2, #t:take_unobserved())
  end))

  it("waits for a client that reads slowly", served(function(t, _, res)
    for i = 1, 100 do
      await(res:write(("x"):rep(100000)))
      t.written = i
    end
  end, function(server, t)
    local conn <close> = web.connect(server)
    await(conn:write(web.get("/")))
    await(neap.sleep(5))
    assert.is_true(t.written < 90, t.written)
    local _, _, body = web.read(conn)
    assert.equal(10000000, #body)
    t.written = nil
  end))

  it("of any size arrives whole", served(
    function(_, req) return ("x"):rep(tonumber(req.query.n)) end,
    function(server)
      local conn <close> = web.connect(server)
      for _, n in ipairs{ 0, 1, 16384, 16385, 65536, 20000000, 1 } do
        await(conn:write(web.get("/?n=" .. n)))
        assert.equal(n, #select(3, web.read(conn)))
      end
    end))

  it("has no body for HEAD, and the same head", served(function(_, req, res)
    if req.path == "/stream" then
      await(res:write("abc"))
      return
    end
    return "hello"
  end, function(server)
    local conn <close> = web.connect(server)
    await(conn:write((web.get("/"):gsub("GET", "HEAD")), (web.get("/stream"):gsub("GET", "HEAD")),
      web.get("/")))
    local status, headers = web.read(conn, "HEAD")
    assert.same({ 200, "5" }, { status, headers["content-length"] })
    assert.equal(200, (web.read(conn, "HEAD")))
    assert.equal("hello", (select(3, web.read(conn))))
  end))

  it("has no body with 204 and 304", function()
    local status, headers = answers(function() return 304, "x" end)
    assert.same({ 304 }, { status, headers["transfer-encoding"] })
    status, headers = answers(function() return 204, "x" end)
    assert.same({ 204 }, { status, headers["content-length"] })
  end)

  it("has one write at a time", served(function(_, _, res)
    local first = res:write(("x"):rep(5000000))
    local err = h.misuse(function() return res:write("y") end)
    await(first)
    assert.matches("two writes at once", tostring(err))
  end, function(server)
    assert.equal(5000000, #select(3, web.ask(server, web.get("/"))))
  end))

  it("is completed by finish", served(function(t, _, res)
    await(res:write("a"))
    res:finish()
    h.misuse(function() return res:write("b") end)
    await(neap.sleep(1))
    t:note("after")
  end, function(server, t)
    assert.equal("a", (select(3, web.ask(server, web.get("/")))))
    await(neap.sleep(2))
    assert.equal("after", t:logged())
  end))
end)

describe("a connection", function()
  it("is kept, and requests that come together are answered in order", served(function(_, req)
    if req.path == "/2" then await(neap.sleep(1)) end
    return req.path
  end, function(server)
    local conn <close> = web.connect(server)
    local requests = {}
    for i = 1, 50 do requests[i] = web.get("/" .. i) end
    await(conn:write(table.concat(requests)))
    for i = 1, 50 do assert.equal("/" .. i, (select(3, web.read(conn)))) end
  end))

  it("takes requests byte by byte", served(function(_, req)
    return req.path .. await(req:text())
  end, function(server)
    local conn <close> = web.connect(server)
    local text = "POST /a?b HTTP/1.1\r\nHost: x\r\nX: y\r\nTransfer-Encoding: chunked\r\n\r\n"
      .. "2\r\nhi\r\n0\r\n\r\n\r\n" .. web.get("/c")
    neap.start(function()
      for c in text:gmatch(".") do
        await(conn:write(c))
        await(neap.yield())
      end
    end)
    assert.equal("/ahi", (select(3, web.read(conn))))
    assert.equal("/c", (select(3, web.read(conn))))
  end))

  it("ends after a request that wants it", served(function() return "x" end, function(server)
    for _, request in ipairs{ web.get("/", "Connection: close\r\n"), "GET / HTTP/1.0\r\n\r\n" } do
      local all = web.ask_all(server, request)
      assert.matches("\r\nConnection: close\r\n", all)
      assert.matches("\r\n\r\nx$", all)
    end
  end))

  it("is kept for HTTP/1.0 where that is wanted", served(function() return "x" end, function(server)
    local conn <close> = web.connect(server)
    for _ = 1, 2 do
      await(conn:write("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"))
      local _, headers, body = web.read(conn)
      assert.same({ "keep-alive", "x" }, { headers.connection, body })
    end
  end))

  it("streams to HTTP/1.0 up to its end", served(function(_, _, res)
    await(res:write("a"))
    await(res:write("b"))
  end, function(server)
    local all = web.ask_all(server, "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
    assert.matches("\r\nConnection: close\r\n", all)
    assert.matches("\r\n\r\nab$", all)
  end))

  it("ends when the handler says so", served(function(_, _, res)
    res:header("Connection", "close")
    return "x"
  end, function(server)
    assert.matches("\r\nConnection: close\r\n.*\r\n\r\nx$", web.ask_all(server, web.get("/")))
  end))
end)

describe("an error in a handler", function()
  it("is answered by 500 and told, and the connection goes on", served(function(_, req)
    if req.path == "/bad" then error("boom") end
    return "fine"
  end, function(server, t)
    local conn <close> = web.connect(server)
    await(conn:write(web.get("/bad"), web.get("/good")))
    local status, _, body = web.read(conn)
    assert.same({ 500, "Internal Server Error" }, { status, body })
    assert.equal("fine", (select(3, web.read(conn))))
    local reports = t:take_unobserved()
    assert.equal(1, #reports)
    assert.matches("boom", tostring(reports[1].err))
  end))

  it("after a wait is the same", served(function()
    await(neap.sleep(1))
    error({ code = 5 })
  end, function(server, t)
    assert.equal(500, (web.ask(server, web.get("/"))))
    assert.equal(5, t:take_unobserved()[1].err.code)
  end))

  it("goes to on_error with the request", h.scoped(function(t)
    local task, server = web.serve(function() error("boom", 0) end, {
      on_error = function(err, req) t:note(err) t:note(req.path) end,
    })
    assert.equal(500, (web.ask(server, web.get("/x"))))
    assert.equal("boom /x", t:logged())
    web.stop(task)
  end))

  it("takes back what was set and not sent", served(function(_, _, res)
    res.status = 200
    res:header("X-A", "1")
    res:header("Content-Length", "100")
    error("boom", 0)
  end, function(server, t)
    local status, headers, body = web.ask(server, web.get("/"))
    assert.same({ 500, nil, "Internal Server Error" }, { status, headers["x-a"], body })
    t:take_unobserved()
  end))

  it("in the middle of a body ends the connection", served(function(_, _, res)
    await(res:write("abc"))
    error("boom", 0)
  end, function(server, t)
    local all = web.ask_all(server, web.get("/"))
    assert.matches("3\r\nabc\r\n$", all)
    assert.equal(1, #t:take_unobserved())
  end))

  it("is one, where the handler returns what is no response", served(function(_, req)
    if req.path == "/function" then return print end
    if req.path == "/number" then return 42 end
    return 200, "x", "headers"
  end, function(server, t)
    for _, path in ipairs{ "/function", "/number", "/headers" } do
      assert.equal(500, (web.ask(server, web.get(path))))
    end
    assert.equal(3, #t:take_unobserved())
  end))
end)
