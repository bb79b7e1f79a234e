-- Responses that are read as they come: back-pressure, the ways to read, and the ways to stop.
local h = require "spec.helper"
local server = require "spec.http"
local support = require "spec.support"
local neap = require "neap"

local await = neap.await

local HEAD = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"

local function chunk(text) return ("%x\r\n%s\r\n"):format(#text, text) end

--- fn(client, base, t, conns): a server that sends the head, and then what the spec writes to
--- conns[1].
local function with_stream(fn)
  return server.with_server(function(conn)
    server.read_request(conn)
    await(conn:write(HEAD))
    await(neap.sleep(1e9))
  end, fn)
end

describe("a streamed response", function()
  it("is there with its head, before its body", with_stream(function(client, base, _, conns)
    local res = await(client:get(base, { stream = true }))
    assert.equal(200, res.status)
    assert.equal("chunked", res.headers["transfer-encoding"])
    local read = res:read()
    assert.equal("pending", read:status())
    await(conns[1]:write(chunk("one")))
    assert.equal("one", await(read))
    await(conns[1]:write(chunk("two") .. "0\r\n\r\n"))
    assert.equal("two", await(res:read()))
    assert.is_nil(await(res:read()))
    assert.is_nil(await(res:read()))
  end))

  it("is read in a loop", with_stream(function(client, base, t, conns)
    local res <close> = await(client:get(base, { stream = true }))
    neap.start(function()
      for i = 1, 3 do
        await(conns[1]:write(chunk("piece " .. i)))
        await(neap.sleep(1))
      end
      await(conns[1]:write("0\r\n\r\n"))
    end)
    for piece in res do t:note(piece) end
    assert.equal("piece 1 piece 2 piece 3", t:logged())
  end))

  it("is read by lines, exact numbers of bytes, and delimiters", with_stream(
    function(client, base, t, conns)
      local res <close> = await(client:get(base, { stream = true }))
      await(conns[1]:write(chunk("first\nsec") .. chunk("ond\r\n12345--678")))
      assert.equal("first", await(res:read_line()))
      assert.equal("second", await(res:read_line()))
      assert.equal("123", await(res:read_exactly(3)))
      assert.equal("45", await(res:read_until("--")))
      await(conns[1]:write(chunk("9\na\nb\n") .. "0\r\n\r\n"))
      for line in res:lines() do t:note(line) end
      assert.equal("6789 a b", t:logged())
    end))

  it("has no text at hand", with_stream(function(client, base)
    local res <close> = await(client:get(base, { stream = true }))
    h.misuse(function() res:text() end)
    h.misuse(function() res:json() end)
  end))

  it("allows one read at a time", with_stream(function(client, base, _, conns)
    local res <close> = await(client:get(base, { stream = true }))
    local read = res:read()
    h.misuse(function() res:read_all() end)
    await(conns[1]:write(chunk("x")))
    assert.equal("x", await(read))
  end))

  it("[C6] loses nothing when a read is cancelled", with_stream(function(client, base, _, conns)
    local res <close> = await(client:get(base, { stream = true }))
    local read = res:read_exactly(4)
    await(conns[1]:write(chunk("ab")))
    server.settle()
    read:cancel()
    await(conns[1]:write(chunk("cd") .. "0\r\n\r\n"))
    assert.equal("abcd", await(res:read_all()))
  end))

  it("of a client that streams", server.with_answers(function()
    return server.response("200 OK", "text")
  end, { stream = true }, function(client, base)
    assert.equal("text", await(await(client:get(base)):read_all()))
    assert.equal("text", await(client:get(base, { stream = false })):text())
  end))
end)

describe("back-pressure", function()
  local SIZE = 16 << 20

  it("stops the server while nobody reads", function()
    local sent, piece = 0, ("x"):rep(65536)
    server.with_server(function(conn)
      server.read_request(conn)
      await(conn:write("HTTP/1.1 200 OK\r\nContent-Length: " .. SIZE .. "\r\n\r\n"))
      while sent < SIZE do
        await(conn:write(piece))
        sent = sent + #piece
      end
    end, function(client, base)
      local res <close> = await(client:get(base, { stream = true }))
      server.settle(200)
      local before = sent
      assert.is_true(before < SIZE, before)
      server.settle(200)
      assert.equal(before, sent)
      local size = 0
      for chunk_ in res do size = size + #chunk_ end
      assert.equal(SIZE, size)
      assert.equal(SIZE, sent)
    end)()
  end)
end)

describe("a response that has arrived", function()
  local function with_body(fn)
    return server.with_answers(function() return server.response("200 OK", "one\ntwo\nthree") end,
      fn)
  end

  it("is read as one that is streamed", with_body(function(client, base, t)
    for piece in await(client:get(base)) do t:note(piece) end
    local res = await(client:get(base))
    for line in res:lines() do t:note(line) end
    assert.equal("one\ntwo\nthree one two three", t:logged())
    res = await(client:get(base))
    assert.equal("on", await(res:read(2)))
    assert.equal("e", await(res:read_line()))
    assert.equal("two\nthree", await(res:read_all()))
    assert.is_nil(await(res:read()))
    assert.equal("one\ntwo\nthree", res:text())
  end))

  it("may be empty", server.with_answers(function() return server.response("200 OK", "") end,
    function(client, base)
      local res = await(client:get(base))
      for _ in res do error("a piece") end
      assert.equal("", await(res:read_all()))
      assert.equal("", res:text())
    end))

  it("stays when it is closed", with_body(function(client, base)
    local res = await(client:get(base))
    do local _ <close> = res end
    await(res:close())
    assert.equal("one\ntwo\nthree", res:text())
  end))
end)

describe("closing a streamed response", function()
  it("closes the connection of a body that has not arrived", with_stream(
    function(client, base, _, conns)
      local res = await(client:get(base, { stream = true }))
      await(res:close())
      assert.is_nil(await(conns[1]:read()))
      h.raises("ECLOSED", await, res:read())
      await(res:close())
    end))

  it("fails a read that waits", with_stream(function(client, base)
    local res = await(client:get(base, { stream = true }))
    local read = res:read()
    await(res:close())
    h.raises("ECLOSED", await, read)
  end))

  it("happens at the end of its block", with_stream(function(client, base, _, conns)
    do
      local _ <close> = await(client:get(base, { stream = true }))
    end
    assert.is_nil(await(conns[1]:read()))
  end))

  it("keeps the connection where all has arrived", server.with_answers(function()
    return server.response("200 OK", "text")
  end, function(client, base, _, conns)
    for _ = 1, 3 do
      local _ <close> = await(client:get(base, { stream = true }))
      server.settle()
    end
    assert.equal(1, #conns)
  end))

  it("is done by the collector", with_stream(function(client, base, _, conns)
    await(client:get(base, { stream = true }))
    for _ = 1, 3 do
      collectgarbage()
      server.settle()
    end
    assert.is_nil(await(conns[1]:read()))
  end))

  it("is done by the collector after the read that still waits", with_stream(
    function(client, base, _, conns)
      local read = await(client:get(base, { stream = true })):read()
      collectgarbage()
      collectgarbage()
      await(conns[1]:write(chunk("late")))
      assert.equal("late", await(read))
      read = nil
      for _ = 1, 3 do
        collectgarbage()
        server.settle()
      end
      assert.is_nil(read)
      assert.is_nil(await(conns[1]:read()))
    end))
end)

describe("response:save", function()
  local function with_file(fn)
    return server.with_answers(function()
      return server.response("200 OK", ("0123456789"):rep(50000))
    end, function(client, base)
      local folder = support.temp_dir()
      local _ <close> = support.closing(function() support.remove_tree(folder) end)
      fn(client, base, folder .. "/file")
    end)
  end

  for _, stream in ipairs{ false, true } do
    it("writes the body to a file" .. (stream and ", streamed" or ""), with_file(
      function(client, base, path)
        local res = await(client:get(base, { stream = stream }))
        assert.equal(500000, await(res:save(path)))
        assert.equal(("0123456789"):rep(50000), support.slurp(path))
      end))
  end

  it("leaves the file as it was, and nothing beside it, when the body breaks", server.with_server(
    function(conn)
      server.read_request(conn)
      await(conn:write("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhello"))
    end, function(client, base)
      local folder = support.temp_dir()
      local _ <close> = support.closing(function() support.remove_tree(folder) end)
      support.spit(folder .. "/file", "before")
      local res = await(client:get(base, { stream = true }))
      h.raises("ECONNRESET", await, res:save(folder .. "/file"))
      assert.equal("before", support.slurp(folder .. "/file"))
      assert.equal(1, #await(neap.fs.list(folder)))
    end))

  it("names the file that cannot be written", with_file(function(client, base, path)
    for _, stream in ipairs{ false, true } do
      local res <close> = await(client:get(base, { stream = stream }))
      h.raises("ENOENT", await, res:save(path .. "/no/such"))
    end
  end))

  it("checks its path", with_file(function(client, base)
    local res = await(client:get(base))
    h.bad_argument("save", 1, function() res:save() end)
  end))
end)
