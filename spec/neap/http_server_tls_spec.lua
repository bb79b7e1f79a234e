-- neap.http.serve over TLS: the same server on a stream with a filter.
local certificates = require "spec.certificates"
local h = require "spec.helper"
local support = require "spec.support"
local web = require "spec.http_wire"
local neap = require "neap"

local await, http, net = neap.await, neap.http, neap.net

describe("neap.http.serve with tls", function()
  local c
  setup(function() c = certificates.make() end)
  teardown(function() c.remove() end)

  --- A spec with a server and a connection to it.
  local function secure(handler, fn)
    return h.scoped(function(t)
      local listening = neap.completion()
      local task = http.serve{
        host = "localhost",
        port = 0,
        tls = c.good,
        header_timeout = math.huge,
        idle_timeout = math.huge,
        handler = function(req, res) return handler(t, req, res) end,
        on_listen = function(server) listening:resolve(server) end,
      }
      local _, port = await(listening.task):address()
      do
        local conn <close> = await(net.connect("localhost", port, { tls = { ca = c.ca } }))
        fn(conn, t)
      end
      web.stop(task)
    end)
  end

  local function echo(_, req, res)
    for chunk in req do await(res:write(chunk)) end
  end

  local function name(_, req) return req.path end

  it("answers requests that come together", secure(name, function(conn)
    await(conn:write(web.get("/1"), web.get("/2"), web.get("/3")))
    for i = 1, 3 do assert.equal("/" .. i, (select(3, web.read(conn)))) end
  end))

  it("streams both ways", secure(echo, function(conn)
    local body = ("0123456789"):rep(100000)
    local head = "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n"
    local writing = conn:write(head:format(#body), body)
    assert.is_true(body == select(3, web.read(conn)))
    await(writing)
  end))

  it("sends files and large bodies", secure(function(t, req, res)
    if req.path == "/file" then return res:file(t.path) end
    return ("x"):rep(3000000)
  end, function(conn, t)
    local path = os.tmpname()
    local _ <close> = support.closing(function() os.remove(path) end)
    t.path = path
    support.spit(path, ("y"):rep(1000000))
    await(conn:write(web.get("/file"), web.get("/large")))
    assert.equal(1000000, #select(3, web.read(conn)))
    assert.equal(3000000, #select(3, web.read(conn)))
    t.path = nil
  end))

  it("refuses what is no request", secure(function() return "x" end, function(conn)
    await(conn:write("nonsense\r\n\r\n"))
    assert.equal(400, (web.read(conn)))
    assert.equal("", await(conn:read_all()))
  end))
end)
