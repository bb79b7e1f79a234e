-- Reads of all kinds in a random mix give what a simple model gives: random data in random pieces,
-- with random delimiters and limits, cancelled at random instants. Nothing is lost or comes twice.
local h = require "spec.helper"
local support = require "spec.support"
local wires = require "spec.wires"
local neap = require "neap"

local await = neap.await
local STRESS = os.getenv("NEAP_STRESS_GC") == "1"
local SEEDS = STRESS and 5 or os.getenv("NEAP_SLOW") and 40 or 60
local STEPS = 40

-- The model: a string and a place in it. Each call gives a result, or nil, a code and what came.

local Model = {}
Model.__index = Model

function Model:take(n, dropped)
  local from = self.place
  self.place = from + n + (dropped or 0)
  return self.data:sub(from, from + n - 1)
end

function Model:left() return #self.data - self.place + 1 end

function Model:read_exactly(n)
  if self:left() < n then return nil, "EOF", self:take(self:left()) end
  return self:take(n)
end

function Model:read_until(delimiter, max)
  local first, last = self.data:find(delimiter, self.place, true)
  if (first and first - self.place or self:left()) > max then return nil, "ETOOLARGE" end
  if first then return self:take(first - self.place, last - first + 1) end
  if self:left() == 0 then return nil end
  return nil, "EOF", self:take(self:left())
end

function Model:read_line(max)
  local line_end, behind = self.data:match("()\r?\n()", self.place)
  if (line_end and line_end - self.place or self:left()) > max then return nil, "ETOOLARGE" end
  if line_end then return self:take(line_end - self.place, behind - line_end) end
  if self:left() == 0 then return nil end
  return self:take(self:left())
end

function Model:read_all(max)
  if self:left() > max then return nil, "ETOOLARGE" end
  return self:take(self:left())
end

--- What `read` gives depends on the pieces: any of it that fits.
function Model:check_read(n, got)
  if got == nil then return assert(self:left() == 0, "the end came too soon") end
  assert(#got <= n and (#got > 0 or n == 0), "a read of " .. #got .. " bytes")
  assert(self:take(#got) == got, "other bytes than were sent")
end

-- Random data and calls.

local alphabet = { "a", "b", "\r", "\n", "\0", "\r\n", "ab", "aab" }

local function random_text(random, n)
  local parts = {}
  for i = 1, n do parts[i] = alphabet[random(#alphabet)] end
  return table.concat(parts)
end

local function random_pieces(random, data)
  local pieces, place, most = {}, 1, random(4) == 1 and 1000 or random(30)
  while place <= #data do
    local n = random(most)
    pieces[#pieces + 1] = data:sub(place, place + n - 1)
    place = place + n
  end
  return pieces
end

local function random_max(random) return random(3) == 1 and random(8) - 1 or 100000 end

local calls = {
  function(random) return "read", random(3) == 1 and random(6) - 1 or random(100) end,
  function(random) return "read_exactly", random(2) == 1 and random(6) - 1 or random(60) end,
  function(random) return "read_until", random_text(random, random(3)), random_max(random) end,
  function(random) return "read_line", random_max(random) end,
  function(random) return "read_all", random(40) == 1 and 100000 or random(20) end,
}

--- Awaits a read, or cancels it at a random instant and begins it again.
local function finish(object, random, name, ...)
  while true do
    local task = object[name](object, ...)
    local patience = random(3) == 1 and random(4) - 1 or math.huge
    for _ = 1, patience < math.huge and patience or 0 do await(neap.yield()) end
    if patience == math.huge or not task:cancel("enough") then
      return pcall(await, task)
    end
    if random(2) == 1 then wires.settle() end
  end
end

local function step(object, model, random)
  local name, a, b = calls[random(#calls)](random)
  local ok, got = finish(object, random, name, a, b)
  if name == "read" then
    assert(ok, got)
    return model:check_read(a, got)
  end
  local expected, code, partial = model[name](model, a, b)
  assert((ok and "" or got.code) == (code or ""), name .. ": " .. tostring(got))
  if ok then
    assert(got == expected, ("%s(%q, %s): %q instead of %q"):format(name, a, b, got, expected))
  else
    assert(got.partial == partial, name .. ": another err.partial")
  end
end

local function new_program(seed)
  local random = wires.new_random(seed)
  local data = random_text(random, random(10) == 1 and 4000 or random(200))
  return random, data, random_pieces(random, data)
end

local function play(object, random, data)
  local model = setmetatable({ data = data, place = 1 }, Model)
  for _ = 1, STEPS do step(object, model, random) end
  assert(await(object:read_all()) == model:take(model:left()), "the rest")
end

--- Writes the pieces, some of them together.
local function write(conn, pieces, random)
  for _, piece in ipairs(pieces) do
    await(conn:write(piece))
    if random(3) == 1 then await(neap.yield()) end
    if random(20) == 1 then wires.settle() end
  end
  await(conn:shutdown())
end

local function play_on_wire(kind, seed)
  local random, data, pieces = new_program(seed)
  local conn, peer = wires.pair(kind)
  local writer = neap.start(write, peer, pieces, wires.new_random(seed + 1))
  local ok, err = pcall(play, conn, random, data)
  if not ok then error(("NEAP_SEED=%d: %s"):format(seed, err), 0) end
  await(writer)
  await(conn:close())
  await(peer:close())
end

local function play_on_file(seed)
  local random, data = new_program(seed)
  local path = os.tmpname()
  local _ <close> = support.closing(function() os.remove(path) end)
  support.spit(path, data)
  local file <close> = await(neap.fs.open(path))
  local ok, err = pcall(play, file, random, data)
  if not ok then error(("NEAP_SEED=%d: %s"):format(seed, err), 0) end
end

local function seeds(fn)
  return h.run(function()
    local only = tonumber(os.getenv("NEAP_SEED"))
    for seed = only or 1, only or SEEDS do fn(seed) end
  end)
end

describe("reads in a random mix", function()
  for _, kind in ipairs(wires.kinds) do
    it("[C6] give what the model gives over " .. kind, seeds(function(seed)
      play_on_wire(kind, seed)
    end))
  end

  it("[C6] give what the model gives of a file", seeds(play_on_file))
end)
