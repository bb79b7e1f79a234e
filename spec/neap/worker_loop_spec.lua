local h = require "spec.helper"
local jobs = require "spec.jobs"
local neap = require "neap"

local await, worker = neap.await, neap.worker
local run = worker.run

local function on_one_thread(fn)
  return h.run(function()
    local pool <close> = worker.pool(1)
    neap.scope(function() fn(worker.with{ pool = pool, loop = true }.run, pool) end)
  end)
end

describe("a job without a loop", function()
  it("[S172] that awaits, runs or waits is told how to have one", h.run(function()
    local function misused(what, fn)
      local err = h.raises("EMISUSE", function() await(run(fn)) end)
      assert.is_truthy(err.message:find(what .. " in a job without a loop", 1, true), err.message)
      assert.is_truthy(err.message:find("loop = true", 1, true), err.message)
      assert.is_truthy(err.where:find("worker_loop_spec.lua", 1, true), err.where)
    end
    misused("await", function() local n = require "neap" n.await(n.sleep(0)) end)
    misused("run", function() require("neap").run(function() end) end)
    misused("wait", function() local n = require "neap" n.sleep(0):wait() end)
  end))
end)

describe("a job with a loop", function()
  before_each(jobs.make)
  after_each(jobs.remove)

  it("[S172] may await", on_one_thread(function(run_here)
    assert.same({ 3, "x" }, { await(run_here(function(a)
      local n = require "neap"
      n.await(n.sleep(0.001))
      return a + 1, n.await(n.start(function() return "x" end))
    end, 2)) })
  end))

  it("[S172] joins what it starts", on_one_thread(function(run_here)
    await(run_here(function(path)
      local n = require "neap"
      n.start(function()
        n.await(n.sleep(0.001))
        io.open(path, "w"):close()
      end)
    end, jobs.at("a")))
    assert.is_true(jobs.exists("a"))
  end))

  it("[S172] leaves the next one without a loop as it was", on_one_thread(function(run_here, pool)
    await(run_here(function() end))
    h.raises("EMISUSE", function()
      await(pool:run(function() local n = require "neap" n.await(n.yield()) end))
    end)
    await(run_here(function() local n = require "neap" n.await(n.yield()) end))
  end))

  it("[S167] fails with its error", on_one_thread(function(run_here)
    local err = h.raises("EIO", function()
      await(run_here(function()
        local n = require "neap"
        n.await(n.sleep(0))
        error(n.error("EIO", "lost"))
      end))
    end)
    assert.equal("lost", err.message)
  end))

  it("[S170] is cancelled where it awaits", on_one_thread(function(run_here)
    local task = run_here(function(begun, ended)
      local n = require "neap"
      local _ <close> = n.defer(function()
        n.await(n.sleep(0.001))
        io.open(ended, "w"):close()
      end)
      io.open(begun, "w"):close()
      n.await(n.sleep(1000))
    end, jobs.at("begun"), jobs.at("ended"))
    jobs.wait_for("begun")
    task:cancel()
    assert.is_true(jobs.is_cancelled(task))
    assert.is_true(jobs.exists("ended"))
  end))

  it("[S170] is interrupted where it computes", on_one_thread(function(run_here)
    for i = 1, 3 do
      local task = jobs.computing(run_here, "a" .. i)
      task:cancel()
      assert.is_true(jobs.is_cancelled(task))
      assert.equal(i, await(run_here(function(x) return x end, i)))
    end
  end))

  it("[S170] is interrupted in a task beside the main one", on_one_thread(function(run_here)
    local task = run_here(function(begun)
      local n = require "neap"
      for i = 1, 3 do
        n.start(function()
          n.await(n.yield())
          io.open(begun .. i, "w"):close()
          while true do os.time() end
        end)
      end
      n.await(n.sleep(1000))
    end, jobs.at("begun"))
    jobs.wait_for("begun1")
    task:cancel()
    assert.is_true(jobs.is_cancelled(task))
  end))

  it("[S170] that catches it and returns has its result", on_one_thread(function(run_here)
    local task = run_here(function(begun)
      local n = require "neap"
      io.open(begun, "w"):close()
      pcall(n.await, n.sleep(1000))
      return "caught"
    end, jobs.at("begun"))
    jobs.wait_for("begun")
    task:cancel()
    assert.equal("caught", await(task))
  end))

  it("[S170] has its cancellation before it begins", on_one_thread(function(run_here)
    for i = 1, 50 do
      local task = run_here(function() local n = require "neap" n.await(n.sleep(1000)) end)
      for _ = 1, i % 9 do await(neap.yield()) end
      task:cancel()
      assert.is_true(jobs.is_cancelled(task))
    end
  end))
end)

describe("a job that cannot be interrupted", function()
  it("does not keep a run that has given its background the grace", h.plain(function(context)
    local ended = os.tmpname()
    os.remove(ended)
    local job = ("while ! [ -e %s ]; do sleep 0.01; done; rm %s"):format(ended, ended)
    neap.run({ grace = 0.02 }, function()
      neap.background(function() neap.await(neap.worker.run(function() os.execute(job) end)) end)
      neap.await(neap.sleep(0.02))
    end)
    assert.is_true(#context:take_warnings() > 0)
    assert.equal(7, neap.run(function() return neap.await(neap.completed(7)) end))
    io.open(ended, "w"):close()
    neap.run(function() neap.await(neap.worker.run(function() end)) end)
    while require("neap.core").stats().operations > 0 do
      neap.run(function() neap.await(neap.sleep(0.01)) end)
    end
  end))
end)
