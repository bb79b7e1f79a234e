-- neap.luv: luv's callbacks and neap's tasks on one loop.
local h = require "spec.helper"
local neap = require "neap"

local await = neap.await

--- A program of its own, since two loops that have become one stay so: begins with `load`, and has
--- luv as uv. Returns what it printed.
local function program(load, source)
  local output, how, code = h.process(load .. [[

    local await = neap.await
    io.stdout:setvbuf("no")
    local function shows(code, fn, ...)
      local ok, err = pcall(fn, ...)
      print(ok and "no error" or err.code == code and code or err)
    end
    local function after(ms, fn)
      local timer = uv.new_timer()
      timer:start(ms, 0, function() timer:close() fn() end)
    end
  ]] .. source, "timeout 60")
  assert.same({ "exit", 0 }, { how, code }, output)
  return output
end

local NEAP_FIRST = [[local neap = require "neap" local uv = neap.luv()]]

--- How the two may come together; `early` is a timer on luv's first loop.
local ORDERS = {
  ["neap first"] = NEAP_FIRST,
  ["luv first"] = [[local uv = require "luv" local neap = require "neap" neap.luv()]],
  ["luv first, with a handle"] = [[
    local uv = require "luv"
    local early = uv.new_timer()
    early:start(100000, 0, print)
    local neap = require "neap"
    neap.luv()]],
  ["luv after neap, with a handle"] = [[
    local neap = require "neap"
    local uv = require "luv"
    local early = uv.new_timer()
    early:start(100000, 0, print)
    neap.luv()]],
  ["in a task"] = [[
    local neap = require "neap"
    local uv
    neap.run(function() uv = neap.luv() end)]],
  ["in a task, luv with a handle"] = [[
    local neap = require "neap"
    local uv = require "luv"
    local early = uv.new_timer()
    early:start(100000, 0, print)
    neap.run(function()
      neap.await(neap.sleep(0))
      neap.luv()
      neap.await(neap.sleep(0))
    end)]],
  ["in a callback of luv"] = [[
    local neap = require "neap"
    local uv = require "luv"
    local first = uv.new_timer()
    first:start(0, 0, function() first:close() neap.luv() end)
    uv.run()]],
  ["neap with a file under way"] = [[
    local neap = require "neap"
    local task = neap.start(neap.fs.stat, "/")
    local uv = neap.luv()
    task:wait()]],
}

local function each_order(title, source, expected)
  for name, load in pairs(ORDERS) do
    it(title .. ": " .. name, function()
      assert.equal(expected, program(load, source))
    end)
  end
end

describe("neap.luv", function()
  it("gives the module, the same each time", h.plain(function()
    assert.equal(require "luv", neap.luv())
    assert.equal(neap.luv(), neap.luv())
  end))

  each_order("awaits what luv's callbacks complete", [[
    neap.run(function()
      local done = neap.completion()
      after(1, function() done:resolve("timer") end)
      print(await(done.task), (await(neap.fs.stat("/"))).type)
    end)
  ]], "timer\tdirectory\n")

  each_order("lets uv.run drive tasks", [[
    if early then early:stop() end
    neap.start(function()
      await(neap.sleep(0.001))
      print((await(neap.fs.stat("/"))).type)
    end)
    print(uv.loop_alive(), uv.run())
  ]], "directory\ntrue\tfalse\n")

  each_order("ends with everything pending", [[
    local function closes(name)
      return setmetatable({}, { __close = function() print(name) end })
    end
    neap.background(function()
      local noted <close> = closes("sleeper")
      await(neap.sleep(100))
    end)
    neap.background(function()
      local server = await(neap.net.listen{ host = "127.0.0.1", port = 0 })
      await(server:accept())
    end)
    local open, closing, unreferenced = uv.new_timer(), uv.new_timer(), uv.new_timer()
    open:start(100000, 0, print)
    closing:start(100000, 0, print)
    closing:close(print)
    unreferenced:unref()
    uv.close(unreferenced, print)
    local listener, client = uv.new_tcp(), uv.new_tcp()
    listener:bind("127.0.0.1", 0)
    listener:listen(1, print)
    client:connect("127.0.0.1", listener:getsockname().port, print)
    uv.fs_stat("/", print)
    setmetatable({}, { __gc = function() uv.new_timer():start(1000, 0, print) end })
  ]], "sleeper\n")

  it("closes the Lua state in callbacks and tasks", function()
    local pending = [[
      after(100000, print)
      uv.new_timer():close(print)
      neap.background(function() await(neap.sleep(100)) end)
    ]]
    for _, ending in ipairs({
      [[after(0, function() os.exit(0, true) end) uv.run()]],
      [[after(0, function() os.exit(0, true) end) neap.run(function() await(neap.sleep(9)) end)]],
      [[neap.start(function() await(neap.sleep(0)) os.exit(0, true) end) uv.run()]],
      [[neap.run(function() os.exit(0, true) end)]],
    }) do
      for _, load in pairs(ORDERS) do
        assert.matches("^\n*$", program(load, pending .. ending))
      end
    end
  end)

  it("refuses handles on two loops, and leaves both as they were", function()
    assert.equal("EMISUSE\nagain\ntimer\ntrue\n", program([[
      local neap = require "neap"
      local uv = require "luv"
    ]], [[
      neap.run(function()
        local server <close> = await(neap.net.listen{ host = "127.0.0.1", port = 0 })
        after(1, function() print("timer") end)
        shows("EMISUSE", neap.luv)
        await(neap.sleep(0))
        print("again")
      end)
      uv.run()
      print(pcall(neap.luv))
    ]]):gsub("\ttable: %S+", ""))
  end)

  it("refuses two loops that run, one inside the other", function()
    assert.equal("EMISUSE\n", program([[
      local neap = require "neap"
      local uv = require "luv"
    ]], [[
      after(0, function()
        neap.run(function() shows("EMISUSE", neap.luv) end)
      end)
      uv.run()
    ]]))
  end)

  it("says what to install where luv is missing", function()
    local output = program([[local neap, uv = require "neap"]], [[
      package.preload.luv = function() error("not there", 0) end
      local ok, err = pcall(neap.luv)
      print(ok, err, err.cause:match("^[^\n]*"))
    ]])
    local expected = "ENOTSUP: luv is not installed (Debian: lua-luv; LuaRocks: luv)"
    assert.equal("false\t" .. expected .. "\tnot there\n", output)
  end)

  it("refuses what only looks like luv", function()
    local output = program([[local neap, uv = require "neap"]], [[
      package.loaded.luv = {}
      shows("EMISUSE", neap.luv)
      package.loaded.luv = { run = print, loop_mode = print, close = print }
      shows("EMISUSE", neap.luv)
    ]])
    assert.equal("EMISUSE\nEMISUSE\n", output)
  end)

  it("joins a luv that was loaded once more", function()
    assert.equal("true\nEMISUSE\n1\n", program(NEAP_FIRST, [[
      package.loaded.luv = nil
      local again = neap.luv()
      print(again ~= uv)
      neap.run(function() shows("EMISUSE", again.run) end)
      local timer, n = again.new_timer(), 0
      again.walk(function(handle) n = n + (handle == timer and 1 or 0) end)
      print(n)
      timer:close()
    ]]))
  end)

  it("works in a worker", h.run(function()
    local value = await(neap.worker.with{ loop = true }.run(function()
      local tasks = require "neap"
      local uv = tasks.luv()
      local done = tasks.completion()
      local timer = uv.new_timer()
      timer:start(0, 0, function() timer:close() done:resolve("there") end)
      return tasks.await(done.task)
    end))
    assert.equal("there", value)
  end))
end)

describe("the shared loop", function()
  local uv

  setup(function() uv = neap.luv() end)

  --- Calls fn in a callback of luv.
  local function later(fn)
    local timer = uv.new_timer()
    timer:start(0, 0, function()
      timer:close()
      fn()
    end)
  end

  it("wakes tasks though another timer of luv is far", h.run(function()
    local far = uv.new_timer()
    far:start(1000000, 0, function() end)
    local done = neap.completion()
    later(function() done:resolve(5) end)
    assert.equal(5, await(done.task))
    far:close()
  end))

  it("counts what luv has pending as alive", h.run(function()
    local done = neap.completion()
    later(function() later(function() later(function() done:resolve() end) end) end)
    await(done.task)
  end))

  it("still finds deadlocks, with handles of luv that wait for nothing", h.plain(function()
    local idle, unreferenced = uv.new_timer(), uv.new_timer()
    unreferenced:start(1000000, 0, function() end)
    unreferenced:unref()
    h.raises("EDEADLOCK", neap.run, function() await(neap.completion().task) end)
    idle:close()
    unreferenced:close()
    neap.run(function() await(neap.yield()) end)
  end))

  it("starts tasks in callbacks, which the run waits for", h.run(function(t)
    later(function()
      neap.start(function()
        t:note("started")
        await(neap.sleep(5))
        t:note("ended")
      end)
      t:note("callback")
    end)
    await(neap.sleep(1))
    await(neap.sleep(10))
    assert.equal("started callback ended", t:logged())
  end))

  it("has no await in callbacks", h.run(function()
    local done = neap.completion()
    later(function() done:resolve(pcall(await, neap.completed())) end)
    local ok, err = await(done.task)
    assert.is_false(ok)
    assert.equal("EMISUSE", err.code)
  end))

  it("reports what callbacks raise, with its traceback, and goes on", function()
    assert.equal("on_unobserved\tin a callback\tnil\ndone\n", program(NEAP_FIRST, [[
      neap.on_unobserved(function(err, task) print("on_unobserved", err, task) end)
      neap.run(function()
        after(0, function() error("in a callback", 0) end)
        await(neap.sleep(0.01))
        print("done")
      end)
    ]]))
    local output = program(NEAP_FIRST, [[
      after(0, function() error("oh", 0) end)
      uv.run()
    ]])
    assert.matches("an error that nobody observed: oh\nstack traceback:\n.*luv%.run", output)
  end)

  it("reports an error of any type", h.run(function(t)
    local e, done = {}, neap.completion()
    later(function() error(e) end)
    later(function() error(nil) end)
    later(function() later(function() done:resolve() end) end)
    await(done.task)
    await(neap.yield())
    local reports = t:take_unobserved()
    assert.equal(2, #reports)
    assert.is_true(rawequal(e, reports[1].err))
    assert.is_nil(reports[2].err)
  end))

  it("refuses uv.run in tasks, and in callbacks", h.run(function()
    h.misuse(function() uv.run() end)
    h.misuse(function() uv.run("nowait") end)
    local done = neap.completion()
    later(function() done:resolve(pcall(uv.run)) end)
    local ok, err = await(done.task)
    assert.same({ false, "EMISUSE" }, { ok, err.code })
  end))

  it("refuses runs inside uv.run", h.plain(function(t)
    local task = neap.start(function() await(neap.sleep(0)) end)
    later(function()
      for _, fn in ipairs({ neap.run, uv.run, function() task:wait() end }) do
        local ok, err = pcall(fn, function() end)
        t:note(not ok and err.code)
      end
    end)
    uv.run()
    assert.equal("EMISUSE EMISUSE EMISUSE", t:logged())
    assert.equal("done", task:status())
    h.misuse(function() task:result(neap.start(function() uv.run() end):result()) end)
  end))

  it("gives uv.run its modes, and stops it", h.plain(function(t)
    local timer = uv.new_timer()
    timer:start(0, 1, function()
      t:note(uv.loop_mode())
      uv.stop()
    end)
    assert.is_true(uv.run())
    assert.is_true(uv.run("once"))
    timer:close()
    assert.is_false(uv.run("nowait"))
    assert.matches("^default ", t:logged())
    assert.is_nil(uv.loop_mode())
  end))

  it("leaves tasks that nothing can wake to the next run", h.plain(function()
    local done = neap.completion()
    local task = neap.start(function() return await(done.task) end)
    assert.is_false(uv.run())
    assert.equal("pending", task:status())
    done:resolve(7)
    assert.is_false(uv.run())
    assert.equal(7, task:result())
  end))

  it("drives tasks by a uv.run that was kept from before", function()
    assert.equal("slept\nfalse\n", program([[
      local uv = require "luv"
      local kept = uv.run
      local neap = require "neap"
      neap.luv()
    ]], [[
      neap.start(function() await(neap.sleep(0.001)) print("slept") end)
      print(kept())
    ]]))
  end)

  it("survives such a uv.run inside a task", function()
    assert.equal("timer\nfalse\nslept\n", program([[
      local uv = require "luv"
      local kept = uv.run
      local neap = require "neap"
      neap.luv()
    ]], [[
      neap.run(function()
        await(neap.yield())
        after(0, function() print("timer") end)
        print(kept())
        await(neap.sleep(0.001))
        print("slept")
      end)
    ]]))
  end)

  it("walks luv's handles only", h.run(function(t)
    local server <close> = await(neap.net.listen{ host = "127.0.0.1", port = 0 })
    local timer, tcp = uv.new_timer(), uv.new_tcp()
    local seen = {}
    uv.walk(function(handle) seen[handle] = true end)
    assert.is_true(seen[timer] and seen[tcp])
    uv.walk(function(handle) if not handle:is_closing() then handle:close() end end)
    assert.is_true(timer:is_closing() and tcp:is_closing())
    assert.is_false(server:is_closed())
    assert.is_false(pcall(uv.walk))
    local probe = uv.new_timer()
    uv.walk(function(handle) if handle == probe then error("raised") end end)
    probe:close()
    await(neap.yield())
    assert.equal(1, #t:take_unobserved())
  end))

  it("calls close callbacks, by method and by function", h.run(function(t)
    local done = neap.completion()
    uv.new_timer():close(function() t:note("method") end)
    uv.close(uv.new_timer(), function() t:note("function") end)
    later(function() later(function() done:resolve() end) end)
    await(done.task)
    assert.equal("function method", t:logged())
    assert.is_false(pcall(uv.close))
  end))

  it("refuses to be closed by luv", h.plain(function()
    local result, _, name = uv.loop_close()
    assert.same({ nil, "EBUSY" }, { result, name })
  end))
end)

describe("neap.wrap with luv's functions", function()
  local uv

  setup(function() uv = neap.luv() end)

  it("makes them async", h.run(function()
    local stat = await(neap.wrap(uv.fs_stat)("/"))
    assert.equal("directory", stat.type)
    assert.equal("directory", (await(neap.from_callback(uv.fs_stat, "/"))).type)
    local random = neap.wrap(uv.random)
    assert.equal(4, #await(random(4, 0)))
  end))

  it("makes errors of what they call back with", h.run(function()
    local err = h.raises("ENOENT", await, neap.wrap(uv.fs_stat)("/nowhere/at/all"))
    assert.equal("no such file or directory: /nowhere/at/all", err.message)
  end))

  it("makes an error of a name alone", h.run(function()
    local tcp = uv.new_tcp()
    -- Nobody listens at a port that is bound.
    tcp:bind("127.0.0.1", 0)
    local client = uv.new_tcp()
    local connect = neap.wrap(client.connect)
    local port = tcp:getsockname().port
    local err = h.raises("ECONNREFUSED", await, connect(client, "127.0.0.1", port))
    assert.equal("connection refused", err.message)
    client:close()
    tcp:close()
  end))

  it("fails with what fails at once", h.run(function()
    local tcp = uv.new_tcp()
    local task = neap.wrap(uv.shutdown)(tcp)
    assert.equal("failed", task:status())
    assert.equal("ENOTCONN", task:error().code)
    assert.matches("bad argument", select(2, pcall(await, neap.wrap(uv.fs_stat)())))
    tcp:close()
  end))

  it("takes callbacks without an error as raw", h.run(function()
    local spawn = neap.wrap(uv.spawn, { raw = true })
    assert.same({ 3, 0 }, { await(spawn("/bin/sh", { args = { "-c", "exit 3" } })) })
    h.raises("ENOENT", await, spawn("/nowhere/at/all", {}))
    await(neap.wrap(uv.close)(uv.new_timer()))
  end))

  it("takes other functions of the same form with an option", h.run(function()
    local stat = neap.wrap(function(path, cb) return uv.fs_stat(path, cb) end, { luv = true })
    assert.equal("directory", (await(stat("/"))).type)
    h.raises("ENOENT", await, stat("/nowhere/at/all"))
    local fails = neap.wrap(function() return nil, "EIO: i/o error", "EIO" end, { luv = true })
    h.raises("EIO", await, fails())
  end))

  it("passes on what is no name of luv's", h.run(function()
    local value = {}
    for _, err in ipairs({ value, "no name", "ENO", "ENOENTRY: x", 5 }) do
      local call = neap.wrap(function(cb) cb(err) end, { luv = true })
      assert.is_true(rawequal(err, call():error()))
    end
  end))

  it("takes no other function for one of luv's", h.run(function()
    local done
    local task = neap.from_callback(function(cb)
      done = cb
      return nil, "ENOENT: no such file or directory", "ENOENT"
    end)
    assert.equal("pending", task:status())
    done("ENOENT")
    assert.same({ false, "ENOENT" }, { pcall(await, task) })
  end))

  it("cancels the request with its task", function()
    -- One thread, which reads what nobody writes, so that mkdir waits for it.
    assert.equal("cancelled\nnil\ntrue\n", program([[
      local neap = require "neap"
      local uv = neap.luv()
      uv.os_setenv("UV_THREADPOOL_SIZE", "1")
    ]], [[
      local path = os.tmpname()
      os.remove(path)
      neap.run(function()
        local ends = uv.pipe()
        local read = neap.wrap(uv.fs_read)(ends.read, 1, -1)
        local task = neap.wrap(uv.fs_mkdir)(path, 448)
        task:cancel()
        await(neap.yield())
        print(task:status())
        uv.fs_write(ends.write, "x")
        await(read)
        await(neap.wrap(uv.fs_stat)("/"))
        print((uv.fs_stat(path)))
      end)
      print(uv.fs_stat("/") ~= nil)
    ]]))
  end)

  it("leaves what cannot be cancelled to its end, unseen", h.run(function()
    local server, client = uv.new_tcp(), uv.new_tcp()
    server:bind("127.0.0.1", 0)
    server:listen(1, function() end)
    local connect = neap.wrap(client.connect)
    local task = connect(client, "127.0.0.1", server:getsockname().port)
    task:cancel()
    await(neap.settle(task))
    assert.equal("cancelled", task:status())
    client:close()
    server:close()
  end))

  it("does nothing in a cancelled scope", h.run(function()
    neap.scope(function(scope)
      scope:cancel()
      assert.equal("cancelled", neap.wrap(uv.fs_stat)("/"):status())
    end)
  end))

  it("refuses functions of a luv that has a loop of its own", function()
    assert.equal("EMISUSE\nEMISUSE\ndirectory\n", program([[
      local neap = require "neap"
      local uv = require "luv"
    ]], [[
      shows("EMISUSE", neap.wrap, uv.fs_stat)
      shows("EMISUSE", neap.from_callback, uv.fs_stat, "/")
      neap.luv()
      print(neap.run(function() return await(neap.wrap(uv.fs_stat)("/")).type end))
    ]]))
  end)
end)
