-- Connections: used again, limited, found to be dead; several addresses; several Lua states.
local h = require "spec.helper"
local server = require "spec.http"
local neap = require "neap"
local support = require "spec.support"

local await, http, net = neap.await, neap.http, neap.net

local function ok() return server.response("200 OK", "ok") end

--- A server that answers after a second, and how many requests it had at once.
local function with_slow(opts, fn)
  local now, most = 0, 0
  return server.with_server(function(conn)
    for _ in server.read_request, conn do
      now = now + 1
      most = math.max(most, now)
      await(neap.sleep(1))
      now = now - 1
      await(conn:write(ok()))
    end
  end, opts, function(client, base, t, conns)
    fn(client, base, conns, function() return most end, t)
  end)
end

local function ask(client, base, n)
  local tasks = {}
  for i = 1, n do tasks[i] = client:get(base) end
  for _, task in ipairs(tasks) do assert.equal(200, await(task).status) end
end

describe("connections", function()
  it("are used again", server.with_answers(ok, function(client, base, _, conns)
    for i = 1, 20 do
      local res = await(client:get(base, { stream = i % 2 == 0 }))
      await(res:read_all())
    end
    assert.equal(1, #conns)
  end))

  it("to a host are limited, further requests wait", with_slow({ max_host_connections = 3 },
    function(client, base, conns, most)
      ask(client, base, 10)
      assert.equal(3, most())
      assert.equal(3, #conns)
    end))

  it("of a client are limited", with_slow({ max_connections = 2 },
    function(client, base, conns, most)
    ask(client, base, 7)
    assert.equal(2, most())
    assert.is_true(#conns >= 2)
  end))

  it("are waited for without a limit of time", with_slow({ max_host_connections = 1,
    connect_timeout = 3 },
    function(client, base)
      ask(client, base, 8)
    end))

  it("make room when a request that holds one is cancelled", with_slow({ max_host_connections = 1 },
    function(client, base)
      local first, second = client:get(base), client:get(base)
      server.settle()
      first:cancel()
      assert.equal(200, await(second).status)
    end))

  it("that the server has closed are not used again", server.with_server(function(conn)
    server.read_request(conn)
    await(conn:write(ok()))
  end, function(client, base, _, conns)
    for _ = 1, 5 do
      await(client:get(base))
      server.settle()
    end
    assert.equal(5, #conns)
  end))

  it("are each client's own", server.with_answers(ok, function(client, base, _, conns)
    local other <close> = http.client{ proxy = false }
    await(client:get(base))
    await(other:get(base))
    assert.equal(2, #conns)
  end))

  it("leave no descriptors behind", function()
    local before = support.open_descriptors()
    server.with_server(function(conn)
      server.read_request(conn)
      await(conn:write(ok()))
    end, function(client, base)
      for _ = 1, 10 do ask(client, base, 10) end
    end)()
    assert.equal(before, support.open_descriptors())
  end)
end)

describe("several addresses of a name", function()
  local function with_addresses(addresses, fn)
    return server.with_answers(ok, function(_, base)
      local port = base:match("%d+$")
      local client <close> = http.client{ proxy = false,
        resolve = { ["some.host:" .. port] = addresses } }
      fn(client, "http://some.host:" .. port)
    end)
  end

  it("are tried until one answers", with_addresses("127.0.0.2,127.0.0.3,127.0.0.1",
    function(client, url)
      for _ = 1, 5 do assert.equal("ok", await(client:get(url)):text()) end
    end))

  it("of both families, too", with_addresses("::1,127.0.0.1", function(client, url)
    for _ = 1, 5 do assert.equal("ok", await(client:get(url)):text()) end
  end))

  it("that all fail, fail", with_addresses("127.0.0.2,127.0.0.3", function(client, url)
    for _ = 1, 5 do h.raises("ECONNREFUSED", await, client:get(url)) end
  end))

  it("are those of a real name", h.run(function()
    neap.scope(function(scope)
      local listener <close> = await(net.listen("127.0.0.1", 0))
      local _, port = listener:address()
      neap.start(function()
        for conn in listener do neap.start(server.answering(ok), conn) end
      end)
      local client <close> = http.client{ proxy = false, connect_timeout = math.huge }
      for _ = 1, 3 do assert.equal("ok", await(client:get("http://localhost:" .. port)):text()) end
      scope:cancel()
    end)
  end))

  it("are looked up without holding up whoever is cancelled", h.run(function()
    local client <close> = http.client{ proxy = false }
    for i = 1, 20 do
      local task = client:get(("http://name%d.invalid"):format(i))
      await(neap.yield())
      task:cancel()
    end
  end))
end)
