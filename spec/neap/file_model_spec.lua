-- A file does what Lua's own io does: a random mix of reads, writes and seeks on two equal files.
local h = require "spec.helper"
local support = require "spec.support"
local wires = require "spec.wires"
local neap = require "neap"

local await, fs = neap.await, neap.fs
local SEEDS = os.getenv("NEAP_STRESS_GC") == "1" and 2 or 60
local STEPS = 50

local function random_text(random, n)
  local parts = {}
  for i = 1, random(n) do parts[i] = random(5) == 1 and "\n" or string.char(96 + random(26)) end
  return table.concat(parts)
end

--- io's file wants a seek between a read and a write.
local function turn(file) file:seek("cur", 0) end

-- Each call gets the file, io's file and random numbers, and gives what both have given.
local calls = {
  function(file, model, random) -- read
    local n = random(40)
    turn(model)
    local got = await(file:read(n)) or ""
    while #got > 0 and #got < n do
      local more = await(file:read(n - #got))
      if not more then break end
      got = got .. more
    end
    return got, model:read(n) or ""
  end,
  function(file, model) -- read_line
    turn(model)
    return await(file:read_line()), (model:read("l"))
  end,
  function(file, model, random) -- read_all, seldom
    turn(model)
    if random(8) > 1 then return end
    return await(file:read_all()), model:read("a")
  end,
  function(file, model, random) -- write
    local text = random_text(random, random(10) == 1 and 5000 or 20)
    turn(model)
    model:write(text)
    return await(file:write(text)), #text
  end,
  function(file, model, random) -- write_at, which moves nothing
    local text, place = random_text(random, 10), random(100) - 1
    local before = model:seek()
    model:seek("set", place)
    model:write(text)
    model:seek("set", before)
    return await(file:write_at(place, text)), #text
  end,
  function(file, model, random) -- seek
    local whence = ({ "set", "cur", "end" })[random(3)]
    local offset = random(200) - (whence == "set" and 1 or 100)
    local expected = model:seek(whence, offset)
    local ok, got = pcall(await, file:seek(whence, offset))
    return ok and got or nil, expected
  end,
  function(file, _, random) -- a read that is cancelled, and changes nothing
    local before = await(file:seek())
    local task = random(2) == 1 and file:read_exactly(random(60)) or file:read_line()
    for _ = 1, random(3) - 1 do await(neap.yield()) end
    if not task:cancel("enough") then
      await(neap.settle(task))
      await(file:seek("set", before))
    end
    return await(file:seek()), before
  end,
  function(file, model) return await(file:seek()), model:seek() end, -- the position
}

local function play(mode, seed)
  local random = wires.new_random(seed)
  local paths = { os.tmpname(), os.tmpname() }
  local _ <close> = support.closing(function()
    for _, path in ipairs(paths) do os.remove(path) end
  end)
  local content = random_text(random, random(5) == 1 and 100000 or 300)
  for _, path in ipairs(paths) do support.spit(path, content) end
  local file <close> = await(fs.open(paths[1], mode))
  local model <close> = assert(io.open(paths[2], mode))
  for i = 1, STEPS do
    local n = random(#calls)
    local got, expected = calls[n](file, model, random)
    if got ~= expected then
      error(("NEAP_SEED=%d: step %d, call %d: %q instead of %q"):format(
        seed, i, n, got, expected), 0)
    end
  end
  model:flush()
  assert(support.slurp(paths[1]) == support.slurp(paths[2]), "the files differ")
end

describe("a random mix of reads, writes and seeks", function()
  for _, mode in ipairs{ "r+", "w+" } do
    it("[C6] does what io does with '" .. mode .. "'", h.run(function()
      local only = tonumber(os.getenv("NEAP_SEED"))
      for seed = only or 1, only or SEEDS do play(mode, seed) end
    end))
  end
end)
