-- Arguments of a wrong type: the error names the function and the argument's number.

local h = require "spec.helper"
local neap = require "neap"
local await = neap.await

local function nothing() end

--- Calls a method with an object of another kind; the call shows the method's name.
local function check_self(owner, name, object)
  local call = load("local owner, object = ... ; owner." .. name .. "(object)")
  local ok, err = pcall(call, owner, object)
  assert.is_false(ok)
  assert.is_truthy(tostring(err):find(name, 1, true), tostring(err))
end

--- Each row: the function's name, the number of the wrong argument, the arguments.
local function check_functions(rows)
  for _, row in ipairs(rows) do
    local name, n = row[1], row[2]
    h.bad_argument(name, n, neap[name], table.unpack(row, 3, row.n or #row))
  end
end

--- The same for methods of an object; n does not count the object.
local function check_methods(object, rows)
  for _, row in ipairs(rows) do
    local name, n = row[1], row[2]
    local call = load("local o, a = ... ; o:" .. name .. "(table.unpack(a, 3, a.n or #a))")
    h.bad_argument(name, n, call, object, row)
  end
end

describe("functions that take a function", function()
  local names = {"async", "start", "background"}

  it("[S18] reject what is not callable", h.plain(function()
    for _, name in ipairs(names) do
      check_functions{
        {name, 1, n = 2},
        {name, 1, nil, n = 3},
        {name, 1, 7},
        {name, 1, "f"},
        {name, 1, {}},
        {name, 1, io.stdout},
      }
    end
  end))

  it("[S18] main rejects it before it runs or exits", function()
    local output = h.process([[
      local neap = require "neap"
      print(pcall(function() neap.main() end))
      print(pcall(function() neap.main(7) end))
      print("goes on")
    ]])
    assert.is_truthy(output:find("false.*#1.*main.*\nfalse.*#1.*main.*\ngoes on"), output)
  end)

  it("[S18] reject it inside a task as well", h.run(function()
    check_functions{
      {"async", 1, 7},
      {"start", 1, 7},
      {"background", 1, 7},
      {"completion", 1, 7},
      {"completion", 1, "on_cancel"},
    }
  end))

  it("set no handler that is not callable", h.plain(function()
    check_functions{
      {"on_unobserved", 1, 7},
      {"on_unobserved", 1, {}},
      {"on_warning", 1, "f"},
      {"on_warning", 1, {}},
    }
  end))
end)

describe("functions that take a task", function()
  it("reject anything else", h.run(function()
    local c = neap.completion()
    for _, name in ipairs{"settle", "flatten"} do
      check_functions{
        {name, 1, n = 2},
        {name, 1, 7},
        {name, 1, "task"},
        {name, 1, {}},
        {name, 1, c},
        {name, 1, io.stdout},
        {name, 1, nothing},
      }
    end
    check_functions{
      {"wait_for", 1, n = 2},
      {"wait_for", 1, nothing, 1},
      {"wait_for", 1, {}, 1},
      {"wait_for", 2, c.task},
      {"wait_for", 2, c.task, "soon"},
      {"wait_for", 2, c.task, {}},
      {"wait_for", 2, c.task, -1},
      {"wait_for", 2, c.task, 0 / 0},
    }
  end))

  it("[S142] reject a bad duration though the task has ended", h.run(function()
    check_functions{
      {"wait_for", 2, neap.completed(), -1},
      {"wait_for", 2, neap.completed(), 0 / 0},
    }
  end))

  it("[S121, S124] reject lists that are none", h.run(function()
    check_functions{
      {"all", 1, n = 2},
      {"all", 1, 7},
      {"all", 1, neap.completed()},
      {"any", 1, n = 2},
      {"any", 1, nothing},
    }
  end))
end)

describe("neap.run", function()
  it("rejects a missing or wrong function", h.plain(function(t)
    check_functions{
      {"run", 1, n = 2},
      {"run", 1, 7},
      {"run", 1, "f"},
      {"run", 2, {}, n = 3},
      {"run", 2, {clock = t.clock}, 7},
    }
  end))

  it("rejects wrong options, naming them", h.plain(function(t)
    local function option_error(options, name)
      local ok, err = pcall(neap.run, options, function() t:note("never") end)
      assert.is_false(ok)
      assert.is_truthy(tostring(err):find(name, 1, true), tostring(err))
      assert.is_truthy(tostring(err):find("run", 1, true), tostring(err))
    end
    option_error({clock = 7}, "clock")
    option_error({clock = {}}, "clock")
    option_error({grace = "long"}, "grace")
    option_error({grace = -1}, "grace")
    option_error({grace = 0 / 0}, "grace")
    assert.equal("", t:logged())
  end))

  it("works after a rejected call", h.plain(function(t)
    pcall(neap.run, 7)
    pcall(neap.run, {clock = 7}, nothing)
    assert.equal(1, neap.run({clock = t.clock}, function()
      await(neap.sleep(1))
      return 1
    end))
  end))
end)

describe("methods of a task", function()
  it("reject wrong arguments", h.run(function()
    local c = neap.completion()
    check_methods(c.task, {
      {"name", 1, {}},
      {"name", 1, true},
      {"on_done", 1, n = 2},
      {"on_done", 1, 7},
      {"on_done", 1, {}},
    })
    assert.equal("pending", c.task:status())
  end))

  it("wait rejects a wrong duration", h.plain(function()
    check_methods(neap.completed(), {
      {"wait", 1, "long"},
      {"wait", 1, {}},
      {"wait", 1, -1},
      {"wait", 1, 0 / 0},
    })
  end))

  it("reject an object of another kind", h.run(function()
    local task = neap.completed()
    local c = neap.completion()
    for _, name in ipairs{
      "status", "is_done", "result", "error", "errors", "traceback", "id", "name", "cancel",
      "cancel_requested", "on_done", "wait",
    } do
      for _, object in ipairs{7, "task", {}, io.stdout, c} do
        check_self(task, name, object)
      end
    end
  end))
end)

describe("methods of a completion", function()
  it("reject an object of another kind", h.run(function()
    local c = neap.completion()
    for _, name in ipairs{
      "resolve", "reject", "cancel", "try_resolve", "try_reject", "try_cancel",
    } do
      for _, object in ipairs{7, "c", {}, io.stdout, c.task} do
        check_self(c, name, object)
      end
    end
    assert.equal("pending", c.task:status())
  end))
end)

describe("neap.test_clock and neap.error", function()
  it("reject wrong arguments", h.run(function(t)
    check_functions{
      {"test_clock", 1, 7},
      {"test_clock", 1, "fast"},
      {"error", 1, n = 2},
      {"error", 1, {}},
      {"error", 2, "ECODE", {}},
      {"error", 3, "ECODE", "message", 7},
    }
    check_methods(t.clock, {
      {"advance", 1, n = 2},
      {"advance", 1, "far"},
      {"advance", 1, -1},
      {"advance", 1, 0 / 0},
    })
  end))
end)
