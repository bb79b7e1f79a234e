--- What neap.serve_cores runs in each of its workers: a server of its own, with a loop.
local check = require "neap.check"
local core = require "neap.core"

local M = {}

--- The counters of each worker.
M.CONNECTIONS, M.OPEN, M.ERRORS, M.REQUESTS, M.MEMORY = 1, 2, 3, 4, 5
M.COUNTERS = 5
M.NAMES = { "connections", "open", "errors", "requests", "memory" }

---@class neap.CoreStats
local Stats = {}
local methods = {}
Stats.__index = methods
Stats.__name = "neap.CoreStats"

local NUMBERS = {
  connections = M.CONNECTIONS,
  open = M.OPEN,
  errors = M.ERRORS,
  requests = M.REQUESTS,
}

--- Adds to one of this worker's counters; for what a server of the module's own counts itself.
---@param name "connections"|"open"|"errors"|"requests"
---@param n? integer default 1
function methods:add(name, n)
  local number = NUMBERS[name]
  if not number then core.argument_error("add", 1, "no such counter") end
  self.counters:add(self.base + number, n or 1)
end

local function note_memory(stats)
  stats.counters:set(stats.base + M.MEMORY, collectgarbage("count") * 1024 // 1)
end

local Open = {}

function Open:__close()
  self.stats:add("open", -1)
  note_memory(self.stats)
end

--- The handler of connections, counted.
local function counted(handler, stats)
  local open = setmetatable({ stats = stats }, Open)
  return function(conn)
    stats:add("connections")
    stats:add("open")
    local _ <close> = open
    handler(conn)
  end
end

--- How the module serves: its own `serve(opts, stats)`, or neap.net.serve with its handler.
local function server_of(neap, name, module, stats)
  if type(module) == "table" and module.serve then return module.serve end
  local handler = type(module) == "table" and module.handler or module
  if check.is_callable(handler) then
    local run = counted(handler, stats)
    return function(opts) return neap.net.serve(opts, run) end
  end
  local message = "module '%s' must return a handler, or a table with `handler` or `serve`"
  error(neap.error("EINVAL", message:format(name)), 0)
end

--- Serves until it is cancelled. `reports` takes what the one who started it should know.
function M.serve(name, number, opts, counters, reports)
  local neap = require "neap"
  local stats = setmetatable({ counters = counters, base = (number - 1) * M.COUNTERS }, Stats)
  local serve = server_of(neap, name, require(name), stats)
  opts.reuse_port = true
  opts.on_listen = function(server)
    note_memory(stats)
    reports:try_send("listening", number, server:address())
  end
  opts.on_error = function(err)
    stats:add("errors")
    if not pcall(reports.try_send, reports, "error", number, err) then
      reports:try_send("error", number, tostring(err)) -- it cannot cross itself
    end
  end
  neap.await(serve(opts, stats))
end

return M
