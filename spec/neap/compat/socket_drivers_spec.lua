-- Programs that were written for LuaSocket, as they are: redis-lua, LuaSocket's own http, and what
-- pgmoon does with its socket.
local h = require "spec.helper"
local redis_server = require "spec.redis"
local sockets = require "spec.sockets"
local web = require "spec.http_wire"
local neap = require "neap"
local socket = require "neap.compat.socket"

local await = neap.await

--- An `it` with a Redis server.
local function it_with_redis(title, fn)
  it(title, h.plain(redis_server.run(fn)))
end

--- Starts n tasks with a client of their own each.
local function start_clients(redis, port, n, fn)
  local tasks = {}
  for i = 1, n do
    tasks[i] = neap.start(function()
      local client = redis.connect("127.0.0.1", port)
      local result = fn(client, i)
      client:quit()
      return result
    end)
  end
  return tasks
end

describe("redis-lua on neap.compat.socket", function()
  if not redis_server.is_there() then return end

  it_with_redis("stores and finds what it is given", function(redis, port)
    local client = redis.connect{ host = "127.0.0.1", port = port, timeout = 5 }
    assert.is_true(client:ping())
    assert.is_true(client:set("key", "value\r\nin two lines"))
    assert.equal("value\r\nin two lines", client:get("key"))
    assert.is_nil(client:get("none"))
    assert.equal(3, client:rpush("list", "a", "b", "c"))
    assert.same({ "a", "b", "c" }, client:lrange("list", 0, -1))
    local large = ("x"):rep(3000000)
    assert.is_true(client:set("large", large))
    assert.is_true(large == client:get("large"))
    local ok, err = pcall(client.incr, client, "key")
    assert.is_false(ok)
    assert.is_truthy(err:find("redis error: ERR value is not an integer", 1, true))
    local entries, names = {}, {}
    for i = 1, 200 do entries[2 * i - 1], entries[2 * i], names[i] = "n" .. i, i, "n" .. i end
    assert.is_true(client:mset(table.unpack(entries)))
    assert.equal("200", client:mget(names)[200])
    client:quit()
  end)

  it_with_redis("speaks over a Unix socket", function(redis, _, path)
    local client = redis.connect("unix://" .. path)
    assert.is_true(client:ping())
    client:quit()
  end)

  it_with_redis("waits in twenty tasks at once, each answered by another", function(redis, port)
    local waiting, counter = 0, redis.connect("127.0.0.1", port)
    local readers = start_clients(redis, port, 20, function(client, i)
      waiting = waiting + 1
      return client:blpop("queue" .. i, 0)[2] -- 0: for ever
    end)
    repeat
      await(neap.sleep(0.01))
      local blocked = tonumber(counter:info().clients.blocked_clients)
    until blocked == 20
    assert.equal(20, waiting)
    for _, task in ipairs(readers) do assert.equal("pending", task:status()) end
    local writers = start_clients(redis, port, 20, function(client, i)
      return client:rpush("queue" .. 21 - i, "from " .. i)
    end)
    for i, task in ipairs(readers) do assert.equal("from " .. 21 - i, await(task)) end
    await(neap.all(writers))
    counter:quit()
  end)

  it_with_redis("ends a wait that is cancelled", function(redis, port)
    local client = redis.connect("127.0.0.1", port)
    h.raises("ETIMEDOUT", neap.timeout, 0.05, function() client:blpop("nothing", 0) end)
    local other = redis.connect("127.0.0.1", port)
    assert.is_true(other:ping())
    other:quit()
  end)

  it_with_redis("tells its own errors: none there, a limit of time", function(redis, port)
    local ok, err = pcall(redis.connect, "127.0.0.1", 1)
    assert.is_false(ok)
    assert.is_truthy(err:find("could not connect to 127.0.0.1:1 [connection refused]", 1, true))
    local client = redis.connect{ host = "127.0.0.1", port = port, timeout = 0.05 }
    ok, err = pcall(client.blpop, client, "nothing", 0)
    assert.is_false(ok)
    assert.is_truthy(err:find("connection error: timeout", 1, true))
  end)
end)

-- LuaSocket's own modules that are written in Lua.

local LIBRARIES = { "socket.http", "socket.url", "socket.headers", "ltn12", "mime", "mime.core" }

local function handle(req, res)
  local body = await(req:text())
  if req.path == "/chunked" then
    for i = 1, 3 do await(res:write(("%d"):format(i):rep(5000))) end
    return
  end
  return req.method .. " " .. req.path .. " " .. body
end

describe("LuaSocket's http on neap.compat.socket", function()
  if not sockets.has_module("socket.http") then return end

  local function with_http(fn)
    return h.run(function()
      local task, server = web.serve(handle)
      local _, port = server:address()
      redis_server.with_modules(LIBRARIES, function()
        fn(require "socket.http", "http://127.0.0.1:" .. port)
      end)
      socket.http = nil
      web.stop(task)
    end)
  end

  it("gets and posts, in a program that serves it, too", with_http(function(http, url)
    local body, code, headers = http.request(url .. "/x?y=1")
    assert.equal("GET /x ", body)
    assert.equal(200, code)
    assert.equal(tostring(#body), headers["content-length"])
    assert.equal("POST /form a=b", (http.request(url .. "/form", "a=b")))
    body, code = http.request(url .. "/chunked")
    assert.equal(200, code)
    assert.equal(("1"):rep(5000) .. ("2"):rep(5000) .. ("3"):rep(5000), body)
  end))

  it("has twenty requests under way at once", with_http(function(http, url)
    local tasks = {}
    for i = 1, 20 do tasks[i] = neap.start(function() return http.request(url .. "/" .. i) end) end
    for _, task in ipairs(tasks) do assert.equal("pending", task:status()) end
    for i, task in ipairs(tasks) do
      assert.equal(("GET /%d "):format(i), (await(task)))
    end
  end))

  it("tells a connection that is refused", with_http(function(http)
    local body, why = http.request("http://127.0.0.1:1/")
    assert.is_nil(body)
    assert.equal("connection refused", why)
  end))
end)

describe("what pgmoon does with a socket of LuaSocket", function()
  --- A message of PostgreSQL: its letter, its length with the length itself, what it says.
  local function message(letter, text)
    return letter .. (">I4"):pack(#text + 4) .. text
  end

  --- Answers a start and then each query with itself.
  local function serve(peer)
    local size = (">I4"):unpack(await(peer:read_exactly(4)))
    await(peer:read_exactly(size - 4))
    await(peer:write(message("R", (">I4"):pack(0)), message("Z", "I")))
    for _ = 1, 2 do
      local letter, length = (">c1I4"):unpack(await(peer:read_exactly(5)))
      local query = await(peer:read_exactly(length - 4))
      await(peer:write(message(letter, query)))
    end
  end

  local function receive_message(client)
    local letter, length = (">c1I4"):unpack(assert(client:receive(5)))
    return letter, length > 4 and assert(client:receive(length - 4)) or ""
  end

  it("works: connect with options, settimeout, send, receive by length, close", h.run(function()
    local server <close> = await(neap.net.listen("127.0.0.1", 0))
    local serving = neap.start(function()
      local peer <close> = await(server:accept())
      serve(peer)
    end)
    local client = socket.tcp()
    local host, port = server:address()
    assert.equal(1, client:settimeout(1000 / 1000))
    assert.is_truthy(client:connect(host, port, { pool_size = 1 }))
    assert.is_truthy(client:send((">I4s"):pack(12, ""):sub(1, 4) .. ("\0"):rep(8)))
    assert.equal("R", (receive_message(client)))
    assert.equal("Z I", table.concat({ receive_message(client) }, " "))
    for _, query in ipairs{ "SELECT 1", "" } do
      assert.is_truthy(client:send(message("Q", query)))
      assert.equal("Q " .. query, table.concat({ receive_message(client) }, " "))
    end
    assert.equal("closed", select(2, client:receive(5)))
    assert.equal(1, client:close())
    await(serving)
  end))
end)
