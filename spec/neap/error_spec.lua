local h = require "spec.helper"
local neap = require "neap"
local async, await = neap.async, neap.await

local function closing(fn)
  return setmetatable({}, {__close = function(_, err) fn(err) end})
end

describe("an error in a task", function()
  it("[S36] is raised at each await and caught by pcall there", h.run(function()
    local task = async(function()
      await(neap.yield())
      error("broken", 0)
    end)()
    for _ = 1, 2 do
      assert.same({false, "broken"}, {pcall(function() await(task) end)})
    end
    assert.equal("failed", task:status())
  end))

  it("[S37] passes unchanged through three awaiting functions", h.run(function(t)
    local e = {}
    local c = async(function()
      await(neap.sleep(1))
      error(e)
    end)
    local b = async(function()
      await(c())
      t:note("never")
    end)
    local a = async(function()
      await(b())
      t:note("never")
    end)
    local outer = async(function() return select(2, pcall(await, a())) end)
    assert.is_true(rawequal(e, await(outer())))
    assert.equal("", t:logged())
  end))

  it("[S38] runs the <close> handlers LIFO, each with the error, while pending", h.run(function(t)
    local e, task = {}, nil
    local function handler(name)
      return closing(function(err)
        assert.is_true(rawequal(e, err))
        await(neap.sleep(1))
        t:note(name .. ":" .. task:status())
      end)
    end
    task = neap.start(function()
      local _ <close> = handler("first")
      local _ <close> = handler("second")
      await(neap.yield())
      error(e)
    end)
    local _, err = pcall(await, task)
    assert.is_true(rawequal(e, err))
    assert.equal("second:pending first:pending", t:logged())
    assert.equal("failed", task:status())
    assert.equal(2, t.clock:now())
  end))

  it("[S39] is replaced by that of a __close handler, and reported", h.run(function(t)
    local original, replacing = {}, {}
    local task = neap.start(function()
      local _ <close> = closing(function() error(replacing) end)
      await(neap.yield())
      error(original)
    end)
    local _, err = pcall(await, task)
    assert.is_true(rawequal(replacing, err))
    await(neap.yield())
    local lost = t:take_unobserved()
    assert.equal(1, #lost)
    assert.is_true(rawequal(original, lost[1].err))
  end))

  it("[S39] replaced in a task without a wait is reported as well", h.run(function(t)
    local task = neap.start(function()
      local _ <close> = closing(function() error("second", 0) end)
      error("first", 0)
    end)
    assert.equal("second", task:error())
    await(neap.yield())
    local lost = t:take_unobserved()
    assert.equal(1, #lost)
    assert.equal("first", lost[1].err)
  end))

  it("[S39] re-raised by the handler is not lost", h.run(function()
    local e = {}
    local task = neap.start(function()
      local _ <close> = closing(function(err) error(err) end)
      error(e)
    end)
    assert.is_true(rawequal(e, task:error()))
  end))

  it("[S42] a runtime error is captured like error()", h.run(function()
    local record = {}
    local function failing(fn)
      return neap.start(function()
        await(neap.yield())
        fn()
      end)
    end
    local arithmetic = failing(function() return record.missing + 1 end)
    local calling = failing(function() record.missing() end)
    local _, err = pcall(await, arithmetic)
    assert.is_truthy(err:find("error_spec.lua:%d+: attempt to perform arithmetic on a nil value"))
    _, err = pcall(await, calling)
    assert.is_truthy(err:find("error_spec.lua:%d+: attempt to call a nil value"))
    assert.equal("failed", calling:status())
  end))

  it("[S43] stops neither the loop nor an unrelated task", h.run(function(t)
    local other = neap.start(function()
      for i = 1, 3 do
        await(neap.sleep(1))
        t:note(i)
      end
    end)
    local failing = neap.start(function()
      await(neap.sleep(1.5))
      error("broken", 0)
    end)
    await(other)
    assert.equal("1 2 3", t:logged())
    assert.equal("broken", failing:error())
  end))
end)

describe("neap.run", function()
  it("[S44] raises main's very error after everything has ended", h.plain(function(t)
    local e = {}
    local ok, err = pcall(neap.run, {clock = t.clock}, function()
      neap.start(function()
        await(neap.sleep(3))
        t:note("other ended")
      end)
      local _ <close> = closing(function() t:note("closed") end)
      await(neap.sleep(1))
      error(e)
    end)
    assert.is_false(ok)
    assert.is_true(rawequal(e, err))
    assert.equal("closed other ended", t:logged())
    assert.equal(3, t.clock:now())
  end))

  it("[S44] raises an error before main's first wait", h.plain(function(t)
    assert.same({false, "at once"},
      {pcall(neap.run, {clock = t.clock}, function() error("at once", 0) end)})
  end))
end)

describe("neap.group", function()
  local function failing_body_and_child(read)
    local body_error, child_error = {"body"}, {"child"}
    local group
    local _, err = pcall(neap.group, function(g)
      group = g
      g:spawn(function()
        local _ <close> = closing(function() error(child_error) end)
        await(neap.sleep(10))
      end)
      error(body_error)
    end)
    assert.is_true(rawequal(body_error, err))
    if read then
      assert.equal(1, #group.errors)
      assert.is_true(rawequal(child_error, group.errors[1]))
    end
    return child_error
  end

  it("[S45] raises the body's error; the child's is in errors", h.run(function()
    failing_body_and_child(true)
  end))

  it("[S45] an unread child's error is reported", h.run(function(t)
    local child_error = failing_body_and_child(false)
    collectgarbage()
    collectgarbage()
    await(neap.yield())
    local lost = t:take_unobserved()
    assert.equal(1, #lost)
    assert.is_true(rawequal(child_error, lost[1].err))
  end))
end)

describe("neap.all", function()
  it("[S51] with two failures raises the first itself", h.run(function()
    local e1, e2 = {1}, {2}
    local _, err = pcall(await, neap.all{
      neap.start(function()
        await(neap.sleep(2))
        error(e1)
      end),
      neap.start(function()
        await(neap.sleep(1))
        error(e2)
      end),
    })
    assert.is_true(rawequal(e1, err))
  end))
end)

describe("neap.error", function()
  it("[S50] makes an error with code, message and fields, tostring is one line", h.plain(function()
    local err = neap.error("ENOENT", "no such file or directory", {syscall = "open", path = "/x"})
    assert.equal("ENOENT", err.code)
    assert.equal("no such file or directory", err.message)
    assert.equal("open", err.syscall)
    assert.equal("/x", err.path)
    assert.equal("neap.Error", getmetatable(err).__name)
    local text = tostring(err)
    assert.is_nil(text:find("\n", 1, true))
    for _, part in ipairs{"ENOENT", "no such file or directory", "/x"} do
      assert.is_truthy(text:find(part, 1, true), text)
    end
  end))

  it("[S50] what the core raises is of the same kind", h.run(function()
    local c = neap.completion()
    local err = h.raises("ETIMEDOUT", await, neap.wait_for(c.task, 1))
    assert.is_string(err.message)
    assert.is_nil(tostring(err):find("\n", 1, true))
    assert.is_truthy(tostring(err):find(err.message, 1, true))
    local gone = h.raises("ECANCELLED", await, neap.cancelled("why"))
    assert.is_string(gone.message)
    assert.is_truthy(tostring(gone):find("why", 1, true))
  end))
end)

describe("an error's identity", function()
  local function error_of(fn, ...)
    local task = neap.start(function(...)
      await(neap.yield())
      return fn(...)
    end, ...)
    local _, first = pcall(await, task)
    local _, second = pcall(await, neap.start(function() await(task) end))
    assert.is_true(rawequal(first, second))
    assert.is_true(rawequal(first, task:error()))
    return first
  end

  it("[S46] a table is raised as that very table", h.run(function()
    local e = {}
    assert.is_true(rawequal(e, error_of(error, e)))
  end))

  it("[S47] a string keeps the one position that error() put", h.run(function()
    local chunk = load("\n\n\n\n\n\nerror('x')", "@file.lua")
    assert.equal("file.lua:7: x", error_of(chunk))
  end))

  it("[S47] run adds no position either", h.plain(function(t)
    local chunk = load("\n\n\n\n\n\nerror('x')", "@file.lua")
    assert.same({false, "file.lua:7: x"}, {pcall(neap.run, {clock = t.clock}, chunk)})
  end))

  it("[S48] a string without a position stays so", h.run(function()
    assert.equal("x", error_of(error, "x", 0))
  end))

  it("[S48] numbers, booleans and functions survive", h.run(function()
    assert.equal(7, error_of(error, 7))
    assert.equal("integer", math.type(error_of(error, 7)))
    assert.equal(7.5, error_of(error, 7.5))
    assert.equal(true, error_of(error, true))
    assert.equal(false, error_of(error, false))
    assert.equal(print, error_of(error, print))
  end))

  it("[S5, S48] nil survives", h.run(function()
    assert.is_nil(error_of(error, nil))
  end))

  it("[S49] an error table is neither changed nor asked anything", h.run(function(t)
    local function touched(name) return function() t:note(name) end end
    local meta = {
      __newindex = touched("newindex"),
      __index = touched("index"),
      __tostring = touched("tostring"),
      __eq = touched("eq"),
    }
    local e = setmetatable({}, meta)
    assert.is_true(rawequal(e, error_of(error, e)))
    assert.is_nil(next(e))
    assert.is_true(rawequal(meta, getmetatable(e)))
    assert.equal("", t:logged())
  end))
end)
