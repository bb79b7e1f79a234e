--- What all specs share: a fresh virtual clock for each `it`, captured reports, a leak check, a
--- real-time guard. Every handler that is set here is put back here, whatever the spec does.

local neap = require "neap"
local core = require "neap.core"
local testing = require "neap.testing"

local M = {}

local GUARD_SECONDS = os.getenv("NEAP_SLOW") and 240 or 20
local GUARD_INSTRUCTIONS = 100000
local STRESS = os.getenv("NEAP_STRESS_GC") == "1"
local is_stressing = STRESS

-- What earlier specs, which failed for it, left alive: a leak is reported once.
local leftover = {}

--- Tracebacks and messages of reports, for the message of a failing spec.
local function describe_reports(reports)
  local lines = {}
  for i, report in ipairs(reports) do
    lines[i] = "  " .. tostring(type(report) == "table" and report.err or report)
  end
  return table.concat(lines, "\n")
end

-- The context that a spec's function receives.

local Context = {}
Context.__index = Context
Context.__name = "spec.Context"

--- Appends to the log; a value that is no string is shown by tostring.
function Context:note(x)
  if is_stressing then collectgarbage() end
  self.log[#self.log + 1] = tostring(x)
end

function Context:logged()
  return table.concat(self.log, " ")
end

function Context:take_unobserved()
  local taken = self.unobserved
  self.unobserved = {}
  return taken
end

function Context:take_warnings()
  local taken = self.warnings
  self.warnings = {}
  return taken
end

local function new_context()
  return setmetatable({
    log = {},
    unobserved = {},
    warnings = {},
    clock = neap.test_clock{autojump = true},
  }, Context)
end

-- The real-time guard. A hook belongs to one coroutine, so the main task gets one of its own.

local function arm_guard()
  if debug.gethook() then return end -- a coverage tool's: leave it
  local stop_at = os.clock() + GUARD_SECONDS
  debug.sethook(function()
    if is_stressing then collectgarbage() end
    if os.clock() > stop_at then
      error("the spec ran for more than " .. GUARD_SECONDS .. " s of real time", 2)
    end
  end, "", STRESS and 500 or GUARD_INSTRUCTIONS)
  return true
end

local function disarm_guard(armed)
  if armed then debug.sethook() end
end

-- Running one spec.

--- Under stress the collector starts its next cycle as soon as it has ended one.
local function with_collector_mode(fn, ...)
  if not STRESS then return fn(...) end
  local pause = collectgarbage("setpause", 1)
  local multiplier = collectgarbage("setstepmul", 1000)
  local results = table.pack(fn(...))
  collectgarbage("setpause", pause)
  collectgarbage("setstepmul", multiplier)
  return table.unpack(results, 1, results.n)
end

--- A frame of its own: what it leaves in registers is gone when the leak check collects.
local function execute(context, body)
  local armed = arm_guard()
  local ok, err = with_collector_mode(xpcall, body, function(e)
    return type(e) == "string" and debug.traceback(e, 2) or e
  end, context)
  disarm_guard(armed)
  return ok, err
end

local function check_reports(context)
  if #context.unobserved > 0 then
    error("unobserved errors:\n" .. describe_reports(context.unobserved), 0)
  end
  if #context.warnings > 0 then
    error("warnings:\n" .. describe_reports(context.warnings), 0)
  end
end

--- What is alive that was not before this spec, as text, or nil.
local function find_leaks()
  local leaks = testing.leaks(leftover)
  leftover = core.stats()
  return leaks
end

local function run_spec(body, collects)
  local context = new_context()
  -- Where memory fails on demand they may fail, too: quietly.
  local try = pcall
  local function keep_unobserved(err, task)
    table.insert(context.unobserved, {err = err, task = task})
  end
  local function keep_warning(message)
    table.insert(context.warnings, message)
  end
  local former_unobserved = neap.on_unobserved(function(err, task)
    try(keep_unobserved, err, task)
  end)
  local former_warning = neap.on_warning(function(message) try(keep_warning, message) end)

  local ok, err = execute(context, body)
  core.fail_allocation()
  if collects then collectgarbage() end -- what is lost is reported; a run does so at its end
  local clean, report = pcall(check_reports, context)

  neap.on_unobserved(former_unobserved)
  neap.on_warning(former_warning)
  context.unobserved, context.warnings, context.clock = nil, nil, nil
  setmetatable(context, nil)
  local leaks = find_leaks()

  if not ok then error(err, 0) end
  if not clean then error(report, 0) end
  if leaks then error("alive after the spec: " .. leaks, 0) end
end

--- A function for `it`: `fn(context)` is the main task of a run under virtual time.
function M.run(fn)
  return function()
    run_spec(function(context)
      neap.run({clock = context.clock}, function()
        arm_guard()
        fn(context)
      end)
    end)
  end
end

--- The same, in a scope: tasks that a spec which fails has left behind are cancelled.
function M.scoped(fn)
  return M.run(function(context)
    neap.scope(function() fn(context) end)
  end)
end

--- A function for `it`: the same context and checks, no loop around `fn`.
function M.plain(fn)
  return function() run_spec(fn, true) end
end

-- Assertions.

--- Asserts that `fn(...)` raises a neap.Error with that code; returns the error.
function M.raises(code, fn, ...)
  local ok, err = pcall(fn, ...)
  if ok then error("no error was raised, expected " .. code, 2) end
  local kind = getmetatable(neap.error("EINVAL", "a sample"))
  if type(err) ~= "table" or getmetatable(err) ~= kind then
    error("expected a neap.Error with code " .. code .. ", got: " .. tostring(err), 2)
  end
  if err.code ~= code then
    error("expected code " .. code .. ", got " .. tostring(err.code) .. ": " .. tostring(err), 2)
  end
  return err
end

--- Asserts that `fn(...)` raises a misuse error which names the caller's position; returns it.
function M.misuse(fn, ...)
  local err = M.raises("EMISUSE", fn, ...)
  local where = err.where
  if type(where) ~= "string" or not where:match("^.+:%d+") then
    error("a misuse error without a position: where = " .. tostring(where), 2)
  end
  local text = tostring(err)
  if text:sub(1, #where) ~= where then
    error("tostring does not begin with " .. where .. ": " .. text, 2)
  end
  return err
end

--- Asserts that `fn(...)` raises an error whose text names the function and, as "#n", the
--- argument; returns the text. For a method pass a closure, so that its name is known.
function M.bad_argument(name, n, fn, ...)
  -- Lua finds the names of C functions among the loaded modules, which busted takes away.
  package.loaded["neap"], package.loaded["neap.core"] = neap, core
  local ok, err = pcall(fn, ...)
  if ok then error("no argument error was raised by " .. name, 2) end
  local text = tostring(err)
  if not text:find(name, 1, true) then
    error("the function " .. name .. " is not named: " .. text, 2)
  end
  if not text:find("#" .. n .. "%f[^%d]") then
    error("the argument #" .. n .. " is not named: " .. text, 2)
  end
  return text
end

--- The line where the caller stands.
function M.line()
  return debug.getinfo(2, "l").currentline
end

--- Repeats `fn` with allocation 1, 2, 3 … of the core failing (neap.testing). Nothing is collected
--- on purpose meanwhile: a finalizer that Lua cannot call for want of memory is lost.
function M.each_failure(fn)
  is_stressing = false
  local ok, err = pcall(testing.each_failure, fn)
  is_stressing = STRESS
  if not ok then error(err, 0) end
end

-- Child processes.

local function interpreter()
  local name = os.getenv("NEAP_LUA")
  if name then return name end
  local lowest
  for i in pairs(arg or {}) do
    if math.type(i) == "integer" and i < 0 and i < (lowest or 0) then lowest = i end
  end
  name = lowest and arg[lowest]
  return name and name:match("lua[%d.]*$") and name or "lua5.4"
end

--- What runs Lua, as a list to begin a command with: `-e` and a program follow.
M.interpreter = interpreter

local function quote(text)
  return "'" .. text:gsub("'", [['\'']]) .. "'"
end

--- Runs a Lua program in a process of its own, with the module paths of this one; `prefix` comes
--- before the interpreter ("NEAP_DEBUG=1", "valgrind"); NEAP_DEBUG is unset otherwise. Returns what
--- it wrote to stdout and stderr, how it ended ("exit" or "signal"), the code and its path.
function M.process(source, prefix)
  local path = os.tmpname()
  local file = assert(io.open(path, "w"))
  file:write(source)
  file:close()
  local command = table.concat({
    "exec env -u NEAP_DEBUG",
    "LUA_PATH_5_4=" .. quote(package.path),
    "LUA_CPATH_5_4=" .. quote(package.cpath),
    prefix or "",
    quote(interpreter()),
    quote(path),
    "2>&1",
  }, " ")
  local pipe = assert(io.popen(command, "r"))
  local output = pipe:read("a")
  local _, how, code = pipe:close()
  os.remove(path)
  return output, how, code, path
end

return M
