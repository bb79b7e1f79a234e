local h = require "spec.helper"
local support = require "spec.support"
local neap = require "neap"

local await = neap.await

--- What neap.dump writes.
local function dumped()
  local file <close> = io.tmpfile()
  neap.dump(file)
  file:seek("set", 0)
  return file:read("a")
end

--- The line of a dump that begins to tell of the task with this name, or nil.
local function line_of(name)
  for line in dumped():gmatch("[^\n]+") do
    if line:find("%f[%w_]" .. name .. "%f[^%w_]") then return line end
  end
end

--- A task with a name; started before it gets it.
local function named(name, fn, ...)
  local task = neap.start(fn, ...)
  task:name(name)
  return task
end

describe("neap.dump", function()
  it("gives a live task's name, status and what it waits on", h.run(function()
    local task = named("sleeper", function() await(neap.sleep(5)) end)
    local line = line_of("sleeper")
    assert.is_string(line)
    assert.matches("pending", line, 1, true)
    assert.matches("sleep", (line:gsub("sleeper", "")), 1, true)
    await(task)
  end))

  it("names the task that another one waits on", h.run(function()
    local lower = named("lower_one", function() await(neap.sleep(1)) end)
    local upper = named("upper_one", function() await(lower) end)
    local line = line_of("upper_one")
    assert.is_string(line)
    assert.matches("lower_one", line, 1, true)
    await(upper)
  end))

  it("names the completion that a task waits on", h.run(function()
    local c = neap.completion()
    c.task:name("the_answer")
    local task = named("asker", function() return await(c.task) end)
    local line = line_of("asker")
    assert.is_string(line)
    assert.matches("the_answer", line, 1, true)
    c:resolve(42)
    assert.equal(42, await(task))
  end))

  it("lists a task that is ready", h.run(function()
    local task = named("yielder", function() await(neap.yield()) end)
    assert.is_string(line_of("yielder"))
    await(task)
  end))

  it("lists the task that runs", h.run(function()
    local task = neap.start(function()
      await(neap.sleep(1))
      assert.is_string(line_of("runner"))
    end)
    task:name("runner")
    await(task)
  end))

  it("lists every live task and no ended one", h.run(function()
    local list = {}
    for i = 1, 50 do
      list[i] = named("task_" .. i, function() await(neap.sleep(i % 2 + 1)) end)
    end
    await(neap.sleep(1.5))
    for i = 1, 50 do
      assert.equal(i % 2 == 1, line_of("task_" .. i) ~= nil)
    end
    await(neap.all(list))
    assert.is_nil(line_of("task_1"))
  end))

  it("lists tasks that nobody holds", h.run(function()
    named("forgotten", function() await(neap.sleep(1)) end)
    collectgarbage()
    assert.is_string(line_of("forgotten"))
    await(neap.sleep(2))
    assert.is_nil(line_of("forgotten"))
  end))

  it("tells of a task without a name as well", h.run(function()
    local task = neap.start(function() await(neap.sleep(1)) end)
    local _, before = dumped():gsub("\n", "")
    local other = neap.start(function() await(neap.sleep(1)) end)
    local _, after = dumped():gsub("\n", "")
    assert.is_true(after > before)
    await(task)
    await(other)
  end))

  it("changes nothing", h.run(function(t)
    local turns = support.turn_counter()
    local task = neap.start(function() await(neap.yield()) t:note("task") end)
    dumped()
    t:note("after")
    assert.equal(1, turns.count)
    turns.stop()
    await(task)
    assert.equal("after task", t:logged())
  end))

  it("works outside a loop, also for a task that waits for one", h.plain(function()
    assert.is_string(dumped())
    local task = named("waiting_for_run", function() await(neap.yield()) end)
    assert.is_string(line_of("waiting_for_run"))
    neap.run(function() await(task) end)
    assert.is_nil(line_of("waiting_for_run"))
  end))
end)
