--- The limits of bench/coordination.lua: what Lua's own coroutines take to switch as often, and
--- tables to hold what is handed over.
local common = require "bench.common"

local create, resume, yield, wrap = coroutine.create, coroutine.resume, coroutine.yield,
  coroutine.wrap
local CAPACITY = 100
local CONTENDERS = 100
local BATCH = 10000
local LIMIT = 100

-- Two switches, there and back.
local function ping_pong(n)
  local echo = wrap(function(x)
    while true do x = yield(x) end
  end)
  for i = 1, n do assert(echo(i) == i) end
end

-- Two switches for each hundred items, and a store for each.
local function items(n)
  local buffer = {}
  local fill = wrap(function()
    for i = 1, n, CAPACITY do
      for k = 1, CAPACITY do buffer[k] = i + k - 1 end
      yield()
    end
  end)
  for i = 1, n, CAPACITY do
    fill()
    for k = 1, CAPACITY do assert(buffer[k] == i + k - 1) end
  end
end

local function values(n)
  local count = 0
  for x in wrap(function() for i = 1, n do yield(i) end end) do
    count = count + 1
    assert(x == count)
  end
end

-- Each of the contenders in turn.
local function turns(n)
  local threads = {}
  for i = 1, CONTENDERS do
    threads[i] = create(function() while true do yield() end end)
  end
  for _ = 1, n // CONTENDERS do
    for i = 1, CONTENDERS do resume(threads[i]) end
  end
end

local function hop(x)
  yield()
  return x
end

-- Waves of coroutines that are suspended once, and a table with what they return.
local function waves(size)
  return function(n)
    local results = {}
    for first = 1, n, size do
      local threads = {}
      for i = 1, size do
        threads[i] = create(hop)
        resume(threads[i], first + i - 1)
      end
      for i = 1, size do
        local _, x = resume(threads[i])
        results[first + i - 1] = x
      end
    end
    assert(#results == n)
  end
end

common.cost("ping_pong", 1000000, ping_pong)
common.cost("ping_pong_buffer", 1000000, ping_pong)
common.cost("item", 5000000, items)
common.cost("item_loop", 5000000, items)
common.cost("item_handed", 1000000, values)
common.cost("semaphore", 1000000, turns)
common.cost("all", 20 * BATCH, waves(BATCH))
common.cost("map", 100000, waves(LIMIT))
common.cost("stream", 1000000, values)
