--- The same as bench/coordination.lua with copas: its queues, semaphores and futures. A copas.queue
--- has no bound: the producer pauses, once for each hundred items, while it is full.
local common = require "bench.common"
local copas = require "copas"
local future = require "copas.future"

local CAPACITY = 100
local CONTENDERS = 100
local BATCH = 10000
local LIMIT = 100

local function pop(queue)
  return queue:pop(math.huge)
end

local function ping_pong(n)
  local there, back = copas.queue.new(), copas.queue.new()
  copas.addthread(function()
    for _ = 1, n do back:push(pop(there)) end
  end)
  for i = 1, n do
    there:push(i)
    assert(pop(back) == i)
  end
end

local function receive(n)
  local queue = copas.queue.new()
  copas.addthread(function()
    for i = 1, n do
      while queue:get_size() >= CAPACITY do copas.pause() end
      queue:push(i)
    end
  end)
  for i = 1, n do assert(pop(queue) == i) end
end

--- Runs `count` futures of fn(i) and waits until all of them have ended.
local function together(count, fn)
  local members = {}
  for i = 1, count do members[i] = future.addthread(fn, i) end
  for i = 1, count do assert(members[i]:get()) end
end

local function contend(semaphore, n)
  for _ = 1, n do
    semaphore:take(1)
    semaphore:give(1)
  end
end

local function semaphore_of_one()
  return copas.semaphore.new(1, 1, math.huge)
end

local function hand_over(n)
  local semaphore = semaphore_of_one()
  semaphore:take(1)
  copas.addthread(function()
    copas.pause()
    semaphore:give(1) -- the contenders wait by now
  end)
  together(CONTENDERS, function() contend(semaphore, n // CONTENDERS) end)
end

local function hop(x)
  copas.pause()
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

copas.loop(function()
  common.cost("ping_pong_buffer", 20000, ping_pong)
  common.cost("item", 1000000, receive)
  common.cost("semaphore", 30000, hand_over)
  common.cost("semaphore_free", 500000, function(n) contend(semaphore_of_one(), n) end)
  common.cost("all", BATCH, all)
  common.cost("map", 20000, map)
end)
