local h = require "spec.helper"
local jobs = require "spec.jobs"
local neap = require "neap"

local await, worker = neap.await, neap.worker
local run = worker.run

--- Runs fn(run_here, pool) with a pool of one thread.
local function on_one_thread(fn)
  return h.run(function(context)
    local pool <close> = worker.pool(1)
    neap.scope(function() fn(function(...) return pool:run(...) end, pool, context) end)
  end)
end

describe("a job that is cancelled", function()
  before_each(jobs.make)
  after_each(jobs.remove)

  it("[S169] before it starts never runs", on_one_thread(function(run_here)
    local first = jobs.held(run_here, "first")
    local second = run_here(jobs.hold, jobs.at("second"), jobs.at("first.go"))
    assert.is_true(second:cancel("enough"))
    assert.is_true(jobs.is_cancelled(second))
    assert.is_false(first:is_done())
    jobs.let_go("first")
    await(first)
    await(run_here(function() end))
    assert.is_false(jobs.exists("second"))
  end))

  it("[S169] in a cancelled scope is not even queued", on_one_thread(function(run_here)
    neap.scope(function(scope)
      scope:cancel("closed")
      assert.equal("cancelled", run_here(jobs.hold, jobs.at("a"), jobs.at("a")):status())
    end)
    await(run_here(function() end))
    assert.is_false(jobs.exists("a"))
  end))

  it("[S170] is interrupted where it computes, and awaited until it has stopped", on_one_thread(
    function(run_here)
      local task = run_here(function(begun, ended)
        local _ <close> = setmetatable({}, { __close = function() io.open(ended, "w"):close() end })
        io.open(begun, "w"):close()
        while true do os.time() end
      end, jobs.at("begun"), jobs.at("ended"))
      jobs.wait_for("begun")
      task:cancel("enough")
      assert.is_true(jobs.is_cancelled(task))
      assert.is_true(jobs.exists("ended"))
      assert.equal("free", await(run_here(function() return "free" end)))
    end))

  it("[S170] is interrupted within 50 ms of processor time", on_one_thread(function(run_here)
    local best = math.huge
    for i = 1, 5 do
      local task = jobs.computing(run_here, "a" .. i)
      local start = os.clock()
      task:cancel()
      assert.is_true(jobs.is_cancelled(task))
      best = math.min(best, os.clock() - start)
    end
    assert.is_true(best < 0.05, best)
  end))

  it("[S170] is interrupted in a loop that calls nothing", on_one_thread(function(run_here)
    if os.getenv("NEAP_TSAN") then return end -- signals wait there for a call
    local task = run_here(function(begun)
      io.open(begun, "w"):close()
      while true do end
    end, jobs.at("begun"))
    jobs.wait_for("begun")
    task:cancel()
    assert.is_true(jobs.is_cancelled(task))
  end))

  it("[S170] twice, and after the end, makes no difference", on_one_thread(function(run_here)
    local task = jobs.computing(run_here, "a")
    assert.is_true(task:cancel())
    assert.is_false(task:cancel())
    assert.is_true(jobs.is_cancelled(task))
    assert.is_false(task:cancel())
    local done = run_here(function() return 1 end)
    await(done)
    assert.is_false(done:cancel())
    assert.equal(1, await(done))
  end))

  it("[S170] by a timeout", on_one_thread(function(run_here)
    local stopped
    h.raises("ETIMEDOUT", function()
      neap.timeout(5, function()
        local task = jobs.computing(run_here, "a")
        local _ <close> = neap.defer(function() stopped = task:is_done() end)
        await(task)
      end)
    end)
    assert.is_true(stopped)
  end))

  it("[S170] by its scope, which waits for it", on_one_thread(function(run_here)
    local task
    neap.scope(function(scope)
      task = jobs.computing(run_here, "a")
      scope:cancel("closed")
    end)
    assert.equal("cancelled", task:status())
  end))

  it("[S170] by a sibling that fails", on_one_thread(function(run_here)
    local task
    local ok, err = pcall(neap.scope, function()
      task = jobs.computing(run_here, "a")
      error("failed", 0)
    end)
    assert.is_false(ok)
    assert.equal("failed", tostring(err))
    assert.equal("cancelled", task:status())
  end))

  it("[S170] by a third party: who awaits it gets an error", on_one_thread(function(run_here)
    local task = jobs.computing(run_here, "a")
    local waiter = neap.start(function()
      return select(2, pcall(await, task))
    end)
    task:cancel("not wanted")
    local err = await(waiter)
    assert.equal("ECANCELLED", err.code)
  end))

  it("[S170] does not outlive its pcalls", on_one_thread(function(run_here)
    local task = run_here(function(begun)
      local function spin() while true do os.time() end end
      io.open(begun, "w"):close()
      while true do pcall(pcall, spin) end
    end, jobs.at("begun"))
    jobs.wait_for("begun")
    task:cancel()
    assert.is_true(jobs.is_cancelled(task))
  end))

  it("[S170] that catches it once and returns has its result", on_one_thread(function(run_here)
    local task = run_here(function(begun)
      local ok, err = pcall(function()
        io.open(begun, "w"):close()
        while true do os.time() end
      end)
      return ok, require("neap").is_cancel(err)
    end, jobs.at("begun"))
    jobs.wait_for("begun")
    task:cancel()
    assert.same({ false, true }, { await(task) })
  end))

  it("[S170] is interrupted in coroutines, and in theirs", on_one_thread(function(run_here)
    local function nested(begun, how)
      local function spin()
        io.open(begun, "w"):close()
        while true do os.time() end
      end
      local function call(fn)
        if how == "wrap" then return coroutine.wrap(fn)() end
        while true do coroutine.resume(coroutine.create(fn)) end
      end
      call(function() call(spin) end)
    end
    for _, how in ipairs({ "wrap", "resume" }) do
      local task = run_here(nested, jobs.at(how), how)
      jobs.wait_for(how)
      task:cancel()
      assert.is_true(jobs.is_cancelled(task), how)
    end
  end))

  it("[S170] is interrupted in the handlers of a closed coroutine", on_one_thread(function(run_here)
    local task = run_here(function(begun)
      local co = coroutine.create(function()
        local _ <close> = setmetatable({}, { __close = function()
          io.open(begun, "w"):close()
          while true do os.time() end
        end })
        coroutine.yield()
      end)
      coroutine.resume(co)
      local ok = coroutine.close(co)
      return ok
    end, jobs.at("begun"))
    jobs.wait_for("begun")
    task:cancel()
    assert.is_false(await(task))
  end))

  it("[S170] has some time for its <close> handlers, not for ever", on_one_thread(function(run_here)
    local task = run_here(function(begun, ended)
      local forever <close> = setmetatable({}, { __close = function()
        io.open(ended, "w"):close()
        while true do os.time() end
      end })
      io.open(begun, "w"):close()
      while forever do os.time() end
    end, jobs.at("begun"), jobs.at("ended"))
    jobs.wait_for("begun")
    task:cancel()
    assert.is_true(jobs.is_cancelled(task))
    assert.is_true(jobs.exists("ended"))
  end))

  it("[S170] leaves nothing of it to the next job", on_one_thread(function(run_here)
    for i = 1, 20 do
      local task = jobs.computing(run_here, "a" .. i)
      task:cancel()
      assert.equal(i, await(run_here(function(n)
        local sum = 0
        for _ = 1, 1000 do sum = sum + coroutine.wrap(function() return 1 end)() end
        return sum == 1000 and n
      end, i)))
      assert.equal("cancelled", task:status())
    end
  end))

  it("[S170] at any moment ends, one way or the other", on_one_thread(function(run_here)
    for i = 1, 200 do
      local task = run_here(function(n)
        local list = {}
        for k = 1, n do list[k] = coroutine.wrap(function() return tostring(k) end)() end
        return #list
      end, i * 5)
      for _ = 1, i % 7 do await(neap.yield()) end
      task:cancel()
      local status = await(neap.settle(task))
      assert.is_true(status == "cancelled" or await(task) == i * 5)
    end
  end))

  it("[S173] but does not look delays the await, not others", on_one_thread(function(run_here)
    local fifo = jobs.at("fifo")
    assert(os.execute("mkfifo '" .. fifo .. "'"))
    local task = run_here(function(path, begun)
      io.open(begun, "w"):close()
      return io.open(path, "r"):read("a") -- a system call that is restarted
    end, fifo, jobs.at("begun"))
    jobs.wait_for("begun")
    task:cancel()
    for _ = 1, 20 do await(neap.yield()) end
    assert.equal("other", await(run(function() return "other" end)))
    assert.is_false(task:is_done())
    local file <close> = assert(io.open(fifo, "w"))
    file:close()
    assert.is_true(jobs.is_cancelled(task))
  end))
end)

describe("an abandoned job", function()
  before_each(jobs.make)
  after_each(jobs.remove)

  it("[S171] ends at once; another thread takes its place", on_one_thread(function(_, pool)
    local abandoning = worker.with{ pool = pool, abandon = true }
    local task = jobs.held(abandoning.run, "a", "discarded")
    task:cancel()
    assert.is_true(jobs.is_cancelled(task))
    assert.equal("next", await(pool:run(function() return "next" end)))
    jobs.let_go("a")
  end))

  it("[S171] is interrupted all the same", on_one_thread(function(_, pool)
    local task = worker.with{ pool = pool, abandon = true }.run(function(begun, ended)
      local _ <close> = setmetatable({}, { __close = function() io.open(ended, "w"):close() end })
      io.open(begun, "w"):close()
      while true do os.time() end
    end, jobs.at("begun"), jobs.at("ended"))
    jobs.wait_for("begun")
    task:cancel()
    assert.is_true(jobs.is_cancelled(task))
    jobs.wait_for("ended")
  end))

  it("[S171] that was not cancelled has its result", on_one_thread(function(_, pool)
    assert.equal(5, await(worker.with{ pool = pool, abandon = true }.run(function() return 5 end)))
  end))

  local ABANDON = [[
    local neap = require "neap"
    local path = os.tmpname()
    os.remove(path)
    neap.run(function()
      local task = neap.worker.with{ abandon = true }.run(function(begun)
        io.open(begun, "w"):close()
        %s
      end, path)
      repeat neap.await(neap.yield()) local file = io.open(path) until file
      os.remove(path)
      task:cancel()
      print((neap.await(neap.settle(task))))
    end)
    print("run has ended")
    %s]]

  it("[S171] does not hold up the end of the run, nor of the process", h.plain(function()
    for _, job in ipairs({
      "os.execute('exec sleep 30 >/dev/null 2>&1')", "while true do os.time() end",
      "io.popen('exec sleep 30 2>/dev/null'):read()",
    }) do
      for _, ending in ipairs({ "", "os.exit(0, true)", "os.exit(0)" }) do
        local start = os.time()
        local output, how, code = h.process(ABANDON:format(job, ending))
        assert.equal("cancelled\nrun has ended\n", output)
        assert.equal("exit 0", how .. " " .. code)
        assert.is_true(os.time() - start < 20)
      end
    end
  end))
end)
