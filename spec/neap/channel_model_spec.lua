-- A channel does what a simple model in Lua does, call for call, for random calls.
local h = require "spec.helper"
local neap = require "neap"
local testing = require "neap.testing"

local await = neap.await
local SEEDS = os.getenv("NEAP_STRESS_GC") == "1" and 20 or 1000
local STEPS = 40

local function new_random(seed)
  local state = seed * 2654435761 % 4294967296
  return function(n)
    for _ = 1, 2 do state = (state * 1664525 + 1013904223) % 4294967296 end
    return (state >> 8) % n + 1
  end
end

-- The model: buffer holds items; senders and receivers are lists of waits, each with a status, and
-- its item once it has one.

local Model = {}
Model.__index = Model

local function new_model(capacity)
  return setmetatable({
    capacity = capacity, buffer = {}, senders = {}, receivers = {}, closed = false,
  }, Model)
end

--- The first pending one of a list, taken out of it.
local function take_pending(list)
  while #list > 0 do
    local wait = table.remove(list, 1)
    if wait.status == "pending" then return wait end
  end
end

--- "sent", "full" or "closed".
function Model:put(item)
  if self.closed then return "closed" end
  local receiver = take_pending(self.receivers)
  if receiver then
    receiver.status, receiver.item = "done", item
  elseif #self.buffer < self.capacity then
    table.insert(self.buffer, item)
  else
    return "full"
  end
  return "sent"
end

--- An item, or nil and "empty" or "closed".
function Model:get()
  local item = table.remove(self.buffer, 1)
  local sender = take_pending(self.senders)
  if sender then
    sender.status = "done"
    if not item then return sender.item end
    table.insert(self.buffer, sender.item)
  end
  return item, self.closed and "closed" or "empty"
end

function Model:send(item)
  local result = self:put(item)
  if result == "sent" then return { status = "done" } end
  if result == "closed" then return { status = "failed" } end
  local wait = { status = "pending", item = item }
  table.insert(self.senders, wait)
  return wait
end

function Model:recv()
  local item = self:get()
  if item then return { status = "done", item = item, is_recv = true } end
  local wait = { status = self.closed and "done" or "pending", is_recv = true }
  if not self.closed then table.insert(self.receivers, wait) end
  return wait
end

function Model:close()
  if self.closed then return false end
  self.closed = true
  for _, wait in ipairs(self.senders) do
    if wait.status == "pending" then wait.status = "failed" end
  end
  for _, wait in ipairs(self.receivers) do
    if wait.status == "pending" then wait.status = "done" end
  end
  self.senders, self.receivers = {}, {}
  return true
end

-- Comparing.

--- Each call of both, with the results that must be equal. waits: pairs of Task and model's wait.
local calls = {
  function(ch, model, waits, item) -- send
    table.insert(waits, { ch:send(item, nil), model:send(item) })
  end,
  function(ch, model, waits) -- recv
    table.insert(waits, { ch:recv(), model:recv() })
  end,
  function(ch, model, _, item) -- try_send
    local ok, why = ch:try_send(item, nil)
    assert((ok and "sent" or why) == model:put(item), "try_send")
  end,
  function(ch, model) -- try_recv
    local ok, value = ch:try_recv()
    local item, why = model:get()
    assert(ok == (item ~= nil), "try_recv")
    assert(value == (item or why), "the item of try_recv")
  end,
  function(_, _, waits, _, random) -- cancel
    if #waits == 0 then return end
    local pair = waits[random(#waits)]
    local was_pending = pair[2].status == "pending"
    assert(pair[1]:cancel() == was_pending, "cancel")
    if was_pending then pair[2].status = "cancelled" end
  end,
}

local function compare(ch, model, waits)
  assert(#ch == #model.buffer, "the number of buffered items")
  for _, pair in ipairs(waits) do
    assert(pair[1]:status() == pair[2].status, "the status of a Task")
  end
end

--- What the Tasks that are done give.
local function compare_results(waits)
  for _, pair in ipairs(waits) do
    local task, wait = pair[1], pair[2]
    if wait.status == "failed" then
      h.raises("ECLOSED", await, task)
    elseif wait.status == "done" and wait.is_recv then
      local got, item = await(task)
      assert(got == (wait.item ~= nil) and item == wait.item, "the result of recv")
    elseif wait.status == "done" then
      assert(select("#", await(task)) == 0, "the result of send")
    end
  end
end

describe("a channel", function()
  for _, capacity in ipairs({ math.huge, 0, 1, 3 }) do
    it("[S183, S184, S185, S187, S191, S192, S193, S194] of capacity " .. capacity ..
      " does what the model does", h.plain(function()
      local seed = tonumber(os.getenv("NEAP_SEED"))
      local programs = (seed or 1) - 1
      testing.explore(function()
        programs = programs + 1
        local random = new_random(programs)
        local ch, model, waits = neap.channel(capacity), new_model(capacity), {}
        for item = 1, STEPS do
          calls[random(#calls)](ch, model, waits, item, random)
          compare(ch, model, waits)
        end
        assert(ch:close() == model:close())
        for item = 1, 8 do
          calls[random(#calls)](ch, model, waits, item, random)
          compare(ch, model, waits)
        end
        compare_results(waits)
      end, { seeds = SEEDS })
      assert.is_true(programs >= (seed or SEEDS))
    end))
  end
end)
