-- neap.net.serve: connections, their limit, their grace and their errors.
local h = require "spec.helper"
local support = require "spec.support"
local wires = require "spec.wires"
local neap = require "neap"
local core = require "neap.core"

local await, net = neap.await, neap.net

--- Serves on a free port and gives the Task and the server.
local function serve(handler, opts)
  opts = opts or {}
  opts.server = await(net.listen("127.0.0.1", 0))
  return net.serve(opts, handler), opts.server
end

local function connect(server) return await(net.connect(server:address())) end

--- Cancels it and waits for its end.
local function stop(task)
  task:cancel("stop")
  assert.same({ "cancelled", "stop" }, { await(neap.settle(task)) })
end

local function echo(conn)
  for chunk in conn do await(conn:write(chunk)) end
end

describe("neap.net.serve", function()
  it("runs the handler for each connection and closes it behind it", h.scoped(function(t)
    local handles = core.stats().handles
    local task, server = serve(function(conn)
      t:note(await(conn:read_line()))
      await(conn:write("bye"))
    end)
    for i = 1, 3 do
      local conn <close> = connect(server)
      await(conn:write(i, "\n"))
      assert.equal("bye", await(conn:read_all()))
    end
    assert.equal("1 2 3", t:logged())
    stop(task)
    assert.equal(handles, core.stats().handles)
  end))

  it("serves them at the same time", h.scoped(function()
    local task, server = serve(echo)
    local conns = {}
    for i = 1, 20 do conns[i] = connect(server) end
    for i = 20, 1, -1 do await(conns[i]:write(i)) end
    for i = 1, 20 do
      assert.equal(tostring(i), await(conns[i]:read()))
      await(conns[i]:close())
    end
    stop(task)
  end))

  it("listens by itself, and tells on_listen where", h.scoped(function()
    for _, opts in ipairs{ { host = "127.0.0.1", port = 0 }, { path = wires.name() } } do
      local server
      opts.on_listen = function(s) server = s end
      local task = net.serve(opts, echo)
      assert.is_truthy(server, "on_listen was not called")
      local conn <close> = wires.connect(server)
      await(conn:write("x"))
      assert.equal("x", await(conn:read()))
      await(conn:close())
      stop(task)
      assert.is_true(server:is_closed())
    end
  end))

  it("fails when it cannot listen, and when on_listen fails", h.scoped(function()
    local server <close> = await(net.listen("127.0.0.1", 0))
    local host, port = server:address()
    h.raises("EADDRINUSE", await, net.serve({ host = host, port = port }, echo))
    local own
    local task = net.serve({ host = host, port = 0, on_listen = function(s)
      own = s
      error("E", 0)
    end }, echo)
    assert.same({ "failed", "E" }, { await(neap.settle(task)) })
    assert.is_true(own:is_closed())
  end))

  it("ends when the server is closed, with a grace for what is open", h.scoped(function(t)
    local task, server = serve(function(conn)
      await(neap.sleep(2))
      await(conn:write("late"))
      t:note("handled")
    end)
    local conn <close> = connect(server)
    await(neap.sleep(1))
    await(server:close())
    assert.equal("late", await(conn:read()))
    await(task)
    assert.equal("handled", t:logged())
  end))

  it("ends at once when its server was closed before", h.scoped(function()
    local server = await(net.listen("127.0.0.1", 0))
    await(server:close())
    support.takes(0, function() await(net.serve({ server = server }, echo)) end)
  end))

  it("raises an argument error at the call", h.scoped(function()
    local server <close> = await(net.listen("127.0.0.1", 0))
    h.bad_argument("serve", 1, net.serve)
    h.bad_argument("serve", 2, net.serve, { server = server })
    h.bad_argument("serve", 2, net.serve, { server = server }, 5)
    for name, value in pairs{
      limit = 0, grace = -1, on_error = 1, on_listen = {}, port = "x", host = {}, backlog = 0,
      reuse_port = 1, ipv6_only = "", mode = "rw",
    } do
      local opts = { host = "127.0.0.1", port = 0 }
      opts[name] = value
      local text = h.bad_argument("serve", 1, function()
        local task = net.serve(opts, echo)
        return task
      end)
      assert.is_truthy(text:find("'" .. name .. "'", 1, true), text)
      assert.is_truthy(text:find("serve_spec.lua:", 1, true), text)
    end
    h.bad_argument("serve", 1, net.serve, {}, echo)
  end))

  it("[S71] begins nothing in a cancelled scope", h.scoped(function()
    local handles = core.stats().handles
    neap.scope(function(scope)
      scope:cancel("closed")
      local task = net.serve({ host = "127.0.0.1", port = 0 }, echo)
      assert.equal("cancelled", (await(neap.settle(task))))
    end)
    assert.equal(handles, core.stats().handles)
  end))

  it("in a group ends with it", h.scoped(function()
    local served
    neap.group(function(group)
      local server = await(net.listen("127.0.0.1", 0))
      group:spawn(function() await(net.serve({ server = server }, echo)) end)
      local conn <close> = connect(server)
      await(conn:write("x"))
      served = await(conn:read())
      await(conn:close())
      group:cancel("done")
    end)
    assert.equal("x", served)
  end))
end)

describe("the limit of serve", function()
  it("makes further connections wait", h.scoped(function(t)
    local open, most = 0, 0
    local task, server = serve(function(conn)
      open = open + 1
      most = math.max(most, open)
      t:note(await(conn:read_line()))
      await(neap.sleep(1))
      open = open - 1
    end, { limit = 2 })
    local conns = {}
    for i = 1, 5 do
      conns[i] = connect(server)
      await(conns[i]:write(i, "\n"))
    end
    for i = 1, 5 do
      assert.equal("", await(conns[i]:read_all()))
      await(conns[i]:close())
    end
    assert.equal("1 2 3 4 5", t:logged())
    assert.equal(2, most)
    stop(task)
  end))

  it("is kept with 1000 connections", h.scoped(function()
    local open, most, served = 0, 0, 0
    local task, server = serve(function(conn)
      open = open + 1
      most = math.max(most, open)
      await(conn:write(await(conn:read_line())))
      await(neap.sleep(0.001))
      served = served + 1
      open = open - 1
    end, { limit = 10 })
    local numbers = {}
    for i = 1, 1000 do numbers[i] = tostring(i) end
    local answers = await(neap.map(numbers, function(number)
      local conn <close> = connect(server)
      await(conn:write(number, "\n"))
      return await(conn:read_all())
    end, { limit = 100 }))
    for i = 1, 1000 do assert.equal(numbers[i], answers[i]) end
    assert.equal(1000, served)
    assert.equal(10, most)
    stop(task)
  end))

  it("is free again after a handler that failed or was ended by its connection", h.scoped(
    function()
      local task, server = serve(function(conn)
        if await(conn:read_line()) == "fail" then error("E", 0) end
      end, { limit = 1, on_error = function() end })
      for i = 1, 6 do
        local conn <close> = connect(server)
        if i % 2 == 0 then await(conn:write("fail\n")) else await(conn:shutdown()) end
        assert.equal("", await(conn:read_all()))
      end
      stop(task)
    end))
end)
