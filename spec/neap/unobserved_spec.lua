local h = require "spec.helper"
local neap = require "neap"
local await = neap.await

local function yields(n)
  for _ = 1, n do await(neap.yield()) end
end

local function collect()
  collectgarbage()
  collectgarbage()
end

--- Fails with e after a turn.
local function fail(e)
  await(neap.yield())
  error(e)
end

describe("a failed task that is dropped", function()
  it("[S159] in the background is reported once, when it is collected", h.run(function(t)
    local e = {}
    neap.background(fail, e)
    yields(3)
    collect()
    await(neap.yield())
    local function check(lost)
      assert.equal(1, #lost)
      assert.is_true(rawequal(e, lost[1].err))
      assert.equal("failed", lost[1].task:status())
      assert.is_true(rawequal(e, lost[1].task:error()))
    end
    check(t:take_unobserved())
    collect()
    await(neap.yield())
    assert.same({}, t.unobserved)
  end))

  it("[S159] in the background is reported by the end of run", h.plain(function(t)
    local kept
    neap.run({clock = t.clock}, function() kept = neap.background(fail, "lost") end)
    local lost = t:take_unobserved()
    assert.equal(1, #lost)
    assert.is_truthy(lost[1].err:find("lost", 1, true))
    assert.is_true(rawequal(kept, lost[1].task))
  end))

  it("[S97, S159] at run's root is reported as soon as it is lost; run raises it", h.plain(
    function(t)
      local e = {}
      local ok, err = pcall(neap.run, {clock = t.clock}, function()
        neap.start(fail, e)
        yields(3)
        collect()
        await(neap.yield())
        t:note(#t.unobserved)
        await(neap.sleep(1))
      end)
      assert.is_false(ok)
      assert.is_true(rawequal(e, err))
      assert.equal("1", t:logged())
      local lost = t:take_unobserved()
      assert.equal(1, #lost)
      assert.is_true(rawequal(e, lost[1].err))
    end))

  it("[S97, S159] at run's root is reported by the end of run, which raises it", h.plain(
    function(t)
      local first, second, kept = {}, {}, {}
      local ok, err = pcall(neap.run, {clock = t.clock}, function()
        kept[1] = neap.start(fail, first)
        kept[2] = neap.start(fail, second)
      end)
      assert.is_false(ok)
      assert.is_true(rawequal(first, err))
      local lost = t:take_unobserved()
      assert.equal(2, #lost)
      assert.is_true(rawequal(first, lost[1].err))
      assert.is_true(rawequal(second, lost[2].err))
      assert.is_true(rawequal(kept[1], lost[1].task))
    end))

  it("[S97] at run's root does not replace main's error", h.plain(function(t)
    local mine = {}
    local _, err = pcall(neap.run, {clock = t.clock}, function()
      neap.start(fail, "lost")
      yields(3)
      error(mine)
    end)
    assert.is_true(rawequal(mine, err))
    assert.equal(1, #t:take_unobserved())
  end))

  it("[S159] that failed without a loop is reported once", h.plain(function(t)
    local function drop() neap.start(error, "lost", 0) end
    drop()
    collect()
    pcall(neap.run, {clock = t.clock}, function() end)
    local lost = t:take_unobserved()
    assert.equal(1, #lost)
    assert.equal("lost", lost[1].err)
  end))
end)

describe("a failed task is observed by", function()
  local function after(fn)
    return function(task)
      yields(3)
      fn(task)
    end
  end

  local observers = {
    {"an await", function(task) pcall(await, task) end},
    {"settle", function(task) await(neap.settle(task)) end},
    {"wait_for", function(task) pcall(await, neap.wait_for(task, 1)) end},
    {"membership in all", function(task) pcall(await, neap.all{task}) end},
    {"membership in any", function(task) await(neap.any{task}) end},
    {"on_done, before it failed", function(task) task:on_done(function() end) end},
    {"on_done, after it failed", after(function(task) task:on_done(function() end) end)},
    {"error()", after(function(task) task:error() end)},
    {"errors()", after(function(task) task:errors() end)},
    {"result()", after(function(task) pcall(task.result, task) end)},
  }

  for _, row in ipairs(observers) do
    local name, observe = row[1], row[2]
    it("[S98, S160] " .. name, h.run(function(t)
      local function drop() observe(neap.start(fail, "seen")) end
      drop()
      yields(3)
      collect()
      await(neap.yield())
      assert.same({}, t.unobserved)
    end))
  end

  it("[S160] no wait that was withdrawn before it failed", h.plain(function(t)
    neap.run({clock = t.clock}, function()
      local gate = neap.completion()
      local failing = neap.background(function()
        await(gate.task)
        error("lost", 0)
      end)
      local waiter = neap.start(function() await(failing) end)
      waiter:cancel()
      await(neap.settle(waiter))
      gate:resolve()
    end)
    local lost = t:take_unobserved()
    assert.equal(1, #lost)
    assert.equal("lost", lost[1].err)
  end))

  it("[S160] an await that delivers it though others were withdrawn", h.run(function()
    local failing = neap.background(function()
      await(neap.sleep(1))
      error("seen", 0)
    end)
    local waiter = neap.start(function() await(failing) end)
    waiter:cancel()
    assert.same({false, "seen"}, {pcall(await, failing)})
    assert.equal("cancelled", (await(neap.settle(waiter))))
  end))
end)

describe("a cancelled task that is dropped", function()
  it("[S161] is not reported", h.run(function(t)
    local function drop()
      neap.start(function() await(neap.sleep(10)) end):cancel("why")
      neap.background(function() await(neap.sleep(10)) end):cancel("why")
      neap.cancelled("why")
      neap.completion():cancel("why")
    end
    drop()
    yields(3)
    collect()
    await(neap.yield())
    assert.same({}, t.unobserved)
  end))
end)

describe("neap.on_unobserved", function()
  it("[S159] returns the former handler", h.plain(function()
    local function mine() end
    local former = neap.on_unobserved(mine)
    assert.is_function(former)
    assert.equal(mine, neap.on_unobserved(nil))
    assert.is_nil(neap.on_unobserved(former))
    assert.equal(former, neap.on_unobserved(former))
  end))

  it("[S162] a handler that fails is told to stderr, the loop goes on", function()
    local output, how, code = h.process([[
      local neap = require "neap"
      neap.on_unobserved(function() error("the handler broke") end)
      neap.run({clock = neap.test_clock{autojump = true}}, function()
        neap.background(function() error("first") end)
        collectgarbage() collectgarbage()
        neap.await(neap.sleep(1))
        io.stdout:write("goes on\n")
      end)
      io.stdout:write("ended\n")
    ]])
    assert.is_truthy(output:find("the handler broke", 1, true), output)
    assert.is_truthy(output:find("goes on\n", 1, true), output)
    assert.is_truthy(output:find("ended\n", 1, true), output)
    assert.same({"exit", 0}, {how, code})
  end)

  it("[S163] by default writes message and traceback to stderr", function()
    local output, how, code, path = h.process([[
      local neap = require "neap"
      io.stdout:setvbuf("no")
      neap.run({clock = neap.test_clock{autojump = true}}, function()
        neap.background(function()
          neap.await(neap.yield())
          error("nobody saw this")
        end)
        neap.await(neap.sleep(1))
      end)
      io.stdout:write("ended\n")
    ]])
    assert.is_truthy(output:find("nobody saw this", 1, true), output)
    assert.is_truthy(output:find("traceback", 1, true), output)
    local _, times = output:gsub(path:gsub("%p", "%%%0") .. ":6", "")
    assert.is_true(times >= 2, output)
    assert.is_truthy(output:find("ended\n", 1, true), output)
    assert.same({"exit", 0}, {how, code})
  end)

  it("[S163] after a report by the default handler main exits with 1", function()
    local output, how, code = h.process([[
      local neap = require "neap"
      neap.main(function()
        neap.background(function() error("nobody saw this") end)
        neap.await(neap.yield())
        return 0
      end)
    ]])
    assert.is_truthy(output:find("nobody saw this", 1, true), output)
    assert.same({"exit", 1}, {how, code})
  end)

  it("a failed main cancels what it has left running, and exits with 1", function()
    local output, how, code = h.process([[
      local neap = require "neap"
      neap.main(function()
        neap.start(function()
          local _ <close> = setmetatable({}, {__close = function(_, err) print(err) end})
          neap.await(neap.completion().task)
        end)
        error("no more")
      end)
    ]])
    assert.is_truthy(output:find("cancelled: the main task has failed\n", 1, true), output)
    assert.is_truthy(output:find("no more\nstack traceback", 1, true), output)
    assert.same({"exit", 1}, {how, code})
  end)
end)

describe("debug mode", function()
  local function run_debug(t, fn)
    neap.run({clock = t.clock, debug = true}, fn)
    collect()
    return t:take_warnings()
  end

  it("[S164] warns of a task that nobody awaited, with the line of its making", h.plain(
    function(t)
      local line
      local warnings = run_debug(t, function()
        line = h.line() + 1
        neap.start(function() await(neap.yield()) end)
        await(neap.yield())
      end)
      assert.equal(1, #warnings)
      local expected = "created at .*unobserved_spec%.lua:" .. line .. ", never awaited"
      assert.is_truthy(warnings[1]:find(expected), warnings[1])
    end))

  it("[S164] is silent about tasks that were awaited, observed or cancelled", h.plain(function(t)
    local kept
    local warnings = run_debug(t, function()
      await(neap.start(function() await(neap.yield()) end))
      await(neap.sleep(1))
      neap.start(function() end):on_done(function() end)
      await(neap.all{neap.start(function() return 1 end)})
      neap.start(function() await(neap.sleep(5)) end):cancel()
      kept = neap.start(function() return 1 end):result()
    end)
    assert.equal(1, kept)
    assert.same({}, warnings)
  end))

  it("[S164] warns once of an operation that was collected in the same run", h.plain(function(t)
    local warnings = run_debug(t, function()
      do local _ = neap.dns.resolve("localhost") end
      collectgarbage()
    end)
    assert.equal(1, #warnings)
  end))

  it("[S164] is silent about the operations of loops, whose Tasks are used again", h.plain(
    function(t)
      local warnings = run_debug(t, function()
        local server <close> = await(neap.net.listen("127.0.0.1", 0))
        local accepting = server:accept()
        local conn <close> = await(neap.net.connect(server:address()))
        local peer <close> = await(accepting)
        local sending = neap.start(function()
          for _ = 1, 3 do
            await(neap.sleep(1))
            await(peer:write("x"))
          end
          await(neap.sleep(1))
          await(peer:shutdown())
        end)
        for _ in conn do
          local other = peer:read()
          collectgarbage()
          other:cancel()
        end
        await(sending)
      end)
      assert.same({}, warnings)
    end))

  it("[S164] is off by default", h.plain(function(t)
    neap.run({clock = t.clock}, function() neap.start(function() end) end)
    collect()
    assert.same({}, t:take_warnings())
  end))

  it("[S164] is switched on by NEAP_DEBUG", function()
    local source = [[
      local neap = require "neap"
      neap.run(function()
        neap.start(function() end)
      end)
    ]]
    local output, _, _, path = h.process(source, "NEAP_DEBUG=1")
    assert.is_truthy(output:find("created at " .. path .. ":3, never awaited", 1, true), output)
    assert.equal("", (h.process(source)))
  end)
end)
