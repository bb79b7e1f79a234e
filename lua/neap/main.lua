--- Programs: neap.main, neap.dump.
local check = require "neap.check"
local core = require "neap.core"

local M = {}

local INTERRUPTED, FAILED = 130, 1

local function print_error(err, task)
  local text = task and task:traceback() or tostring(err)
  io.stderr:write(arg and arg[0] or "neap", ": ", text, "\n")
end

--- Cancels the task at the first SIGINT; the second one ends the process.
local function cancel_on_interrupt(task, state)
  core.await(core.interrupt())
  state.interrupted = true
  task:cancel("interrupt")
end

local function exit_code(state, ok, result)
  if state.interrupted then return INTERRUPTED end
  local has_printed = core.has_printed() -- an error that nobody observed; run raises the first
  if not ok then
    local failed = state.task and state.task:status() == "failed" and state.task or nil
    if failed or not has_printed then print_error(result, failed) end
    return FAILED
  end
  if has_printed then return FAILED end
  return math.type(result) == "integer" and result or 0
end

--- When it fails, what it has started and left running is cancelled: a script that has failed ends.
local function await_main(task)
  core.await(core.settle(task))
  if task:status() == "failed" then core.current():cancel("the main task has failed") end
  return core.await(task)
end

--- Runs `fn` as the main task and returns the exit code that its outcome stands for.
---@param fn fun(...): integer?
---@param ... any for fn
---@return integer
function M.execute(fn, ...)
  local state = {}
  core.has_printed()
  return exit_code(state, pcall(core.run, function(...)
    core.background(cancel_on_interrupt, core.current(), state)
    state.task = core.start(fn, ...)
    return await_main(state.task)
  end, ...))
end

--- For scripts: runs `fn` as the main task, then exits with its integer result, or 0. An error is
--- printed with its traceback, exit 1. Ctrl-C cancels the main task, exit 130.
---@param fn fun(...): integer?
---@param ... any for fn
function M.main(fn, ...)
  check.callable(fn, "main", 1)
  os.exit(M.execute(fn, ...), true)
end

--- Writes a line for each task that has not ended: what it is and what it waits for.
---@param file? file* default io.stderr
function M.dump(file)
  file = file or io.stderr
  for _, line in ipairs(core.describe()) do file:write(line, "\n") end
end

return M
