-- One server on several threads: neap.serve_cores.
local h = require "spec.helper"
local support = require "spec.support"
local neap = require "neap"

local await = neap.await

local ECHO = [[
local neap = require "neap"
return function(conn)
  for line in conn:lines() do
    if line == "fail" then error("asked to") end
    if line == "odd" then error({ thread = coroutine.create(print) }) end
    neap.await(conn:write(line, "\n"))
  end
end
]]

--- A directory of modules, in which workers look.
local function with_module(source, fn)
  local directory, path = support.temp_dir(), package.path
  support.spit(directory .. "/cores_app.lua", source)
  package.path = directory .. "/?.lua;" .. path
  local ok, err = pcall(fn)
  package.path = path
  support.remove_tree(directory)
  if not ok then error(err, 0) end
end

--- Starts a server and runs fn(cores, task) when all workers listen.
local function serving(source, opts, fn)
  with_module(source, function()
    local ready, cores = neap.event(), nil
    opts.module = "cores_app"
    opts.on_listen = function(x)
      cores = x
      ready:set()
    end
    local task = neap.serve_cores(opts)
    await(neap.any{ task, ready:wait() })
    if not cores then await(task) end
    fn(cores, task)
    task:cancel("the spec is over")
    await(neap.settle(task))
  end)
end

local function ask(cores, line)
  local conn <close> = await(neap.net.connect(cores:address()))
  await(conn:write(line, "\n"))
  return await(conn:read_line())
end

describe("serve_cores", function()
  it("serves on one port with several workers", h.run(function()
    serving(ECHO, { workers = 3 }, function(cores, task)
      assert.equal(3, cores:workers())
      for i = 1, 60 do assert.equal("line " .. i, ask(cores, "line " .. i)) end
      local host, port = cores:address()
      assert.equal("127.0.0.1", host)
      assert.equal(("neap.Cores: 3 workers at 127.0.0.1:%d"):format(port), tostring(cores))
      assert.equal("pending", task:status())
    end)
  end))

  it("counts for each worker, and together", h.run(function()
    serving(ECHO, { workers = 2 }, function(cores)
      local conns = {}
      for i = 1, 40 do
        conns[i] = await(neap.net.connect(cores:address()))
        await(conns[i]:write("x\n"))
        assert.equal("x", await(conns[i]:read_line()))
      end
      local stats = cores:stats()
      assert.equal(40, stats.total.open)
      assert.equal(40, stats[1].connections + stats[2].connections)
      assert.is_true(stats[1].memory > 10000)
      for _, conn in ipairs(conns) do await(conn:close()) end
      while cores:stats().total.open > 0 do await(neap.sleep(0.001)) end
      assert.equal(40, cores:stats().total.connections)
    end)
  end))

  it("spreads connections among the workers", h.run(function()
    serving(ECHO, { workers = 2 }, function(cores)
      local tries = 0
      repeat
        ask(cores, "x")
        tries = tries + 1
        local stats = cores:stats()
      until (stats[1].connections > 0 and stats[2].connections > 0) or tries == 1000
      assert.is_true(tries < 1000)
    end)
  end))

  it("hands a handler's errors to on_error, with the worker's number", h.run(function()
    local errors = neap.channel()
    local opts = { workers = 2, on_error = function(err, number) errors:try_send(err, number) end }
    serving(ECHO, opts, function(cores)
      assert.is_nil(ask(cores, "fail"))
      local _, err, number = await(errors:recv())
      assert.match("cores_app.lua:%d+: asked to$", err)
      assert.is_true(number == 1 or number == 2)
      assert.is_nil(ask(cores, "odd"))
      _, err = await(errors:recv())
      assert.match("^table: ", err)
      assert.equal(2, cores:stats().total.errors)
      assert.equal("on", ask(cores, "on"))
    end)
  end))

  it("reports them without on_error", h.run(function(context)
    serving(ECHO, { workers = 1 }, function(cores)
      assert.is_nil(ask(cores, "fail"))
      while #context.unobserved == 0 do await(neap.sleep(0.001)) end
      assert.match("asked to", context:take_unobserved()[1].err)
    end)
  end))

  it("ends gracefully: what is open has its grace", h.run(function()
    local slow = [[
      local neap = require "neap"
      return function(conn)
        neap.await(conn:write("ready\n"))
        neap.await(conn:write(neap.await(conn:read_line()), "\n"))
      end
    ]]
    serving(slow, { workers = 2, grace = 10 }, function(cores, task)
      local conn <close> = await(neap.net.connect(cores:address()))
      assert.equal("ready", await(conn:read_line()))
      task:cancel("enough")
      await(conn:write("last\n"))
      assert.equal("last", await(conn:read_line()))
      assert.same({ "cancelled", "enough" }, { await(neap.settle(task)) })
      h.raises("ECONNREFUSED", await, neap.net.connect(cores:address()))
    end)
  end))

  it("ends those that are open when the grace is over", h.run(function()
    serving(ECHO, { workers = 1, grace = 0 }, function(cores, task)
      local conn <close> = await(neap.net.connect(cores:address()))
      await(conn:write("x\n"))
      assert.equal("x", await(conn:read_line()))
      task:cancel()
      await(neap.settle(task))
      assert.is_nil(await(conn:read_line()))
    end)
  end))

  it("fails as a whole when a worker fails", h.run(function()
    with_module("error 'no server today'", function()
      local ok, err = pcall(await, neap.serve_cores{ module = "cores_app", workers = 2 })
      assert.is_false(ok)
      assert.match("no server today", err)
    end)
    with_module("return 5", function()
      local err = h.raises("EINVAL", await, neap.serve_cores{ module = "cores_app", workers = 1 })
      assert.match("must return a handler", err.message)
    end)
    local taken <close> = await(neap.net.listen("127.0.0.1", 0))
    local _, port = taken:address()
    with_module(ECHO, function()
      h.raises("EADDRINUSE", await, neap.serve_cores{ module = "cores_app", port = port })
    end)
  end))

  it("lets a module serve in its own way", h.run(function()
    local own = [[
      local neap = require "neap"
      return { serve = function(opts, stats)
        return neap.net.serve(opts, function(conn)
          for line in conn:lines() do
            stats:add("requests")
            if line == "odd" then stats:add("oddities") end
            neap.await(conn:write(opts.greeting, line, "\n"))
          end
        end)
      end }
    ]]
    local errors = neap.channel()
    local opts = { workers = 2, greeting = "hello " }
    function opts.on_error(err) errors:try_send(err) end
    serving(own, opts, function(cores)
      assert.equal("hello you", ask(cores, "you"))
      assert.equal(1, cores:stats().total.requests)
      assert.is_nil(ask(cores, "odd"))
      local _, err = await(errors:recv())
      assert.match("cores_app.lua:6: bad argument #1 to 'add' %(no such counter%)", err)
    end)
  end))

  it("in a cancelled scope starts nothing", h.run(function()
    neap.scope(function(scope)
      scope:cancel()
      assert.equal("cancelled", neap.serve_cores{ module = "cores_app" }:status())
    end)
  end))

  it("checks its options", h.run(function()
    local function refused(part, opts)
      assert.match(part, h.bad_argument("serve_cores", 1, neap.serve_cores, opts), 1, true)
    end
    refused("table expected", 5)
    refused("option 'module'", {})
    refused("option 'workers'", { module = "x", workers = 0 })
    refused("option 'on_error'", { module = "x", on_error = 1 })
    refused("option 'path'", { module = "x", path = "/there" })
    refused("argument 1.thread: a coroutine", { module = "x", thread = coroutine.create(print) })
  end))
end)
