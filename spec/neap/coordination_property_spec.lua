-- Random programs of producers, consumers, holders and cancellers, each under another order of the
-- ready tasks. What holds for all of them is checked at their end.
local h = require "spec.helper"
local support = require "spec.support"
local neap = require "neap"
local core = require "neap.core"
local testing = require "neap.testing"

local await = neap.await
local SEEDS = os.getenv("NEAP_STRESS_GC") == "1" and 20 or 1000

--- Random integers of its own: next(n) is one of 1 .. n.
local function new_random(seed)
  local state = seed * 2654435761 % 4294967296
  return function(n)
    for _ = 1, 2 do state = (state * 1664525 + 1013904223) % 4294967296 end
    return (state >> 8) % n + 1
  end
end

--- A function for `it`: explores body(random), whose random numbers depend on the seed too.
local function property(body)
  return h.plain(function()
    local seed = tonumber(os.getenv("NEAP_SEED"))
    local programs = (seed or 1) - 1
    testing.explore(function()
      programs = programs + 1
      body(new_random(programs))
      collectgarbage("step")
    end, { seeds = SEEDS })
    assert.is_true(programs >= (seed or SEEDS), "the programs were run")
    for name, count in pairs(core.stats()) do assert.equal(0, count, name) end
  end)
end

--- Lets others run, and some time pass at times.
local function pause(random)
  local what = random(6)
  if what <= 3 then
    for _ = 1, what do await(neap.yield()) end
  elseif what == 4 then
    await(neap.sleep(random(3) / 10))
  end
end

--- Tasks, of which some are cancelled at some time. wait() returns when all have ended.
local function new_crowd(random, cancels)
  local tasks = {}
  local crowd = {}
  function crowd.add(fn, ...) tasks[#tasks + 1] = neap.start(fn, ...) end
  function crowd.disturb()
    for _ = 1, cancels do
      pause(random)
      tasks[random(#tasks)]:cancel("disturbed")
    end
  end
  function crowd.wait()
    for _, task in ipairs(tasks) do
      local status, err = await(neap.settle(task))
      if status == "failed" then error(err, 0) end
    end
  end
  return crowd
end

--- Asserts that no wait is done while one that began before it is still pending.
local function is_fifo(waits)
  local pending
  for i, wait in ipairs(waits) do
    local status = wait:status()
    if status == "pending" then
      pending = pending or i
    elseif status == "done" then
      assert(not pending, "a later waiter was served first")
    end
  end
end

--- await(task), which is listed in waits; after it the list is checked.
local function await_listed(waits, task)
  waits[#waits + 1] = task
  local r = table.pack(pcall(await, task))
  is_fifo(waits)
  if not r[1] then error(r[2], 0) end
  return table.unpack(r, 2, r.n)
end

describe("channels", function()
  --- Sends so many items, named by their producer and number; keeps each one's fate.
  local function produce(random, ch, fates, sends, name, count)
    for i = 1, count do
      pause(random)
      local item = name .. i
      fates[item] = "unknown"
      local ok, err = pcall(await_listed, sends, ch:send(item))
      fates[item] = ok and "done" or "not done"
      if not ok then error(err, 0) end
    end
  end

  --- Receives until the channel is closed; lists[#lists] is what it got.
  local function consume(random, ch, lists, recvs)
    local own = {}
    lists[#lists + 1] = own
    while true do
      local got, item = await_listed(recvs, ch:recv())
      if not got then return end
      own[#own + 1] = item
      pause(random)
    end
  end

  --- Each item that was sent is in the lists once, others are not.
  local function check_fates(fates, lists)
    local seen = {}
    for _, list in ipairs(lists) do
      local last = {}
      for _, item in ipairs(list) do
        assert(not seen[item], "an item was delivered twice")
        assert(fates[item] == "done", "the item of a send that is not done was delivered")
        seen[item] = true
        local name, number = item:sub(1, 1), tonumber(item:sub(2))
        assert(number > (last[name] or 0), "a producer's items were received out of order")
        last[name] = number
      end
    end
    for item, fate in pairs(fates) do
      assert(fate ~= "done" or seen[item], "an item was lost")
    end
  end

  for _, capacity in ipairs({ math.huge, 0, 1, 3 }) do
    it("[S191, S192, S196] of capacity " .. capacity .. " lose and double no item",
      property(function(random)
        local ch, fates, lists, sends, recvs = neap.channel(capacity), {}, {}, {}, {}
        local producers = new_crowd(random, random(3) - 1)
        local consumers = new_crowd(random, random(3) - 1)
        for _ = 1, random(3) do consumers.add(consume, random, ch, lists, recvs) end
        for i = 1, random(3) do
          producers.add(produce, random, ch, fates, sends, ("abc"):sub(i, i), random(4))
        end
        producers.disturb()
        consumers.disturb()
        consumers.add(consume, random, ch, lists, recvs) -- the others may have been cancelled
        producers.wait()
        assert(ch:close())
        consumers.wait()
        assert(#ch == 0)
        check_fates(fates, lists)
      end))
  end

  it("[S189] closed at some time deliver what was sent before", property(function(random)
    local ch, fates, lists, sends, recvs = neap.channel(random(4) - 1), {}, {}, {}, {}
    local producers, consumers = new_crowd(random, 1), new_crowd(random, 0)
    for i = 1, 2 do
      producers.add(function()
        local ok, err = pcall(produce, random, ch, fates, sends, ("ab"):sub(i, i), 3)
        if not ok and err.code ~= "ECLOSED" then error(err, 0) end
      end)
    end
    for _ = 1, random(2) do consumers.add(consume, random, ch, lists, recvs) end
    producers.disturb()
    pause(random)
    ch:close()
    producers.wait()
    consumers.wait()
    check_fates(fates, lists)
  end))
end)

describe("semaphores", function()
  it("[S198, S201] keep their permits, within the bound, in order", property(function(random)
    local count = random(3)
    local sem, inside, waits = neap.semaphore(count, count), 0, {}
    local crowd = new_crowd(random, random(4) - 1)
    for _ = 1, 2 + random(4) do
      crowd.add(function()
        for _ = 1, random(3) do
          local permit <close> = await_listed(waits, sem:acquire())
          inside = inside + 1
          assert(inside <= count, "too many hold a permit")
          local ok, err = pcall(pause, random)
          inside = inside - 1
          if random(2) == 1 then assert(permit:release()) end
          if not ok then error(err, 0) end
        end
      end)
    end
    crowd.disturb()
    crowd.wait()
    for _ = 1, count do assert(sem:try_acquire(), "a permit was lost") end
    assert(not sem:try_acquire(), "a permit came out of nothing")
    h.raises("EMISUSE", function() sem:release(count + 1) end)
  end))
end)

describe("mutexes", function()
  it("[S204] have one holder at a time, and are handed over in order", property(function(random)
    local mutex, holder, waits = neap.mutex(), nil, {}
    local crowd = new_crowd(random, random(4) - 1)
    for i = 1, 2 + random(3) do
      crowd.add(function()
        for _ = 1, random(3) do
          local guard <close> = await_listed(waits, mutex:lock())
          assert(not holder, "two hold the mutex")
          holder = i
          local ok, err = pcall(pause, random)
          assert(holder == i, "another one held the mutex meanwhile")
          holder = nil
          if random(2) == 1 then guard:unlock() end
          if not ok then error(err, 0) end
        end
      end)
    end
    crowd.disturb()
    crowd.wait()
    assert(mutex:try_lock(), "the mutex is still held")
  end))
end)

describe("conditions", function()
  it("[C6] lose no notify: a bounded buffer of a table comes to its end", property(function(random)
    local mutex, size, ended = neap.mutex(), random(3), false
    local not_empty, not_full = neap.condition(mutex), neap.condition(mutex)
    local buffer, put, taken, is_held = {}, 0, 0, false

    local function hold()
      assert(not is_held, "two hold the mutex")
      is_held = true
    end
    local function locked(fn)
      local _ <close> = await(mutex:lock())
      hold()
      local _ <close> = support.closing(function() is_held = false end)
      fn()
    end
    local function wait_for(condition, is_ready)
      while not is_ready() do
        is_held = false
        local ok, err = pcall(await, condition:wait())
        hold() -- also when it was cancelled
        if not ok then error(err, 0) end
      end
    end
    local function produce()
      for _ = 1, random(4) do
        pause(random)
        locked(function()
          wait_for(not_full, function() return #buffer < size end)
          put = put + 1
          buffer[#buffer + 1] = put
          not_empty:notify()
        end)
      end
    end
    local function consume()
      repeat
        local done
        locked(function()
          wait_for(not_empty, function() return #buffer > 0 or ended end)
          done = #buffer == 0
          if not done then
            taken = taken + 1
            assert(table.remove(buffer, 1) == taken, "out of order")
            not_full:notify()
          end
        end)
        pause(random)
      until done
    end

    local producers = new_crowd(random, random(3) - 1)
    local consumers = new_crowd(random, random(3) - 1)
    for _ = 1, random(3) do
      producers.add(produce)
      consumers.add(consume)
    end
    producers.disturb()
    consumers.disturb()
    consumers.add(consume)
    producers.wait()
    locked(function()
      ended = true
      not_empty:notify_all()
    end)
    consumers.wait()
    assert(put == taken and #buffer == 0, "items were lost")
    assert(mutex:try_lock(), "the mutex is still held")
  end))
end)

describe("events", function()
  it("[S205] wake exactly those that waited when they were set", property(function(random)
    local event, waits, woken = neap.event(), {}, 0
    local crowd = new_crowd(random, random(3) - 1)
    for _ = 1, 2 + random(4) do
      crowd.add(function()
        pause(random)
        local was_set = event:is_set()
        local wait = event:wait()
        waits[#waits + 1] = wait
        assert((wait:status() == "done") == was_set or neap.is_cancelling())
        await(wait)
        woken = woken + 1
      end)
    end
    local function check()
      for _, wait in ipairs(waits) do
        assert(wait:status() ~= "pending", "a waiter was forgotten")
      end
    end
    for _ = 1, random(4) do
      pause(random)
      event:set()
      check()
      if random(2) == 1 then event:clear() end
    end
    crowd.disturb()
    event:set()
    check()
    crowd.wait()
    local done = 0
    for _, wait in ipairs(waits) do
      assert(wait:status() ~= "pending")
      if wait:status() == "done" then done = done + 1 end
    end
    assert(woken == done, "a wait that is done did not return, or the other way round")
  end))
end)
