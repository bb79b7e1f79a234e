--- neap.every: ticks at a steady rate.
local check = require "neap.check"
local core = require "neap.core"

local M = {}

---@class neap.Ticker
local Ticker = {}
local methods = {}
Ticker.__index = methods
Ticker.__name = "neap.Ticker"
Ticker.__metatable = false

--- A tick was delivered: the next one is due at the first multiple of the period that lies ahead.
local function pass(self)
  local now, period = core.now(), self.period
  self.count = self.count + 1
  self.deadline = self.deadline + period
  if self.deadline <= now then
    self.deadline = self.deadline + math.floor((now - self.deadline) / period) * period
  end
end

--- The next tick: a Task of its number, counted from 1; of nil when the ticker was closed. Ticks
--- that were missed are delivered as one, at once; then the cadence goes on.
---@return neap.Task
---@nodiscard
function methods:next()
  if self.closed then return core.completed(nil) end
  local pending = self.pending
  if pending and not pending:is_done() then
    core.misuse("two next() at once on one ticker: await the first one before the next")
  end
  if pending and pending:status() == "done" then pass(self) end
  local task = core.tick(self.deadline, self.count + 1)
  self.pending = task
  return task
end

--- Ends the ticker: a waiting next() gives nil. Harmless when repeated.
function methods:close()
  self.closed = true
  if self.pending then core.end_tick(self.pending) end
end

Ticker.__close = methods.close

---@async
function Ticker:__call()
  return core.await(self:next())
end

function Ticker:__tostring()
  return ("neap.Ticker (%g s)%s"):format(self.period, self.closed and ": closed" or "")
end

--- Ticks every `seconds`, from now on: `for n in neap.every(1) do ... end`, or `await(t:next())`.
---@param seconds number more than 0
---@return neap.Ticker
---@nodiscard
function M.every(seconds)
  check.period(seconds, "every", 1)
  local ticker = { period = seconds, deadline = core.now() + seconds, count = 0, closed = false }
  return setmetatable(ticker, Ticker)
end

return M
