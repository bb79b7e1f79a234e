--- What the programs of bench `files` in Lua share: their arguments, and what there is to do.
local common = require "bench.common"

local FILES <const> = 10000
local work, folder, bytes = arg[1], arg[2], tonumber(arg[3])

local M = {
  WORK = work,
  AT_ONCE = 64,
  CHUNK = 65536,
  CONTENT = ("x"):rep(4096),
  BIG = folder .. "/big",
}

--- A function that gives one path after the other, then nil.
function M.paths()
  local i = -1
  return function()
    i = i + 1
    if i < FILES then return ("%s/%05d"):format(folder, i) end
  end
end

function M.report(total, seconds)
  assert(total == bytes, "not all of the bytes")
  common.report("file_us", seconds / FILES * 1e6)
  common.report("megabytes", total / seconds / 1e6)
end

return M
