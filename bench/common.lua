--- What the programs of the benches share. They print lines `name value`, which run.lua gathers.
local M = {}

function M.report(name, value)
  print(("%s %.3f"):format(name, value))
end

--- Nanoseconds of CPU time for each of `n` rounds that fn(n) makes, after a warm-up.
function M.cost(name, n, fn)
  fn(n // 20)
  collectgarbage()
  collectgarbage()
  local start = os.clock()
  fn(n)
  M.report(name, (os.clock() - start) / n * 1e9)
end

--- Bytes of this process that are resident: "VmRSS" now, "VmHWM" at most so far; nil where the
--- system does not say.
function M.resident(key)
  local file = io.open("/proc/self/status")
  if not file then return nil end
  local kib = file:read("a"):match(key .. ":%s+(%d+)")
  file:close()
  return tonumber(kib) * 1024
end

--- Reports how much the process has grown at most for each of `n` things.
function M.report_growth(name, n, before)
  if before then M.report(name, (M.resident("VmHWM") - before) / n) end
end

--- The arguments of a bench of sleepers: how many, and when the first and the last one wakes.
function M.sleepers()
  local n, first, spread = tonumber(arg[1]), tonumber(arg[2]), tonumber(arg[3])
  return math.tointeger(n), function(i) return first + i * 7919 % 1000 / 1000 * spread end
end

return M
