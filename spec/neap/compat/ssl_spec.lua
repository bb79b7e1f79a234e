-- TLS with LuaSec's interface, against connections of neap.
local certificates = require "spec.certificates"
local h = require "spec.helper"
local sockets = require "spec.sockets"
local support = require "spec.support"
local types = require "spec.types"
local neap = require "neap"
local socket = require "neap.compat.socket"
local ssl = require "neap.compat.ssl"

local await, net = neap.await, neap.net

describe("neap.compat.ssl", function()
  local c

  lazy_setup(function() c = certificates.make() end)
  lazy_teardown(function() c:remove() end)

  --- A server of neap with TLS that answers each line with itself.
  local function with_server(tls, fn)
    return h.run(function(t)
      local server <close> = await(net.listen("127.0.0.1", 0, { tls = tls() }))
      local serving = net.serve({ server = server, on_error = function(err)
        t:note(err.code)
      end }, function(conn)
        for line in conn:lines() do await(conn:write(line, "\n")) end
        await(conn:shutdown())
      end)
      local _, port = server:address()
      fn(port, t)
      serving:cancel()
      await(neap.settle(serving))
    end)
  end

  local function good() return c.good end

  --- A wrapped client of the server that knows the authority.
  local function connect(port, params)
    local plain = assert(socket.connect("127.0.0.1", port))
    local all = { mode = "client", protocol = "any", verify = "peer", cafile = c.ca,
      options = { "all", "no_sslv3" } }
    for name, value in pairs(params or {}) do all[name] = value end
    return assert(ssl.wrap(plain, all)), plain
  end

  it("speaks TLS, and has the methods of a socket", with_server(good, function(port)
    local client, plain = connect(port)
    local _ <close> = sockets.closes(client)
    assert.equal("closed", select(2, plain:send("x")))
    assert.equal("closed", select(2, client:send("too early")))
    assert.is_true(client:dohandshake())
    assert.is_true(client:dohandshake())
    assert.equal(6, client:send("hello\n"))
    assert.equal("hello", client:receive())
    client:settimeout(0.5)
    local line, why, partial = client:receive()
    assert.is_nil(line)
    assert.equal("timeout", why .. partial)
    assert.equal("TLSv1.3", client:info("protocol"))
    assert.equal("string", type(client:info().cipher))
    assert.is_true(client:getpeerverification())
    assert.equal("nothing", client:want())
    client:shutdown("send")
    assert.equal("closed", select(2, client:receive()))
  end))

  it("verifies the certificate, and the name", with_server(good, function(port, t)
    local client = connect(port, { cafile = c.path("self.pem") })
    local ok, why = client:dohandshake()
    assert.is_false(ok)
    assert.is_truthy(why:find("certificate", 1, true), why)
    client:close()
    client = connect(port)
    client:sni("other.example")
    assert.equal("other.example", client:getsniname())
    ok, why = client:dohandshake()
    assert.is_false(ok)
    assert.is_truthy(why:find("other.example", 1, true), why)
    client:close()
    client = connect(port)
    client:sni("localhost")
    assert.is_true(client:dohandshake())
    client:close()
    client = connect(port, { verify = "none", cafile = c.path("self.pem") })
    client:sni("other.example")
    assert.is_true(client:dohandshake())
    assert.is_false(client:getpeerverification())
    client:close()
    await(neap.sleep(0.1))
    assert.is_truthy(t:logged():find("ETLS", 1, true))
  end))

  it("limits the versions", with_server(good, function(port)
    for protocol, version in pairs{ tlsv1_2 = "TLSv1.2", tlsv1_3 = "TLSv1.3" } do
      local client = connect(port, { protocol = protocol })
      assert.is_true(client:dohandshake())
      assert.equal(version, client:info("protocol"))
      client:close()
    end
    local client = connect(port, { options = "no_tlsv1_3" })
    assert.is_true(client:dohandshake())
    assert.equal("TLSv1.2", client:info("protocol"))
    client:close()
    assert.equal("invalid protocol (tlsv1)", select(2, ssl.newcontext{ protocol = "tlsv1" }))
    assert.equal("no protocol is left",
      select(2, ssl.newcontext{ protocol = "tlsv1_2", options = { "no_tlsv1_2" } }))
  end))

  it("waits for a peer that is silent, in its time", h.run(function()
    local client, peer = sockets.pair()
    local secure = assert(ssl.wrap(client, { mode = "client", verify = "none" }))
    secure:settimeout(0.5)
    support.takes(0.5, function()
      assert.equal("timeout", select(2, secure:dohandshake()))
    end)
    secure:settimeout(0)
    assert.equal("wantread", select(2, secure:dohandshake()))
    h.raises("ETIMEDOUT", neap.timeout, 1, function()
      secure:settimeout(nil)
      secure:dohandshake()
    end)
    assert.equal(1, secure:close())
    assert.equal("closed", select(2, secure:dohandshake()))
    await(peer:close())
  end))

  it("goes on with a handshake whose time was over", h.run(function()
    local client, peer = sockets.pair()
    local secure = assert(ssl.wrap(client, { mode = "client", verify = "peer", cafile = c.ca }))
    secure:settimeout(0.5)
    assert.equal("timeout", select(2, secure:dohandshake()))
    local serving = peer:start_tls{ server = true, cert = c.good.cert, key = c.good.key }
    secure:settimeout(5)
    assert.is_true(secure:dohandshake())
    await(serving)
    secure:send("through\n")
    assert.equal("through", await(peer:read_line()))
    secure:close()
    await(peer:close())
  end))

  it("is a server, too, that may want a certificate", h.run(function()
    local client, peer = sockets.pair()
    local secure = assert(ssl.wrap(client, { mode = "server", certificate = c.good.cert,
      key = c.good.key, verify = { "peer", "fail_if_no_peer_cert" }, cafile = c.ca }))
    local shaking = neap.start(function() return secure:dohandshake() end)
    await(peer:start_tls{ server_name = "localhost", ca = c.ca, cert = c.client.cert,
      key = c.client.key })
    assert.is_true(await(shaking))
    secure:send("welcome\n")
    assert.equal("welcome", await(peer:read_line()))
    secure:close()
    await(peer:close())
  end))

  it("takes a context for several connections", with_server(good, function(port)
    local context = assert(ssl.newcontext{ mode = "client", verify = "peer", cafile = c.ca })
    for _ = 1, 2 do
      local client = assert(ssl.wrap(assert(socket.connect("localhost", port)), context))
      assert.equal("localhost", client:getsniname())
      assert.is_true(client:dohandshake())
      client:close()
    end
  end))

  it("refuses what was not read before, closed sockets and missing files", h.run(function()
    local client, peer = sockets.pair()
    await(peer:write("STARTTLS\nsmuggled"))
    assert.equal("STARTTLS", client:receive())
    assert.equal("what came before the handshake was not read",
      select(2, ssl.wrap(client, { mode = "client" })))
    client:receive(8)
    local secure = assert(ssl.wrap(client, { mode = "client", verify = "peer", cafile = "/none" }))
    local ok, why = secure:dohandshake()
    assert.is_false(ok)
    assert.equal("string", type(why))
    secure:close()
    await(peer:close())
    assert.equal("closed", select(2, ssl.wrap(client, { mode = "client" })))
    h.bad_argument("wrap", 1, function() ssl.wrap({}, {}) end)
    h.bad_argument("newcontext", 1, function() ssl.newcontext() end)
  end))

  it("is misused outside a task", h.plain(function()
    local secure
    neap.run(function()
      local client, peer = sockets.pair()
      secure = assert(ssl.wrap(client, { mode = "client", verify = "none" }))
      await(peer:close())
    end)
    h.misuse(function() secure:dohandshake() end)
    secure:close()
  end))

  it("has the methods that its types name, and no others", h.run(function()
    local client, peer = sockets.pair()
    local secure = assert(ssl.wrap(client, { mode = "client" }))
    local _ <close> = sockets.closes(secure, peer)
    local typed = types.names_of("neap.compat.Secure")
    for name in pairs(typed) do assert.equal("function", type(secure[name]), name) end
    for name, value in pairs(secure) do
      if type(value) == "function" then assert.is_true(typed[name], name) end
    end
  end))

  it("is what drivers require once it is installed", h.plain(function()
    local before = package.loaded["ssl"]
    local _ <close> = support.closing(function() package.loaded["ssl"] = before end)
    assert.equal(ssl, ssl.install())
    assert.equal(ssl, require "ssl")
  end))
end)
