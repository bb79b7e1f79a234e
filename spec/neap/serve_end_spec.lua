-- How neap.net.serve ends, and what becomes of errors.
local h = require "spec.helper"
local support = require "spec.support"
local neap = require "neap"
local core = require "neap.core"

local await, net = neap.await, neap.net

local function serve(handler, opts)
  opts = opts or {}
  opts.server = await(net.listen("127.0.0.1", 0))
  return net.serve(opts, handler), opts.server
end

local function connect(server) return await(net.connect(server:address())) end

describe("a serve that is cancelled", function()
  it("lets open connections finish within the grace", h.scoped(function(t)
    local task, server = serve(function(conn)
      await(neap.sleep(3))
      await(conn:write("finished"))
      t:note("handled")
    end, { grace = 4 })
    local conn <close> = connect(server)
    await(neap.sleep(1))
    support.takes(2, function()
      task:cancel("stop")
      assert.same({ "cancelled", "stop" }, { await(neap.settle(task)) })
    end)
    assert.equal("finished", await(conn:read_all()))
    assert.equal("handled", t:logged())
  end))

  it("stops listening at once", h.scoped(function()
    local task, server = serve(function() await(neap.sleep(3)) end)
    local host, port = server:address()
    local conn <close> = connect(server)
    await(neap.sleep(1))
    task:cancel("stop")
    await(neap.sleep(0.5))
    assert.equal("pending", task:status())
    assert.is_false((neap.try_for(1, function() await(conn:read()) end)))
    h.raises("ECONNREFUSED", function() await(net.connect(host, port)) end)
    await(neap.settle(task))
  end))

  it("cancels what is open after the grace", h.scoped(function(t)
    for _, grace in ipairs{ 2, 0 } do
      local task, server = serve(function()
        local _ <close> = neap.defer(function() t:note("cleaned up") end)
        await(neap.sleep(60))
        t:note("not cancelled")
      end, { grace = grace })
      local conn <close> = connect(server)
      await(neap.sleep(1))
      support.takes(grace, function()
        task:cancel("stop")
        assert.equal("cancelled", (await(neap.settle(task))))
      end)
      assert.equal("", await(conn:read_all()))
    end
    assert.equal("cleaned up cleaned up", t:logged())
  end))

  it("has a grace of 5 seconds unless told otherwise", h.scoped(function()
    local task, server = serve(function() await(neap.sleep(60)) end)
    local conn <close> = connect(server)
    await(neap.sleep(1))
    support.takes(5, function()
      task:cancel("stop")
      await(neap.settle(task))
    end)
    assert.equal("", await(conn:read_all()))
  end))

  it("again, in its grace, goes on with that", h.scoped(function()
    local task, server = serve(function(conn)
      await(neap.sleep(3))
      await(conn:write("finished"))
    end)
    local conn <close> = connect(server)
    await(neap.sleep(1))
    task:cancel("stop")
    await(neap.sleep(1))
    task:cancel("again")
    assert.equal("finished", await(conn:read_all()))
    assert.equal("cancelled", (await(neap.settle(task))))
  end))

  it("waits for a handler that ignores its cancellation", h.scoped(function()
    local task, server = serve(function()
      neap.shield(function() await(neap.sleep(30)) end)
    end, { grace = 2 })
    local conn <close> = connect(server)
    await(neap.sleep(1))
    support.takes(29, function()
      task:cancel("stop")
      await(neap.settle(task))
    end)
    assert.equal("", await(conn:read_all()))
  end))

  it("loses no connection that has come already", h.scoped(function()
    for pauses = 0, 6 do
      local handled, answered = 0, 0
      local task, server = serve(function(conn)
        handled = handled + 1
        await(conn:write("x"))
      end)
      local address = table.pack(server:address())
      local client = neap.start(function()
        local conn <close> = await(net.connect(table.unpack(address)))
        if conn and await(conn:read()) then answered = answered + 1 end
      end)
      for _ = 1, pauses do await(neap.yield()) end
      task:cancel("stop")
      assert.equal("cancelled", (await(neap.settle(task))))
      await(neap.settle(client))
      assert.equal(handled, answered, pauses)
    end
  end))

  it("before it listens, and while a name is looked up, leaves nothing", h.scoped(function()
    local handles = core.stats().handles
    for pauses = 0, 3 do
      local task = net.serve({ host = "localhost", port = 0 }, function() end)
      for _ = 1, pauses do await(neap.yield()) end
      task:cancel("stop")
      assert.equal("cancelled", (await(neap.settle(task))))
    end
    await(neap.sleep(1))
    assert.equal(handles, core.stats().handles)
  end))

  it("while it waits for a permit stops, too", h.scoped(function()
    local task, server = serve(function() await(neap.sleep(3)) end, { limit = 1 })
    local one <close> = connect(server)
    local two <close> = connect(server)
    await(neap.sleep(1))
    support.takes(2, function()
      task:cancel("stop")
      await(neap.settle(task))
    end)
    assert.equal("", await(one:read_all()))
    assert.is_false((pcall(await, two:read_exactly(1))))
  end))
end)

describe("errors of serve", function()
  it("of a handler go to on_error, with the connection, and stop nothing", h.scoped(function(t)
    local task, server = serve(function(conn)
      local line = await(conn:read_line())
      if line ~= "fine" then error(line, 0) end
      await(conn:write("fine"))
    end, { on_error = function(err, conn) t:note(err .. ":" .. tostring(conn)) end })
    for _, line in ipairs{ "E1", "fine", "E2" } do
      local conn <close> = connect(server)
      await(conn:write(line, "\n"))
      assert.equal(line == "fine" and line or "", await(conn:read_all()))
    end
    task:cancel("stop")
    await(neap.settle(task))
    assert.equal("E1:neap.Conn: closed E2:neap.Conn: closed", t:logged())
  end))

  it("go to on_unobserved otherwise, with the handler's traceback", h.scoped(function(t)
    local line
    local task, server = serve(function()
      line = h.line() + 1
      error("E")
    end)
    local conn <close> = connect(server)
    assert.equal("", await(conn:read_all()))
    task:cancel("stop")
    await(neap.settle(task))
    local report = t:take_unobserved()
    assert.equal(1, #report)
    assert.is_truthy(tostring(report[1].err):find("serve_end_spec.lua:" .. line, 1, true))
    assert.is_truthy(report[1].task:traceback():find("serve_end_spec.lua:" .. line, 1, true))
  end))

  it("of on_error itself are reported, and stop nothing", h.scoped(function(t)
    local task, server = serve(function() error("E", 0) end, {
      on_error = function(err) error(err .. "!", 0) end,
    })
    for _ = 1, 2 do
      local conn <close> = connect(server)
      assert.equal("", await(conn:read_all()))
      await(neap.sleep(1))
    end
    task:cancel("stop")
    await(neap.settle(task))
    for _ = 1, 3 do
      collectgarbage()
      await(neap.yield())
    end
    local reports = t:take_unobserved()
    assert.equal(2, #reports)
    assert.equal("E!", reports[1].err)
  end))

  it("are none where a handler closed its connection itself, or was cancelled", h.scoped(function()
    local task, server = serve(function(conn)
      await(conn:close())
      await(neap.sleep(60))
    end, { grace = 0, on_error = error })
    local conn <close> = connect(server)
    assert.equal("", await(conn:read_all()))
    task:cancel("stop")
    await(neap.settle(task))
  end))
end)

describe("what serve holds", function()
  it("is nothing when a connection has ended", h.scoped(function()
    local task, server = serve(function(conn) await(conn:read_all()) end, { limit = 3 })
    local first = connect(server)
    await(first:close())
    await(neap.sleep(1))
    local before = core.stats()
    for _ = 1, 30 do
      local conn <close> = connect(server)
      await(conn:write("x"))
    end
    await(neap.sleep(1))
    local after = core.stats()
    for _, kind in ipairs{ "tasks", "operations", "scopes", "handles", "pins" } do
      assert.equal(before[kind], after[kind], kind)
    end
    task:cancel("stop")
    await(neap.settle(task))
  end))

  it("survives failing allocations", h.plain(function(t)
    h.each_failure(function()
      local got = ""
      neap.run({ clock = t.clock }, neap.scope, function(scope)
        local _, server = serve(function(conn)
          await(conn:write(await(conn:read_line()), "!"))
        end, { limit = 1, on_error = function() end, grace = 1 })
        local ok, result = pcall(neap.timeout, 9, function()
          local conn <close> = connect(server)
          await(conn:write("hello\n"))
          return await(conn:read_all())
        end)
        scope:cancel("the end")
        if ok then got = result end
        assert(ok or server:is_closed() or result.code ~= "ETIMEDOUT", "the server serves no more")
      end)
      assert(got == "hello!" or got == "", "a run that succeeded has a wrong result")
    end)
    t:take_unobserved()
    t:take_warnings()
  end))
end)
