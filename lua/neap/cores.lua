--- neap.serve_cores: a server on all processors, one loop and one Lua state for each.
local check = require "neap.check"
local core = require "neap.core"
local job = require "neap.cores_job"
local pools = require "neap.pool"
local worker = require "neap.worker"

local await = core.await

local M = {}

---@class neap.Cores
local Cores = {}
local methods = {}
Cores.__index = methods
Cores.__name = "neap.Cores"
Cores.__metatable = false

--- Where it listens.
---@return string host
---@return integer port
function methods:address()
  return self.host, self.port
end

--- How many workers it has.
---@return integer
function methods:workers()
  return self.count
end

local function stats_of(counters, number)
  local stats = {}
  local base = (number - 1) * job.COUNTERS
  for i, name in ipairs(job.NAMES) do stats[name] = counters:get(base + i) end
  return stats
end

--- What each worker has done so far, and all of them together.
---@return { [integer]: neap.CoreCounts, total: neap.CoreCounts }
function methods:stats()
  local all = { total = {} }
  for _, name in ipairs(job.NAMES) do all.total[name] = 0 end
  for number = 1, self.count do
    all[number] = stats_of(self.counters, number)
    for name, value in pairs(all[number]) do all.total[name] = all.total[name] + value end
  end
  return all
end

function Cores:__tostring()
  return ("neap.Cores: %d workers at %s:%d"):format(self.count, self.host, self.port)
end

-- Running

local function start_worker(self, group, number, port)
  local opts = {}
  for name, value in pairs(self.options) do opts[name] = value end
  opts.port = port
  self.running = self.running + 1
  group:spawn(function()
    await(self.run("neap.cores_job.serve", self.module, number, opts, self.counters, self.reports))
    self.running = self.running - 1
    if self.running == 0 then self.reports:close() end
  end)
end

--- The first worker finds the port, then the others share it.
local function note_listening(self, group, host, port)
  self.listening = self.listening + 1
  if self.listening == 1 then
    self.host, self.port = host, port
    for number = 2, self.count do start_worker(self, group, number, port) end
  end
  if self.listening == self.count and self.on_listen then self.on_listen(self) end
end

local function note_error(self, number, err)
  if self.on_error then self.on_error(err, number) else core.report(err, core.current()) end
end

--- A worker that fails ends all of them, as a task of a group does.
local function run(self)
  local pool <close> = pools.pool(self.count)
  self.run = worker.with({ pool = pool, loop = true }).run
  core.group(function(group)
    start_worker(self, group, 1, self.options.port)
    while true do
      local is_open, kind, number, a, b = await(self.reports:recv())
      if not is_open then return end
      if kind == "listening" then
        note_listening(self, group, a, b)
      else
        note_error(self, number, a)
      end
    end
  end)
  core.checkpoint()
end

-- Options

local OWN = { module = true, workers = true, on_listen = true, on_error = true }

local function refuse(message)
  core.argument_error("serve_cores", 1, message)
end

local function check_function(opts, name)
  local fn = opts[name]
  if fn == nil or check.is_callable(fn) then return fn end
  refuse(("option '%s': function expected, got %s"):format(name, core.type_name(fn)))
end

local function check_options(opts)
  check.table(opts, "serve_cores", 1)
  if type(opts.module) ~= "string" then
    refuse("option 'module': the name of a module expected, got " .. core.type_name(opts.module))
  end
  if opts.path or opts.server then
    refuse("only a port can be shared by all workers: no option 'path' or 'server'")
  end
  local count = opts.workers
  if count ~= nil and not (math.type(count) == "integer" and count >= 1) then
    refuse("option 'workers' must be an integer of 1 or more")
  end
end

--- The options of each worker's server, as far as they can cross to it.
local function options_of_server(opts)
  local options = { host = opts.host or "127.0.0.1", port = opts.port or 0 }
  for name, value in pairs(opts) do
    if not OWN[name] then options[name] = value end
  end
  local ok, why = pcall(core.transfer, options)
  if not ok then refuse(tostring(why):match("%((.*)%)$") or tostring(why)) end
  return options
end

--- Serves on all processors: each worker is a thread with a loop and a Lua state, requires the
--- module there, and listens to the same port; the system spreads the connections among them.
---@param opts neap.CoresOptions
---@return neap.Task ends when it is cancelled
function M.serve_cores(opts)
  check_options(opts)
  local self = setmetatable({
    module = opts.module,
    count = opts.workers or pools.size(),
    options = options_of_server(opts),
    on_listen = check_function(opts, "on_listen"),
    on_error = check_function(opts, "on_error"),
    listening = 0,
    running = 0,
  }, Cores)
  if core.is_cancelling() then return core.cancelled_here() end
  self.counters = core.counters(self.count * job.COUNTERS)
  self.reports = core.thread_channel()
  return core.start(run, self)
end

return M
