-- neap.http.serve: clients that leave or are slow, limits of time, and the end of serving.
local h = require "spec.helper"
local support = require "spec.support"
local web = require "spec.http_wire"
local neap = require "neap"
local core = require "neap.core"

local await = neap.await

local POST = "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n"

--- Lets what was sent arrive, in no time.
local function arrive()
  for _ = 1, 20 do await(neap.yield()) end
  await(neap.sleep(0.001))
end

describe("a client that leaves", function()
  it("cancels the handler that waits", h.scoped(function(t)
    local task, server = web.serve(function()
      local ok, err = pcall(await, neap.sleep(1000))
      t:note(ok) t:note(neap.is_cancel(err))
      error(err, 0)
    end)
    local conn = web.connect(server)
    await(conn:write(web.get("/")))
    arrive()
    await(conn:close())
    support.takes(1, function() await(neap.sleep(1)) end)
    assert.equal("false true", t:logged())
    web.stop(task)
  end))

  it("by a reset, too", h.scoped(function(t)
    local task, server = web.serve(function()
      local _ <close> = neap.defer(function() t:note("over") end)
      await(neap.sleep(1000))
    end)
    local conn = web.connect(server)
    await(conn:write(web.get("/")))
    arrive()
    await(conn:reset())
    await(neap.sleep(1))
    assert.equal("over", t:logged())
    web.stop(task)
  end))

  it("leaves the handler alone where that is asked for", h.scoped(function(t)
    local task, server = web.serve(function()
      await(neap.sleep(10))
      t:note("done")
      return "late"
    end, { cancel_on_disconnect = false })
    local conn <close> = web.connect(server)
    await(conn:write(web.get("/")))
    await(conn:shutdown())
    local _, _, body = web.read(conn)
    assert.same({ "late", "done" }, { body, t:logged() })
    web.stop(task)
  end))

  it("in the middle of an upload fails the reads of it", h.scoped(function(t)
    local task, server = web.serve(function(req)
      neap.shield(function()
        local ok, err = pcall(await, req:text())
        t:note(ok) t:note(err.code)
      end)
    end)
    local conn = web.connect(server)
    await(conn:write(POST, "abc"))
    arrive()
    await(conn:close())
    await(neap.sleep(1))
    assert.equal("false ECONNRESET", t:logged())
    web.stop(task)
  end))

  it("fails what is written to it", h.scoped(function(t)
    local task, server = web.serve(function(_, res)
      neap.shield(function()
        local ok, err = true, nil
        while ok do ok, err = pcall(await, res:write(("x"):rep(100000))) end
        t:note(err.code)
      end)
    end)
    local conn = web.connect(server)
    await(conn:write(web.get("/")))
    arrive()
    await(conn:reset())
    await(neap.sleep(1))
    assert.matches("^E%u+$", t:logged())
    web.stop(task)
  end))

  it("between requests is no error", h.scoped(function()
    local task, server = web.serve(function() return "x" end)
    for _ = 1, 5 do
      local conn = web.connect(server)
      await(conn:write(web.get("/")))
      web.read(conn)
      await(conn:close())
    end
    arrive()
    web.stop(task)
  end))

  it("with its requests sent and its direction ended gets all answers", h.scoped(function()
    local task, server = web.serve(function(req) return req.path end)
    local conn <close> = web.connect(server)
    await(conn:write(web.get("/1"), web.get("/2"), web.get("/3")))
    await(conn:shutdown())
    for i = 1, 3 do assert.equal("/" .. i, (select(3, web.read(conn)))) end
    assert.equal("", await(conn:read_all()))
    web.stop(task)
  end))
end)

describe("the limits of time", function()
  it("end a connection that sends nothing", h.scoped(function()
    local task, server = web.serve(function() end, { header_timeout = 10 })
    local conn <close> = web.connect(server)
    support.takes(10, function() assert.equal("", await(conn:read_all())) end)
    web.stop(task)
  end))

  it("answer 408 to a head that does not end", h.scoped(function()
    local limits = { header_timeout = 10, idle_timeout = 50 }
    local task, server = web.serve(function() return "x" end, limits)
    local conn <close> = web.connect(server)
    await(conn:write(web.get("/")))
    web.read(conn)
    await(neap.sleep(30))
    await(conn:write("GET / HTTP/1.1\r\n"))
    support.takes(10, function()
      await(neap.sleep(7))
      await(conn:write("Host: x\r\n"))
      assert.equal(408, (web.read(conn)))
    end)
    web.stop(task)
  end))

  it("end a connection that is idle", h.scoped(function()
    local task, server = web.serve(function() return "x" end, { idle_timeout = 50 })
    local conn <close> = web.connect(server)
    for _ = 1, 3 do
      await(neap.sleep(20))
      await(conn:write(web.get("/")))
      web.read(conn)
    end
    support.takes(50, function() assert.equal("", await(conn:read_all())) end)
    web.stop(task)
  end))

  it("fail the read of a body that does not come, and answer 408", h.scoped(function(t)
    local task, server = web.serve(function(req)
      local ok, err = pcall(await, req:text())
      t:note(ok and "ok" or err.code)
      error(err, 0)
    end, { idle_timeout = 50 })
    local conn <close> = web.connect(server)
    await(conn:write(POST))
    await(neap.sleep(30))
    await(conn:write("abc"))
    support.takes(50, function() assert.equal(408, (web.read(conn))) end)
    assert.equal("ETIMEDOUT", t:logged())
    web.stop(task)
  end))

  it("leave a handler that works alone", h.scoped(function()
    local task, server = web.serve(function()
      await(neap.sleep(500))
      return "x"
    end, { idle_timeout = 50, header_timeout = 10 })
    assert.equal("x", (select(3, web.ask(server, web.get("/")))))
    web.stop(task)
  end))

  it("end a connection whose client takes nothing", h.scoped(function(t)
    local task, server = web.serve(function(req, res)
      if req.path == "/whole" then return ("x"):rep(50000000) end
      local ok, err = pcall(await, res:write(("x"):rep(50000000)))
      t:note(ok and "ok" or type(err))
      error(err, 0)
    end, { idle_timeout = 50 })
    for _, path in ipairs{ "/whole", "/stream" } do
      local conn <close> = web.connect(server)
      await(conn:write(web.get(path)))
      await(neap.sleep(500))
      assert.is_true(#select(2, pcall(await, conn:read_exactly(50000000))).partial < 50000000)
    end
    web.stop(task)
  end))
end)

describe("the limit of connections", function()
  it("makes further ones wait", h.scoped(function()
    local task, server = web.serve(function() return "x" end, { limit = 1, idle_timeout = 10 })
    local first <close> = web.connect(server)
    await(first:write(web.get("/")))
    assert.equal(200, (web.read(first)))
    local second <close> = web.connect(server)
    await(second:write(web.get("/")))
    support.takes(10, function() assert.equal(200, (web.read(second))) end)
    web.stop(task)
  end))
end)

describe("the end of neap.http.serve", function()
  it("closes idle connections at once", h.scoped(function()
    local handles = core.stats().handles
    local task, server = web.serve(function() return "x" end)
    local conns = {}
    for i = 1, 10 do
      conns[i] = web.connect(server)
      await(conns[i]:write(web.get("/")))
      web.read(conns[i])
    end
    support.takes(0, function()
      web.stop(task)
      for i = 1, 10 do assert.equal("", await(conns[i]:read_all())) end
    end)
    for i = 1, 10 do await(conns[i]:close()) end
    assert.equal(handles, core.stats().handles)
  end))

  it("lets handlers answer, and says that the connection ends", h.scoped(function()
    local task, server = web.serve(function()
      await(neap.sleep(3))
      return "late"
    end)
    local conn <close> = web.connect(server)
    await(conn:write(web.get("/"), web.get("/")))
    arrive()
    task:cancel("stop")
    support.takes(3 - 0.001, function()
      local status, headers, body = web.read(conn)
      assert.same({ 200, "close", "late" }, { status, headers.connection, body })
      assert.equal("", await(conn:read_all()))
    end)
    await(neap.settle(task))
  end))

  it("cancels them when their grace is over", h.scoped(function(t)
    local task, server = web.serve(function()
      local _ <close> = neap.defer(function() t:note("cancelled") end)
      await(neap.sleep(1000))
      return "never"
    end, { grace = 7 })
    local conn <close> = web.connect(server)
    await(conn:write(web.get("/")))
    arrive()
    task:cancel("stop")
    support.takes(7, function() await(neap.settle(task)) end)
    assert.equal("cancelled", t:logged())
    assert.equal("", await(conn:read_all()))
  end))

  it("calls on_stop when it accepts no more", h.scoped(function(t)
    local task = web.serve(function() end, { on_stop = function() t:note("stopped") end })
    await(neap.sleep(1))
    web.stop(task)
    assert.equal("stopped", t:logged())
  end))

  it("may come with the listening socket", h.scoped(function()
    local task, server = web.serve(function() return "x" end)
    assert.equal(200, (web.ask(server, web.get("/"))))
    await(server:close())
    assert.same({ "done" }, { await(neap.settle(task)) })
  end))
end)

describe("a thousand idle connections", function()
  it("are served when they wake, and end together", h.scoped(function()
    local task, server = web.serve(function(req) return req.path end)
    local conns, n = {}, 1000
    local closing <close> = support.closing(function() -- luacheck: ignore 211
      for i = 1, #conns do await(conns[i]:close()) end
    end)
    for i = 1, n do
      conns[i] = web.connect(server)
      await(conns[i]:write(web.get("/")))
    end
    for i = 1, n do assert.equal(200, (web.read(conns[i]))) end
    for i = n, 1, -97 do
      await(conns[i]:write(web.get("/" .. i)))
      assert.equal("/" .. i, (select(3, web.read(conns[i]))))
    end
    web.stop(task)
    for i = 1, n do assert.equal("", await(conns[i]:read_all())) end
  end))
end)

describe("a Lua state that ends", function()
  it("in the middle of everything is in order", function()
    local output, how, code = h.process([[
      local neap = require "neap"
      local await = neap.await
      neap.run(function()
        local server = await(neap.net.listen("127.0.0.1", 0))
        neap.background(function()
          await(neap.http.serve{ server = server, handler = function(req, res)
            if req.path == "/write" then await(res:write(("x"):rep(50000000))) end
            if req.path == "/read" then await(req:text()) end
            if req.path == "/wait" then await(neap.sleep(1000)) end
            return "x"
          end })
        end)
        conns = {}
        for i, path in ipairs{ "/", "/write", "/read", "/wait" } do
          conns[i] = await(neap.net.connect(server:address()))
          local fields = " HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\n"
          await(conns[i]:write("POST ", path, fields, "abc"))
        end
        conns[5] = await(neap.net.connect(server:address()))
        await(neap.sleep(0.05))
        print("there")
        os.exit(true, true)
      end)
    ]])
    assert.same({ "there\n", "exit", 0 }, { output, how, code })
  end)
end)

describe("memory that fails once", function()
  -- With a collection after every turn each try takes long: some of them then.
  local STEP = os.getenv("NEAP_STRESS_GC") == "1" and 40 or 1

  --- Two requests on one connection.
  local function ask_twice()
    local task, server = web.serve(function(req)
      local text = await(req:text())
      return 200, text, { ["X-A"] = "b" }
    end, { on_error = function() end })
    local _ <close> = neap.defer(function() task:cancel() end)
    local conn <close> = web.connect(server)
    await(conn:write("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc", web.get("/")))
    return web.read(conn), web.read(conn)
  end

  local function try(n)
    local fired, first, second = false, nil, nil
    local former = neap.on_unobserved(function() end)
    local options = { clock = neap.test_clock{ autojump = true } }
    pcall(neap.run, options, function()
      core.fail_allocation(n)
      local _
      _, first, second = pcall(ask_twice)
      fired = core.fail_allocation()
    end)
    fired = core.fail_allocation() or fired
    neap.on_unobserved(former)
    return fired, first, second
  end

  it("costs what it fails in, and leaves nothing behind", h.plain(function()
    local n, fired, first, second = 0, true, nil, nil
    while fired and n < 1000 do
      n = n + STEP
      fired, first, second = try(n)
    end
    assert.same({ 200, 200 }, { first, second })
    assert.is_true(n > 50 and n < 1000, n)
  end))
end)
