-- Debug hooks: a task's hook is its own, though its coroutine is used again.

local h = require "spec.helper"
local neap = require "neap"
local await = neap.await

describe("a hook set in a task", function()
  it("ends with the task", h.run(function()
    local hooked
    await(neap.start(function()
      hooked = coroutine.running()
      debug.sethook(function() end, "", 1000000)
    end))
    local again
    for _ = 1, 300 do
      await(neap.start(function()
        if coroutine.running() == hooked then again = debug.gethook() or "none" end
      end))
    end
    assert.equal("none", again)
  end))
end)
