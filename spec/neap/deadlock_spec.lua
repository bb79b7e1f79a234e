local h = require "spec.helper"
local neap = require "neap"
local await = neap.await

local function assert_lists(err, names)
  for _, name in ipairs(names) do
    assert.is_truthy(tostring(err):find(name, 1, true), name .. " is not in: " .. tostring(err))
  end
end

--- Runs fn, which nobody can wake; returns the error.
local function deadlocked(t, fn)
  return h.raises("EDEADLOCK", neap.run, {clock = t.clock}, fn)
end

describe("a deadlock", function()
  it("[S250] of main on an orphan completion is raised by run", h.plain(function(t)
    local err = deadlocked(t, function()
      local c = neap.completion()
      c.task:name("nobody's promise")
      await(c.task)
    end)
    assert_lists(err, {"nobody's promise"})
  end))

  it("[S250] of two tasks awaiting each other lists both", h.plain(function(t)
    local err = deadlocked(t, function()
      local a, b
      a = neap.start(function()
        await(neap.yield())
        await(b)
      end)
      b = neap.start(function()
        await(neap.yield())
        await(a)
      end)
      a:name("Romeo")
      b:name("Juliet")
    end)
    assert_lists(err, {"Romeo", "Juliet"})
  end))

  it("[S250] of a task that main does not await is raised though main ended", h.plain(function(t)
    local err = deadlocked(t, function()
      local c = neap.completion()
      neap.start(function() await(c.task) end):name("forgotten")
      return "main's result"
    end)
    assert_lists(err, {"forgotten"})
  end))

  it("[S250] runs the <close> handlers of the tasks", h.plain(function(t)
    deadlocked(t, function()
      local c = neap.completion()
      local _ <close> = setmetatable({}, {__close = function() t:note("closed") end})
      await(c.task)
    end)
    assert.equal("closed", t:logged())
  end))

  it("[S250] is none while a timer is alive", h.plain(function(t)
    assert.equal("woken", neap.run({clock = t.clock}, function()
      local c = neap.completion()
      neap.start(function()
        await(neap.sleep(10))
        c:resolve("woken")
      end)
      return await(c.task)
    end))
    assert.equal(10, t.clock:now())
  end))

  it("[S250] is found after the last timer", h.plain(function(t)
    deadlocked(t, function()
      neap.start(function() await(neap.sleep(10)) end)
      local c = neap.completion()
      await(c.task)
    end)
    assert.equal(10, t.clock:now())
  end))

  it("[S250, S252] is none when only background tasks are stuck", h.plain(function(t)
    assert.equal(1, neap.run({clock = t.clock}, function()
      local c = neap.completion()
      neap.background(function() await(c.task) end)
      return 1
    end))
  end))

  it("[S250] of t:wait() is raised there", h.plain(function()
    local c = neap.completion()
    local task = neap.start(function() await(c.task) end)
    h.raises("EDEADLOCK", function() task:wait() end)
    c:try_resolve()
    pcall(task.wait, task)
  end))

  it("[S250, S253] leaves sockets working in the next run", h.plain(function(t)
    local c = neap.completion()
    deadlocked(t, function() await(c.task) end)
    c:try_resolve()
    neap.run({clock = t.clock}, function()
      local server <close> = await(neap.net.listen("127.0.0.1", 0))
      local conn <close> = await(neap.net.connect(server:address()))
      local peer <close> = await(server:accept())
      assert.equal(2, await(conn:write("ok")))
      assert.equal("ok", await(peer:read()))
    end)
  end))

  it("[S250, S253] leaves the next run working", h.plain(function(t)
    local c = neap.completion()
    deadlocked(t, function() await(c.task) end)
    c:try_resolve()
    assert.equal(2, neap.run({clock = t.clock}, function()
      await(neap.sleep(1))
      return 2
    end))
  end))
end)
