--- Pools of threads for jobs, and the awaiting of jobs: what neap.worker and neap.parallel share.
local check = require "neap.check"
local core = require "neap.core"

local await = core.await

local M = {}

---@class neap.Pool
local Pool = {}
M.methods = {}
local methods = M.methods
Pool.__index = methods
Pool.__name = "neap.Pool"
Pool.__metatable = false

function M.is_pool(x)
  return type(x) == "table" and core.metafield(x, "__index") == methods
end

--- `opts.pool`, checked; nil if there is none.
function M.option(opts, name, index)
  local pool = opts.pool
  if pool == nil or M.is_pool(pool) then return pool end
  local got = core.type_name(pool)
  core.argument_error(name, index, "option 'pool': neap.Pool expected, got " .. got)
end

--- Raises where jobs cannot be given to it any more.
function M.check_open(pool)
  if pool and pool.closing then core.misuse("the pool is closed: it takes no more jobs") end
end

--- How many threads a pool has at most; nil: the one that all jobs share that name none.
function M.size(pool)
  return core.pool_size(pool and pool.core)
end

-- Jobs under way.

local Running = {}

function Running:__close()
  local pool = self.pool
  pool.running = pool.running - 1
  if pool.running == 0 then pool.idle:wake() end
end

--- Keeps a pool from ending until the result is closed; the pool may be nil.
function M.hold(pool)
  if not pool then return nil end
  pool.running = pool.running + 1
  return setmetatable({ pool = pool }, Running)
end

-- The class

local function end_pool(pool)
  while pool.running > 0 do await(pool.idle:wait()) end
  await(core.end_pool(pool.core))
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
