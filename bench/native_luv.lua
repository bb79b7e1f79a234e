--- What comes nearest to bench/native.lua on luv: a callback of an idle handle in the next turn of
--- the loop, and new_work, which calls a Lua function in a Lua state of the thread's own.
local common = require "bench.common"
local uv = require "luv"

local AT_ONCE = 64

local function clock(name, n, fn)
  fn(n // 20)
  collectgarbage()
  local start = uv.hrtime()
  fn(n)
  common.report(name, (uv.hrtime() - start) / n)
end

local function later(at_once)
  return function(n)
    local started = 0
    local function start(idle)
      if started >= n then return end
      started = started + 1
      idle:start(function()
        idle:stop()
        start(idle)
      end)
    end
    local handles = {}
    for i = 1, at_once do
      handles[i] = uv.new_idle()
      start(handles[i])
    end
    uv.run()
    for i = 1, at_once do handles[i]:close() end
    uv.run()
  end
end

local function work(at_once)
  return function(n)
    local started, job = 0, nil
    local function start()
      if started >= n then return end
      started = started + 1
      job:queue()
    end
    job = uv.new_work(function() return 1 end, start)
    for _ = 1, at_once do start() end
    uv.run()
  end
end

common.cost("native_later", 300000, later(1))
common.cost("native_later_64", AT_ONCE * 10000, later(AT_ONCE))
clock("native_work", 20000, work(1))
clock("native_work_64", AT_ONCE * 3000, work(AT_ONCE))
