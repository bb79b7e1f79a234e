-- Each state in which a request can be, and each way to end it.
local h = require "spec.helper"
local server = require "spec.http"
local neap = require "neap"
local core = require "neap.core"

local await, http = neap.await, neap.http

--- A server that reads the request and is silent.
local function silent(conn)
  server.read_request(conn)
  await(neap.sleep(1e9))
end

local function with_silence(fn, opts) return server.with_server(silent, opts or {}, fn) end

local function ok() return server.response("200 OK", "ok") end

describe("a request", function()
  it("is pending until its response has come", server.with_answers(ok, function(client, base)
    local task = client:get(base)
    assert.equal("pending", task:status())
    assert.equal("ok", await(task):text())
    assert.equal("done", task:status())
    assert.equal(await(task), await(task))
  end))

  it("is done when it is awaited late", server.with_answers(ok, function(client, base)
    local task = client:get(base)
    server.settle()
    assert.equal("done", task:status())
    assert.equal("ok", await(task):text())
  end))

  it("[S71] is not sent in a cancelled scope", with_silence(function(client, base, _, conns)
    neap.scope(function(scope)
      scope:cancel("closed")
      assert.equal("cancelled", client:get(base):status())
      assert.equal("cancelled", client:get(base, { stream = true }):status())
      assert.equal("cancelled", client:post(base, { body = function() end }):status())
    end)
    server.settle()
    assert.equal(0, #conns)
  end))

  it("that is cancelled closes its connection at once", with_silence(
    function(client, base, _, conns)
      local task = client:get(base)
      server.settle()
      assert.is_true(task:cancel("enough"))
      assert.is_false(task:cancel("again"))
      assert.equal("cancelled", task:status())
      assert.is_nil(await(conns[1]:read()))
      h.raises("ECANCELLED", await, task)
    end))

  it("may be cancelled before it is sent", with_silence(function(client, base)
    assert.is_true(client:get(base):cancel())
  end))

  it("may be cancelled between its head and its body", server.with_server(function(conn)
    server.read_request(conn)
    await(conn:write("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello"))
    await(neap.sleep(1e9))
  end, function(client, base, _, conns)
    local task = client:get(base)
    server.settle()
    task:cancel()
    assert.is_nil(await(conns[1]:read()))
  end))

  it("ends with the deadline of its scope", with_silence(function(client, base, _, conns)
    local begin = neap.now()
    h.raises("ETIMEDOUT", neap.timeout, 3, function() await(client:get(base)) end)
    assert.near(3, neap.now() - begin, 0.5)
    assert.is_nil(await(conns[1]:read()))
  end))

  it("that lost a race is cancelled", server.with_server(function(conn, number)
    server.read_request(conn)
    if number == 2 then await(conn:write(ok())) end
    await(neap.sleep(1e9))
  end, function(client, base, _, conns)
    local res = await(neap.race(
      function() return await(client:get(base)) end,
      function()
        server.settle()
        return await(client:get(base))
      end))
    assert.equal("ok", res:text())
    assert.is_nil(await(conns[1]:read()))
  end))

  it("of which nobody takes the response is collected", server.with_answers(ok,
    function(client, base)
      for _ = 1, 10 do
        client:get(base)
        client:get(base, { stream = true })
      end
      server.settle()
      collectgarbage()
      collectgarbage()
    end))

  it("that is dropped while it is under way runs to its end", server.with_answers(ok,
    function(client, base, _, conns)
      client:get(base)
      collectgarbage()
      collectgarbage()
      server.settle()
      assert.equal(1, #conns)
    end))

  it("outlives its client's object", server.with_answers(ok, function(_, base)
    local task = http.client{ proxy = false }:get(base)
    collectgarbage()
    collectgarbage()
    assert.equal("ok", await(task):text())
  end))
end)

describe("many requests", function()
  it("at once are told apart", server.with_answers(function(request)
    return server.response("200 OK", request.target)
  end, function(client, base, _, conns)
    local tasks = {}
    for i = 1, 200 do tasks[i] = client:get(base .. "/" .. i) end
    for i, task in ipairs(tasks) do assert.equal("/" .. i, await(task):text()) end
    assert.is_true(#conns <= 64, #conns)
  end))

  it("end in any way, in any order, and nothing is left", server.with_server(function(conn, number)
    for _ in server.read_request, conn do
      if number % 3 == 0 then return end
      if number % 3 == 1 then await(neap.sleep(0.01 * number)) end
      await(conn:write(ok()))
    end
  end, function(client, base)
    for round = 1, 20 do
      local tasks = {}
      for i = 1, 10 do tasks[i] = client:get(base, { stream = (i + round) % 2 == 0 }) end
      server.settle(round)
      for i, task in ipairs(tasks) do
        if (i * round + 1) % 4 == 0 then task:cancel() end
      end
      for _, task in ipairs(tasks) do
        local done, res = pcall(await, task)
        if done then res:close() end
      end
    end
  end))
end)

describe("closing a client", function()
  it("fails what is under way, and what comes", with_silence(function(client, base, _, conns)
    local task = client:get(base)
    server.settle()
    await(client:close())
    local err = h.raises("ECLOSED", await, task)
    assert.equal(base, err.url)
    h.raises("ECLOSED", await, client:get(base))
    assert.is_nil(await(conns[1]:read()))
    await(client:close())
    assert.equal("neap.http.Client: closed", tostring(client))
  end))

  it("ends its streamed bodies", server.with_server(function(conn)
    server.read_request(conn)
    await(conn:write("HTTP/1.1 200 OK\r\n\r\n"))
    await(neap.sleep(1e9))
  end, function(client, base)
    local res = await(client:get(base, { stream = true }))
    local read = res:read()
    await(client:close())
    h.raises("ECLOSED", await, read)
  end))

  it("closes connections that rest", function()
    local log = {}
    server.with_server(function(conn)
      server.read_request(conn)
      await(conn:write(ok()))
      log[1] = await(conn:read_all())
    end, function(client, base)
      await(client:get(base))
      server.settle()
      assert.is_nil(log[1])
      await(client:close())
      server.settle()
      assert.equal("", log[1])
    end)()
  end)
end)

describe("a loop with requests", function()
  it("counts them as operations", with_silence(function(client, base)
    local before = core.stats().operations
    local task = client:get(base)
    assert.equal(before + 1, core.stats().operations)
    task:cancel()
    assert.equal(before, core.stats().operations)
  end))

  it("is not kept alive by connections that rest", function()
    local output = h.process([[
      local neap = require "neap"
      local await, http = neap.await, neap.http
      neap.run(function()
        local server = await(neap.net.listen("127.0.0.1", 0))
        local _, port = server:address()
        local asking = http.get("http://127.0.0.1:" .. port, { proxy = false })
        local conn = await(server:accept())
        await(conn:read_until("\r\n\r\n"))
        await(conn:write("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"))
        print(await(asking):text())
        await(conn:close())
        await(server:close())
        await(neap.completion().task)
      end)
    ]], "timeout 20")
    assert.is_truthy(output:find("^ok\n"), output)
    assert.is_truthy(output:find("EDEADLOCK", 1, true), output)
  end)

  for _, state in ipairs{ "new", "silent", "streaming", "reading", "sending" } do
    it("is closed with one that is " .. state, function()
      local output, how, code = h.process(([[
        local neap = require "neap"
        local await, http = neap.await, neap.http
        local state = %q
        local keep = {}
        local server, port
        local function go()
          server = await(neap.net.listen("127.0.0.1", 0))
          _, port = server:address()
          local base = "http://127.0.0.1:" .. port
          local opts = { proxy = false, stream = state ~= "silent" }
          if state == "sending" then
            opts.body = function() await(neap.completion().task) end
          end
          keep.client = http.client{ proxy = false }
          keep.task = keep.client:request("POST", base, opts)
          keep.other = http.get(base, { proxy = false })
          if state == "new" then return end
          local conn = await(server:accept())
          await(conn:read_until("\r\n\r\n"))
          keep.conn = conn
          if state == "streaming" or state == "reading" then
            await(conn:write("HTTP/1.1 200 OK\r\n\r\nx"))
            keep.res = await(keep.task)
            if state == "reading" then keep.read = keep.res:read_exactly(5) end
          end
        end
        neap.start(function() go() print("there") os.exit(0, true) end)
        neap.run(function() await(neap.sleep(60)) end)
      ]]):format(state), "timeout 20")
      assert.equal("exit 0", how .. " " .. code, output)
      assert.equal("there\n", output)
    end)
  end
end)
