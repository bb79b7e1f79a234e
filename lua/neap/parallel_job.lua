--- What neap.parallel runs on the threads of its workers.
local M = {}

--- The counters that the jobs of one loop share. Offsets are indices from 0 on.
M.NEXT = 1 -- the offset of the next chunk
M.LIMIT = 2 -- the last offset that is still to run
M.HOW = 3 -- how it was ended early: BREAK or STOP
M.FAILED = 4 -- 1: a body has failed, no more chunks
M.COUNTERS = 4

M.BREAK, M.STOP = 1, 2

---@class neap.ParallelLoop
local Loop = {}
local methods = {}
Loop.__index = methods
Loop.__name = "neap.ParallelLoop"

--- Notes how the loop ends early; both ways at once contradict each other.
local function end_early(self, how)
  local former = self.counters:compare_exchange(M.HOW, how, 0)
  if former == 0 or former == how then return end
  local caller = debug.getinfo(3, "Sl")
  error(require "neap".error("EMISUSE", "break_ and stop in the same loop: what is to run?", {
    where = ("%s:%d"):format(caller.short_src, caller.currentline),
  }), 0)
end

--- No index above this one is begun any more; all below it run.
function methods:break_()
  end_early(self, M.BREAK)
  self.counters:min(M.LIMIT, self.offset)
end

--- Nothing is begun any more.
function methods:stop()
  end_early(self, M.STOP)
  self.counters:min(M.LIMIT, -1)
end

--- Whether this body might as well return: the loop has been ended early, or another body has
--- failed.
---@return boolean
function methods:should_exit()
  return self.counters:get(M.LIMIT) < self.offset or self.counters:get(M.FAILED) ~= 0
end

--- Tells the others when a body fails, be it with nil.
local Watch = {}

function Watch:__close()
  if not self.has_ended then self.counters:set(M.FAILED, 1) end
end

local function run_chunk(fn, loop, lo, first, last)
  local counters = loop.counters
  for offset = first, last do
    if offset > counters:get(M.LIMIT) then return end
    loop.offset = offset
    fn(lo + offset, loop)
  end
end

--- Takes chunks until there are none left.
function M.range(fn, counters, lo, n, size)
  local loop = setmetatable({ counters = counters, offset = 0 }, Loop)
  local watch <close> = setmetatable({ counters = counters }, Watch)
  while counters:get(M.FAILED) == 0 do
    local first = counters:add(M.NEXT, size) - size
    if first >= n or first > counters:get(M.LIMIT) then break end
    run_chunk(fn, loop, lo, first, math.min(first + size, n) - 1)
  end
  watch.has_ended = true
end

function M.map(fn, items, n, first)
  local results = {}
  for i = 1, n do results[i] = (fn(items[i], first + i - 1)) end
  return results
end

--- With `init` (a table, so that nil is a value) the fold begins with it, else with the first item.
function M.fold(fn, items, n, init)
  local result, first = items[1], 2
  if init then result, first = init[1], 1 end
  for i = first, n do result = fn(result, items[i]) end
  return result
end

return M
