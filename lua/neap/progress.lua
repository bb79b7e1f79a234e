--- neap.progress: reports from where the work is done to where it is shown.
local check = require "neap.check"
local core = require "neap.core"

local M = {}

local function has_ended(owner)
  return owner and owner:is_done()
end

--- Calls `fn` for each report in its turn. If it fails, this task fails, which is reported, and the
--- next one goes on with the rest.
local deliver

local function deliver_later(self)
  if self.is_delivering then return end
  self.is_delivering = true
  core.background(deliver, self)
end

local Ended = {}

--- After an error of `fn` the rest is still to come; after a cancellation nothing is.
function Ended:__close(err)
  local progress = self.progress
  progress.is_delivering = false
  if progress.first > progress.last then return end
  if err == nil or core.is_cancel(err) then
    progress.first, progress.last, progress.reports = 1, 0, {}
  else
    deliver_later(progress)
  end
end

function deliver(self)
  local _ <close> = setmetatable({ progress = self }, Ended)
  core.await(core.yield())
  while self.first <= self.last do
    local report = self.reports[self.first]
    self.reports[self.first] = nil
    self.first = self.first + 1
    if has_ended(self.owner) then
      self.first, self.last, self.reports = 1, 0, {}
    else
      self.fn(table.unpack(report, 1, report.n))
    end
  end
end

--- A function `report(...)`: `fn(...)` is called in a later turn, in the order of the reports,
--- until the task that has called this one ends.
---@param fn fun(...)
---@return fun(...)
---@nodiscard
function M.progress(fn)
  check.callable(fn, "progress", 1)
  local self = { fn = fn, owner = core.current(), reports = {}, first = 1, last = 0 }
  return function(...)
    if has_ended(self.owner) then return end
    self.last = self.last + 1
    self.reports[self.last] = table.pack(...)
    deliver_later(self)
  end
end

return M
