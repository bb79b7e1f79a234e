-- testing.explore: interleavings that follow from a seed.

local h = require "spec.helper"
local neap = require "neap"
local testing = require "neap.testing"

local await = neap.await

--- Four tasks become ready at the same time; gives the order in which they went on.
local function order()
  local log = {}
  neap.group(function(g)
    for _, name in ipairs({ "a", "b", "c", "d" }) do
      g:spawn(function()
        await(neap.yield())
        log[#log + 1] = name
      end)
    end
  end)
  return table.concat(log)
end

--- Right only if the tasks go on in the order in which they began.
local function racy()
  local found = order()
  if found ~= "abcd" then error("found " .. found, 0) end
end

--- The orders that explore(opts) goes through.
local function orders(opts)
  local list = {}
  testing.explore(function() list[#list + 1] = order() end, opts)
  return list
end

local function failure(fn, opts)
  local ok, err = pcall(testing.explore, fn, opts)
  assert.is_false(ok)
  return tostring(err)
end

local PROGRAM = [[
  local neap = require "neap"
  local testing = require "neap.testing"
  local calls, log = 0, {}
  testing.explore(function()
    calls = calls + 1
    neap.group(function(g)
      for _, name in ipairs({ "a", "b", "c", "d" }) do
        g:spawn(function()
          neap.await(neap.yield())
          log[#log + 1] = name
        end)
      end
    end)
  end)
  print(calls, table.concat(log, "", 1, 4))
]]

describe("testing.explore", function()
  it("runs the function under seeds 1 to 100, or as many as are asked for", h.plain(function()
    assert.equal(100, #orders())
    assert.equal(7, #orders({ seeds = 7 }))
    assert.equal(1, #orders({ seed = 7 }))
  end))

  it("gives each run a virtual clock of its own", h.plain(function(t)
    testing.explore(function(clock)
      assert.equal(0, clock:now())
      await(neap.sleep(3599))
      t:note(clock:now())
    end, { seeds = 2 })
    assert.equal("3599.0 3599.0", t:logged())
  end))

  it("goes through different interleavings", h.plain(function()
    local seen, distinct = {}, 0
    local seeds = os.getenv("NEAP_STRESS_GC") == "1" and 200 or 1000
    for _, found in ipairs(orders({ seeds = seeds })) do
      assert.equal(4, #found)
      if not seen[found] then
        seen[found], distinct = true, distinct + 1
      end
    end
    assert.is_true(distinct >= 18, "only " .. distinct .. " of 24 orders in 1000 runs")
  end))

  it("finds both orders of two tasks, at every point where they meet", h.plain(function()
    local seen = {}
    testing.explore(function()
      local log = {}
      neap.group(function(g)
        for _, name in ipairs({ "a", "b" }) do
          g:spawn(function()
            for _ = 1, 2 do
              await(neap.sleep(1))
              log[#log + 1] = name
            end
          end)
        end
      end)
      seen[table.concat(log)] = true
    end)
    for _, found in ipairs({ "abab", "abba", "baab", "baba" }) do
      assert.is_true(seen[found], found .. " was not seen")
    end
  end))

  it("gives the same interleaving for the same seed", h.plain(function()
    local all = orders({ seeds = 20 })
    assert.same(all, orders({ seeds = 20 }))
    for seed = 1, 20 do assert.same({ all[seed] }, orders({ seed = seed })) end
  end))

  it("fails for a racy body, and names the seed that shows it again", h.plain(function()
    local text = failure(racy)
    local seed, found = text:match("seed (%d+): found (%a+)")
    assert.is_truthy(seed, text)
    for _ = 1, 3 do
      assert.equal(text, failure(racy, { seed = tonumber(seed) }))
      assert.same({ found }, orders({ seed = tonumber(seed) }))
    end
  end))

  it("stops at the first failure", h.plain(function()
    local calls = 0
    local text = failure(function()
      calls = calls + 1
      if calls == 5 then error({}, 0) end
    end)
    assert.equal(5, calls)
    assert.matches("seed 5", text, 1, true)
  end))

  it("fails for a lost error, a warning and a leak", h.plain(function(t)
    assert.matches("seed 1: .*lost", failure(function() neap.background(error, "lost", 0) end))
    assert.matches("seed 1: ", failure(function() neap.start(function() neap.group() end) end))
    local kept
    assert.matches("seed 1: ", failure(function()
      kept = neap.stream(function(yield)
        local _ <close> = neap.deadline(1000)
        yield(1)
      end)()
      await(kept:next())
    end))
    neap.run({ clock = t.clock }, function() await(kept:close()) end)
    assert.same({}, t:take_unobserved())
    assert.same({}, t:take_warnings())
  end))

  it("leaves a body alone that is right in every order", h.plain(function()
    testing.explore(function()
      local mutex, total = neap.mutex(), 0
      neap.group(function(g)
        for _ = 1, 5 do
          g:spawn(function()
            local _ <close> = await(mutex:lock())
            local before = total
            await(neap.yield())
            total = before + 1
          end)
        end
      end)
      assert.equal(5, total)
    end)
  end))

  it("[S151] leaves the order of later runs alone, also after a failure", h.plain(function(t)
    failure(racy)
    for _ = 1, 5 do neap.run({ clock = t.clock }, racy) end
  end))

  it("replays the seed in NEAP_SEED", function()
    local calls, first = h.process(PROGRAM):match("^(%d+)%s+(%a+)%s*$")
    assert.equal("100", calls)
    local seed = 1
    for _, prefix in ipairs({ "env NEAP_SEED=1", "env NEAP_SEED=2", "env NEAP_SEED=17" }) do
      seed = tonumber(prefix:match("%d+"))
      local once, found = h.process(PROGRAM, prefix):match("^(%d+)%s+(%a+)%s*$")
      assert.equal("1", once)
      assert.same({ found }, orders({ seed = seed }))
      if seed == 1 then assert.equal(first, found) end
    end
    assert.equal(17, seed)
  end)

  it("raises argument errors", h.plain(function()
    h.bad_argument("explore", 1, testing.explore, 5)
    h.bad_argument("explore", 2, testing.explore, print, 5)
    h.bad_argument("explore", 2, testing.explore, print, { seeds = 0 })
    h.bad_argument("explore", 2, testing.explore, print, { seed = "lucky" })
  end))
end)
