--- Functions written in C, called and awaited from Lua; run by native.c.
local common = require "bench.common"
local native = require "native"
local neap = require "neap"

local await = neap.await
local call, later, plain, work = native.call, native.later, native.plain, native.work
local AT_ONCE = 64

--- The same on the clock: what a thread does counts only if somebody waits for it.
local function clock(name, n, fn)
  fn(n // 20)
  collectgarbage()
  local start = neap.now()
  fn(n)
  common.report(name, (neap.now() - start) / n * 1e9)
end

local function one_by_one(fn)
  return function(n)
    for _ = 1, n do await(fn()) end
  end
end

--- AT_ONCE are under way all the time.
local function together(fn)
  return function(n)
    local tasks = {}
    for i = 1, AT_ONCE do tasks[i] = fn() end
    for i = AT_ONCE, n - 1 do
      local place = i % AT_ONCE + 1
      await(tasks[place])
      tasks[place] = fn()
    end
    for i = 1, AT_ONCE do await(tasks[i]) end
  end
end

neap.run(function()
  local done = neap.completed(1)
  common.cost("plain_call", 10000000, function(n)
    for _ = 1, n do plain() end
  end)
  common.cost("await_done", 5000000, function(n)
    for _ = 1, n do await(done) end
  end)
  common.cost("native_call", 2000000, one_by_one(call))
  common.cost("await_new", 2000000, one_by_one(function() return neap.completed(1) end))
  common.cost("native_later", 300000, one_by_one(later))
  common.cost("native_later_64", AT_ONCE * 10000, together(later))
  clock("native_work", 20000, one_by_one(work))
  clock("native_work_64", AT_ONCE * 3000, together(work))
end)
