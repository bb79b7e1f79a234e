--- The same as bench/coordination.lua as people write it by hand: coroutines, a list of those that
--- are ready, and luv's loop once none is. A peer of the benches.
local common = require "bench.common"
local uv = require "luv"

local CAPACITY = 100
local CONTENDERS = 100
local BATCH = 10000
local LIMIT = 100

-- --- the scheduler ------------------------------------------------------------------------------

local ready, first, last = {}, 1, 0

local function wake(co)
  last = last + 1
  ready[last] = co
end

local function start(fn, ...)
  local co = coroutine.create(fn)
  assert(coroutine.resume(co, ...))
end

local function pause()
  wake(coroutine.running())
  coroutine.yield()
end

local function run(fn)
  start(fn)
  repeat
    while first <= last do
      local co = ready[first]
      ready[first] = nil
      first = first + 1
      if first > last then first, last = 1, 0 end
      assert(coroutine.resume(co))
    end
  until not uv.run("once") and first > last
end

-- --- what tasks share ---------------------------------------------------------------------------

local Queue = {}
Queue.__index = Queue

local function new_queue()
  return setmetatable({ first = 1, last = 0 }, Queue)
end

function Queue:push(x)
  self.last = self.last + 1
  self[self.last] = x
end

function Queue:pop()
  local at = self.first
  if at > self.last then return nil end
  local x = self[at]
  self[at] = nil
  if at == self.last then
    self.first, self.last = 1, 0
  else
    self.first = at + 1
  end
  return x
end

local function wake_one(queue)
  local co = queue:pop()
  if co then wake(co) end
end

local function wait_in(queue)
  queue:push(coroutine.running())
  coroutine.yield()
end

local Channel = {}
Channel.__index = Channel

local function channel(capacity)
  return setmetatable({
    items = new_queue(), count = 0, capacity = capacity,
    receivers = new_queue(), senders = new_queue(),
  }, Channel)
end

function Channel:send(x)
  while self.count >= self.capacity do wait_in(self.senders) end
  self.items:push(x)
  self.count = self.count + 1
  wake_one(self.receivers)
end

function Channel:recv()
  while self.count == 0 do wait_in(self.receivers) end
  self.count = self.count - 1
  wake_one(self.senders)
  return self.items:pop()
end

local Semaphore = {}
Semaphore.__index = Semaphore

local function semaphore(n)
  return setmetatable({ free = n, waiters = new_queue() }, Semaphore)
end

function Semaphore:acquire()
  if self.free > 0 then
    self.free = self.free - 1
  else
    wait_in(self.waiters)
  end
end

function Semaphore:release()
  local co = self.waiters:pop()
  if co then wake(co) else self.free = self.free + 1 end
end

--- Runs `count` tasks fn(i) and waits until all of them have ended.
local function together(count, fn)
  local waiting, left = coroutine.running(), count
  local function member(i)
    fn(i)
    left = left - 1
    if left == 0 then wake(waiting) end
  end
  for i = 1, count do start(member, i) end
  coroutine.yield()
end

-- --- the benches --------------------------------------------------------------------------------

local function ping_pong(n)
  local there, back = channel(1), channel(1)
  start(function()
    for _ = 1, n do back:send(there:recv()) end
  end)
  for i = 1, n do
    there:send(i)
    assert(back:recv() == i)
  end
end

local function receive(n)
  local ch = channel(CAPACITY)
  start(function()
    for i = 1, n do ch:send(i) end
  end)
  for i = 1, n do assert(ch:recv() == i) end
end

local function contend(sem, n)
  for _ = 1, n do
    sem:acquire()
    sem:release()
  end
end

local function hand_over(n)
  local sem = semaphore(1)
  sem:acquire()
  start(function()
    pause()
    sem:release() -- the contenders wait by now
  end)
  together(CONTENDERS, function() contend(sem, n // CONTENDERS) end)
end

local function all(n)
  for _ = 1, n // BATCH do
    local results = {}
    together(BATCH, function(i)
      pause()
      results[i] = i
    end)
    assert(#results == BATCH)
  end
end

local function map(n)
  local results, at = {}, 0
  together(LIMIT, function()
    while at < n do
      at = at + 1
      local i = at
      pause()
      results[i] = i
    end
  end)
  assert(#results == n)
end

run(function()
  common.cost("ping_pong_buffer", 300000, ping_pong)
  common.cost("item", 1000000, receive)
  common.cost("semaphore", 300000, hand_over)
  common.cost("semaphore_free", 500000, function(n) contend(semaphore(1), n) end)
  common.cost("all", 10 * BATCH, all)
  common.cost("map", 200000, map)
end)
