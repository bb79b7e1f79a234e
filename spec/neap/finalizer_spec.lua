-- Finalizers and the collector: what a finalizer may still use, a finalizer that runs inside a call
-- of the library, what is let go of while it has work to do, lua_close.

local h = require "spec.helper"
local support = require "spec.support"
local neap = require "neap"

local await = neap.await
local closing = support.closing

--- Makes garbage whose finalizer is fn; in a coroutine, so that no register here keeps it.
local function drop_with(fn)
  coroutine.wrap(function() setmetatable({}, { __gc = fn }) end)()
end

local function collect()
  collectgarbage()
  collectgarbage()
end

--- Calls body(interrupted) again and again; interrupted(fn, call, ...) gives the results of
--- call(...) and makes a finalizer, fn, run at one of its allocations: each time at a later one.
local function at_each_allocation(body)
  local former = collectgarbage("generational")
  local _ <close> = closing(function()
    collectgarbage("restart")
    collectgarbage(former)
  end)
  for offset = 0, 960, 32 do
    body(function(fn, call, ...)
      local calls = 0
      collectgarbage("stop")
      drop_with(function()
        calls = calls + 1
        fn()
      end)
      collectgarbage("restart") -- at the next allocation it would run
      collectgarbage("step", -1) -- after the next KiB
      local _ = ("x"):rep(offset)
      local results = table.pack(call(...))
      if calls == 0 then collectgarbage() end
      assert.equal(1, calls)
      return table.unpack(results, 1, results.n)
    end)
  end
end

describe("a finalizer", function()
  it("[S87] may use the token source that was collected with its object", h.run(function(t)
    coroutine.wrap(function()
      local o = setmetatable({}, { __gc = function(o) t:note((pcall(o.src.cancel, o.src))) end })
      o.src = neap.canceller()
      o.src.token:register(function() end)
    end)()
    collect()
    assert.is_truthy(t:logged() == "true" or t:logged() == "false") -- it is called, and returns
  end))

  it("[S9] may cancel the Task that was collected with its object", h.run(function(t)
    coroutine.wrap(function()
      local o = setmetatable({}, { __gc = function(o) t:note(o.timer:cancel()) end })
      o.timer = neap.sleep(100)
    end)()
    collect()
    assert.equal("true", t:logged())
  end))

  it("may use every kind of Task that was collected with its object", h.run(function(t)
    local makers = {
      function() return neap.completed(1) end,
      function() return neap.failed("e") end,
      function() return neap.all({ neap.completed() }) end,
      function() return neap.start(function() end) end,
      function() return neap.channel():recv() end,
      function() return neap.event():wait() end,
      function() return neap.semaphore(0):acquire() end,
      function() return neap.completion().task end,
    }
    for _, make in ipairs(makers) do
      coroutine.wrap(function()
        local o = setmetatable({}, { __gc = function(o)
          for _, name in ipairs({ "status", "error", "cancel", "name", "id", "traceback" }) do
            local ok, err = pcall(o.task[name], o.task)
            if not ok then assert(err.code == "EMISUSE", tostring(err)) end
          end
          t:note(tostring(o.task) ~= "")
        end })
        o.task = make()
      end)()
      collect()
    end
    assert.equal(("true "):rep(#makers):sub(1, -2), t:logged())
    t:take_unobserved()
  end))

  for _, name in ipairs({ "close", "next" }) do
    local title = "[S209] finds a stream ended that was collected with it: " .. name
    it(title, h.run(function(t)
      local function make()
        local o = setmetatable({}, { __gc = function(o)
          local task = o.stream[name](o.stream)
          t:note(task:status())
          t:note(select("#", task:result()))
        end })
        o.stream = neap.stream(function(yield)
          local _ <close> = closing(function() t:note("closed") end)
          for i = 1, 10 do yield(i) end
        end)()
        await(o.stream:next())
      end
      await(neap.start(make))
      collect()
      await(neap.yield())
      await(neap.yield())
      assert.equal("done 0 closed", t:logged())
    end))
  end

  it("may flatten a Task whose result was collected with its object", h.run(function()
    local result
    local function make()
      local o = setmetatable({}, { __gc = function(o) result = o.task end })
      o.task = neap.dns.resolve("localhost")
    end
    await(neap.start(make))
    collect()
    assert.equal(result, await(neap.flatten(neap.completed(result))))
    assert.equal("neap.Task (finalized)", tostring(result))
  end))

  it("[S238] may start tasks", h.run(function(t)
    at_each_allocation(function(interrupted)
      local task
      local started = interrupted(function()
        task = neap.start(function() await(neap.yield()) return "inner" end)
      end, neap.start, function() await(neap.yield()) return "outer" end)
      assert.equal("outer inner", await(started) .. " " .. await(task))
    end)
    assert.equal("", t:logged())
  end))
end)

describe("what is used although its object was let go of:", function()
  it("[S87] scope.token calls what is registered", h.run(function(t)
    neap.start(function()
      neap.scope(function(scope)
        scope.token:register(function() t:note("called") end)
        scope:cancel()
      end)
    end)
    collect()
    await(neap.yield())
    await(neap.yield())
    assert.equal("called", t:logged())
  end))

  it("[S87] scope.token is kept while its scope is open", h.run(function(t)
    neap.scope(function(scope)
      neap.start(function() scope.token:register(function() t:note("called") end) end)
      collect()
      scope:cancel()
    end)
    await(neap.yield())
    assert.equal("called", t:logged())
  end))

  it("[S94] a token source with a time limit calls what is registered", h.run(function(t)
    neap.start(function()
      local src = neap.canceller()
      src.token:register(function() t:note("called") end)
      src:cancel_after(1)
    end)
    collect()
    await(neap.sleep(2))
    assert.equal("called", t:logged())
  end))

  it("[C11] a wait whose semaphore was collected", h.run(function()
    local scope, waiter
    neap.start(function()
      local semaphore = neap.semaphore(0)
      local acquired = semaphore:acquire()
      waiter = neap.start(function()
        neap.scope(function(s)
          scope = s
          await(acquired)
        end)
      end)
      scope:cancel()
      semaphore:release()
      acquired:result():release()
    end)
    collect()
    await(waiter)
    assert.equal("done", waiter:status())
  end))

  it("a wait names what it waits for after its object was collected", h.run(function()
    local makers = {
      { "semaphore:acquire", function() return neap.semaphore(0):acquire() end },
      { "event:wait", function() return neap.event():wait() end },
      { "channel:recv", function() return neap.channel():recv() end },
    }
    for _, maker in ipairs(makers) do
      local name, make = maker[1], maker[2]
      local task = neap.start(function() await(make()) end)
      collect()
      local file = io.tmpfile()
      neap.dump(file)
      file:seek("set")
      local text = file:read("a")
      file:close()
      assert.is_truthy(text:find(name, 1, true), text)
      task:cancel()
      await(neap.settle(task))
    end
  end))

  it("[S209] a parked stream that its own object holds is collected and closed", h.run(function(t)
    local alive = setmetatable({}, { __mode = "k" })
    for _ = 1, 10 do
      await(neap.start(function()
        local object = { name = "db" }
        alive[object] = true
        object.rows = neap.stream(function(yield)
          local _ <close> = closing(function() t:note(object.name) end)
          for _ = 1, 3 do yield(object.name) end
        end)()
        await(object.rows:next())
      end))
    end
    for _ = 1, 3 do
      collect()
      await(neap.yield())
      await(neap.yield())
    end
    assert.is_nil(next(alive))
    assert.equal(("db "):rep(10):sub(1, -2), t:logged())
  end))

  it("[S211] a reason is forgotten with the close of the stream that it did not reach", h.run(
    function()
      local reasons = setmetatable({}, { __mode = "k" })
      local function reason()
        local made = { "reason" }
        reasons[made] = true
        return made
      end
      await(neap.start(function()
        local s = neap.stream(function()
          neap.shield(function() await(neap.sleep(1)) end)
        end)()
        local pull = s:next()
        local first = neap.start(function()
          pcall(await, neap.sleep(10))
          s:close()
        end)
        first:cancel(reason())
        local second = neap.start(function()
          s:close()
          await(neap.sleep(0))
        end)
        second:cancel(reason())
        pcall(await, pull)
      end))
      await(neap.yield())
      collect()
      assert.is_nil(next(reasons))
    end))

  it("[S91] the coroutine that cancelled, after the report of a callback failed", h.plain(
    function()
      local output = h.process([[
        local neap = require "neap"
        local core = require "neap.core"
        local alive = setmetatable({}, { __mode = "k" })
        local clock, where = neap.test_clock({ autojump = true }), nil
        neap.on_unobserved(function() error("the handler failed", 0) end)
        coroutine.wrap(function()
          local src = neap.canceller()
          src.token:register(function()
            core.fail_allocation(1, true)
            error({})
          end)
          local co = coroutine.create(function() src:cancel("why") end)
          alive[co] = true
          local ok = coroutine.resume(co)
          core.fail_allocation()
          print("cancelled", ok)
        end)()
        collectgarbage()
        neap.run({ clock = clock }, function()
          local src = neap.canceller()
          src.token:register(function() where = coroutine.running() end)
          src:cancel_after(1)
          neap.await(neap.sleep(2))
        end)
        print(type(where), alive[where])
      ]])
      assert.is_truthy(output:find("cancelled\ttrue\nthread\tnil\n$"), output)
    end))
end)

describe("a finalizer inside", function()
  it("[S238] starts an operation while another one reads its arguments", h.run(function()
    local path = os.tmpname()
    local file <close> = await(neap.fs.open(path, "w"))
    at_each_allocation(function(interrupted)
      local inner
      local task = interrupted(function() inner = neap.fs.read_file("/dev/null") end,
        file.write, file, ("a"):rep(3000), ("b"):rep(3000))
      assert.equal("done", (await(neap.settle(task))))
      assert.equal("", await(inner))
    end)
    os.remove(path)
  end))

  it("[S193] recv that takes the item: one of both has it", h.run(function()
    at_each_allocation(function(interrupted)
      local ch, taken = neap.channel(), nil
      ch:try_send("item")
      local task = interrupted(function() taken = ch:try_recv() end, ch.recv, ch)
      assert.equal(taken, task:status() == "pending")
      if taken then ch:try_send("item") end
      assert.equal("item", select(2, task:result()))
      assert.equal(0, #ch)
    end)
  end))

  it("[S193] recv that sends: the item is received", h.run(function()
    at_each_allocation(function(interrupted)
      local ch = neap.channel()
      local task = interrupted(function() ch:try_send("item") end, ch.recv, ch)
      assert.equal("item", select(2, task:result()))
      assert.equal(0, #ch)
    end)
  end))

  it("[S187] recv that closes the channel: the end is received", h.run(function()
    at_each_allocation(function(interrupted)
      local ch = neap.channel()
      local task = interrupted(function() ch:close() end, ch.recv, ch)
      assert.is_false(task:result())
    end)
  end))

  it("[S190] recv that closes the channel with an error: it is received", h.run(function()
    at_each_allocation(function(interrupted)
      local ch, e = neap.channel(), {}
      local task = interrupted(function() ch:close(e) end, ch.recv, ch)
      assert.is_true(rawequal(e, task:error()))
    end)
  end))

  it("[S183] recv on a channel of every length loses nothing", h.run(function()
    at_each_allocation(function(interrupted)
      local ch, sum = neap.channel(), 0
      local function take(ok, x)
        if ok then sum = sum + x end
      end
      for i = 1, 5 do ch:try_send(i) end
      for _ = 1, 3 do
        take(interrupted(function()
          take(ch:try_recv())
          ch:try_send(10)
        end, ch.recv, ch):result())
      end
      while #ch > 0 do take(ch:try_recv()) end
      assert.equal(45, sum)
    end)
  end))

  it("[S184] send that receives: the item is sent", h.run(function()
    for capacity = 0, 1 do
      at_each_allocation(function(interrupted)
        local ch = neap.channel(capacity)
        for i = 1, capacity do ch:try_send(i) end
        local received
        local task = interrupted(function() received = ch:recv() end, ch.send, ch, "item")
        assert.equal("done", task:status())
        assert.equal("done", received:status())
        assert.equal(capacity, #ch)
      end)
    end
  end))

  it("[S184] send that fills the last slot: the send waits", h.run(function()
    at_each_allocation(function(interrupted)
      local ch, sent = neap.channel(1), nil
      local task = interrupted(function() sent = ch:try_send("other") end, ch.send, ch, "item")
      assert.equal(sent, task:status() == "pending")
      assert.equal(1, #ch)
      ch:try_recv()
      assert.equal("done", task:status())
    end)
  end))

  it("[S189] send that closes the channel: the send failed unless it was first", h.run(function()
    for capacity = 0, 1 do
      at_each_allocation(function(interrupted)
        local ch, cause = neap.channel(capacity), {}
        local task = interrupted(function() ch:close(cause) end, ch.send, ch, "item")
        if #ch == 0 then
          assert.equal("ECLOSED", task:error().code)
          assert.is_true(rawequal(cause, task:error().cause))
        else
          assert.equal("done", task:status())
        end
      end)
    end
  end))

  it("[S183] send that sends too: both items arrive, the ring grows once", h.run(function()
    at_each_allocation(function(interrupted)
      for filled = 3, 9 do
        local ch, got = neap.channel(), {}
        for _ = 1, filled do ch:try_send(0) end
        interrupted(function() ch:try_send(1) end, ch.try_send, ch, 1)
        assert.equal(filled + 2, #ch)
        while #ch > 0 do got[#got + 1] = select(2, ch:try_recv()) end
        assert.equal(("0"):rep(filled) .. "11", table.concat(got))
      end
    end)
  end))

  it("[S194] try_send that fills the last slot: one of both is taken", h.run(function()
    at_each_allocation(function(interrupted)
      local ch, other = neap.channel(1), nil
      local mine = interrupted(function() other = ch:try_send(1) end, ch.try_send, ch, 2)
      assert.are_not.equal(mine, other)
      assert.equal(1, #ch)
    end)
  end))

  it("[S188] close that closes: one of both has closed it", h.run(function()
    at_each_allocation(function(interrupted)
      local ch, other = neap.channel(), nil
      local mine = interrupted(function() other = ch:close() end, ch.close, ch)
      assert.are_not.equal(mine, other)
    end)
  end))

  it("[S205] event:wait that sets it: the wait is over", h.run(function()
    at_each_allocation(function(interrupted)
      local event = neap.event()
      local task = interrupted(function() event:set() end, event.wait, event)
      assert.equal("done", task:status())
    end)
  end))

  it("[S198] acquire that releases: the permit is handed out", h.run(function()
    at_each_allocation(function(interrupted)
      local semaphore = neap.semaphore(0)
      local task = interrupted(function() semaphore:release() end, semaphore.acquire, semaphore)
      task:result():release()
      assert.equal(1, semaphore:release())
    end)
  end))

  it("[S198] acquire that acquires: one of both has the permit", h.run(function()
    at_each_allocation(function(interrupted)
      local semaphore, permit = neap.semaphore(1), nil
      local task = interrupted(function()
        permit = semaphore:try_acquire()
      end, semaphore.acquire, semaphore)
      assert.equal(permit and "pending" or "done", task:status())
      if permit then permit:release() end
      assert.is_false(semaphore:try_acquire())
      task:result():release()
      assert.equal(1, semaphore:release())
    end)
  end))

  it("[S198] try_acquire that acquires: one of both has the permit", h.run(function()
    at_each_allocation(function(interrupted)
      local semaphore, other = neap.semaphore(1), nil
      local mine = interrupted(function()
        other = semaphore:try_acquire()
      end, semaphore.try_acquire, semaphore)
      assert.are_not.equal(not mine, not other);
      (mine or other):release()
      assert.equal(1, semaphore:release())
    end)
  end))

  it("[S199] release that acquires: no permit is made twice", h.run(function()
    at_each_allocation(function(interrupted)
      local semaphore, permit = neap.semaphore(0), nil
      local task = semaphore:acquire()
      interrupted(function()
        permit = semaphore:try_acquire()
      end, semaphore.release, semaphore)
      assert.equal(permit and "pending" or "done", task:status())
      if permit then permit:release() end
      task:result():release()
      assert.equal(1, semaphore:release())
    end)
  end))

  it("[S204] lock that locks: one of both has the mutex", h.run(function()
    at_each_allocation(function(interrupted)
      local mutex, guard = neap.mutex(), nil
      local waits, task = interrupted(function()
        guard = mutex:try_lock()
      end, pcall, mutex.lock, mutex)
      if waits then
        assert.equal(guard and "pending" or "done", task:status())
        if guard then guard:unlock() end
        task:result():unlock()
      else -- before the call: a relock
        assert.equal("EMISUSE", task.code)
        guard:unlock()
      end
      mutex:try_lock():unlock()
    end)
  end))

  it("[S204] try_lock that locks: one of both has the mutex", h.run(function()
    at_each_allocation(function(interrupted)
      local mutex, other = neap.mutex(), nil
      local mine = interrupted(function() other = mutex:try_lock() end, mutex.try_lock, mutex)
      assert.are_not.equal(not mine, not other);
      (mine or other):unlock()
      mutex:try_lock():unlock()
    end)
  end))

  it("[S215] next that closes the stream: the pull gives the end or a value", h.run(function()
    at_each_allocation(function(interrupted)
      local s = neap.stream(function(yield) for i = 1, 9 do yield(i) end end)()
      await(s:next())
      local n = select("#", await(interrupted(function() s:close() end, s.next, s)))
      assert.is_true(n <= 1)
      assert.equal(0, select("#", await(s:next())))
    end)
  end))

  it("[S215] next that pulls: each value is given once", h.run(function()
    at_each_allocation(function(interrupted)
      local s, sum = neap.stream(function(yield) for i = 1, 3 do yield(i) end end)(), 0
      local function add(task) sum = sum + task:result() end
      add(s:next())
      add(interrupted(function() add(s:next()) end, s.next, s))
      assert.equal(6, sum)
      await(s:close())
    end)
  end))

  it("[S225] close that closes the stream: the handlers run once", h.run(function()
    at_each_allocation(function(interrupted)
      local closed = 0
      local s = neap.stream(function(yield)
        local _ <close> = closing(function() closed = closed + 1 end)
        yield(1)
      end)()
      await(s:next())
      await(interrupted(function() s:close() end, s.close, s))
      assert.equal(1, closed)
    end)
  end))

  it("[S127] each that ends a task: it is given", h.run(function()
    at_each_allocation(function(interrupted)
      local c = neap.completion()
      neap.start(function() -- if no allocation of the call is as late as that
        await(neap.yield())
        collectgarbage()
      end)
      local given = interrupted(function() c:resolve() end, neap.each({ c.task }))
      assert.equal(c.task, given)
    end)
  end))
end)

describe("lua_close", function()
  local function ends_with(expected, source)
    local output, how, code = h.process([[
      local neap = require "neap"
      local await = neap.await
    ]] .. source)
    assert.equal(expected, output)
    assert.equal("exit", how)
    assert.equal(0, code)
  end

  it("[S258] runs handlers that use a token", h.plain(function()
    ends_with("closing\n", [[
      local src = neap.canceller()
      local token = src.token
      neap.start(function()
        local _ <close> = setmetatable({}, { __close = function()
          pcall(function() src:cancel() end)
          pcall(function() token:check() end)
          pcall(function() token:register(print) end)
          pcall(neap.link, token, token)
          print("closing")
        end })
        await(neap.sleep(1000))
      end)
    ]])
  end))

  it("[S258] runs handlers in a cancelled with_token", h.plain(function()
    ends_with("closing\n", [[
      local src = neap.canceller()
      neap.run(function()
        neap.start(function()
          neap.with_token(src.token, function()
            local _ <close> = setmetatable({}, { __close = function()
              pcall(neap.pcall, neap.checkpoint)
              pcall(neap.checkpoint)
              print("closing")
            end })
            await(neap.sleep(1000))
          end)
        end)
        src:cancel()
        os.exit(0, true)
      end)
    ]])
  end))

  it("[S258] runs handlers that use streams, channels, semaphores and Tasks", h.plain(function()
    ends_with("closing\n", [[
      local s = neap.stream(function(yield) for i = 1, 9 do yield(i) end end)()
      local ch, semaphore = neap.channel(), neap.semaphore(0)
      local event, mutex = neap.event(), neap.mutex()
      local timer = neap.sleep(1000)
      local waits = { ch:recv(), semaphore:acquire(), event:wait() }
      neap.start(function()
        local _ <close> = setmetatable({}, { __close = function()
          pcall(s.close, s)
          pcall(s.next, s)
          pcall(ch.try_send, ch, 1)
          pcall(ch.close, ch)
          pcall(semaphore.release, semaphore)
          pcall(event.set, event)
          pcall(mutex.try_lock, mutex)
          pcall(timer.cancel, timer)
          for _, wait in ipairs(waits) do
            pcall(wait.status, wait)
            pcall(wait.cancel, wait)
          end
          print("closing")
        end })
        await(s:next())
        await(neap.sleep(1000))
      end)
    ]])
  end))

  it("[S258] runs finalizers that use what was finalized before", h.plain(function()
    ends_with("finalized\n", [[
      local o = setmetatable({}, { __gc = function(o)
        for _, name in ipairs({ "src", "timer", "stream", "ch" }) do
          pcall(function() o[name]:cancel() end)
          pcall(function() o[name]:close() end)
          tostring(o[name])
        end
        pcall(function() o.src.token:register(print) end)
        pcall(function() o.stream:next() end)
        print("finalized")
      end })
      o.src, o.timer, o.ch = neap.canceller(), neap.sleep(1000), neap.channel()
      o.stream = neap.stream(function(yield) yield(1) end)()
      KEPT = o
    ]])
  end))
end)
