-- neap.http.serve: what is no request, or could be understood in two ways, is refused, and
-- nothing else
-- notices.
local assert = require "luassert"
local h = require "spec.helper"
local web = require "spec.http_wire"
local neap = require "neap"

local await = neap.await

local GET, POST = "GET / HTTP/1.1\r\nHost: x\r\n", "POST / HTTP/1.1\r\nHost: x\r\n"
local CHUNKED = POST .. "Transfer-Encoding: chunked\r\n\r\n"

--- One after the other on connections of their own, while a connection beside them goes on being
--- served.
local function refused(cases, handler, opts)
  return h.scoped(function()
    local task, server = web.serve(handler or function(_, _) return 200, "served" end, opts)
    local other <close> = web.connect(server)
    for _, case in ipairs(cases) do
      local expected, bytes = table.unpack(case)
      local conn <close> = web.connect(server)
      await(conn:write(bytes))
      local status, headers = web.read(conn)
      local shown = ("%q"):format(bytes:sub(1, 200))
      assert.equal(expected, status, shown)
      assert.equal("close", headers.connection, shown)
      assert.equal("", await(conn:read_all()), "one answer: " .. shown)
      await(other:write(web.get("/")))
      assert.equal(200, (web.read(other)))
    end
    web.stop(task)
  end)
end

describe("neap.http.serve refuses", function()
  it("what is no request", refused{
    { 400, "nonsense\r\n\r\n" },
    { 400, "\0\1\2\3" },
    { 400, "get / HTTP/1.1\r\nHost: x\r\n\r\n" },
    { 400, "GET\r\n\r\n" },
    { 400, "GET  / HTTP/1.1\r\n\r\n" },
    { 400, "GET /a b HTTP/1.1\r\nHost: x\r\n\r\n" },
    { 400, "GET /\xff HTTP/1.1\r\nHost: x\r\n\r\n" },
    { 400, "GET a HTTP/1.1\r\nHost: x\r\n\r\n" },
    { 400, "GET * HTTP/1.1\r\nHost: x\r\n\r\n" },
    { 400, "\22\3\1\0\xa5\1\0\0\xa1\3\3" }, -- TLS
  })

  it("methods and versions that it does not know", refused{
    { 501, "FROB / HTTP/1.1\r\nHost: x\r\n\r\n" },
    { 501, "CONNECT host:80 HTTP/1.1\r\nHost: x\r\n\r\n" },
    { 505, "GET / HTTP/2.0\r\nHost: x\r\n\r\n" },
    { 505, "GET / HTTP/3.0\r\nHost: x\r\n\r\n" },
    { 505, "GET / HTTP/0.9\r\nHost: x\r\n\r\n" },
    { 505, "GET /\r\n\r\n" },
    { 505, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" },
  })

  it("a request without one host", refused{
    { 400, "GET / HTTP/1.1\r\n\r\n" },
    { 400, GET .. "Host: y\r\n\r\n" },
  })

  it("two lengths, and a length beside chunks", refused{
    { 400, POST .. "Content-Length: 1\r\nContent-Length: 1\r\n\r\na" },
    { 400, POST .. "Content-Length: 1\r\nContent-Length: 2\r\n\r\naa" },
    { 400, POST .. "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n" },
    { 400, POST .. "Transfer-Encoding: chunked\r\nContent-Length: 1\r\n\r\n1\r\na\r\n0\r\n\r\n" },
    { 400, POST .. "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" },
    { 400, POST .. "Content-Length: 1, 1\r\n\r\na" },
    { 400, POST .. "Content-Length: +1\r\n\r\na" },
    { 400, POST .. "Content-Length: -1\r\n\r\na" },
    { 400, POST .. "Content-Length: 0x1\r\n\r\na" },
    { 400, POST .. "Content-Length: 1 1\r\n\r\na" },
    { 400, POST .. "Content-Length:\r\n\r\na" },
    { 400, POST .. "Content-Length: 99999999999999999999\r\n\r\na" },
  })

  it("encodings that it does not know", refused{
    { 501, POST .. "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n" },
    { 400, POST .. "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n" },
    { 400, POST .. "Transfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n" },
    { 400, "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" },
  })

  it("bare CR and LF, and lines that go on in the next one", refused{
    { 400, "GET / HTTP/1.1\nHost: x\n\n" },
    { 400, "GET / HTTP/1.1\nHost: x\r\n\r\n" },
    { 400, "GET / HTTP/1.1\r\nHost: x\n\r\n" },
    { 400, "GET / HTTP/1.1\r\nHost: x\r\n\n" },
    { 400, "\nGET / HTTP/1.1\r\nHost: x\r\n\r\n" },
    { 400, "GET / HTTP/1.1\r\nHost: x\rA: b\r\n\r\n" },
    { 400, "GET / HTTP/1.1\r\nHost: x\r\r\n\r\n" },
    { 400, GET .. "A: b\r\n c\r\n\r\n" },
    { 400, GET .. "A: b\r\n\tc\r\n\r\n" },
    { 400, "GET / HTTP/1.1\r\n Host: x\r\n\r\n" },
  })

  it("fields that are none", refused{
    { 400, GET .. "A : b\r\n\r\n" },
    { 400, GET .. "A\r\n\r\n" },
    { 400, GET .. ": b\r\n\r\n" },
    { 400, GET .. "A b: c\r\n\r\n" },
    { 400, GET .. "A: b\0c\r\n\r\n" },
    { 400, GET .. "A: b\1c\r\n\r\n" },
  })

  it("expectations that it does not know", refused{
    { 417, POST .. "Content-Length: 1\r\nExpect: 200-ok\r\n\r\na" },
  })

  it("heads that are too long", refused({
    { 431, GET .. ("A: b\r\n"):rep(1000) .. "\r\n" },
    { 431, GET .. "A: " .. ("b"):rep(100000) .. "\r\n\r\n" },
    { 431, GET .. ("b"):rep(5000) },
    { 414, "GET /" .. ("a"):rep(5000) .. " HTTP/1.1\r\nHost: x\r\n\r\n" },
    { 414, "GET /" .. ("a"):rep(100000) },
  }, nil, { max_header = 4096 }))

  it("bodies that are told to be too long, before the handler sees them", refused({
    { 413, POST .. "Content-Length: 11\r\n\r\n" .. ("x"):rep(11) },
    { 413, POST .. "Content-Length: 11\r\nExpect: 100-continue\r\n\r\n" },
    { 413, POST .. "Content-Length: 9223372036854775807\r\n\r\n" },
  }, nil, { max_body = 10 }))

  it("heads that are cut", h.scoped(function()
    local task, server = web.serve(function() return "served" end)
    for _, bytes in ipairs{ "G", "GET / HTTP/1.1\r\n", GET, GET .. "\r" } do
      local conn <close> = web.connect(server)
      await(conn:write(bytes))
      await(conn:shutdown())
      assert.equal(400, (web.read(conn)))
      assert.equal("", await(conn:read_all()))
    end
    web.stop(task)
  end))
end)

describe("neap.http.serve tells the handler that reads of", function()
  local function reads(cases, code, opts)
    return refused(cases, function(req)
      local ok, err = pcall(await, req:text())
      if ok then return 200, "ok" end
      assert.equal(code, err.code)
      error(err, 0)
    end, opts)
  end

  it("chunks that are none", reads({
    { 400, CHUNKED .. "x\r\na\r\n" },
    { 400, CHUNKED .. "-1\r\na\r\n" },
    { 400, CHUNKED .. "0x1\r\na\r\n0\r\n\r\n" },
    { 400, CHUNKED .. "1 \r\na\r\n0\r\n\r\n" },
    { 400, CHUNKED .. "1\r\nab\r\n0\r\n\r\n" },
    { 400, CHUNKED .. "1\na\n0\n\n" },
    { 400, CHUNKED .. "1\r\na\n0\r\n\r\n" },
    { 400, CHUNKED .. "1;\na\r\n0\r\n\r\n" },
    { 400, CHUNKED .. "fffffffffffffffff\r\na\r\n" },
    { 400, CHUNKED .. "\r\n" },
    { 400, CHUNKED .. "0\r\nA: b\n\r\n" },
  }, "EPROTO"))

  it("chunks that are more framing than content", reads({
    { 400, CHUNKED .. ("1;" .. ("x"):rep(1000) .. "\r\na\r\n"):rep(30) .. "0\r\n\r\n" },
    { 400, CHUNKED .. "1;" .. ("x"):rep(50000) .. "\r\na\r\n0\r\n\r\n" },
    { 400, CHUNKED .. "0\r\n" .. ("A: b\r\n"):rep(5000) .. "\r\n" },
  }, "EPROTO"))

  it("chunks that are too long together", reads({
    { 413, CHUNKED .. ("5\r\nhello\r\n"):rep(3) .. "0\r\n\r\n" },
  }, "ETOOLARGE", { max_body = 10 }))
end)

describe("many small chunks", function()
  it("are a body like another", h.scoped(function()
    local task, server = web.serve(function(req) return tostring(#await(req:text())) end)
    local _, _, body = web.ask(server, CHUNKED .. ("1\r\na\r\n"):rep(20000) .. "0\r\n\r\n")
    assert.equal("20000", body)
    web.stop(task)
  end))
end)

describe("empty lines before a request", function()
  it("are overlooked", h.scoped(function()
    local task, server = web.serve(function() return "served" end)
    assert.equal(200, (web.ask(server, "\r\n\r\n" .. GET .. "\r\n")))
    web.stop(task)
  end))
end)
