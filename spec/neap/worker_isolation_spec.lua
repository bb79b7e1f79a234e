-- luacheck: ignore 111 112 113 121 142 143
local h = require "spec.helper"
local jobs = require "spec.jobs"
local neap = require "neap"
local support = require "spec.support"

local await, worker = neap.await, neap.worker

--- Runs fn(run_here) with a pool of one thread: all jobs share one Lua state.
local function in_one_state(fn)
  return h.run(function()
    local pool <close> = worker.pool(1)
    fn(function(...) return await(pool:run(...)) end)
  end)
end

--- Writes a module, and runs fn while it can be found.
local function with_module(name, text, fn)
  support.spit(jobs.at(name .. ".lua"), text)
  local former = package.path
  package.path = jobs.directory .. "/?.lua;" .. former
  local ok, err = pcall(fn)
  package.path = former
  if not ok then error(err, 0) end
end

describe("a job's globals", function()
  before_each(jobs.make)
  after_each(jobs.remove)

  it("are its own: neither the caller nor the next job sees them", in_one_state(function(run_here)
    assert.equal(1, run_here(function() spec_global = 1 return spec_global end))
    assert.is_nil(run_here(function() return spec_global end))
    assert.is_nil(rawget(_G, "spec_global"))
    run_here(function() _G.spec_global = 1 _ENV.spec_global = 2 rawset(_G, "spec_global", 3) end)
    assert.is_nil(run_here(function() return spec_global or _G.spec_global end))
  end))

  it("replace Lua's for this job only", in_one_state(function(run_here)
    assert.equal(5, run_here(function() print = 5 return print end)) -- luacheck: ignore 121
    assert.equal("function", run_here(function() return type(print) end))
    run_here(function() print = nil _G.pairs = nil end)
    assert.equal("function", run_here(function() return type(print) end))
    assert.equal("function", run_here(function() return type(pairs) end))
  end))

  it("are those of all its functions, and of _G", in_one_state(function(run_here)
    local function set(x) spec_global = x end
    assert.same({ 7, 7, true }, { run_here(function()
      set(7)
      return spec_global, _G.spec_global, _G == _ENV and _G._G == _G
    end) })
  end))

  it("are those of the code that it loads", in_one_state(function(run_here)
    local path = jobs.at("chunk.lua")
    support.spit(path, "spec_loaded = (spec_loaded or 0) + 1 return spec_global, ...")
    assert.same({ 4, 1, 4, 4, 2, "x" }, { run_here(function(file)
      spec_global = 4
      local a = load("spec_loaded = 0 return spec_global")()
      local b = dofile(file)
      local first = spec_loaded
      local c, x = loadfile(file)("x")
      return a, first, b, c, spec_loaded, x
    end, path) })
    run_here(function() load("print = 5; spec_global = 6")() end)
    assert.same({ "function" }, { run_here(function() return type(print), spec_global end) })
    assert.equal(8, run_here(function() return load("return x", "=x", "t", { x = 8 })() end))
    local ok, err = run_here(function() return load("x =", "=chunk") end)
    assert.is_nil(ok)
    assert.is_truthy(err:find("^chunk:1:"))
    assert.is_false((run_here(function() return pcall(load("return x", "=x", "t", nil)) end)))
  end))

  it("[S165] are not those of modules, which stay loaded", in_one_state(function(run_here)
    with_module("spec_counting", [[
      spec_made_by_module = "kept"
      local n = 0
      return { next = function() n = n + 1 spec_made_later = n return n end }
    ]], function()
      assert.equal(1, run_here("spec_counting.next"))
      assert.equal(2, run_here(function() return require("spec_counting").next() end))
      assert.equal("kept", run_here(function() return spec_made_by_module end))
      assert.is_nil(run_here(function() return spec_made_later end))
    end)
  end))

  it("[S165] follow package.path as it is when the job is made", in_one_state(function(run_here)
    run_here(function() end)
    with_module("spec_late", "return { f = function(...) return 'found', ... end }", function()
      assert.same({ "found", 1, nil, 3 }, { run_here("spec_late.f", 1, nil, 3) })
      assert.equal(package.path, run_here(function() return package.path end))
    end)
    assert.equal(package.path, run_here(function() return package.path end))
  end))

  it("[S167] name a module or function that is not there", in_one_state(function(run_here)
    with_module("spec_empty", "return { value = 1 }", function()
      local ok, err = pcall(run_here, "spec_empty.f")
      assert.is_false(ok)
      assert.is_truthy(err:find("module 'spec_empty' has no function 'f'", 1, true), err)
      ok, err = pcall(run_here, "spec_no_such_module.f")
      assert.is_false(ok)
      assert.is_truthy(err:find("module 'spec_no_such_module' not found", 1, true), err)
    end)
  end))

  it("share the library tables and the metatable of strings", in_one_state(function(run_here)
    run_here(function() rawset(string, "spec_shared", "seen") end)
    assert.equal("seen", run_here(function() return ("x").spec_shared end))
    run_here(function() rawset(string, "spec_shared", nil) end)
    assert.is_nil(rawget(string, "spec_shared"))
  end))

  it("cannot be reached by getmetatable", in_one_state(function(run_here)
    assert.is_false(run_here(function() return getmetatable(_G) end))
    assert.is_false(run_here(function() return pcall(setmetatable, _G, {}) end))
  end))

  it("are empty of local variables of tasks", in_one_state(function(run_here)
    local name = neap.localvar("name", "default")
    name:with("mine", function()
      assert.is_nil(run_here(function() return require("neap.core").current() end))
    end)
  end))
end)

-- coroutine.resume, wrap and close are made anew for workers: what they give is the same.

local PROGRAMS = {
  results = function()
    return coroutine.resume(coroutine.create(function(...) return ... end), 1, nil, 3)
  end,
  yields = function()
    local co = coroutine.create(function(a) local b = coroutine.yield(a + 1) return b * 2 end)
    local list = { coroutine.resume(co, 1) }
    list[3], list[4] = coroutine.resume(co, 5)
    list[5] = coroutine.status(co)
    return table.unpack(list)
  end,
  dead = function()
    local co = coroutine.create(function() end)
    coroutine.resume(co)
    return coroutine.resume(co)
  end,
  ["wrap dead"] = function()
    local fn = coroutine.wrap(function() end)
    fn()
    return pcall(fn)
  end,
  ["wrap error"] = function()
    return pcall(function() coroutine.wrap(function() error("inner") end)() end)
  end,
  ["wrap table"] = function()
    local ok, err = pcall(coroutine.wrap(function() error({ 1 }) end))
    return ok, err[1]
  end,
  ["wrap nil"] = function() return pcall(coroutine.wrap(function() error() end)) end,
  ["wrap closes"] = function()
    local log = {}
    local function fail()
      local _ <close> = setmetatable({}, { __close = function(_, e) log[1] = e end })
      error("inner", 0)
    end
    return select(2, pcall(coroutine.wrap(fail))), log[1]
  end,
  running = function()
    local _, is_main = coroutine.running()
    local function look() return coroutine.isyieldable(), select(2, coroutine.running()) end
    return is_main, coroutine.wrap(look)()
  end,
  ["resume itself"] = function()
    return coroutine.wrap(function() return coroutine.resume(coroutine.running()) end)()
  end,
  ["yield across pcall"] = function()
    local function throw() error(coroutine.yield(1), 0) end
    local fn = coroutine.wrap(function() return pcall(throw) end)
    return fn(), fn("thrown")
  end,
  close = function()
    local co = coroutine.create(function()
      local _ <close> = setmetatable({}, { __close = function() error("closing", 0) end })
      coroutine.yield()
    end)
    coroutine.resume(co)
    local ok, err = coroutine.close(co)
    return ok, err, coroutine.status(co), coroutine.close(co)
  end,
  ["close running"] = function()
    return pcall(function() coroutine.close(coroutine.running()) end)
  end,
  ["close normal"] = function()
    local outer
    outer = coroutine.create(function()
      return coroutine.wrap(function() return pcall(coroutine.close, outer) end)()
    end)
    return coroutine.resume(outer)
  end,
  arguments = function()
    local list = {}
    for _, name in ipairs({ "resume", "wrap", "close", "create", "status" }) do
      local _, err = pcall(function() coroutine[name](1) end)
      list[#list + 1] = err
    end
    return table.concat(list, "\n")
  end,
  iterator = function()
    local sum = 0
    local function count() for i = 1, 9 do coroutine.yield(i) end end
    for i in coroutine.wrap(count) do sum = sum + i end
    return sum
  end,
  depth = function()
    local function dig(n)
      local ok, depth = coroutine.resume(coroutine.create(dig), n + 1)
      return ok and depth or n
    end
    return dig(0) >= 150
  end,
}

describe("coroutines in a job", function()
  for name, program in pairs(PROGRAMS) do
    it("are as here: " .. name, in_one_state(function(run_here)
      local expected = table.pack(coroutine.wrap(program)())
      local got = table.pack(run_here(function(fn) return coroutine.wrap(fn)() end, program))
      assert.same(expected, got)
    end))
  end
end)
