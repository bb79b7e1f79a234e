--- The jobs of the bench of workers on one thread, without any library.
local job = require "bench.workers_job"

local function seconds()
  local file <close> = io.open("/proc/uptime")
  return file and file:read("n") or os.clock()
end

local start, clock = seconds(), os.clock()
for _ = 1, 16 do assert(job(200000) == 17984) end
print(("wall_ms %.3f"):format(math.max(seconds() - start, os.clock() - clock) * 1000))
