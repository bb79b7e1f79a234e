local h = require "spec.helper"
local neap = require "neap"
local async, await = neap.async, neap.await

--- Asserts that the texts occur one after the other.
local function assert_in_order(text, parts)
  local from = 1
  for _, part in ipairs(parts) do
    local _, last = text:find(part, from, true)
    assert.is_truthy(last, "not found in order: " .. part .. "\n" .. text)
    from = last + 1
  end
end

local function at(line) return "traceback_spec.lua:" .. line end

describe("Task:traceback", function()
  it("[S40] names the file and line of error()", h.run(function()
    local line
    local task = neap.start(function()
      line = h.line() + 1
      error("broken", 0)
    end)
    assert.is_truthy(task:traceback():find(at(line), 1, true))
    assert.equal("broken", task:error())
  end))

  it("[S40] names them after several awaits, in a nested call", h.run(function()
    local raise_line, call_line
    local function inner()
      raise_line = h.line() + 1
      error({})
    end
    local task = neap.start(function()
      for _ = 1, 3 do await(neap.yield()) end
      call_line = h.line() + 1
      inner()
    end)
    await(neap.settle(task))
    assert_in_order(task:traceback(), {at(raise_line), at(call_line)})
  end))

  it("[S40, S42] names the line of a runtime error", h.run(function()
    local line, record = nil, {}
    local task = neap.start(function()
      await(neap.yield())
      line = h.line() + 1
      return record.missing.field
    end)
    await(neap.settle(task))
    assert.is_truthy(task:traceback():find(at(line), 1, true))
  end))

  it("[S41] lists the awaited task's frames, then the await sites", h.run(function()
    local lines = {}
    local c = async(function()
      await(neap.sleep(1))
      lines.c = h.line() + 1
      error("broken", 0)
    end)
    local b = async(function()
      lines.b = h.line() + 1
      await(c())
    end)
    local a = async(function()
      lines.a = h.line() + 1
      await(b())
    end)
    local task = a()
    await(neap.settle(task))
    local text = task:traceback()
    assert_in_order(text, {at(lines.c), "awaited by", at(lines.b), "awaited by", at(lines.a)})
    assert.equal(2, select(2, text:gsub("awaited by", "")))
    assert.equal("broken", task:error())
  end))

  it("[S41] a chain that never suspended has the await sites too", h.run(function()
    local lines = {}
    local b = async(function()
      lines.b = h.line() + 1
      error({})
    end)
    local a = async(function()
      lines.a = h.line() + 1
      await(b())
    end)
    local task = a()
    await(neap.settle(task))
    assert_in_order(task:traceback(), {at(lines.b), "awaited by", at(lines.a)})
  end))
end)
