local h = require "spec.helper"
local support = require "spec.support"
local neap = require "neap"

local async, await = neap.async, neap.await

describe("on_cancel of a completion", function()
  it("[S1, S237] that resolves decides the outcome; no waiter runs inline", h.run(function(t)
    local c
    c = neap.completion(function(reason)
      t:note(reason)
      t:note(c.task:status())
      c:resolve("resolved")
      t:note(c.task:status())
    end)
    local waiter = neap.start(function()
      local value = await(c.task)
      t:note("waiter")
      return value
    end)
    c.task:cancel("why")
    t:note("after")
    assert.equal("resolved", await(waiter))
    assert.equal("why pending done after waiter", t:logged())
  end))

  it("[S1, S237] that rejects decides the outcome", h.run(function()
    local c
    c = neap.completion(function() c:reject("rejected") end)
    c.task:cancel("why")
    assert.equal("failed", c.task:status())
    assert.equal("rejected", c.task:error())
  end))

  it("[S1, S237] that does nothing leaves the task cancelled", h.run(function(t)
    local c = neap.completion(function(reason) t:note(reason) end)
    assert.is_true(c.task:cancel("why"))
    assert.equal("cancelled", c.task:status())
    assert.is_false(c.task:cancel("again"))
    assert.equal("why", t:logged())
  end))

  it("[S237] that cancels its own task again is not called twice", h.run(function(t)
    local c
    c = neap.completion(function()
      t:note("called")
      t:note(c.task:cancel("inner"))
    end)
    c.task:cancel("outer")
    assert.same({ "cancelled", "outer" }, { await(neap.settle(c.task)) })
    assert.equal("called false", t:logged())
  end))

  it("[S237] that cancels another task does not run it", h.run(function(t)
    local other = neap.start(function()
      local _ <close> = support.closing(function() t:note("other") end)
      await(neap.sleep(10))
    end)
    local c = neap.completion(function() other:cancel("too") t:note("callback") end)
    c.task:cancel("why")
    t:note("after")
    support.takes(0, function() await(neap.settle(other)) end)
    assert.equal("callback after other", t:logged())
  end))

  it("[S237] that starts a task runs its prefix there, the rest later", h.run(function(t)
    local started
    local c = neap.completion(function()
      started = neap.start(function()
        t:note("prefix")
        await(neap.yield())
        t:note("rest")
      end)
    end)
    c.task:cancel("why")
    t:note("after")
    await(started)
    assert.equal("prefix after rest", t:logged())
  end))

  it("[S237] that resolves a chain of completions wakes all, in order", h.run(function(t)
    local second, third = neap.completion(), neap.completion()
    local list = {}
    for i, c in ipairs({ third, second }) do
      list[i] = neap.start(function() await(c.task) t:note(i) end)
    end
    local first = neap.completion(function() second:resolve() third:resolve() end)
    first.task:cancel()
    t:note("after")
    await(neap.all(list))
    assert.equal("after 2 1", t:logged())
  end))
end)

describe("a function given to on_done", function()
  it("[S237] that resolves another completion wakes its waiters later", h.run(function(t)
    local first, second = neap.completion(), neap.completion()
    first.task:on_done(function()
      second:resolve("x")
      t:note("callback")
    end)
    local waiter = neap.start(function() await(second.task) t:note("waiter") end)
    first:resolve()
    await(waiter)
    assert.equal("callback waiter", t:logged())
  end))

  it("[S237] may register itself again elsewhere, and start tasks", h.run(function(t)
    local first, second, started = neap.completion(), neap.completion(), nil
    first.task:on_done(function()
      second.task:on_done(function() t:note("second") end)
      first.task:on_done(function() t:note("late") end)
      started = neap.start(function() t:note("prefix") await(neap.yield()) t:note("rest") end)
      second:resolve()
    end)
    first:resolve()
    await(neap.sleep(1))
    assert.equal("done", started:status())
    assert.equal("prefix", t.log[1])
    local rest = { table.unpack(t.log, 2) }
    table.sort(rest)
    assert.same({ "late", "rest", "second" }, rest)
  end))

  it("[S237] that cancels the task which waits does not disturb it", h.run(function()
    local c = neap.completion()
    local waiter
    c.task:on_done(function() waiter:cancel("late") end)
    waiter = neap.start(function() return await(c.task) end)
    c:resolve("delivered")
    assert.equal("delivered", await(waiter))
    assert.is_true(waiter:cancel_requested())
  end))
end)

describe("an async function", function()
  it("[S238] called from an xpcall handler starts there", h.run(function(t)
    local started
    local f = async(function() t:note("prefix") await(neap.sleep(1)) t:note("rest") return "x" end)
    local ok, err = xpcall(function() error("E", 0) end, function(e)
      started = f()
      t:note(started:status())
      return e
    end)
    assert.same({ false, "E" }, { ok, err })
    assert.equal("x", await(started))
    assert.equal("prefix pending rest", t:logged())
  end))

  it("[S238] called from __gc starts there", h.run(function(t)
    local started
    local f = async(function() t:note("prefix") await(neap.sleep(1)) t:note("rest") return "x" end)
    setmetatable({}, { __gc = function() started = f() t:note("finalized") end })
    collectgarbage()
    collectgarbage()
    t:note("after")
    assert.equal("x", await(started))
    assert.equal("prefix finalized after rest", t:logged())
  end))

  it("[S238] called from a hook starts there", h.run(function(t)
    local started
    local f = async(function() t:note("prefix") await(neap.sleep(1)) t:note("rest") return "x" end)
    local task = neap.start(function()
      debug.sethook(function()
        debug.sethook()
        started = f()
      end, "", 1)
      local sum = 0
      for i = 1, 1000 do sum = sum + i end
      t:note("after")
      return sum
    end)
    assert.equal(500500, await(task))
    assert.equal("x", await(started))
    assert.equal("prefix after rest", t:logged())
  end))

  it("[S24, S238] called from table.sort and gsub starts there", h.run(function(t)
    local list = {}
    local f = async(function(x) t:note(x) await(neap.sleep(1)) return x end)
    local replaced = ("ab"):gsub("%a", function(c) list[#list + 1] = f(c) end)
    table.sort({ 2, 1 }, function(a, b) list[#list + 1] = f("sort") return a < b end)
    assert.equal("ab", replaced)
    local r = await(neap.all(list))
    assert.equal("a", r[1])
    assert.equal("b", r[2])
    assert.equal("sort", r[3])
  end))

  it("[S238] called from a finalizer that many collections run does no harm", h.run(function()
    local tasks = {}
    local f = async(function(i) await(neap.yield()) return i end)
    for i = 1, 200 do
      setmetatable({}, { __gc = function() tasks[#tasks + 1] = f(i) end })
      if i % 50 == 0 then collectgarbage() await(neap.yield()) end
    end
    collectgarbage()
    collectgarbage()
    assert.equal(200, #tasks)
    assert.equal(200, await(neap.all(tasks)).n)
  end))
end)

describe("a group that its own child cancels", function()
  it("[S239] joins once", h.run(function(t)
    support.takes(1, function()
      neap.group(function(group)
        group:spawn(function() await(neap.sleep(1)) group:cancel("done here") end)
        group:spawn(function()
          local _ <close> = support.closing(function() t:note("sibling") end)
          await(neap.sleep(10))
        end)
        local _ <close> = support.closing(function() t:note("body") end)
        await(neap.sleep(10))
      end)
      t:note("joined")
    end)
    await(neap.sleep(20))
    local log = t.log
    assert.equal(3, #log)
    assert.equal("joined", log[3])
  end))

  it("[S239] in the callback of its child joins once", h.run(function(t)
    support.takes(1, function()
      neap.group(function(group)
        local child = group:spawn(function() await(neap.sleep(1)) end)
        child:on_done(function() group:cancel("done here") t:note("callback") end)
        group:spawn(function()
          local _ <close> = support.closing(function() t:note("sibling") end)
          await(neap.sleep(10))
        end)
      end)
      t:note("joined")
    end)
    await(neap.sleep(20))
    assert.equal("callback sibling joined", t:logged())
  end))

  it("[S239] while it is being joined ends without error", h.run(function(t)
    neap.group(function(group)
      group:spawn(function()
        await(neap.sleep(1))
        group:cancel("once")
        group:cancel("twice")
        t:note("child")
      end)
    end)
    assert.equal("child", t:logged())
  end))
end)

describe("what libuv reports", function()
  local directory
  before_each(function()
    directory = support.temp_dir()
    support.spit(directory .. "/file", "content")
  end)
  after_each(function() support.remove_tree(directory) end)

  it("[S240] while a Lua task runs is delivered on a later turn", h.run(function()
    local list = neap.fs.list(directory) -- read_file may be done on the spot
    local stop_at = os.clock() + 0.02
    while os.clock() < stop_at do
      assert(list:status() == "pending")
    end
    assert.equal("file", await(list)[1].name)
  end))

  it("[S240] comes after the statement that started it, however fast", h.run(function(t)
    local read = neap.fs.read_file(directory .. "/file")
    read:on_done(function() t:note("done") end)
    t:note("after")
    await(read)
    await(neap.yield())
    assert.equal("after done", t:logged())
  end))
end)
