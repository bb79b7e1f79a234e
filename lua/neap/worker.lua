--- neap.worker: functions that run on other threads, each in a Lua state of its own there.
local check = require "neap.check"
local core = require "neap.core"
local pools = require "neap.pool"

local await = core.await

local M = {
  pool = pools.pool,
  counters = core.counters,
  size = pools.size,
}

local function finish(ok, ...)
  if ok then return ... end
  core.raise(...)
end

local function run_job(job)
  return finish(await(core.work(job)))
end

local function run_pool_job(pool, job)
  local _ <close> = pools.hold(pool)
  return run_job(job)
end

local function check_function(fn)
  if type(fn) == "function" then return end
  if type(fn) == "string" and fn:find("^[^.\0][^\0]*%.[^.\0]+$") then return end
  local got = type(fn) == "string" and ("'%s'"):format(fn) or core.type_name(fn)
  core.argument_error("run", 1, 'function or "module.function" expected, got ' .. got)
end

local function refuse(why)
  core.argument_error("run", math.tointeger(why:match("^argument (%d+)")) or 1, why)
end

--- Starts a call on another thread.
local function start(opts, fn, ...)
  local pool = opts.pool
  check_function(fn)
  pools.check_open(pool)
  if core.is_cancelling() then return core.cancelled_here() end
  local job, why = core.new_job(pool and pool.core, opts.loop, opts.abandon, fn, ...)
  if not job then refuse(why) end
  if pool then return core.start(run_pool_job, pool, job) end
  return core.start(run_job, job)
end

local NO_OPTIONS = {}

--- Runs a function on another thread: a Task of its results. It gets copies of the arguments and of
--- its upvalues.
---@param fn (fun(...): ...) | string of Lua, or "module.function", which is required there
---@param ... any for fn
---@return neap.Task
---@nodiscard
function M.run(fn, ...)
  return start(NO_OPTIONS, fn, ...)
end

--- The same on a thread of this pool.
---@param fn (fun(...): ...) | string
---@param ... any for fn
---@return neap.Task
---@nodiscard
function pools.methods:run(fn, ...)
  return start({ pool = self }, fn, ...)
end

local OPTIONS = { pool = true, loop = true, abandon = true }

--- What is as neap.worker, but runs jobs in another way.
---@param opts { pool?: neap.Pool, loop?: boolean, abandon?: boolean } pool: where they run; loop:
--- they may await; abandon: a cancelled one is left to itself instead of waited for
---@return { run: fun(fn: (fun(...): ...) | string, ...): neap.Task }
---@nodiscard
function M.with(opts)
  check.table(opts, "with", 1)
  for name in pairs(opts) do
    if not OPTIONS[name] then
      core.argument_error("with", 1, ("there is no option '%s'"):format(tostring(name)))
    end
  end
  local copy = { pool = pools.option(opts, "with", 1), loop = opts.loop, abandon = opts.abandon }
  return { run = function(...) return start(copy, ...) end }
end

--- A channel between threads: hands items from tasks to tasks, each in its own Lua state.
---@param capacity? integer of items that are buffered; nil, math.huge: any number
---@return neap.ThreadChannel
---@nodiscard
M.channel = core.thread_channel

return M
