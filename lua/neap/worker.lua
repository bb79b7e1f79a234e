--- neap.worker: functions that run on other threads, each in a Lua state of its own there.
local check = require "neap.check"
local core = require "neap.core"

local await = core.await

local M = {}

local function finish(ok, ...)
  if ok then return ... end
  core.raise(...)
end

local function run_job(job)
  return finish(await(core.work(job)))
end

-- Pools

---@class neap.Pool
local Pool = {}
local methods = {}
Pool.__index = methods
Pool.__name = "neap.Pool"
Pool.__metatable = false

local function is_pool(x)
  return type(x) == "table" and core.metafield(x, "__index") == methods
end

--- Counts a job of a pool while it is under way.
local Running = {}

function Running:__close()
  local pool = self.pool
  pool.running = pool.running - 1
  if pool.running == 0 then pool.idle:wake() end
end

local function run_pool_job(pool, job)
  pool.running = pool.running + 1
  local _ <close> = setmetatable({ pool = pool }, Running)
  return run_job(job)
end

local function end_pool(pool)
  while pool.running > 0 do await(pool.idle:wait()) end
  await(core.end_pool(pool.core))
end

-- Jobs

local function check_function(fn, index)
  if type(fn) == "function" then return end
  if type(fn) == "string" and fn:find("^[^.\0][^\0]*%.[^.\0]+$") then return end
  local got = type(fn) == "string" and ("'%s'"):format(fn) or core.type_name(fn)
  core.argument_error("run", index, 'function or "module.function" expected, got ' .. got)
end

local function refuse(why)
  core.argument_error("run", math.tointeger(why:match("^argument (%d+)")) or 1, why)
end

--- Starts a call on another thread.
local function start(opts, fn, ...)
  check_function(fn, 1)
  local pool = opts.pool
  if pool and pool.closing then core.misuse("the pool is closed: it takes no more jobs") end
  if core.is_cancelling() then return core.cancelled_here() end
  local job, why = core.new_job(pool and pool.core, opts.loop, opts.abandon, fn, ...)
  if not job then refuse(why) end
  if pool then return core.start(run_pool_job, pool, job) end
  return core.start(run_job, job)
end

local NO_OPTIONS = {}

--- Runs a function on another thread: a Task of its results. It gets copies of the arguments and of its
--- upvalues.
---@param fn (fun(...): ...) | string a function of Lua, or "module.function", which is required there
---@param ... any for fn
---@return neap.Task
---@nodiscard
function M.run(fn, ...)
  return start(NO_OPTIONS, fn, ...)
end

local function check_options(opts)
  check.table(opts, "with", 1)
  for name in pairs(opts) do
    if name ~= "pool" and name ~= "loop" and name ~= "abandon" then
      core.argument_error("with", 1, ("there is no option '%s'"):format(tostring(name)))
    end
  end
  if opts.pool ~= nil and not is_pool(opts.pool) then
    core.argument_error("with", 1, "option 'pool': neap.Pool expected, got "
      .. core.type_name(opts.pool))
  end
end

--- What is as neap.worker, but runs jobs in another way.
---@param opts { pool?: neap.Pool, loop?: boolean, abandon?: boolean } pool: where they run; loop: they may
--- await; abandon: a cancelled one is left to itself instead of waited for
---@return { run: fun(fn: (fun(...): ...) | string, ...): neap.Task }
---@nodiscard
function M.with(opts)
  check_options(opts)
  local copy = { pool = opts.pool, loop = opts.loop, abandon = opts.abandon }
  return { run = function(...) return start(copy, ...) end }
end

--- The same as neap.worker.run, on a thread of this pool.
---@param fn (fun(...): ...) | string
---@param ... any for fn
---@return neap.Task
---@nodiscard
function methods:run(fn, ...)
  return start({ pool = self }, fn, ...)
end

--- How many threads it has at most.
---@return integer
function methods:size()
  return self.threads
end

--- Takes no more jobs; its threads end when those that it has have ended.
---@return neap.Task done then
function methods:close()
  if not self.closing or self.closing:status() == "failed" then -- for want of memory
    self.closing = core.start(core.shield, end_pool, self)
  end
  return self.closing
end

---@async
function Pool:__close()
  await(self:close())
end

function Pool:__tostring()
  return ("neap.Pool: %d thread%s"):format(self.threads, self.threads == 1 and "" or "s")
end

--- A pool of threads of its own.
---@param size integer how many threads at most; they start when there are jobs for them
---@return neap.Pool
---@nodiscard
function M.pool(size)
  local threads = check.integer(size, 1, "pool", 1)
  return setmetatable({
    core = core.new_pool(threads),
    threads = threads,
    running = 0,
    idle = core.queue("pool:close"),
  }, Pool)
end

return M
