-- TLS as a stream: handshakes, reads, writes and ends in all their states.
local certificates = require "spec.certificates"
local h = require "spec.helper"
local neap = require "neap"

local await, net = neap.await, neap.net

local c
setup(function() c = certificates.make() end)
teardown(function() c.remove() end)

--- Makes a spec of fn(conn, peer, t): both ends of a plain connection.
local function with_plain(fn)
  return h.run(function(t)
    local server <close> = await(net.listen("127.0.0.1", 0))
    local accepting = server:accept()
    local conn <close> = await(net.connect(server:address()))
    local peer <close> = await(accepting)
    fn(conn, peer, t)
  end)
end

local function client() return { ca = c.ca, server_name = "localhost" } end
local function server(more)
  local tls = { cert = c.good.cert, key = c.good.key, server = true }
  for name, value in pairs(more or {}) do tls[name] = value end
  return tls
end

--- The same with TLS, through.
local function with_pair(fn, client_tls, server_tls)
  return with_plain(function(conn, peer, t)
    local shaking = peer:start_tls(server_tls or server())
    await(conn:start_tls(client_tls and client_tls() or client()))
    await(shaking)
    fn(conn, peer, t)
  end)
end

local function is_truncated(err)
  assert.equal("ETLS", err.code)
  assert.is_truthy(err.message:find("^truncated"), err.message)
  assert.equal("read", err.syscall)
end

local function fails(task)
  local ok, err = pcall(await, task)
  assert.is_false(ok)
  return err
end

describe("Conn:start_tls", function()
  it("goes on with TLS where plain text was spoken", with_plain(function(conn, peer)
    await(conn:write("STARTTLS\n"))
    assert.equal("STARTTLS", await(peer:read_line()))
    await(peer:write("go\n"))
    local shaking = peer:start_tls(server())
    assert.equal("go", await(conn:read_line()))
    await(conn:start_tls(client()))
    await(shaking)
    await(conn:write("secret\n"))
    assert.equal("secret", await(peer:read_line()))
    assert.equal("localhost", peer:tls().server_name)
  end))

  it("takes what came with the last plain line as TLS", with_plain(function(conn, peer)
    await(conn:write("STARTTLS\nNOOP, smuggled\n"))
    assert.equal("STARTTLS", await(peer:read_line()))
    local err = fails(peer:start_tls(server()))
    assert.equal("ETLS", err.code)
    assert.equal("ETLS", fails(peer:read()).code)
    assert.equal("ETLS", fails(peer:write("x")).code)
  end))

  it("is once, and not while a read or a write is pending", with_plain(function(conn, peer)
    local read = conn:read()
    h.misuse(conn.start_tls, conn, client())
    read:cancel()
    local shaking = conn:start_tls(client())
    h.misuse(conn.start_tls, conn, client())
    await(peer:start_tls(server()))
    await(shaking)
    local other = await(net.listen("127.0.0.1", 0))
    local plain = await(net.connect(other:address()))
    await(plain:shutdown())
    h.misuse(plain.start_tls, plain, client())
    plain:close()
    local ok, err = pcall(plain.start_tls, plain, client())
    assert.is_false(ok)
    assert.equal("ECLOSED", err.code)
    await(other:close())
  end))

  it("makes it nothing that a child could be given", with_pair(function(conn)
    local err = h.raises("EMISUSE", await, neap.process.spawn { "true", stdin = conn })
    assert.is_truthy(err.message:find("it has TLS", 1, true))
  end))

  it("needs a name that is verified, and a server its certificate", with_plain(function(conn)
    h.bad_argument("start_tls", 1, conn.start_tls, conn)
    h.bad_argument("start_tls", 1, conn.start_tls, conn, { server = true })
    assert.is_false(conn:is_tls())
    assert.is_nil(conn:tls())
    assert.is_nil(conn:tls_session())
  end))
end)

describe("Conn:handshake", function()
  it("is done again at once", with_pair(function(conn)
    local task = conn:handshake()
    assert.equal("done", task:status())
    await(task)
  end))

  it("needs TLS", with_plain(function(conn)
    h.misuse(conn.handshake, conn)
  end))

  it("can be cancelled, twice, and awaited again", with_plain(function(conn, peer)
    local task = conn:start_tls(client())
    assert.is_nil(conn:tls())
    assert.is_true(task:cancel())
    assert.is_false(task:cancel())
    assert.equal("cancelled", task:status())
    local again = conn:handshake()
    await(peer:start_tls(server()))
    await(again)
    assert.equal("TLSv1.3", conn:tls().version)
  end))

  it("is not begun to be awaited in a cancelled scope", with_plain(function(conn, peer)
    local ok = neap.try_for(0, function() await(conn:start_tls(client())) end)
    assert.is_false(ok)
    await(peer:start_tls(server()))
    await(conn:handshake())
  end))

  it("fails when the connection closes", with_plain(function(conn)
    local task = conn:start_tls(client())
    await(conn:close())
    assert.equal("ECLOSED", fails(task).code)
    assert.equal("ECLOSED", fails(conn:handshake()).code)
  end))

  it("fails when the peer goes", with_plain(function(conn, peer)
    local task = conn:start_tls(client())
    await(peer:read())
    await(peer:shutdown())
    local err = fails(task)
    assert.equal("ETLS", err.code)
    assert.is_truthy(err.message:find("in the middle of the handshake"))
    assert.equal("handshake", err.syscall)
    assert.equal(err.message, fails(conn:read()).message)
    assert.equal(err.message, fails(conn:handshake()).message)
  end))

  it("fails when the peer resets", with_plain(function(conn, peer)
    local task = conn:start_tls(client())
    await(peer:reset())
    local err = fails(task)
    assert.equal("ECONNRESET", err.code)
    assert.equal("handshake", err.syscall)
  end))

  it("fails when the peer speaks no TLS", with_plain(function(conn, peer)
    local task = conn:start_tls(client())
    await(peer:write("220 mail.example.com ESMTP\r\n"))
    local err = fails(task)
    assert.equal("ETLS", err.code)
    assert.is_truthy(err.message:find("plain text on a TLS port"), err.message)
  end))

  it("of a server fails when the client speaks plain HTTP", with_plain(function(conn, peer)
    local task = peer:start_tls(server())
    await(conn:write("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"))
    local err = fails(task)
    assert.is_truthy(err.message:find("plain HTTP on a TLS port"), err.message)
  end))

  it("need not be awaited: reads and writes wait for it", with_plain(function(conn, peer)
    local shaking = conn:start_tls(client())
    local write, read = conn:write("early"), conn:read()
    local shutdown = conn:shutdown()
    await(neap.sleep(1))
    assert.equal("pending", write:status())
    assert.equal("pending", shutdown:status())
    peer:start_tls(server())
    assert.equal("early", await(peer:read()))
    assert.equal(5, await(write))
    await(shutdown)
    await(peer:write("answer"))
    assert.equal("answer", await(read))
    await(shaking)
  end))

  it("goes on when the connection is dropped, no longer than that", with_plain(function(_, peer)
    local other = await(net.listen("127.0.0.1", 0))
    local accepting = other:accept()
    local dropped = await(net.connect(other:address()))
    local accepted <close> = await(accepting)
    dropped:start_tls(client()):cancel()
    dropped = nil -- luacheck: ignore
    for _ = 1, 3 do collectgarbage() end
    assert.is_truthy(await(accepted:read())) -- the client's hello, and then the end
    assert.is_nil(await(accepted:read()))
    await(other:close())
    await(peer:close())
  end))
end)

describe("net.connect with TLS", function()
  it("can be cancelled in the middle of the handshake", h.run(function()
    local listening <close> = await(net.listen("127.0.0.1", 0))
    local host, port = listening:address()
    local ok = neap.try_for(1, function()
      await(net.connect(host, port, { tls = client() }))
    end)
    assert.is_false(ok)
    local peer <close> = await(listening:accept())
    assert.is_truthy(await(peer:read())) -- the hello
    assert.is_nil(await(peer:read()))
  end))

  it("can be dropped in the middle of the handshake", h.run(function()
    local listening <close> = await(net.listen("127.0.0.1", 0))
    local host, port = listening:address()
    local accepting = listening:accept()
    neap.scope(function(scope)
      net.connect(host, port, { tls = client() })
      local peer <close> = await(accepting)
      await(peer:read())
      scope:cancel()
    end)
  end))

  it("closes the connection when the handshake fails", h.run(function()
    local listening <close> = await(net.listen("127.0.0.1", 0))
    local host, port = listening:address()
    local connecting = net.connect(host, port, { tls = client() })
    local peer <close> = await(listening:accept())
    await(peer:write("no TLS at all"))
    local err = fails(connecting)
    assert.equal("ETLS", err.code)
    assert.equal(("%s:%d"):format(host, port), err.address)
    await(peer:read()) -- the hello
    local ok, last = pcall(function()
      repeat local chunk = await(peer:read()) until not chunk
    end)
    assert.is_true(ok or last.code == "ECONNRESET")
  end))

  it("works while allocations fail, or says so", h.run(function()
    local context = neap.tls.context(client())
    local listening <close> = await(net.listen("127.0.0.1", 0,
      { tls = { cert = c.good.cert, key = c.good.key } }))
    local host, port = listening:address()
    local function talk(accepting)
      local conn <close> = await(net.connect(host, port, { tls = context }))
      local peer <close> = await(accepting)
      await(conn:write("hello"))
      assert(await(peer:read()) == "hello")
    end
    -- The other end has no memory: this one sees it go, or waits in vain.
    local function is_consequence(err)
      return type(err) == "table" and (err.code == "ETLS" or err.code == "ECONNRESET")
    end
    h.each_failure(function()
      local accepting = listening:accept()
      local ok, err = pcall(neap.try_for, 1, talk, accepting)
      accepting:cancel()
      if accepting:status() == "done" then await(await(accepting):close()) end
      if not ok and not is_consequence(err) then error(err, 0) end
    end)
    await(neap.sleep(10)) -- who could not say its last word at once has had its time
  end))
end)

describe("reading through TLS", function()
  it("loses nothing when it is cancelled", with_pair(function(conn, peer)
    local read = conn:read()
    read:cancel()
    await(peer:write("kept"))
    await(neap.sleep(1))
    assert.equal("kept", await(conn:read()))
  end))

  it("puts bytes into a Buffer, and writes one", with_pair(function(conn, peer)
    local buf = neap.buffer(100000)
    await(conn:write("hello, ", neap.buffer("buffered"), "\n"))
    assert.equal(16, await(peer:read_into(buf)))
    assert.equal("hello, buffered\n", buf:sub(1, 16))
    local read = peer:read_into(buf, 5, 3)
    await(conn:write("abcdef"))
    assert.equal(3, await(read))
    assert.equal("hellabcbuff", buf:sub(1, 11))
    assert.equal("def", await(peer:read()))
  end))

  it("gives nil at the end that was told, again and again", with_pair(function(conn, peer)
    await(peer:write("last"))
    await(peer:shutdown())
    assert.equal("last", await(conn:read()))
    assert.is_nil(await(conn:read()))
    assert.is_nil(await(conn:read()))
    await(conn:write("the other direction"))
    assert.equal("the other direction", await(peer:read()))
  end))

  it("gives nil when the peer has closed", with_pair(function(conn, peer)
    await(peer:write("last"))
    await(peer:close())
    assert.equal("last", await(conn:read_all()))
    assert.is_nil(await(conn:read()))
  end))

  it("gets what a connection wrote that is closed without having read the tickets", with_pair(
    function(conn, peer)
      local text = ("x"):rep(200000)
      local writing = conn:write(text)
      local reading = peer:read_all()
      await(writing)
      conn:close()
      assert.equal(text, await(reading))
    end))
end)

describe("records", function()
  it("that are split at every byte are the same", h.run(function()
    local listening <close> = await(net.listen("127.0.0.1", 0, { tls = server() }))
    local middle <close> = await(net.listen("127.0.0.1", 0))
    local function forward(from, to)
      to:set_nodelay(true)
      for chunk in from do
        for i = 1, #chunk do
          await(to:write(chunk:sub(i, i)))
          await(neap.yield())
        end
      end
      await(to:shutdown())
    end
    local forwarding = neap.start(function()
      local near <close> = await(middle:accept())
      local far <close> = await(net.connect(listening:address()))
      await(neap.all { neap.start(forward, near, far), neap.start(forward, far, near) })
    end)
    local host, port = middle:address()
    local connecting = net.connect(host, port, { tls = client() })
    local peer <close> = await(listening:accept())
    local conn <close> = await(connecting)
    await(conn:write("hello ", "split ", "world\n"))
    assert.equal("hello split world", await(peer:read_line()))
    await(peer:write("and back\n"))
    assert.equal("and back", await(conn:read_line()))
    await(conn:shutdown())
    assert.is_nil(await(peer:read()))
    await(peer:shutdown())
    assert.is_nil(await(conn:read()))
    await(forwarding)
  end))

  it("that come many at once are all read", with_pair(function(conn, peer)
    for i = 1, 500 do await(conn:write(i, "\n")) end
    for i = 1, 500 do assert.equal(tostring(i), await(peer:read_line())) end
  end))

  it("that were changed on the way are refused", h.run(function()
    local listening <close> = await(net.listen("127.0.0.1", 0, { tls = server() }))
    local middle <close> = await(net.listen("127.0.0.1", 0))
    local is_evil = false
    local forwarding = neap.start(function()
      local near <close> = await(middle:accept())
      local far <close> = await(net.connect(listening:address()))
      local back = neap.start(function()
        for chunk in far do await(near:write(chunk)) end
      end)
      for chunk in near do
        if is_evil then chunk = chunk:sub(1, -2) .. string.char(chunk:byte(-1) ~ 1) end
        await(far:write(chunk))
      end
      back:cancel()
    end)
    local host, port = middle:address()
    local connecting = net.connect(host, port, { tls = client() })
    local peer <close> = await(listening:accept())
    local conn <close> = await(connecting)
    await(peer:handshake())
    is_evil = true
    await(conn:write("attack at dawn"))
    assert.equal("ETLS", fails(peer:read()).code)
    assert.equal("ETLS", fails(peer:write("x")).code)
    await(conn:close())
    await(forwarding)
  end))
end)

describe("an end that was not told", function()
  --- The server's end, on which close_notify is cut off: the client resets nothing and just leaves.
  local function cut(client_tls, fn)
    return h.run(function()
      local listening <close> = await(net.listen("127.0.0.1", 0, { tls = server() }))
      local middle <close> = await(net.listen("127.0.0.1", 0))
      local host, port = middle:address()
      local connecting = net.connect(host, port, { tls = client_tls() })
      local near = await(middle:accept())
      local far <close> = await(net.connect(listening:address()))
      local up = neap.start(function() for chunk in near do await(far:write(chunk)) end end)
      local down = neap.start(function() for chunk in far do await(near:write(chunk)) end end)
      local peer <close> = await(listening:accept())
      local conn <close> = await(connecting)
      await(peer:write("all of it?"))
      assert.equal("all of it?", await(conn:read()))
      down:cancel()
      up:cancel()
      await(near:shutdown())
      fn(conn)
      await(near:close())
    end)
  end

  it("is an error for reads", function()
    cut(client, function(conn)
      is_truncated(fails(conn:read()))
      is_truncated(fails(conn:read()))
      is_truncated(fails(conn:read_all()))
    end)()
  end)

  it("is an end where that is allowed", function()
    cut(function() return { ca = c.ca, allow_truncated = true } end, function(conn)
      assert.is_nil(await(conn:read()))
      assert.equal("", await(conn:read_all()))
    end)()
  end)
end)

describe("writing through TLS", function()
  local MUCH = 64 << 20

  it("waits for a slow reader, in bounded memory", with_pair(function(conn, peer)
    local chunk = ("0123456789abcdef"):rep(65536)
    collectgarbage()
    local before = collectgarbage("count")
    local writing = neap.start(function()
      for _ = 1, MUCH // #chunk do await(conn:write(chunk)) end
      await(conn:shutdown())
    end)
    await(neap.sleep(1))
    assert.equal("pending", writing:status())
    local total, i = 0, 0
    for part in peer do
      total, i = total + #part, i + 1
      if i % 100 == 0 then await(neap.yield()) end
    end
    assert.equal(MUCH, total)
    await(writing)
    collectgarbage()
    assert.is_true(collectgarbage("count") < before + 20000)
  end))

  it("tells how much has left when it is cancelled", with_pair(function(conn, peer)
    local text = ("x"):rep(16 << 20)
    local ok, err = pcall(neap.timeout, 1, function()
      local inner_ok, inner = pcall(await, conn:write(text))
      assert.is_false(inner_ok)
      assert.is_true(inner.written > 0 and inner.written < #text)
      error(inner, 0)
    end)
    assert.is_false(ok)
    local written = err.written or (err.cause and err.cause.written)
    local shutdown = conn:shutdown()
    local all = await(peer:read_all())
    await(shutdown)
    assert.is_true(#all > 0 and #all < #text)
    if written then assert.equal(written, #all) end
  end))

  it("fails when the connection closes, and tells how much has left at least", with_pair(
    function(conn)
      local write = conn:write(("x"):rep(16 << 20))
      await(neap.sleep(1))
      conn:close()
      local err = fails(write)
      assert.equal("ECLOSED", err.code)
      assert.is_true(err.written == nil or err.written < 16 << 20)
    end))

  it("fails after shutdown", with_pair(function(conn)
    await(conn:shutdown())
    await(conn:shutdown())
    assert.equal("EPIPE", fails(conn:write("x")).code)
  end))

  it("fails when the peer has gone, and the process lives", with_pair(function(conn, peer)
    await(peer:reset())
    local err
    repeat
      local ok, e = pcall(await, conn:write(("x"):rep(100000)))
      err = not ok and e
    until err
    assert.is_true(err.code == "EPIPE" or err.code == "ECONNRESET")
    assert.is_false(pcall(await, conn:write("x")))
  end))

  it("keeps the order of many writes", with_pair(function(conn, peer)
    local tasks = {}
    for i = 1, 200 do tasks[i] = conn:write(i, (" "):rep(i * 10), "\n") end
    for i = 1, 200 do assert.equal(i, tonumber(await(peer:read_line()))) end
    await(neap.all(tasks))
  end))

  it("of nothing is done at once", with_pair(function(conn)
    assert.equal(0, await(conn:write("")))
    assert.equal(0, await(conn:write()))
  end))
end)

describe("net.serve with TLS", function()
  local function echo(conn)
    for chunk in conn do await(conn:write(chunk)) end
  end

  --- Serves with TLS, then runs fn(host, port, errors).
  local function with_serving(opts, fn)
    return h.run(function()
      local errors = {}
      local address
      opts.host, opts.port = "127.0.0.1", 0
      opts.tls = { cert = c.good.cert, key = c.good.key }
      opts.on_listen = function(listening) address = { listening:address() } end
      opts.on_error = function(err, conn)
        errors[#errors + 1] = err
        assert.is_truthy(conn)
      end
      local serving = net.serve(opts, echo)
      local _ <close> = neap.defer(function() serving:cancel() end)
      while not address do await(neap.yield()) end
      fn(address[1], address[2], errors)
    end)
  end

  local function echoes(host, port)
    local conn <close> = await(net.connect(host, port, { tls = client() }))
    await(conn:write("hello"))
    assert.equal("hello", await(conn:read()))
  end

  it("echoes", function() with_serving({}, echoes)() end)

  it("goes on while a handshake hangs, and ends that after its limit", function()
    with_serving({ handshake_timeout = 3 }, function(host, port, errors)
      local silent <close> = await(net.connect(host, port))
      local slow <close> = await(net.connect(host, port))
      await(slow:write("\22\3\1"))
      echoes(host, port)
      local elapsed = neap.now()
      assert.is_nil(await(silent:read()))
      assert.is_true(neap.now() - elapsed <= 3.1)
      assert.is_nil(await(slow:read()))
      await(neap.yield())
      assert.equal(2, #errors)
      assert.equal("ETIMEDOUT", errors[1].code)
      assert.equal("handshake", errors[1].syscall)
      assert.is_truthy(errors[1].address:find("^127%.0%.0%.1:"))
      echoes(host, port)
    end)()
  end)

  it("goes on when a handshake fails, and tells it", function()
    with_serving({}, function(host, port, errors)
      local plain <close> = await(net.connect(host, port))
      await(plain:write("GET / HTTP/1.1\r\n\r\n"))
      pcall(await, plain:read())
      echoes(host, port)
      assert.equal(1, #errors)
      assert.equal("ETLS", errors[1].code)
      assert.is_false(pcall(await, net.connect(host, port, { tls = true })))
      echoes(host, port)
      assert.equal(2, #errors)
    end)()
  end)
end)

describe("the end of the Lua state", function()
  it("in the middle of handshakes, reads and writes is an ordinary one", function()
    local output, how, code = h.process(([[
      local neap = require "neap"
      local await, net = neap.await, neap.net
      neap.run(function()
        local tls = { cert = %q, key = %q }
        local server = await(net.listen("127.0.0.1", 0, { tls = tls }))
        local host, port = server:address()
        local plain = await(net.connect(host, port))
        local hanging = await(server:accept())
        local shaking = hanging:handshake()
        neap.background(function()
          local conn = await(net.connect(host, port, { tls = { ca = %q } }))
          neap.background(function() await(conn:write(("x"):rep(1 << 24))) end)
          await(conn:read())
        end)
        kept = await(server:accept())
        await(kept:read())
        half = net.connect(host, port, { tls = { ca = %q } })
        print "out"
        os.exit(0, true)
      end)]]):format(c.good.cert, c.good.key, c.ca, c.ca))
    assert.equal("out\n", output)
    assert.same({ "exit", 0 }, { how, code })
  end)
end)
