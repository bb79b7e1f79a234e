--- neap.testing: what tests of async code need. For busted, and for any other runner.
---
--- ```lua
--- local testing = require "neap.testing"
--- it("waits", testing.async(function(clock) ... end))
--- ```
local check = require "neap.check"
local core = require "neap.core"

---@class neap.testing
local M = {}

local VIRTUAL_LIMIT, REAL_LIMIT = 3600, 10
local KINDS = { "tasks", "operations", "timers", "scopes", "handles", "pins" }
local MOST_ALLOCATIONS = 100000

--- What was let go ends: streams that nobody closed, reports of what the collector has found.
local function collect()
  collectgarbage()
  collectgarbage()
  if core.current() then return end
  core.run(function() core.await(core.yield()) end)
  collectgarbage()
end

local function describe_excess(before)
  local found = {}
  local counts = core.stats()
  for _, kind in ipairs(KINDS) do
    local n = counts[kind] - (before and before[kind] or 0)
    if n > 0 then found[#found + 1] = kind .. "=" .. n end
  end
  return #found > 0 and table.concat(found, " ") or nil
end

--- What is alive that was not at the time of `before`: nil, or a text such as "tasks=1 timers=2".
--- Without `before` everything counts.
---@param before? table<string, integer> what `neap.testing.count()` returned
---@return string?
---@nodiscard
function M.leaks(before)
  if not describe_excess(before) then return nil end -- a collection could only lessen it
  collect()
  return describe_excess(before)
end

--- How much of each kind is alive: tasks, operations, timers, scopes, handles, pins.
---@return table<string, integer>
---@nodiscard
function M.count()
  collect()
  return core.stats()
end

--- A Task that is done when no task is ready to run, before time goes on.
M.wait_all_blocked = core.wait_all_blocked

-- Reports: what nobody observed, and warnings, make a test fail.

--- Calls `fn(...)`, then raises the first error or warning that was reported meanwhile.
local function without_reports(fn, ...)
  local errors, warnings = {}, {}
  local on_unobserved = core.on_unobserved(function(err) errors[#errors + 1] = err end)
  local on_warning = core.on_warning(function(text) warnings[#warnings + 1] = text end)
  local ok, err = pcall(fn, ...)
  core.on_unobserved(on_unobserved)
  core.on_warning(on_warning)
  if not ok then error(err, 0) end
  if #errors > 0 then error("an error that nobody observed: " .. tostring(errors[1]), 0) end
  if #warnings > 0 then error("a warning: " .. warnings[1], 0) end
end

-- Bodies.

local function new_clock(kind)
  if kind ~= "real" then return core.test_clock{ autojump = true } end
end

--- The limit holds for the tasks that the body has started, too: it counts also where a body that
--- has returned would win over a deadline.
local function run_limited(fn, limit, clock)
  local late
  core.scope({ timeout = limit, name = "test" }, function(scope)
    local _ <close> = setmetatable({}, { __close = function() late = scope end })
    fn(clock)
  end)
  if late.cancelled then
    error(core.error("ETIMEDOUT", ("the test did not end within %g s"):format(limit)), 0)
  end
end

local function run_body(fn, opts)
  local kind = opts.clock or "virtual"
  local clock = new_clock(kind)
  local limit = opts.timeout or (kind == "real" and REAL_LIMIT or VIRTUAL_LIMIT)
  core.run({ clock = clock }, run_limited, fn, limit, clock)
end

local function run_checked(fn, opts, before)
  without_reports(run_body, fn, opts)
  local leaks = M.leaks(before)
  if leaks then error("alive after the test: " .. leaks, 0) end
end

local function check_options(opts, name, index)
  if opts == nil then return {} end
  check.table(opts, name, index)
  local clock = opts.clock
  if clock ~= nil and clock ~= "virtual" and clock ~= "real" then
    core.argument_error(name, index, "option 'clock' must be 'virtual' or 'real'")
  end
  if opts.timeout ~= nil then check.seconds(opts.timeout, "option 'timeout'", name, index) end
  return opts
end

--- A function for `it`, `before_each` and the like: runs `fn(clock)` as the main task of a run,
--- under a virtual clock that jumps to the next deadline when nothing is ready. It fails if `fn`
--- does, if that takes too long, if anything is still alive afterwards, if an error was observed by
--- nobody, and if there was a warning.
---@param fn fun(clock: neap.Clock?)
---@param opts? { timeout: number, clock: "virtual" | "real" } `timeout` in seconds of its
--- clock: 3600 under the virtual one, 10 under the real one
---@return fun()
---@nodiscard
function M.async(fn, opts)
  check.callable(fn, "async", 1)
  opts = check_options(opts, "async", 2)
  return function() run_checked(fn, opts, M.count()) end
end

--- busted's own function of this name, given an async body.
local function hand_to_busted(name, first, ...)
  local busted = require "busted"
  busted[name](first, ...)
end

--- `it` of busted, with an async body.
---@param title string
---@param fn fun(clock: neap.Clock?)
---@param opts? { timeout: number, clock: "virtual" | "real" }
function M.it(title, fn, opts)
  check.callable(fn, "it", 2)
  hand_to_busted("it", title, M.async(fn, check_options(opts, "it", 3)))
end

--- `before_each` of busted, with an async body.
---@param fn fun(clock: neap.Clock?)
---@param opts? { timeout: number, clock: "virtual" | "real" }
function M.before_each(fn, opts)
  check.callable(fn, "before_each", 1)
  hand_to_busted("before_each", M.async(fn, check_options(opts, "before_each", 2)))
end

--- `after_each` of busted, with an async body.
---@param fn fun(clock: neap.Clock?)
---@param opts? { timeout: number, clock: "virtual" | "real" }
function M.after_each(fn, opts)
  check.callable(fn, "after_each", 1)
  hand_to_busted("after_each", M.async(fn, check_options(opts, "after_each", 2)))
end

-- Failing allocations.

local function is_out_of_memory(err)
  if type(err) == "table" and err.code == "ENOMEM" then return true end
  return tostring(err):find("not enough memory", 1, true) ~= nil
end

--- One pass; returns whether an allocation failed in it. The collector stands still meanwhile: a
--- finalizer that Lua has no memory to call is never called again.
local function pass_with_failure(fn, n, persist)
  local was_running = collectgarbage("isrunning")
  collectgarbage("stop")
  core.fail_allocation(n, persist)
  local ok, err = pcall(fn)
  local fired = core.fail_allocation()
  if was_running then collectgarbage("restart") end
  if not ok and not (fired and is_out_of_memory(err)) then
    if type(err) ~= "string" then error(err, 0) end
    local mode = persist and " and all later ones" or ""
    error(("with allocation %d%s failing: %s"):format(n, mode, err), 0)
  end
  return fired
end

--- Repeats `fn` with allocation 1, 2, 3 ... of the core failing, until nothing failed: first that
--- one only, then from there on. `fn` succeeds, or raises an error for want of memory.
---@param fn fun()
function M.each_failure(fn)
  check.callable(fn, "each_failure", 1)
  for _, persist in ipairs{ false, true } do
    local n = 1
    while pass_with_failure(fn, n, persist) do
      n = n + 1
      if n > MOST_ALLOCATIONS then error("each_failure never came to an end", 2) end
    end
  end
end

-- Schedules.

local function run_seed(fn, seed, opts, before)
  core.set_schedule(seed)
  local ok, err = pcall(run_checked, fn, opts, before)
  core.set_schedule(0)
  if ok then return end
  error(("seed %d: %s\n(replay it with NEAP_SEED=%d, or the option seed)"):format(
    seed, tostring(err), seed), 0)
end

--- Runs `fn(clock)` as the main task of a run under many orders of what is ready: what holds under
--- all of them does not depend on luck. Each order is drawn from a seed, from 1 on; the error of
--- the first that fails names it. The environment variable NEAP_SEED, or `opts.seed`, replays one.
---@param fn fun(clock: neap.Clock)
---@param opts? { seeds: integer, seed: integer, timeout: number } `seeds`: how many, default 100
function M.explore(fn, opts)
  check.callable(fn, "explore", 1)
  opts = check_options(opts, "explore", 2)
  for _, name in ipairs{ "seeds", "seed" } do
    local n = opts[name]
    if n ~= nil and not (math.type(n) == "integer" and n >= 1) then
      core.argument_error("explore", 2, "option '" .. name .. "' must be an integer of 1 or more")
    end
  end
  local only = opts.seed or math.tointeger(os.getenv("NEAP_SEED"))
  local before = M.count()
  if only then return run_seed(fn, only, opts, before) end
  for seed = 1, opts.seeds or 100 do run_seed(fn, seed, opts, before) end
end

return M
