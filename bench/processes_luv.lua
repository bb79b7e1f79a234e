--- The same as bench/processes.lua with luv and callbacks.
local common = require "bench.common"
local uv = require "luv"

local PROCESSES <const>, AT_ONCE <const>, WARM_UP <const> = 200, 16, 20

local function start_child(on_end)
  local left, chunks = 3, {}
  local function on_closed()
    left = left - 1
    if left == 0 then on_end(table.concat(chunks)) end
  end
  local out, err = uv.new_pipe(false), uv.new_pipe(false)
  local process
  process = assert(uv.spawn("/bin/true", { stdio = { nil, out, err } }, function(code)
    assert(code == 0)
    process:close(on_closed)
  end))
  for _, pipe in ipairs{ out, err } do
    pipe:read_start(function(_, data)
      if data then
        chunks[#chunks + 1] = data
      else
        pipe:close(on_closed)
      end
    end)
  end
end

local function run(count, at_once)
  local left = count
  local function start_next()
    if left == 0 then return end
    left = left - 1
    start_child(start_next)
  end
  for _ = 1, at_once do start_next() end
  uv.run()
end

local function measure(name, at_once)
  local start = uv.hrtime()
  run(PROCESSES, at_once)
  common.report(name, (uv.hrtime() - start) / PROCESSES / 1e3)
end

run(WARM_UP, 1)
measure("one_by_one", 1)
measure("together", AT_ONCE)
