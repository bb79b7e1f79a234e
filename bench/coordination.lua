--- What it costs to hand something over: channels, semaphores, all, map, streams, tokens.
local common = require "bench.common"
local neap = require "neap"

local async, await = neap.async, neap.await
local CAPACITY = 100
local CONTENDERS = 100
local BATCH = 10000
local LIMIT = 100

local echo = async(function(there, back, n)
  for _ = 1, n do
    local _, x = await(there:recv())
    await(back:send(x))
  end
end)

local function ping_pong(capacity)
  return function(n)
    local there, back = neap.channel(capacity), neap.channel(capacity)
    local task = echo(there, back, n)
    for i = 1, n do
      await(there:send(i))
      await(back:recv())
    end
    await(task)
  end
end

local produce = async(function(ch, n)
  for i = 1, n do await(ch:send(i)) end
  ch:close()
end)

local function receive(capacity)
  return function(n)
    local ch = neap.channel(capacity)
    local task = produce(ch, n)
    for i = 1, n do
      local _, x = await(ch:recv())
      assert(x == i)
    end
    await(task)
  end
end

local function receive_in_loop(n)
  local ch = neap.channel(CAPACITY)
  local task = produce(ch, n)
  local count = 0
  for x in ch do
    count = count + 1
    assert(x == count)
  end
  assert(count == n)
  await(task)
end

local contend = async(function(semaphore, n)
  for _ = 1, n do
    local permit = await(semaphore:acquire())
    permit:release()
  end
end)

local function hand_over(n)
  local semaphore, tasks = neap.semaphore(1), {}
  local permit = await(semaphore:acquire())
  for i = 1, CONTENDERS do tasks[i] = contend(semaphore, n // CONTENDERS) end
  permit:release() -- all of them wait by now
  await(neap.all(tasks))
end

local hop = async(function(x)
  await(neap.yield())
  return x
end)

local function all(n)
  for _ = 1, n // BATCH do
    local tasks = {}
    for i = 1, BATCH do tasks[i] = hop(i) end
    assert(await(neap.all(tasks)).n == BATCH)
  end
end

local function body(x)
  await(neap.yield())
  return x
end

local function map(n)
  local list = {}
  for i = 1, n do list[i] = i end
  assert(await(neap.map(list, body, { limit = LIMIT })).n == n)
end

local numbers = neap.stream(function(yield, n)
  for i = 1, n do yield(i) end
end)

local function stream(n)
  local count = 0
  for x in numbers(n) do
    count = count + 1
    assert(x == count)
  end
  assert(count == n)
end

local function nothing() end

local function register(n)
  local token = neap.canceller().token
  for _ = 1, n do token:register(nothing):unregister() end
end

local function with_token(n)
  local token = neap.canceller().token
  for _ = 1, n do neap.with_token(token, nothing) end
end

neap.run(function()
  common.cost("ping_pong", 200000, ping_pong(0))
  common.cost("ping_pong_buffer", 200000, ping_pong(1))
  common.cost("item", 1000000, receive(CAPACITY))
  common.cost("item_loop", 1000000, receive_in_loop)
  common.cost("item_handed", 500000, receive(0))
  common.cost("semaphore", 500000, hand_over)
  common.cost("semaphore_free", 500000, function(n) await(contend(neap.semaphore(1), n)) end)
  common.cost("all", 20 * BATCH, all)
  common.cost("map", 100000, map)
  common.cost("stream", 1000000, stream)
  common.cost("register", 1000000, register)
  common.cost("with_token", 500000, with_token)
end)
