--- CPU-bound jobs on the threads of workers; what a round trip costs, and what copying does.
local common = require "bench.common"
local data = require "bench.workers_data"
local job = require "bench.workers_job"
local neap = require "neap"

local await, worker = neap.await, neap.worker

local JOBS, LIMIT, PRIMES = 16, 200000, 17984

local function clock(name, n, scale, fn)
  collectgarbage()
  local start = neap.now()
  fn(n)
  common.report(name, (neap.now() - start) / n * scale)
end

local function empty() end

local function one_by_one(n)
  for _ = 1, n do await(worker.run(empty)) end
end

local function many_at_once(n)
  local started, running = 64, {}
  for i = 1, started do running[i] = worker.run(empty) end
  while started < n do
    for i = 1, 64 do
      await(running[i])
      running[i] = worker.run(empty)
    end
    started = started + 64
  end
  for i = 1, 64 do await(running[i]) end
end

--- MB/s of a value that goes to a worker and comes back.
local function copy(name, value, bytes, n)
  local function back(x) return x end
  await(worker.run(back, value))
  collectgarbage()
  local start = neap.now()
  for _ = 1, n do await(worker.run(back, value)) end
  common.report(name, 2 * n * bytes / (neap.now() - start) / 1e6)
end

neap.run(function()
  local pool <close> = worker.pool(2)
  clock("wall_ms", 1, 1000, function()
    local tasks = {}
    for i = 1, JOBS do tasks[i] = pool:run(job, LIMIT) end
    for i = 1, JOBS do assert(await(tasks[i]) == PRIMES) end
  end)
  one_by_one(1000)
  clock("round_trip_us", 20000, 1e6, one_by_one)
  clock("round_trip_64_us", 64 * 3000, 1e6, many_at_once)
  copy("records_mb", data.records(), data.RECORDS * data.RECORD_BYTES, 10)
  copy("string_mb", data.text(), data.STRING_BYTES, 20)
end)
