local h = require "spec.helper"
local neap = require "neap"
local async, await = neap.async, neap.await

--- Asserts a misuse error whose text has each of the parts (plain); returns it.
local function misuse_saying(parts, fn, ...)
  local err = h.misuse(fn, ...)
  for _, part in ipairs(parts) do
    assert.is_truthy(tostring(err):find(part, 1, true), tostring(err))
  end
  return err
end

describe("a misuse error", function()
  it("is raised at the caller's line", h.run(function()
    local line
    local err = h.misuse(function()
      line = h.line() + 1
      await(nil)
    end)
    assert.is_truthy(err.where:find("misuse_spec.lua:" .. line, 1, true), err.where)
    local c = neap.completion()
    err = h.misuse(function()
      line = h.line() + 1
      local _ = c.task:result()
    end)
    assert.is_truthy(err.where:find("misuse_spec.lua:" .. line, 1, true), err.where)
  end))

  it("carries a message", h.run(function()
    local err = h.misuse(function() await(nil) end)
    assert.is_string(err.message)
    assert.is_truthy(tostring(err):find(err.message, 1, true))
  end))
end)

describe("await", function()
  it("[S241] with no current task is misuse", h.plain(function()
    local c = neap.completion()
    h.misuse(function() await(c.task) end)
    h.misuse(function() await(neap.completed(1)) end)
  end))

  it("[S241] after a run has ended is misuse", h.plain(function(t)
    neap.run({clock = t.clock}, function() end)
    h.misuse(function() await(neap.completed(1)) end)
  end))

  it("[S242] in a coroutine that is not a task is misuse", h.run(function()
    local c = neap.completion()
    local thread = coroutine.create(function()
      h.misuse(function() await(c.task) end)
      return "reached"
    end)
    assert.same({true, "reached"}, {coroutine.resume(thread)})
    local wrapped = coroutine.wrap(function()
      h.misuse(function() await(c.task) end)
      return "reached"
    end)
    assert.equal("reached", wrapped())
    assert.equal("dead", coroutine.status(thread))
  end))

  it("[S242] in a coroutine outside a run is misuse", h.plain(function()
    local c = neap.completion()
    local wrapped = coroutine.wrap(function() h.misuse(function() await(c.task) end) end)
    wrapped()
  end))

  it("[S243] across table.sort is misuse naming it", h.run(function()
    local c = neap.completion()
    misuse_saying({"sort"}, function()
      table.sort({3, 2, 1}, function() await(c.task) end)
    end)
  end))

  it("[S243] across string.gsub is misuse naming it", h.run(function()
    local c = neap.completion()
    misuse_saying({"gsub"}, function()
      local _ = string.gsub("abc", "%w", function() await(c.task) end)
    end)
  end))

  it("[S243] across tostring is misuse naming it", h.run(function()
    local c = neap.completion()
    local x = setmetatable({}, {__tostring = function() await(c.task) end})
    misuse_saying({"tostring"}, function() local _ = tostring(x) end)
  end))

  it("[S243] across require is misuse naming it", h.run(function()
    local c = neap.completion()
    package.preload["spec.waiting_module"] = function() await(c.task) end
    local ok, err = pcall(require, "spec.waiting_module")
    package.preload["spec.waiting_module"] = nil
    package.loaded["spec.waiting_module"] = nil
    assert.is_false(ok)
    assert.equal("EMISUSE", err.code)
    assert.is_truthy(tostring(err):find("require", 1, true), tostring(err))
  end))

  it("[S243] leaves the task able to wait", h.run(function(t)
    local c = neap.completion()
    h.misuse(function() table.sort({2, 1}, function() await(c.task) end) end)
    await(neap.sleep(1))
    assert.equal(1, t.clock:now())
  end))

  it("[S244] on what is not awaitable is misuse", h.run(function()
    for _, value in ipairs{"text", 7, true, {}, setmetatable({}, {}), io.stdout} do
      misuse_saying({type(value)}, function() await(value) end)
    end
    misuse_saying({"nil"}, function() await(nil) end)
    h.misuse(function() await() end)
  end))

  it("[S244] on a function asks whether a call was forgotten", h.run(function()
    local f = async(function() end)
    misuse_saying({"did you forget to call it?"}, function() await(f) end)
    misuse_saying({"did you forget to call it?"}, function() await(print) end)
  end))

  it("[S245] of a task on itself is misuse", h.run(function()
    local task
    task = neap.start(function()
      await(neap.yield())
      h.misuse(function() await(task) end)
      return "survived"
    end)
    assert.equal("survived", await(task))
  end))
end)

describe("neap.run", function()
  it("[S246] inside a running loop is misuse", h.run(function(t)
    h.misuse(function() neap.run(function() t:note("never") end) end)
    await(neap.yield())
    h.misuse(function() neap.run({clock = t.clock}, function() t:note("never") end) end)
    assert.equal("", t:logged())
  end))

  it("[S246] in a coroutine inside a running loop is misuse", h.run(function()
    coroutine.wrap(function() h.misuse(function() neap.run(function() end) end) end)()
  end))
end)

describe("Task:wait", function()
  it("[S247] inside a task is misuse saying to use await", h.run(function()
    misuse_saying({"use await"}, function() neap.completed(1):wait() end)
    local c = neap.completion()
    misuse_saying({"use await"}, function() c.task:wait(1) end)
  end))
end)

describe("coroutine.yield", function()
  it("in a task fails it with misuse: nobody would resume it", h.run(function()
    local task = neap.start(function() coroutine.yield(1) end)
    local ok, err = pcall(await, task)
    assert.is_false(ok)
    assert.equal("EMISUSE", err.code)
    assert.is_truthy(tostring(err):find("neap.yield", 1, true))
    assert.is_truthy(err.where:find("misuse_spec.lua", 1, true))
  end))

  it("in a generator of a task is Lua's own", h.run(function()
    local seen = {}
    for n in coroutine.wrap(function() for i = 1, 3 do coroutine.yield(i) end end) do
      seen[#seen + 1] = n
      await(neap.yield())
    end
    assert.same({1, 2, 3}, seen)
  end))
end)

describe("a closed loop", function()
  -- An object older than the loop is finalized after it.
  local source = [[
    local late = setmetatable({}, {__gc = function(self) self.use() end})
    local neap = require "neap"
    local unpack, print, pcall, ipairs = table.unpack, print, pcall, ipairs
    local c = neap.completion()
    local ended = neap.completed(1)
    local task = neap.start(function() neap.await(c.task) end)
    late.use = function()
      for _, call in ipairs{
        {"start", neap.start, function() end},
        {"sleep", neap.sleep, 1},
        {"run", neap.run, function() end},
        {"completion", neap.completion},
        {"wait", ended.wait, ended},
        {"await", neap.await, ended},
      } do
        local ok, err = pcall(unpack(call, 2))
        print(call[1], ok or err.code)
      end
      for _, method in ipairs{"status", "cancel", "result", "error", "name", "id", "traceback"} do
        pcall(task[method], task)
        pcall(c.task[method], c.task)
      end
      pcall(c.resolve, c)
      print("survived")
    end
  ]]

  it("[S248] refuses with misuse what would use it", function()
    local output, how, code = h.process(source)
    for _, name in ipairs{"start", "sleep", "run", "completion", "wait", "await"} do
      assert.is_truthy(output:find(name .. "\tEMISUSE", 1, true), output)
    end
    assert.is_truthy(output:find("survived", 1, true), output)
    assert.same({"exit", 0}, {how, code})
  end)
end)

describe("a task that ends with a scope still open", function()
  it("[S249] gives one warning with the opening line; its outcome stays", h.run(function(t)
    local line
    local task = neap.start(function()
      line = h.line() + 1
      local leaked = neap.deadline(5)
      await(neap.yield())
      return "outcome", leaked ~= nil
    end)
    assert.same({"outcome", true}, {await(task)})
    assert.equal("done", task:status())
    local warnings = t:take_warnings()
    assert.equal(1, #warnings)
    assert.is_truthy(warnings[1]:find("misuse_spec.lua:" .. line, 1, true), warnings[1])
  end))

  it("[S249] that failed stays failed", h.run(function(t)
    local e = {}
    local task = neap.start(function()
      local leaked = neap.deadline(5)
      await(neap.yield())
      error(leaked and e)
    end)
    local _, err = pcall(await, task)
    assert.is_true(rawequal(e, err))
    assert.equal(1, #t:take_warnings())
  end))

  it("[S249] has the scope closed as by its __close", h.run(function(t)
    local task = neap.start(function()
      local leaked = neap.group()
      leaked:spawn(function()
        await(neap.sleep(3))
        t:note("child")
      end)
      return 7
    end)
    assert.equal(7, await(task))
    assert.equal("child", t:logged())
    assert.equal(3, t.clock:now())
    assert.equal(1, #t:take_warnings())
  end))
end)
