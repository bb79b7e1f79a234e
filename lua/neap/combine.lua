--- Tasks of functions and of many tasks: neap.each, race, map, for_each.
local check = require "neap.check"
local core = require "neap.core"

local M = {}

---@class neap.Each
local Each = {}
Each.__index = {}
Each.__name = "neap.Each"
Each.__metatable = false

---@async
function Each:__call()
  local ended = self.ended
  if ended:is_over() then
    if self.is_used_up then core.misuse("this each was used up: call neap.each again") end
    self.is_used_up = true
    return nil
  end
  core.await(ended:wait())
  return ended:take()
end

function Each:__close()
  self.ended:close()
  self.is_used_up = true
end

function Each:__tostring()
  return "neap.Each"
end

--- The tasks in the order in which they end: `for task, index in neap.each(list) do ... end`. Those
--- that have ended already come first, in the order of the list.
---@param list neap.Task[]
---@return neap.Each, nil, nil, neap.Each
---@nodiscard
function M.each(list)
  local each = setmetatable({ ended = core.each(list) }, Each)
  return each, nil, nil, each
end

-- race

local Runners = {}

--- What losers raise while they are cancelled is nobody's result, so it is reported. The race is
--- left with all of them when it is cancelled itself.
function Runners:__close()
  for _, task in ipairs(self) do
    if task ~= self.winner and task:status() == "failed" then core.report(task:error(), task) end
  end
end

local function run_race(...)
  local runners <close> = setmetatable({}, Runners)
  core.scope(function(scope, ...)
    for i = 1, select("#", ...) do runners[i] = core.start((select(i, ...))) end
    runners.winner = core.await(core.any(runners))
    scope:cancel("lost the race")
  end, ...)
  return core.await(runners.winner)
end

--- Runs all the functions as tasks: a Task with the outcome of the first that ends. The others are
--- cancelled, and have ended when it does.
---@param ... fun(): ...
---@return neap.Task
---@nodiscard
function M.race(...)
  local n = select("#", ...)
  for i = 1, math.max(n, 1) do check.callable((select(i, ...)), "race", i) end
  if core.is_cancelling() then return core.cancelled_here() end
  return core.start(run_race, ...)
end

-- map and for_each

--- Runs `fn` for what `pull` gives, each time as a task of its own, `limit` of them at once at
--- most. pull() -> whether there is one, and the arguments for fn.
local function run_limited(name, pull, fn, limit)
  local running, ended = 0, core.queue(name)
  local slot = setmetatable({}, {
    __close = function()
      running = running - 1
      ended:wake()
    end,
  })

  local function run(...)
    local _ <close> = slot
    fn(...)
  end

  local function spawn(group, has_more, ...)
    if not has_more then return false end
    running = running + 1
    group:spawn(run, ...)
    return true
  end

  core.group(function(group)
    repeat
      while running >= limit do core.await(ended:wait()) end
      core.checkpoint() -- a body that failed without waiting has cancelled the rest
    until not spawn(group, pull())
  end)
end

--- A pull over n items and their indices.
local function items_of(list, n)
  local index = 0
  return function()
    if index >= n then return false end
    index = index + 1
    return true, list[index], index
  end
end

local function run_map(list, n, fn, limit)
  local results = { n = n }
  run_limited("map", items_of(list, n), function(item, index)
    results[index] = (fn(item, index))
  end, limit)
  return results
end

--- Calls `fn(item, index)` for each item of the list, each in a task of its own: a Task of the
--- table of their first results, in the order of the list, with `n`. The first error cancels the
--- rest.
---@param list any[]
---@param fn fun(item: any, index: integer): any
---@param opts? { limit: integer } how many run at once at most; default: all
---@return neap.Task
---@nodiscard
function M.map(list, fn, opts)
  check.table(list, "map", 1)
  check.callable(fn, "map", 2)
  local limit = check.limit(opts, "map", 3)
  if core.is_cancelling() then return core.cancelled_here() end
  return core.start(run_map, table.move(list, 1, #list, 1, {}), #list, fn, limit)
end

local function keep(self, first, ...)
  self.control = first
  return first ~= nil, first, ...
end

local function run_iterator(iterator, fn, limit)
  local _ <close> = core.metafield(iterator, "__close") and iterator or nil
  local self = { control = nil }
  run_limited("for_each", function() return keep(self, iterator(nil, self.control)) end, fn, limit)
end

local function run_list(list, fn, limit)
  run_limited("for_each", items_of(list, #list), fn, limit)
end

--- Calls `fn` for each item of a list, `fn(item, index)`, or for what an iterator gives, each in a
--- task of its own. The iterator may await, and is closed at the end. The first error cancels the
--- rest.
---@param items any[] | fun(): ... a list, or an iterator: a function, a channel, a stream
---@param fn fun(...)
---@param opts? { limit: integer } how many run at once at most; default: no limit
---@return neap.Task
function M.for_each(items, fn, opts)
  local is_iterator = check.is_callable(items)
  if not is_iterator then check.table(items, "for_each", 1) end
  check.callable(fn, "for_each", 2)
  local limit = check.limit(opts, "for_each", 3)
  if core.is_cancelling() then return core.cancelled_here() end
  if is_iterator then return core.start(run_iterator, items, fn, limit) end
  return core.start(run_list, table.move(items, 1, #items, 1, {}), fn, limit)
end

return M
