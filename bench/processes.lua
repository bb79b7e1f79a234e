--- Processes: /bin/true 200 times, one after the other and 16 at a time; both outputs are read.
local common = require "bench.common"
local neap = require "neap"

local await = neap.await
local PROCESSES <const>, AT_ONCE <const>, WARM_UP <const> = 200, 16, 20

local function run(count)
  for _ = 1, count do
    local result = await(neap.process.run{ "/bin/true" })
    assert(result.code == 0 and result.stdout == "" and result.stderr == "")
  end
end

local function run_together()
  local started, tasks = 0, {}
  for i = 1, AT_ONCE do
    tasks[i] = neap.start(function()
      while started < PROCESSES do
        started = started + 1
        run(1)
      end
    end)
  end
  await(neap.all(tasks))
end

local function measure(name, fn)
  local start = neap.now()
  fn(PROCESSES)
  common.report(name, (neap.now() - start) / PROCESSES * 1e6)
end

neap.run(function()
  run(WARM_UP)
  measure("one_by_one", run)
  measure("together", run_together)
end)
