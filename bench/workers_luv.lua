--- The jobs of the bench of workers with luv's new_work: libuv's pool, a Lua state for each thread.
--- It copies no tables.
local data = require "bench.workers_data"
local uv = require "luv"

local function report(name, value)
  print(("%s %.3f"):format(name, value))
end

local function clock(name, n, scale, fn)
  collectgarbage()
  local start = uv.hrtime()
  fn(n)
  uv.run()
  report(name, (uv.hrtime() - start) / n / 1e9 * scale)
end

--- `at_once` jobs are under way until n were.
local function run_jobs(fn, at_once, n, ...)
  local started, work = 0, nil
  local arguments = table.pack(...)
  local function start()
    if started == n then return end
    started = started + 1
    work:queue(table.unpack(arguments, 1, arguments.n))
  end
  work = uv.new_work(fn, start)
  for _ = 1, at_once do start() end
end

local function primes(n)
  local count = 0
  for i = 2, n do
    local is_prime, j = true, 2
    while j * j <= i do
      if i % j == 0 then
        is_prime = false
        break
      end
      j = j + 1
    end
    if is_prime then count = count + 1 end
  end
  return count
end

local function empty() end
local function back(x) return x end

clock("wall_ms", 1, 1000, function() run_jobs(primes, 16, 16, 200000) end)
run_jobs(empty, 1, 1000)
uv.run()
clock("round_trip_us", 20000, 1e6, function(n) run_jobs(empty, 1, n) end)
clock("round_trip_64_us", 64 * 3000, 1e6, function(n) run_jobs(empty, 64, n) end)

local text = data.text()
run_jobs(back, 1, 1, text)
uv.run()
local start = uv.hrtime()
run_jobs(back, 1, 20, text)
uv.run()
report("string_mb", 40 * data.STRING_BYTES / ((uv.hrtime() - start) / 1e9) / 1e6)
