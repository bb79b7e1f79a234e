-- A Buffer does what a string does: random calls on both, with places inside and outside.
local h = require "spec.helper"
local wires = require "spec.wires"
local neap = require "neap"

local SEEDS = os.getenv("NEAP_STRESS_GC") == "1" and 5 or 200
local STEPS = 100

--- Few different bytes, so that find has something to find.
local function random_text(random, n)
  local parts = {}
  for i = 1, n do parts[i] = string.char(96 + random(3)) end
  return table.concat(parts)
end

local EXTREMES = { 0, math.maxinteger, math.mininteger, math.mininteger + 1 }

--- Mostly around the ends of a text.
local function random_place(random, text)
  if random(12) == 1 then return EXTREMES[random(#EXTREMES)] end
  return random(2 * #text + 7) - #text - 4
end

-- Each is called with the object and its arguments: for a string it is the string library's.
local readers = {
  function(random, text) return "sub", random_place(random, text), random_place(random, text) end,
  function(random, text) return "sub", random_place(random, text) end,
  function(random, text) return "byte", random_place(random, text), random_place(random, text) end,
  function(random, text) return "byte", random_place(random, text) end,
  function() return "byte" end,
  function(random, text)
    return "find", random_text(random, random(4) - 1), random_place(random, text)
  end,
  function(random) return "find", random_text(random, random(3)) end,
}

local function call(object, name, ...)
  if type(object) == "string" and name == "find" then
    local what, init = ...
    return object:find(what, init or 1, true)
  end
  return object[name](object, ...)
end

local function same(expected, actual)
  if expected.n ~= actual.n then return false end
  for i = 1, expected.n do
    if expected[i] ~= actual[i] then return false end
  end
  return true
end

--- What string.sub leaves of a string that is written in place.
local function replaced(text, place, bytes)
  return text:sub(1, place - 1) .. bytes .. text:sub(place + #bytes)
end

local writers = {
  function(random, buf, text) -- set, inside or not
    local place, bytes = random_place(random, text), random_text(random, random(5) - 1)
    local absolute = place < 0 and place + #text + 1 or place
    local fits = absolute >= 1 and absolute <= #text + 1 and #text - absolute + 1 >= #bytes
    local ok, behind = pcall(buf.set, buf, place, random(2) == 1 and bytes or neap.buffer(bytes))
    assert(ok == fits, "set")
    if not ok then return text end
    assert(behind == absolute + #bytes, "set gives another place")
    return replaced(text, absolute, bytes)
  end,
  function(random, buf, text) -- fill
    local i, j = random_place(random, text), random_place(random, text)
    buf:fill(97, i, j)
    local old = text:sub(i, j)
    if old == "" then return text end
    local begin = i > 0 and i or i == 0 and 1 or math.max(1, i + #text + 1)
    return replaced(text, begin, ("a"):rep(#old))
  end,
  function(random, buf, text) -- a write through a slice
    local i, j = random_place(random, text), random_place(random, text)
    local slice = buf:slice(i, j)
    assert(slice:string() == text:sub(i, j), "slice")
    if #slice == 0 then return text end
    slice:set(1, "b")
    local begin = i > 0 and i or i == 0 and 1 or math.max(1, i + #text + 1)
    return replaced(text, begin, "b")
  end,
}

local function play(seed)
  local random = wires.new_random(seed)
  local text = random_text(random, random(30) - 1)
  local buf = neap.buffer(#text)
  buf:set(1, text)
  for step = 1, STEPS do
    local where = ("NEAP_SEED=%d: step %d: "):format(seed, step)
    local arguments = table.pack(readers[random(#readers)](random, text))
    local expected = table.pack(call(text, table.unpack(arguments, 1, arguments.n)))
    local actual = table.pack(call(buf, table.unpack(arguments, 1, arguments.n)))
    if not same(expected, actual) then
      error(("%s%s(%s, %s) of %q"):format(where, arguments[1], arguments[2], arguments[3], text), 0)
    end
    local ok, result = pcall(writers[random(#writers)], random, buf, text)
    if not ok then error(where .. result, 0) end
    text = result
    if buf:string() ~= text then error(("%s%q, not %q"):format(where, buf:string(), text), 0) end
  end
end

describe("a random mix of reads and writes of a Buffer", function()
  it("does what the string library does", h.plain(function()
    local only = tonumber(os.getenv("NEAP_SEED") or "")
    if only then return play(only) end
    for seed = 1, SEEDS do play(seed) end
  end))
end)
