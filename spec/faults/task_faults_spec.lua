-- The core's allocations fail one after the other, in whole runs: each run succeeds or raises an
-- error for want of memory, and the next one works.

local h = require "spec.helper"
local neap = require "neap"
local await = neap.await

--- Runs `main` until no allocation fails; what it returns in the end is `expected`.
local function survives(expected, main)
  return h.plain(function(t)
    local result
    h.each_failure(function()
      result = neap.run({clock = t.clock}, main)
      assert(result == expected, "a run that succeeded has a wrong result")
    end)
    assert.equal(expected, result)
    for _, lost in ipairs(t:take_unobserved()) do
      local text = tostring(lost.err)
      assert.is_truthy(text:find("ENOMEM", 1, true) or text:find("memory", 1, true), text)
    end
    t:take_warnings()
  end)
end

describe("failing allocations in", function()
  it("[S14, S28] start, yield, sleep, await", survives(3, function()
    local a = neap.start(function()
      await(neap.yield())
      return 1
    end)
    local b = neap.start(function()
      await(neap.sleep(1))
      return 2
    end)
    return await(a) + await(b)
  end))

  it("[S2, S30] a completion with several waiters", survives(6, function()
    return neap.group(function(g)
      local c = neap.completion()
      local waiters = {}
      for i = 1, 3 do
        waiters[i] = g:spawn(function() return await(c.task) end)
      end
      c:resolve(2)
      return await(waiters[1]) + await(waiters[2]) + await(waiters[3])
    end)
  end))

  it("[S26, S34, S35] settle, wait_for, flatten", survives("done", function()
    return neap.group(function(g)
      local task = g:spawn(function()
        await(neap.sleep(1))
        return neap.completed("done")
      end)
      local flat = neap.flatten(task)
      await(neap.wait_for(task, 5))
      await(flat)
      return (await(neap.settle(task)))
    end)
  end))

  it("[S57] all and any", survives(3, function()
    return neap.group(function(g)
      local function later(x)
        await(neap.sleep(x))
        return x
      end
      local a, b = g:spawn(later, 1), g:spawn(later, 2)
      local r = await(neap.all{a, b})
      local _, index = await(neap.any{a, b})
      return r[2] + index
    end)
  end))

  it("[S9, S38] cancellation and <close> handlers", survives("cancelled", function()
    return neap.group(function(g)
      local task = g:spawn(function()
        local _ <close> = setmetatable({}, {__close = function()
          neap.shield(function() await(neap.sleep(1)) end)
        end})
        await(neap.sleep(10))
      end)
      await(neap.yield())
      task:cancel("why")
      return (await(neap.settle(task)))
    end)
  end))

  it("[S58] scope, timeout, try_for", survives(true, function()
    neap.scope(function() await(neap.sleep(1)) end)
    neap.timeout(5, function() await(neap.sleep(1)) end)
    local in_time = neap.try_for(1, function() await(neap.sleep(5)) end)
    return not in_time
  end))
end)
