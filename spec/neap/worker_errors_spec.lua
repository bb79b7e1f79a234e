-- luacheck: ignore 142 143
local h = require "spec.helper"
local jobs = require "spec.jobs"
local neap = require "neap"

local await, worker = neap.await, neap.worker
local run = worker.run

--- The error that a job raises.
local function error_of(fn, ...)
  local ok, err = pcall(await, run(fn, ...))
  assert.is_false(ok)
  return err
end

describe("an error in a job", function()
  before_each(jobs.make)
  after_each(jobs.remove)

  it("[S167] is raised by await, with the position in the job", h.run(function()
    local line = h.line() + 1
    local err = error_of(function() error("broken") end)
    assert.equal(("%s:%d: broken"):format(debug.getinfo(1, "S").short_src, line), err)
  end))

  it("[S167] has the traceback of the worker", h.run(function()
    local line = h.line() + 2
    local task = run(function()
      local function inner() error("broken") end
      inner()
    end)
    assert.equal("failed", await(neap.settle(task)))
    local place = ("%s:%d"):format(debug.getinfo(1, "S").short_src, line)
    local text = task:traceback()
    assert.is_truthy(text:find(place .. ": in local 'inner'", 1, true), text)
    assert.is_truthy(tostring(task:error()):find("broken", 1, true))
  end))

  it("[S52] is a copy: a neap.Error with code, message, fields and traceback", h.run(function()
    local err = error_of(function()
      error(require("neap").error("EIO", "lost", { path = "/x", n = 3, list = { 1, { 2 } } }))
    end)
    assert.equal(getmetatable(neap.error("EIO", "x")), getmetatable(err))
    assert.equal("EIO", err.code)
    assert.equal("lost", err.message)
    assert.equal("/x", err.path)
    assert.equal(3, err.n)
    assert.same({ 1, { 2 } }, err.list)
    assert.is_truthy(err.worker_traceback:find("worker_errors_spec.lua", 1, true))
    assert.is_truthy(tostring(err):find("EIO: lost", 1, true))
  end))

  it("[S52] is no longer the object that was given", h.run(function()
    local given = { code = "mine" }
    local err = error_of(function(e) error(e) end, given)
    assert.not_equal(given, err)
    assert.equal("mine", err.code)
    assert.is_nil(given.worker_traceback)
    assert.is_string(err.worker_traceback)
  end))

  it("[S52] loses what cannot cross, and keeps its plain fields", h.run(function()
    local err = error_of(function()
      local co = coroutine.create(print)
      error(require("neap").error("EIO", "lost", { co = co, path = "/x", n = 3 }))
    end)
    assert.equal("EIO", err.code)
    assert.equal("lost", err.message)
    assert.equal("/x", err.path)
    assert.equal(3, err.n)
    assert.is_nil(err.co)
    assert.is_string(err.worker_traceback)
    local plain = error_of(function() error({ code = 7, file = io.stdout }) end)
    assert.equal(7, plain.code)
    assert.is_nil(plain.file)
  end))

  it("[S167] may be of any type", h.run(function()
    assert.is_nil(error_of(function() error(nil) end))
    assert.is_false(error_of(function() error(false) end))
    assert.equal(5, error_of(function() error(5, 0) end))
    assert.equal("float", math.type(error_of(function() error(5.0) end)))
    assert.equal("text", error_of(function() error("text", 0) end))
    assert.equal(3, error_of(function() error(function() return 3 end) end)())
  end))

  it("[S167] that cannot cross is told as what it was", h.run(function()
    local err = error_of(function() error(coroutine.create(print)) end)
    assert.is_truthy(tostring(err):find("a coroutine cannot cross", 1, true), tostring(err))
  end))

  it("[S167] is raised by what Lua itself finds wrong", h.run(function()
    local function raises(text, fn)
      local err = error_of(fn)
      assert.is_truthy(err:find(text, 1, true), err)
    end
    raises("index a nil value", function() local t = nil; return t.x end)
    raises("stack overflow", function() local function f() return f() + 1 end f() end)
    raises("bad argument #1 to 'rep'", function() return string.rep() end)
    raises("'undefined'", function() undefined() end) -- luacheck: ignore
  end))

  it("[S167] that nobody observes is reported", h.run(function(context)
    neap.scope(function()
      local task = neap.background(function() await(run(function() error("lost") end)) end)
      await(neap.settle(task))
    end)
    context:take_unobserved()
  end))

  it("[S167] passes a pcall there, and a finished job says nothing of it", h.run(function()
    local ok, err = await(run(function() return pcall(error, "caught", 0) end))
    assert.is_false(ok)
    assert.equal("caught", err)
  end))

  it("fails also where an argument cannot be made there", h.run(function()
    local core = require "neap.core"
    local class = {}
    core.crossing_class("spec.there_is_no_such_module", class, function() return {} end)
    local err = error_of(function(x) return x end, setmetatable({}, class))
    assert.is_truthy(tostring(err):find("spec.there_is_no_such_module", 1, true), tostring(err))
    assert.equal(1, await(run(function() return 1 end)))
  end))
end)

describe("a job that runs out of memory", function()
  before_each(jobs.make)
  after_each(jobs.remove)

  it("fails, and the next one gets a new state", h.run(function()
    local pool <close> = worker.pool(1)
    await(pool:run(function() rawset(string, "mark", "old") end))
    assert.equal("old", await(pool:run(function() return rawget(string, "mark") end)))
    h.raises("ENOMEM", function()
      await(pool:run(function() return io.open("/dev/null"):read(1 << 46) end))
    end)
    assert.is_nil(await(pool:run(function() return rawget(string, "mark") end)))
  end))

  it("may catch that", h.run(function()
    local ok, err = await(run(function() return pcall(io.read, 1 << 46) end))
    assert.is_false(ok)
    assert.is_truthy(tostring(err):find("memory", 1, true))
  end))

  it("fails at whichever of neap's allocations", h.run(function()
    local pool <close> = worker.pool(1)
    local failures = 0
    for n = 1, 40 do
      local task = worker.with{ pool = pool, loop = true }.run(function(count)
        local core, fs = require "neap.core", require "neap.fs"
        core.fail_allocation(count)
        for _ = 1, 3 do core.await(fs.stat("/")) end
        core.fail_allocation()
        return 6
      end, n)
      local status = await(neap.settle(task))
      if status == "failed" then failures = failures + 1 else assert.equal(6, await(task)) end
      await(pool:run(function() require("neap.core").fail_allocation() end))
    end
    assert.is_true(failures > 0)
  end))
end)
