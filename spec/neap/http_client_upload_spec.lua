-- Bodies of requests that are sent piece by piece.
local h = require "spec.helper"
local server = require "spec.http"
local support = require "spec.support"
local neap = require "neap"

local await = neap.await

local function echo(request)
  return server.response("200 OK", request.body, {
    "X-Chunks: " .. (request.chunks or "none"),
    "X-Length: " .. (request.headers["content-length"] or "none"),
    "X-Type: " .. (request.headers["content-type"] or "none"),
  })
end

local function with_echo(fn) return server.with_answers(echo, fn) end

--- An iterator over the arguments; `between` is called before each.
local function pieces(between, ...)
  local list, i = { ... }, 0
  return function()
    i = i + 1
    between(i)
    return list[i]
  end
end

describe("a body that is sent as it comes", function()
  it("is chunked", with_echo(function(client, base)
    local res = await(client:post(base, { body = pieces(function() await(neap.sleep(1)) end, "one",
      "", "two") }))
    assert.equal("onetwo", res:text())
    assert.equal("2", res.headers["x-chunks"])
    assert.equal("none", res.headers["x-type"])
  end))

  it("may come from an async function, a stream, or a file", with_echo(function(client, base)
    local i = 0
    local source = neap.async(function()
      await(neap.sleep(1))
      i = i + 1
      if i <= 2 then return "piece " .. i end
    end)
    assert.equal("piece 1piece 2", await(client:put(base, { body = source })):text())
    local stream = neap.stream(function(yield)
      for n = 1, 3 do
        await(neap.sleep(1))
        yield("s" .. n)
      end
    end)
    assert.equal("s1s2s3", await(client:put(base, { body = stream() })):text())
    local path = os.tmpname()
    local _ <close> = support.closing(function() os.remove(path) end)
    support.spit(path, ("line\n"):rep(100000))
    local file <close> = await(neap.fs.open(path))
    assert.equal(("line\n"):rep(100000), await(client:post(base, { body = file })):text())
  end))

  it("may be empty", with_echo(function(client, base)
    assert.equal("", await(client:post(base, { body = function() end })):text())
  end))

  it("has the length that is told", with_echo(function(client, base)
    local res = await(client:post(base, { body = pieces(function() end, "abc", "de"), length = 5 }))
    assert.equal("abcde", res:text())
    assert.equal("5", res.headers["x-length"])
  end))

  it("is large, and the server takes its time", server.with_server(function(conn)
    local request = server.read_request(conn)
    await(conn:write("HTTP/1.1 100 Continue\r\n\r\n"))
    local size = 0
    repeat
      local n = tonumber(await(conn:read_line()), 16)
      size = size + #await(conn:read_exactly(n))
      await(conn:read_exactly(2))
      if size % (1 << 20) < 1000 then await(neap.sleep(0.01)) end
    until n == 0
    assert(request.headers["transfer-encoding"] == "chunked")
    await(conn:write(server.response("200 OK", tostring(size))))
  end, function(client, base)
    local left = 64
    local res = await(client:post(base, { body = function()
      left = left - 1
      if left >= 0 then return ("x"):rep(65536) end
    end }))
    assert.equal(tostring(64 * 65536), res:text())
  end))

  it("is not asked for more than the server takes", function()
    local given = 0
    server.with_server(function(conn)
      server.read_request(conn)
      await(conn:write("HTTP/1.1 100 Continue\r\n\r\n"))
      await(neap.sleep(1e9))
    end, function(client, base)
      local task = client:post(base, { body = function()
        given = given + 1
        return ("x"):rep(1 << 20)
      end })
      server.settle(300)
      local before = given
      assert.is_true(before < 32, before)
      server.settle(100)
      assert.equal(before, given)
      task:cancel()
    end)()
  end)

  it("of several parts reads files when their turn has come", with_echo(function(client, base)
    local path = os.tmpname()
    local _ <close> = support.closing(function() os.remove(path) end)
    support.spit(path, "content of the file")
    local res = await(client:post(base, { multipart = {
      { name = "a", data = "1" },
      { name = "f", path = path },
      { name = "g", data = pieces(function() end, "x", "y"), filename = "g.bin" },
    } }))
    local text = res:text()
    assert.is_truthy(text:find('name="f"; filename="' .. path:match("[^/]*$") .. '"\r\n'
      .. "Content-Type: application/octet-stream\r\n\r\ncontent of the file\r\n--", 1, true), text)
    assert.is_truthy(text:find("\r\n\r\nxy\r\n--", 1, true), text)
    h.raises("ENOENT", await, client:post(base, { multipart = {{ name = "f", path = path
      .. "x" }} }))
  end))
end)

describe("a body that fails", function()
  it("fails the request with its error", with_echo(function(client, base, _, conns)
    local mine = neap.error("EMINE", "mine")
    local _, err = pcall(await, client:post(base, { body = pieces(function(i)
      await(neap.sleep(1))
      if i == 2 then error(mine, 0) end
    end, "one", "two") }))
    assert.equal(mine, err)
    server.settle()
    assert.equal(1, #conns)
    _, err = pcall(await, client:post(base, { body = function() error("text", 0) end }))
    assert.equal("text", err)
  end))

  it("by what it gives names it", with_echo(function(client, base)
    local err = h.raises("EINVAL", await, client:post(base, { body = function() return 1 end }))
    assert.is_truthy(err.message:find("number", 1, true))
  end))

  it("of a response that is streamed already ends that", server.with_server(function(conn)
    server.read_request(conn)
    await(conn:write("HTTP/1.1 200 OK\r\n\r\nfirst"))
    await(neap.sleep(1e9))
  end, function(client, base)
    local res = await(client:post(base, { stream = true, body = function()
      await(neap.sleep(5))
      error("broken", 0)
    end }))
    assert.equal("first", await(res:read()))
    local err = h.raises("ECANCELLED", await, res:read())
    assert.is_truthy(err.message:find("broken", 1, true), err.message)
    assert.equal(base, err.url)
  end))
end)

describe("a response before the end of the body", function()
  local function early(conn)
    server.read_request(conn)
    await(conn:write("HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno"))
  end

  it("is the outcome, and the body ends", server.with_server(early, function(client, base)
    local closed = false
    local res = await(client:post(base, { body = function()
      local _ <close> = support.closing(function() closed = true end)
      await(neap.sleep(1e6))
    end }))
    assert.equal(413, res.status)
    assert.equal("no", res:text())
    server.settle()
    assert.is_true(closed)
  end))

  it("is streamed while the body is sent", server.with_server(function(conn)
    server.read_request(conn)
    await(conn:write("HTTP/1.1 200 OK\r\n\r\n"))
    while true do
      local n = tonumber(await(conn:read_line()), 16)
      local piece = await(conn:read_exactly(n))
      await(conn:read_exactly(2))
      if n == 0 then return end
      await(conn:write(piece:upper()))
    end
  end, function(client, base, t)
    local channel = neap.channel()
    local res = await(client:post(base, { stream = true, headers = { Expect = false },
      body = function()
      local _, word = await(channel:recv())
      return word
    end }))
    for _, word in ipairs{ "one", "two" } do
      await(channel:send(word))
      t:note(await(res:read()))
    end
    channel:close()
    assert.equal("ONE TWO", t:logged())
    assert.equal("", await(res:read_all()))
  end))

  it("that is closed ends the body, too", server.with_server(function(conn)
    server.read_request(conn)
    await(conn:write("HTTP/1.1 200 OK\r\n\r\n"))
    await(neap.sleep(1e9))
  end, function(client, base)
    local closed = false
    local res = await(client:post(base, { stream = true, headers = { Expect = false },
      body = function()
      local _ <close> = support.closing(function() closed = true end)
      await(neap.sleep(1e6))
    end }))
    await(res:close())
    server.settle()
    assert.is_true(closed)
  end))
end)

describe("cancelling a request with a body", function()
  it("ends the body, and the connection", server.with_server(function(conn)
    server.read_request(conn)
    await(neap.sleep(1e9))
  end, function(client, base, _, conns)
    local closed = false
    local task = client:post(base, { body = function()
      local _ <close> = support.closing(function() closed = true end)
      await(neap.sleep(1e6))
    end })
    server.settle()
    task:cancel()
    await(neap.settle(task))
    assert.equal("cancelled", task:status())
    server.settle()
    assert.is_true(closed)
    await(conns[1]:read_all())
  end))
end)

describe("a redirect of a body", function()
  it("fails where some of it has gone", server.with_answers(function(request)
    if request.target == "/end" then return echo(request) end
    return server.response("307 Moved", "", { "Location: /end" })
  end, function(client, base)
    local err = h.raises("EPROTO", await, client:post(base, { body = pieces(function() end, "a",
      "b") }))
    assert.equal(base, err.url)
    assert.equal("ab", await(client:post(base, { body = "ab" })):text())
  end))
end)
