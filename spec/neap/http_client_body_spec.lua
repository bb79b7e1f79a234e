-- What servers send, to the byte: lengths, chunks, ends, wrong ones of each, and how large it may
-- be.
local h = require "spec.helper"
local server = require "spec.http"
local neap = require "neap"

local await = neap.await

--- fn(client, base) with a server that sends these bytes to each request, in pieces with a turn
--- between
--- them, and then ends the connection, or keeps it.
local function with_bytes(pieces, fn, opts)
  return server.with_server(function(conn)
    if type(pieces) == "string" then pieces = { pieces } end
    while server.read_request(conn) do
      for _, piece in ipairs(pieces) do
        await(conn:write(piece))
        await(neap.sleep(0.001))
      end
      if not pieces.keep then return end
    end
  end, opts or {}, fn)
end

local function gives(text, pieces)
  return with_bytes(pieces, function(client, base)
    for _ = 1, 2 do
      local res = await(client:get(base))
      assert.equal(text, res:text())
      res = await(client:get(base, { stream = true }))
      assert.equal(text, await(res:read_all()))
      assert.is_nil(await(res:read()))
    end
  end)
end

local function fails(code, pieces, message)
  return with_bytes(pieces, function(client, base)
    local err = h.raises(code, await, client:get(base))
    assert.equal(base, err.url)
    assert.is_truthy(err.message:find(message or "", 1, true), err.message)
  end)
end

local OK = "HTTP/1.1 200 OK\r\n"

describe("a body", function()
  it("has the length that is told", gives("hello", OK .. "Content-Length: 5\r\n\r\nhello"))
  it("comes in any pieces", gives("hello", { "HTT", "P/1.1 2", "00 OK\r", "\nContent-Le",
    "ngth: 5\r\n\r",
    "\nh", "ell", "o", keep = true }))
  it("ends with the connection", gives("to the end", OK .. "\r\nto the end"))
  it("ends with the connection, and is empty", gives("", OK .. "\r\n"))
  it("comes in chunks", gives("hello world", OK .. "Transfer-Encoding: chunked\r\n\r\n"
    .. "5\r\nhello\r\n6;x=y\r\n world\r\n0\r\n\r\n"))
  it("comes in chunks in any pieces, with trailers", gives("hello world", {
    OK .. "Transfer-Encoding: chunked\r\n\r\n", "5", "\r\nhel", "lo\r", "\n6\r\n world\r\n",
      "0\r\n",
    "X-After: 1\r\n\r\n", keep = true }))
  it("is none with status 204", gives("", { "HTTP/1.1 204 No\r\n\r\n", keep = true }))
  it("is none with status 304", gives("", { "HTTP/1.1 304 No\r\nContent-Length: 5\r\n\r\n",
    keep = true }))
  it("comes after interim responses", gives("x", { "HTTP/1.1 100 Continue\r\n\r\n",
    "HTTP/1.1 103 Early\r\nLink: a\r\n\r\n" .. OK .. "Content-Length: 1\r\n\r\nx", keep = true }))
  it("is complete where more follows", gives("hello", OK .. "Content-Length: 5\r\n\r\nhello there"))
end)

describe("the headers of the response", function()
  it("are the last ones, without those of interim responses and trailers", with_bytes({
    "HTTP/1.1 103 Early\r\nLink: a\r\n\r\n" .. OK .. "X-A: 1\r\nTransfer-Encoding: chunked\r\n\r\n"
      .. "1\r\nx\r\n0\r\nX-After: 1\r\n\r\n", keep = true
  }, function(client, base)
    local res = await(client:get(base))
    assert.equal(200, res.status)
    assert.same({ "1", nil, nil }, { res.headers["x-a"], res.headers.link, res.headers["x-after"] })
  end))

  it("may be 256 KiB long, and no more", server.with_answers(function(request)
    local line = "X: " .. ("y"):rep(50000)
    local lines = {}
    for i = 1, tonumber(request.target:sub(2)) do lines[i] = line end
    return server.response("200 OK", "", lines)
  end, {}, function(client, base)
    assert.equal(6, #await(client:get(base .. "/5")).headers)
    h.raises("ETOOLARGE", await, client:get(base .. "/6"))
  end))
end)

describe("a broken response", function()
  it("that ends before its first byte fails with ECONNRESET", fails("ECONNRESET", "",
    "Empty reply"))
  it("that ends within its head fails with ECONNRESET", fails("ECONNRESET", OK .. "Content-Le"))
  it("that is shorter than told fails with ECONNRESET", fails("ECONNRESET", OK
    .. "Content-Length: 5\r\n\r\nhell",
    "1 bytes remaining"))
  it("that ends within a chunk fails with ECONNRESET", fails("ECONNRESET",
    OK .. "Transfer-Encoding: chunked\r\n\r\n5\r\nhel"))
  it("that ends between chunks fails with ECONNRESET", fails("ECONNRESET",
    OK .. "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n"))
  it("with a bad size of a chunk fails with EPROTO", fails("EPROTO",
    OK .. "Transfer-Encoding: chunked\r\n\r\nxyz\r\nhello\r\n0\r\n\r\n"))
  it("with a bad length fails with EPROTO", fails("EPROTO", OK
    .. "Content-Length: five\r\n\r\nhello"))
  it("that is no HTTP fails with EPROTO", fails("EPROTO", "SSH-2.0-OpenSSH\r\nhello\r\n\r\n"))
  it("with an unknown encoding fails with EPROTO", fails("EPROTO",
    OK .. "Content-Encoding: what\r\nContent-Length: 1\r\n\r\nx"))

  it("fails a streamed one where its body breaks, with url and message", with_bytes(
    OK .. "Content-Length: 5\r\n\r\nhell", function(client, base)
      local res = await(client:get(base, { stream = true }))
      assert.equal("hell", await(res:read()))
      local err = h.raises("ECONNRESET", await, res:read())
      assert.equal(base, err.url)
      assert.is_truthy(err.message:find("1 bytes remaining", 1, true))
    end))

  it("does not disturb the next request", with_bytes("", function(client, base)
    for _ = 1, 3 do h.raises("ECONNRESET", await, client:get(base)) end
  end))
end)

describe("a compressed body", function()
  -- "hello, hello, hello, hello" by gzip -n
  local function unhex(text) return (text:gsub("%x%x",
    function(x) return string.char(tonumber(x, 16)) end)) end
  local GZIP = unhex("1f8b0800000000000003cb48cdc9c9d751c8c0a40055a382771a000000")

  -- 100 000 zeros
  local ZEROS = unhex(
    "1f8b0800000000000203edc13101000000c2a0f54f6d0d0fa000000000000000000000000000000000000000" ..
    "0000000000000000000000000000000000000000000000000000000000000000000000000000000000000000" ..
    "0000000000000000000000000000000000000000000000000000000000000000008057037d9511d4a0860100")

  local function answer(request)
    local headers = { "X-Accept: " .. (request.headers["accept-encoding"] or "none") }
    if request.target ~= "/plain" then headers[2] = "Content-Encoding: gzip" end
    return server.response("200 OK", GZIP, headers)
  end

  it("is what it was before", server.with_answers(answer, function(client, base)
    local res = await(client:get(base))
    assert.is_truthy(res.headers["x-accept"]:find("gzip"))
    assert.equal("hello, hello, hello, hello", res:text())
    local streamed = await(client:get(base, { stream = true }))
    assert.equal("hello, hello, hello, hello", await(streamed:read_all()))
  end))

  it("is left alone without compression", server.with_answers(answer, function(client, base)
    local res = await(client:get(base, { compression = false }))
    assert.equal("none", res.headers["x-accept"])
    assert.equal(GZIP, res:text())
    assert.is_truthy(await(client:get(base)):text():find("hello"))
  end))

  it("counts for max_body as what it becomes", server.with_answers(function()
    return server.response("200 OK", ZEROS, { "Content-Encoding: gzip" })
  end, function(client, base)
    assert.equal(100000, #await(client:get(base)):text())
    local err = h.raises("ETOOLARGE", await, client:get(base, { max_body = 99999 }))
    assert.equal(base, err.url)
  end))

  it("that is broken fails with EPROTO", with_bytes(OK
    .. "Content-Encoding: gzip\r\nContent-Length: 12\r\n\r\n"
    .. "\31\139\8\0\0\0\0\0\0\3\255\255", function(client, base)
      local err = h.raises("EPROTO", await, client:get(base))
      assert.equal(base, err.url)
    end))
end)

describe("max_body", function()
  it("is 64 MiB, where a length is told at once", with_bytes(OK
    .. "Content-Length: 67108865\r\n\r\nx",
    function(client, base)
      h.raises("ETOOLARGE", await, client:get(base))
    end))

  it("limits what comes without a length", with_bytes(OK .. "\r\n" .. ("x"):rep(1000),
    function(client, base)
      assert.equal(1000, #await(client:get(base, { max_body = 1000 })):text())
      local err = h.raises("ETOOLARGE", await, client:get(base, { max_body = 999 }))
      assert.equal(base, err.url)
      h.raises("ETOOLARGE", await, client:get(base, { max_body = 0 }))
    end))

  it("of a client holds for its requests, which may have another one", with_bytes(OK .. "\r\nhello",
    function(client, base)
      h.raises("ETOOLARGE", await, client:get(base))
      assert.equal("hello", await(client:get(base, { max_body = math.huge })):text())
    end, { max_body = 3 }))

  it("limits a streamed body where it is told", with_bytes(OK .. "\r\n" .. ("x"):rep(1000),
    function(client, base)
      local res = await(client:get(base, { stream = true }))
      assert.equal(1000, #await(res:read_all()))
      res = await(client:get(base, { stream = true, max_body = 999 }))
      h.raises("ETOOLARGE", await, res:read_all())
    end))
end)
