--- The same as bench/coordination.lua with cqueues: its conditions, and queues made of them.
local common = require "bench.common"
local cqueues = require "cqueues"
local condition = require "cqueues.condition"
local promise = require "cqueues.promise"

local CAPACITY = 100
local CONTENDERS = 100
local BATCH = 10000
local LIMIT = 100

local loop = cqueues.new()

local Channel = {}
Channel.__index = Channel

local function channel(capacity)
  return setmetatable({
    items = {}, first = 1, last = 0, capacity = capacity,
    not_empty = condition.new(), not_full = condition.new(),
  }, Channel)
end

function Channel:send(x)
  while self.last - self.first + 1 >= self.capacity do self.not_full:wait() end
  self.last = self.last + 1
  self.items[self.last] = x
  self.not_empty:signal(1)
end

function Channel:recv()
  while self.first > self.last do self.not_empty:wait() end
  local x = self.items[self.first]
  self.items[self.first] = nil
  self.first = self.first + 1
  self.not_full:signal(1)
  return x
end

local function ping_pong(n)
  local there, back = channel(1), channel(1)
  loop:wrap(function()
    for _ = 1, n do back:send(there:recv()) end
  end)
  for i = 1, n do
    there:send(i)
    assert(back:recv() == i)
  end
end

local function receive(n)
  local ch = channel(CAPACITY)
  loop:wrap(function()
    for i = 1, n do ch:send(i) end
  end)
  for i = 1, n do assert(ch:recv() == i) end
end

-- A permit that goes from one waiter to the next.
local function contend(semaphore, n)
  for _ = 1, n do
    if semaphore.free then
      semaphore.free = false
    else
      semaphore.waiting = semaphore.waiting + 1
      semaphore.released:wait()
      semaphore.waiting = semaphore.waiting - 1
    end
    if semaphore.waiting > 0 then semaphore.released:signal(1) else semaphore.free = true end
  end
end

--- Runs `count` promises of fn(i) and waits until all of them are fulfilled.
local function together(count, fn)
  local members = {}
  for i = 1, count do members[i] = promise.new(fn, i) end
  for i = 1, count do members[i]:get() end
end

local function hand_over(n)
  local semaphore = { free = false, waiting = 0, released = condition.new() }
  loop:wrap(function()
    cqueues.sleep(0)
    semaphore.released:signal(1) -- the contenders wait by now
  end)
  together(CONTENDERS, function()
    contend(semaphore, n // CONTENDERS)
  end)
end

local function hop(x)
  cqueues.sleep(0)
  return x
end

local function all(n)
  for _ = 1, n // BATCH do together(BATCH, hop) end
end

local function map(n)
  local results, at = {}, 0
  together(LIMIT, function()
    while at < n do
      at = at + 1
      local i = at
      results[i] = hop(i)
    end
  end)
  assert(#results == n)
end

loop:wrap(function()
  common.cost("ping_pong_buffer", 50000, ping_pong)
  common.cost("item", 1000000, receive)
  common.cost("semaphore", 100000, hand_over)
  common.cost("all", 2 * BATCH, all)
  common.cost("map", 40000, map)
end)
assert(loop:loop())
