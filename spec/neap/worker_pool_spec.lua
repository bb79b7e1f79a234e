local h = require "spec.helper"
local jobs = require "spec.jobs"
local neap = require "neap"
local support = require "spec.support"

local await, worker = neap.await, neap.worker

local function runner(pool)
  return function(...) return pool:run(...) end
end

describe("neap.worker.pool", function()
  before_each(jobs.make)
  after_each(jobs.remove)

  it("tells its size, also as text", h.run(function()
    local pool <close> = worker.pool(2)
    local one <close> = worker.pool(1)
    assert.equal(2, pool:size())
    assert.equal("neap.Pool: 2 threads", tostring(pool))
    assert.equal("neap.Pool: 1 thread", tostring(one))
    assert.is_false(getmetatable(pool))
  end))

  it("[S168] never runs more at once than it has threads", h.run(function()
    local pool <close> = worker.pool(2)
    neap.scope(function()
      local list = { jobs.held(runner(pool), "a"), jobs.held(runner(pool), "b") }
      for i, name in ipairs({ "c", "d", "e" }) do
        list[i + 2] = pool:run(jobs.hold, jobs.at(name), jobs.at(name .. ".go"))
      end
      for _ = 1, 50 do await(neap.yield()) end
      assert.is_false(jobs.exists("c"))
      jobs.let_go("a")
      jobs.wait_for("c")
      assert.is_false(jobs.exists("d"))
      for _, name in ipairs({ "b", "c", "d", "e" }) do jobs.let_go(name) end
      for _, task in ipairs(list) do await(task) end
    end)
  end))

  it("[S168] starts first come, first served", h.run(function()
    local pool <close> = worker.pool(1)
    local order, list = jobs.at("order"), {}
    neap.scope(function()
      local first = jobs.held(runner(pool), "a")
      for i = 1, 30 do
        list[i] = pool:run(function(path, n)
          local file <close> = io.open(path, "a")
          file:write(n, " ")
        end, order, i)
      end
      list[7]:cancel()
      jobs.let_go("a")
      await(first)
      await(neap.settle(table.unpack(list)))
    end)
    local expected = {}
    for i = 1, 30 do if i ~= 7 then expected[#expected + 1] = i .. " " end end
    assert.equal(table.concat(expected), support.slurp(order))
  end))

  it("closes when its jobs have ended", h.run(function()
    local pool = worker.pool(1)
    neap.scope(function()
      local running = jobs.held(runner(pool), "a", 1)
      local queued = pool:run(function() return 2 end)
      local closed = pool:close()
      for _ = 1, 20 do await(neap.yield()) end
      assert.is_false(closed:is_done())
      jobs.let_go("a")
      await(closed)
      assert.equal(1, running:result())
      assert.equal(2, queued:result())
    end)
  end))

  it("closes once, however often it is asked", h.run(function()
    local pool = worker.pool(1)
    local closed = pool:close()
    assert.equal(closed, pool:close())
    await(closed)
    assert.equal(closed, pool:close())
    await(pool:close())
  end))

  it("[S172] takes no jobs once it is closed", h.run(function()
    local pool = worker.pool(1)
    local closed = pool:close()
    h.misuse(function() return pool:run(function() end) end)
    h.misuse(function() return worker.with{ pool = pool }.run(function() end) end)
    await(closed)
    local err = h.misuse(function() return pool:run(function() end) end)
    assert.is_truthy(err.message:find("the pool is closed", 1, true))
  end))

  it("is closed at the end of a block", h.run(function()
    local task, kept
    do
      local pool <close> = worker.pool(1)
      kept = pool
      task = pool:run(function() return "ran" end)
    end
    assert.equal("ran", task:result())
    h.misuse(function() return kept:run(function() end) end)
  end))

  it("is closed also in a cancelled scope, which waits for it", h.run(function()
    local pool, closed
    neap.scope(function(scope)
      pool = worker.pool(1)
      local task = jobs.computing(runner(pool), "a")
      scope:cancel("closed")
      closed = pool:close()
      assert.is_false(task:is_done())
    end)
    assert.equal("done", closed:status())
  end))

  it("does not wait for what was abandoned", h.run(function()
    local pool = worker.pool(1)
    local task = jobs.held(worker.with{ pool = pool, abandon = true }.run, "a")
    task:cancel()
    await(neap.settle(task))
    await(pool:close())
    jobs.let_go("a")
  end))

  it("is collected with its threads", h.run(function()
    local function use()
      return await(worker.pool(1):run(function() return 1 end))
    end
    for _ = 1, 20 do
      assert.equal(1, use())
      collectgarbage()
    end
  end))

  it("that was collected still runs the jobs it has", h.run(function()
    local task = worker.pool(1):run(function() return "ran" end)
    collectgarbage()
    collectgarbage()
    assert.equal("ran", await(task))
  end))

  it("fails to be made or closed without memory, and can be closed later", h.run(function()
    local pool
    h.each_failure(function()
      pool = pool or worker.pool(1)
      await(pool:close())
      pool = nil
    end)
  end))

  it("[S165] runs 100000 tiny jobs and keeps nothing of them", h.run(function()
    local count = os.getenv("NEAP_SLOW") and 2000 or 100000
    if os.getenv("NEAP_STRESS_GC") then count = 200 end
    local pool <close> = worker.pool(2)
    local function tiny(n) return n + 1 end
    local function round(n)
      local list = {}
      for i = 1, 100 do list[i] = pool:run(tiny, i) end
      for i = 1, 100 do assert.equal(i + 1, await(list[i])) end
      return n - 100
    end
    round(100)
    collectgarbage()
    local memory, resident = collectgarbage("count"), support.resident()
    for n = count, 1, -100 do round(n) end
    collectgarbage()
    collectgarbage()
    assert.is_true(collectgarbage("count") < memory + 500, collectgarbage("count") - memory)
    assert.is_true(support.resident() < resident + (16 << 20), support.resident() - resident)
  end))

  local CLOSING = [[
    local neap = require "neap"
    local pool = neap.worker.pool(2)
    neap.run(function()
      local begun = os.tmpname()
      os.remove(begun)
      for i = 1, 4 do
        neap.background(function()
          neap.await(pool:run(function(path)
            io.open(path, "w"):close()
            while true do os.time() end
          end, begun))
        end)
      end
      repeat neap.await(neap.yield()) local file = io.open(begun) until file
      os.remove(begun)
      print("ends")
      os.exit(3, true)
    end)]]

  it("ends with the Lua state, which interrupts what runs", h.plain(function()
    local output, how, code = h.process(CLOSING)
    assert.equal("ends\n", output)
    assert.equal("exit 3", how .. " " .. code)
  end))

  it("with NEAP_DEBUG warns of a job that nobody awaited", h.plain(function()
    local output, _, code = h.process([[
      local neap = require "neap"
      neap.run(function()
        neap.worker.run(function() end)
        neap.await(neap.sleep(0.01))
      end)]], "NEAP_DEBUG=1")
    assert.is_truthy(output:find("never awaited", 1, true), output)
    assert.equal(0, code)
  end))
end)
