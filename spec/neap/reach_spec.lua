-- Rules C6, C9, C11 to C14 and C20: what a cancellation does to the wait for a task or an
-- operation.
local neap = require "neap"
local h = require "spec.helper"
local support = require "spec.support"

local await = neap.await
local closing, stopwatch = support.closing, support.stopwatch
local cleans_up, returns_after = support.cleans_up, support.returns_after

local function sleep(seconds)
  await(neap.sleep(seconds))
end

local function caught(fn, ...)
  local ok, err = pcall(fn, ...)
  assert.is_false(ok)
  return err
end

describe("the wait for a task that the same cancellation reaches", function()
  it("[C11] gives the waiter its own Cancelled when the task was cancelled", h.run(function()
    local elapsed = stopwatch()
    local raised
    local parent = neap.start(function()
      raised = caught(await, cleans_up(2))
      error(raised, 0)
    end)
    sleep(1)
    parent:cancel("why")
    assert.same({ "cancelled", "why" }, { await(neap.settle(parent)) })
    assert.is_true(neap.is_cancel(raised))
    assert.equal(3, elapsed())
  end))

  it("[C11] gives the value when the task is done all the same", h.run(function(t)
    local parent = neap.start(function()
      t:note(await(neap.start(function()
        pcall(sleep, 10)
        return "value"
      end)))
      sleep(1)
      t:note("never")
    end)
    parent:cancel()
    assert.equal("cancelled", (await(neap.settle(parent))))
    assert.equal("value", t:logged())
  end))

  it("[C11] gives the error when the task failed", h.run(function()
    local e = {}
    local parent = neap.start(function()
      await(neap.start(function()
        pcall(sleep, 10)
        error(e, 0)
      end))
    end)
    parent:cancel()
    local status, err = await(neap.settle(parent))
    assert.equal("failed", status)
    assert.equal(e, err)
  end))

  it("[C11] also goes from a sibling to a sibling", h.run(function(t)
    neap.scope(function(scope)
      local first = cleans_up(2, function() t:note("first") end)
      neap.start(function()
        local _ <close> = closing(function() t:note("second") end)
        await(first)
      end)
      scope:cancel()
    end)
    assert.equal("first second", t:logged())
  end))

  it("[C11] in a cycle is given up for the youngest task first", h.run(function(t)
    local one, two
    local parent = neap.start(function()
      one = neap.start(function()
        local _ <close> = closing(function() t:note("one") end)
        await(neap.yield())
        await(two)
      end)
      two = neap.start(function()
        local _ <close> = closing(function() t:note("two") end)
        await(neap.yield())
        await(one)
      end)
      sleep(10)
    end)
    sleep(1)
    parent:cancel("stop")
    assert.same({ "cancelled", "stop" }, { await(neap.settle(parent)) })
    assert.equal("cancelled", (await(neap.settle(one))))
    assert.equal("cancelled", (await(neap.settle(two))))
    assert.equal("two one", t:logged())
  end))

  it("[C11] in a cycle through a join is given up for the child", h.run(function(t)
    local parent
    parent = neap.start(function()
      local _ <close> = closing(function() t:note("parent") end)
      neap.scope(function()
        neap.start(function()
          local _ <close> = closing(function() t:note("child") end)
          sleep(2)
          await(parent)
        end)
        neap.start(sleep, 5)
      end)
    end)
    sleep(3)
    parent:cancel("stop")
    assert.same({ "cancelled", "stop" }, { await(neap.settle(parent)) })
    assert.equal("child parent", t:logged())
  end))
end)

local combinations = {
  { "all", function(task, other) return neap.all { task, other } end },
  { "any", function(task, other) return neap.any { task, other } end },
  { "settle", function(task) return neap.settle(task) end },
  { "flatten", function(task) return neap.flatten(task) end },
  { "wait_for", function(task) return neap.wait_for(task, 100) end },
}

describe("the wait for a combination that a cancellation reaches", function()
  for _, case in ipairs(combinations) do
    local name, combine = case[1], case[2]

    it("[C11] lasts until the reached elements have ended: " .. name, h.run(function(t)
      local elapsed = stopwatch()
      local outside = returns_after(10, "kept")
      local combined
      local parent = neap.start(function()
        combined = combine(cleans_up(2, function() t:note("child") end), outside)
        local err = caught(await, combined)
        t:note("parent")
        assert.is_true(neap.is_cancel(err))
        error(err, 0)
      end)
      sleep(1)
      parent:cancel("stop")
      sleep(1)
      assert.equal("pending", combined:status())
      assert.same({ "cancelled", "stop" }, { await(neap.settle(parent)) })
      assert.equal("child parent", t:logged())
      assert.equal("cancelled", combined:status())
      assert.equal(3, elapsed())
      assert.equal("pending", outside:status())
      assert.equal("kept", await(outside))
    end))

    it("[C11] ends at once when it reaches none of them: " .. name, h.run(function()
      local elapsed = stopwatch()
      local outside, other = returns_after(10, "kept"), returns_after(11, "other")
      local combined
      local parent = neap.start(function()
        combined = combine(outside, other)
        await(combined)
      end)
      sleep(1)
      parent:cancel("stop")
      assert.same({ "cancelled", "stop" }, { await(neap.settle(parent)) })
      assert.equal(1, elapsed())
      assert.equal("cancelled", combined:status())
      assert.equal("kept", await(outside))
      assert.equal("other", await(other))
    end))
  end
end)

describe("the wait for a task that the cancellation does not reach", function()
  it("[C12] ends at once, the task goes on without its only waiter", h.run(function(t)
    local elapsed = stopwatch()
    local target = neap.start(function()
      sleep(5)
      t:note("went on")
    end)
    local waiter = neap.start(function(given) await(given) end, target)
    target = nil
    sleep(1)
    waiter:cancel()
    assert.equal("cancelled", (await(neap.settle(waiter))))
    assert.equal(1, elapsed())
    collectgarbage()
    sleep(10)
    assert.is_nil(target)
    assert.equal("went on", t:logged())
  end))

  it("[C12] ends at once for a background task, though the waiter started it", h.run(function()
    local elapsed = stopwatch()
    local started
    local waiter = neap.start(function()
      started = neap.background(sleep, 5)
      await(started)
    end)
    sleep(1)
    waiter:cancel()
    assert.equal("cancelled", (await(neap.settle(waiter))))
    assert.equal(1, elapsed())
    await(started)
    assert.equal(5, elapsed())
  end))

  it("[C13] raises ECANCELLED when someone else cancels the task", h.run(function()
    local target = neap.start(sleep, 10)
    local waiter = neap.start(function()
      local err = h.raises("ECANCELLED", await, target)
      assert.equal(target, err.task)
      assert.equal("gone", err.reason)
      assert.is_false(neap.is_cancelling())
      sleep(1)
      return "went on"
    end)
    target:cancel("gone")
    assert.equal("went on", await(waiter))
  end))
end)

describe("the end of a task", function()
  it("[C14] is done when its body returned, requested or not", h.run(function()
    local task = neap.start(function()
      pcall(sleep, 10)
      return "value"
    end)
    task:cancel()
    assert.same({ "done", "value" }, { await(neap.settle(task)) })
    assert.is_true(task:cancel_requested())
  end))

  it("[C14] is cancelled when Cancelled of an enclosing scope left the body", h.run(function()
    local child
    neap.scope(function(scope)
      child = neap.start(sleep, 10)
      scope:cancel("stop")
    end)
    assert.same({ "cancelled", "stop" }, { await(neap.settle(child)) })
  end))

  it("[C14] is failed when another scope's Cancelled is raised in it", h.run(function()
    local foreign
    local task = neap.start(function()
      neap.scope(function(scope)
        scope:cancel()
        foreign = caught(sleep, 1)
      end)
      error(foreign, 0)
    end)
    local status, err = await(neap.settle(task))
    assert.equal("failed", status)
    assert.is_true(rawequal(foreign, err))
  end))
end)

describe("a shield", function()
  it("[C9] raises nothing when it ends; the next wait does", h.run(function(t)
    local task = neap.start(function()
      t:note(select("#", neap.shield(function()
        sleep(2)
        return 1, nil
      end)))
      neap.shield(function() t:note("again") end)
      sleep(1)
      t:note("never")
    end)
    sleep(1)
    task:cancel()
    assert.equal("cancelled", (await(neap.settle(task))))
    assert.equal("2 again", t:logged())
  end))
end)

-- A named pipe holds the thread that opens it until someone opens the other end.
local function with_pipe(fn)
  local path = os.tmpname()
  os.remove(path)
  assert.is_true(os.execute("mkfifo '" .. path .. "'"))
  local released = false
  local function release()
    if released then return end
    released = true
    local file <close> = assert(io.open(path, "r+"))
    file:write("late")
  end
  local _ <close> = closing(function()
    release()
    os.remove(path)
  end)
  fn(path, release)
end

describe("a file operation on a thread", function()
  it("[C20] is given up at once when cancelled; its descriptor is released", h.run(function()
    local file = os.tmpname()
    await(neap.fs.read_file(file)) -- what the loop opens for itself at first use
    local before = support.open_descriptors()
    with_pipe(function(path, release)
      local task = neap.start(function() await(neap.fs.read_file(path)) end)
      await(neap.fs.read_file(file))
      task:cancel("enough")
      assert.same({ "cancelled", "enough" }, { await(neap.settle(task)) })
      release()
      for _ = 1, 1000 do
        if support.open_descriptors() == before then break end
        await(neap.fs.read_file(file))
      end
      assert.equal(before, support.open_descriptors())
    end)
    os.remove(file)
  end))

  it("[C20] that no one needs any more delays no scope", h.run(function()
    with_pipe(function(path)
      local op
      neap.scope(function() op = neap.fs.read_file(path) end)
      assert.equal("cancelled", op:status())
      assert.same({ false, "timeout" }, { neap.try_for(1, function()
        await(neap.fs.read_file(path))
      end) })
    end)
  end))

  it("[C6] gives its result when it completed before the cancellation", h.run(function(t)
    local path = os.tmpname()
    support.spit(path, "content")
    local op = neap.fs.read_file(path)
    local task = neap.start(function()
      t:note(await(op))
      sleep(1)
      t:note("never")
    end)
    while not op:is_done() do await(neap.yield()) end
    task:cancel()
    assert.equal("cancelled", (await(neap.settle(task))))
    assert.equal("content", t:logged())
    os.remove(path)
  end))
end)
