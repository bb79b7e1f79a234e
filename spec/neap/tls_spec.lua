-- TLS between two ends of ours: what is agreed on, verified and refused.
local certificates = require "spec.certificates"
local h = require "spec.helper"
local neap = require "neap"
local support = require "spec.support"

local await, net = neap.await, neap.net

local c
setup(function() c = certificates.make() end)
teardown(function() c.remove() end)

--- The options of a server with a certificate, and others.
local function with(pair, more)
  local tls = { cert = pair.cert, key = pair.key }
  for name, value in pairs(more or {}) do tls[name] = value end
  return tls
end

--- Runs fn(connect, take): connect(tls) gives a Task of a connection to a server with the options,
--- take() the server's end of the next one.
local function with_server(tls, fn)
  local server <close> = await(net.listen("127.0.0.1", 0, { tls = tls }))
  local host, port = server:address()
  fn(function(client_tls) return net.connect(host, port, { tls = client_tls }) end,
    function() return await(server:accept()) end)
end

--- Both ends of a connection whose handshakes are done.
local function with_pair(server_tls, client_tls, fn)
  with_server(server_tls, function(connect, take)
    local connecting = connect(client_tls)
    local peer <close> = take()
    await(peer:handshake())
    local conn <close> = await(connecting)
    fn(conn, peer)
  end)
end

--- The errors of a connection that does not come about, of the client and of the server.
local function fail(server_tls, client_tls)
  local client_error, server_error
  with_server(server_tls, function(connect, take)
    local connecting = connect(client_tls)
    local peer <close> = take()
    local shaken, err = pcall(await, peer:handshake())
    server_error = not shaken and err or nil
    local connected, result = pcall(await, connecting)
    if connected then
      connected, result = pcall(function() return await(result:read()) end)
    end
    client_error = not connected and result or nil
  end)
  return client_error, server_error
end

local function is_tls_error(err, ...)
  assert.equal("ETLS", err.code)
  for _, part in ipairs { ... } do
    assert.is_truthy(err.message:find(part, 1, true), err.message .. "\n  lacks: " .. part)
  end
end

describe("TLS", function()
  it("carries what is written, in both directions", h.run(function()
    with_pair(with(c.good), { ca = c.ca }, function(conn, peer)
      assert.equal(7, await(conn:write("a\0", "b\r\n\255\n")))
      assert.equal("a\0b\r\n\255\n", await(peer:read_exactly(7)))
      await(peer:write("line 1\nline 2\n"))
      assert.equal("line 1", await(conn:read_line()))
      assert.equal("line 2", await(conn:read_line()))
    end)
  end))

  it("tells what was agreed on", h.run(function()
    with_pair(with(c.good), { ca = c.ca, server_name = "localhost" }, function(conn, peer)
      local info = conn:tls()
      assert.equal("TLSv1.3", info.version)
      assert.is_truthy(info.cipher:find("^TLS_"))
      assert.equal("localhost", info.server_name)
      assert.is_false(info.session_reused)
      assert.is_nil(info.alpn)
      assert.equal("localhost", peer:tls().server_name)
      assert.is_nil(peer:tls().peer)
      assert.is_true(conn:is_tls())
    end)
  end))

  it("tells the certificate of the peer", h.run(function()
    with_pair(with(c.good), { ca = c.ca }, function(conn)
      local peer = conn:tls().peer
      assert.equal("O=Spec,CN=localhost", peer.subject)
      assert.equal("CN=Spec authority", peer.issuer)
      assert.same({ "localhost", "*.wild.example", "127.0.0.1", "::1" }, peer.names)
      assert.equal(95, #peer.fingerprint)
      assert.is_true(peer.not_before < peer.not_after)
      assert.near(30 * 86400, peer.not_after - peer.not_before, 2)
      local command = "openssl x509 -noout -fingerprint -sha256 -in " .. c.good.cert
      local openssl <close> = io.popen(command)
      assert.equal(peer.fingerprint, openssl:read("l"):match("=(.*)$"))
    end)
  end))

  it("takes certificates and keys as text", h.run(function()
    local pair = { cert = support.slurp(c.good.cert), key = support.slurp(c.good.key) }
    with_pair(pair, { ca = support.slurp(c.ca) }, function(conn) assert.is_true(conn:is_tls()) end)
  end))

  it("takes a key from the file of its certificate, and one with a password", h.run(function()
    with_pair({ cert = c.path("both.pem") }, { ca = c.ca }, function() end)
    local locked = { cert = c.good.cert, key = c.path("locked.key"), password = "secret" }
    with_pair(locked, { ca_path = c.path("hashed") }, function() end)
  end))

  it("works on Unix sockets", h.run(function()
    local path = c.path("socket")
    local server <close> = await(net.listen { path = path, tls = with(c.good) })
    local connecting = net.connect { path = path, tls = { ca = c.ca, server_name = "localhost" } }
    local peer <close> = await(server:accept())
    local conn <close> = await(connecting)
    await(conn:write("x"))
    assert.equal("x", await(peer:read()))
  end))

  it("is TLS 1.2 where one end wants it", h.run(function()
    for _, side in ipairs { "server", "client" } do
      local old = { max_version = "1.2" }
      local server, client = with(c.good, side == "server" and old), { ca = c.ca }
      if side == "client" then client.max_version = "1.2" end
      with_pair(server, client, function(conn, peer)
        assert.equal("TLSv1.2", conn:tls().version)
        await(conn:write("x"))
        assert.equal("x", await(peer:read()))
        await(conn:shutdown())
        assert.is_nil(await(peer:read()))
      end)
    end
  end))

  it("agrees on the first protocol of the server that the client has", h.run(function()
    local server = with(c.good, { alpn = { "h2", "http/1.1", "x" } })
    with_pair(server, { ca = c.ca, alpn = { "x", "http/1.1" } }, function(conn, peer)
      assert.equal("http/1.1", conn:tls().alpn)
      assert.equal("http/1.1", peer:tls().alpn)
    end)
    with_pair(server, { ca = c.ca }, function(conn) assert.is_nil(conn:tls().alpn) end)
    with_pair(with(c.good), { ca = c.ca, alpn = { "x" } }, function(conn)
      assert.is_nil(conn:tls().alpn)
    end)
  end))

  it("fails when there is no protocol in common", h.run(function()
    local client, server = fail(with(c.good, { alpn = { "a" } }), { ca = c.ca, alpn = { "b" } })
    is_tls_error(client, "no application protocol in common", "alpn")
    is_tls_error(server, "no application protocol in common")
  end))

  it("has a certificate for each name", h.run(function()
    local server = with(c.good, { sni = {
      ["www.elsewhere.example"] = c.wrong,
      ["*.self.example"] = neap.tls.context(c.self),
    } })
    local function subject_for(name)
      local subject
      with_pair(server, { verify = false, server_name = name }, function(conn, peer)
        subject = conn:tls().peer.subject
        assert.equal(name, peer:tls().server_name)
      end)
      return subject
    end
    assert.equal("CN=elsewhere.example", subject_for("www.elsewhere.example"))
    assert.equal("CN=elsewhere.example", subject_for("WWW.elsewhere.EXAMPLE"))
    assert.equal("CN=localhost", subject_for("a.self.example"))
    assert.equal("O=Spec,CN=localhost", subject_for("a.b.self.example"))
    assert.equal("O=Spec,CN=localhost", subject_for("unknown.example"))
  end))
end)

describe("verification", function()
  it("takes a wildcard for one label, and a final dot for none", h.run(function()
    for _, name in ipairs { "a.wild.example", "localhost.", "LOCALHOST", "::1" } do
      with_pair(with(c.good), { ca = c.ca, server_name = name }, function() end)
    end
    local err = fail(with(c.good), { ca = c.ca, server_name = "a.b.wild.example" })
    is_tls_error(err, "is not for")
  end))

  it("refuses an unknown issuer, and says so at both ends", h.run(function()
    local client, server = fail(with(c.good), true)
    is_tls_error(client, "issuer of the server's certificate is not known", "CN=Spec authority",
      "'ca'", "OpenSSL: unable to get local issuer certificate")
    assert.equal("handshake", client.syscall)
    assert.is_truthy(client.address:find("^127%.0%.0%.1:%d+$"))
    is_tls_error(server, "refused our certificate")
  end))

  it("refuses another name", h.run(function()
    local err = fail(with(c.wrong), { ca = c.ca, server_name = "localhost" })
    is_tls_error(err, "not for 'localhost' but for 'elsewhere.example', 'www.elsewhere.example'",
      "server_name")
    is_tls_error((fail(with(c.wrong), { ca = c.ca })), "not for '127.0.0.1'")
  end))

  it("refuses a certificate that has expired", h.run(function()
    is_tls_error((fail(with(c.expired), { ca = c.ca })), "has expired, on 20", "UTC", "clock")
  end))

  it("refuses a certificate that is signed by itself, unless it is trusted", h.run(function()
    is_tls_error((fail(with(c.self), true)), "signed by itself", "'ca'")
    with_pair(with(c.self), { ca = c.self.cert }, function() end)
  end))

  it("can be left out", h.run(function()
    for _, pair in ipairs { c.wrong, c.expired, c.self } do
      with_pair(with(pair), { verify = false }, function(conn) assert.is_true(conn:is_tls()) end)
    end
  end))

  it("of clients takes those that the authority has signed", h.run(function()
    for _, version in ipairs { "1.2", "1.3" } do
      local server = with(c.good, { client_auth = true, ca = c.ca, max_version = version })
      with_pair(server, with(c.client, { ca = c.ca }), function(_, peer)
        assert.equal("CN=a client", peer:tls().peer.subject)
        assert.same({ "client@example.com" }, peer:tls().peer.names)
      end)
      local client_error, server_error = fail(server, { ca = c.ca })
      is_tls_error(server_error, "client has shown no certificate", "client_auth")
      is_tls_error(client_error)
      client_error, server_error = fail(server, with(c.self, { ca = c.ca }))
      is_tls_error(server_error, "client's certificate is signed by itself")
      is_tls_error(client_error, "refused our certificate")
    end
  end))

  it("of clients can be optional", h.run(function()
    local server = with(c.good, { client_auth = "optional", ca = c.ca })
    with_pair(server, { ca = c.ca }, function(_, peer) assert.is_nil(peer:tls().peer) end)
    with_pair(server, with(c.client, { ca = c.ca }), function(_, peer)
      assert.equal("CN=a client", peer:tls().peer.subject)
    end)
  end))
end)

describe("versions", function()
  it("that the two ends do not share fail", h.run(function()
    local client, server = fail(with(c.good, { min_version = "1.3" }),
      { ca = c.ca, max_version = "1.2" })
    is_tls_error(client, "no version of TLS in common", "min_version")
    is_tls_error(server, "no version of TLS in common")
  end))

  it("before 1.2 are refused", h.run(function()
    h.bad_argument("context", 1, neap.tls.context, { min_version = "1.1" })
    h.bad_argument("context", 1, neap.tls.context, { min_version = "1.3", max_version = "1.2" })
  end))
end)

describe("sessions", function()
  local function reused(server, client, between)
    local was_reused
    with_server(server, function(connect, take)
      for _ = 1, 2 do
        local connecting = connect(client)
        local peer <close> = take()
        local conn <close> = await(connecting)
        await(peer:write("x"))
        assert.equal("x", await(conn:read()))
        was_reused = conn:tls().session_reused
        assert.equal(was_reused, peer:tls().session_reused)
        if between then client = between(conn) or client end
        await(conn:shutdown())
      end
    end)
    return was_reused
  end

  it("are kept by a context, and the next connection resumes them", h.run(function()
    for _, version in ipairs { "1.2", "1.3" } do
      local server = neap.tls.context(with(c.good, { max_version = version }))
      assert.is_true(reused(server, neap.tls.context { ca = c.ca }))
    end
  end))

  it("are not shared by contexts of their own", h.run(function()
    assert.is_false(reused(neap.tls.context(c.good), { ca = c.ca }))
  end))

  it("can be given", h.run(function()
    local server = neap.tls.context(c.good)
    assert.is_true(reused(server, { ca = c.ca }, function(conn)
      local session = conn:tls_session()
      assert.equal("string", type(session))
      return { ca = c.ca, session = session }
    end))
  end))

  it("of another name are not used, where that is verified", h.run(function()
    local server = neap.tls.context(with(c.wrong, { sni = { localhost = c.good } }))
    local unsafe = { verify = false, server_name = "elsewhere.example" }
    assert.is_false(reused(server, unsafe, function(conn)
      return { ca = c.ca, server_name = "localhost", session = conn:tls_session() }
    end))
  end))

  it("with a client that is verified are resumed too", h.run(function()
    local server = neap.tls.context(with(c.good, { client_auth = true, ca = c.ca }))
    assert.is_true(reused(server, neap.tls.context(with(c.client, { ca = c.ca }))))
  end))
end)

describe("options of TLS", function()
  local function raises(pattern, fn, ...)
    local ok, err = pcall(fn, ...)
    assert.is_false(ok)
    assert.is_truthy(tostring(err):find(pattern), tostring(err))
    if type(err) == "string" then assert.is_truthy(err:find("^[^:]*tls_spec%.lua:%d+: "), err) end
  end

  it("that are wrong are errors of the call", h.run(function()
    local function connect(tls) return pcall(net.connect, "localhost", 1, { tls = tls }) end
    for pattern, tls in pairs {
      ["option 'tls': true, a table or a context"] = 5,
      ["option 'tls.verify': a boolean expected"] = { verify = 1 },
      ["option 'tls.ca': a string"] = { ca = {} },
      ["option 'tls.cert': the certificate of the key"] = { key = c.good.key },
      ["option 'tls.alpn': a list"] = { alpn = "h2" },
      ["option 'tls.alpn': a list of strings of 1 to 255"] = { alpn = { "" } },
      ["option 'tls.server_name': a string"] = { server_name = 1 },
      ["option 'tls.session': what conn:tls_session"] = { session = "nonsense" },
      ["option 'tls.context': what neap.tls.context gives"] = { context = {} },
      ["option 'tls.context': no options beside it"] = {
        context = neap.tls.context(), ca = c.ca },
    } do
      local ok, err = connect(tls)
      assert.is_false(ok)
      assert.is_truthy(err:find("bad argument #3 to 'connect' (" .. pattern, 1, true), err)
      assert.is_truthy(err:find("^[^:]*tls_spec%.lua:%d+: "), err)
    end
  end))

  it("of a server that are wrong are errors of the call", h.run(function()
    local function listen(tls) return net.listen("localhost", 0, { tls = tls }) end
    raises("bad argument #3 to 'listen' %(option 'tls.cert'", listen, true)
    raises("option 'tls.ca': whom", listen, with(c.good, { client_auth = true }))
    raises("option 'tls.client_auth'", listen, with(c.good, { client_auth = "yes" }))
    raises("option 'tls.sni'", listen, with(c.good, { sni = { name = {} } }))
    raises("bad argument #1 to 'serve' %(option 'tls.cert'", net.serve,
      { host = "localhost", port = 0, tls = true }, print)
  end))

  it("need the name of the server on a Unix socket", h.run(function()
    raises("option 'tls.server_name'", net.connect, { path = "/nowhere", tls = true })
  end))

  it("name the file that cannot be used", h.run(function()
    local _, err = pcall(neap.tls.context, { ca = c.path("none.pem") })
    assert.equal("ENOENT", err.code)
    assert.equal(c.path("none.pem"), err.path)
    _, err = pcall(neap.tls.context, { ca = c.good.key })
    is_tls_error(err, "no certificates to trust")
    _, err = pcall(neap.tls.context, { cert = c.good.key, key = c.good.key })
    is_tls_error(err, "no certificate could be read")
    _, err = pcall(neap.tls.context, { cert = c.good.cert, key = c.wrong.key })
    is_tls_error(err, "not that of the certificate")
    assert.equal(c.wrong.key, err.path)
    _, err = pcall(neap.tls.context, { cert = c.good.cert, key = c.path("locked.key") })
    is_tls_error(err, "password")
    _, err = pcall(neap.tls.context, { cert = c.good.cert, key = c.path("locked.key"),
      password = "wrong" })
    is_tls_error(err, "password")
  end))
end)
