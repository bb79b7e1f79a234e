-- Cancellers whose time is over, and tokens that nobody holds.
local h = require "spec.helper"
local support = require "spec.support"
local neap = require "neap"
local core = require "neap.core"

local await = neap.await

--- A function that notes the name.
local function notes(t, name)
  return function() t:note(name) end
end

local function collect()
  collectgarbage()
  collectgarbage()
end

describe("a token that nobody holds", function()
  it("is collected though its callback holds it", h.plain(function()
    local weak = setmetatable({}, { __mode = "v" })
    local function forget()
      local src = neap.canceller()
      local token = src.token
      local reg
      reg = token:register(function() return src, token, reg end)
      weak.src, weak.token, weak.reg = src, token, reg
    end
    forget()
    collect()
    assert.same({}, weak)
  end))

  it("lets its callbacks be collected when they have run", h.plain(function(t)
    local weak = setmetatable({}, { __mode = "v" })
    local src = neap.canceller()
    local function register()
      local big = { "big" }
      weak.big = big
      src.token:register(function() t:note(big[1]) end)
    end
    register()
    collect()
    assert.is_table(weak.big)
    src:cancel()
    collect()
    assert.is_nil(weak.big)
    assert.equal("big", t:logged())
  end))

  it("may be dropped and collected inside its own callback", h.plain(function(t)
    local holder = { src = neap.canceller() }
    local token = holder.src.token
    token:register(notes(t, "first"))
    token:register(function()
      holder.src, token = nil, nil
      collect()
      t:note("second")
    end)
    holder.src:cancel()
    assert.equal("second first", t:logged())
  end))
end)

describe("cancel_after", function()
  it("[S94] replaces the earlier one: cancels once, at t = 1", h.run(function(t)
    local src = neap.canceller()
    src.token:register(function(reason) t:note(("%s at %g"):format(reason, neap.now())) end)
    src:cancel_after(5)
    src:cancel_after(1)
    await(neap.sleep(0.5))
    assert.is_false(src.token.cancelled)
    await(neap.sleep(9.5))
    assert.equal("timeout at 1", t:logged())
    assert.equal("timeout", src.token.reason)
    assert.is_false(src:cancel())
  end))

  it("[S94] with math.huge disarms, and may be armed again", h.run(function()
    local src = neap.canceller()
    src:cancel_after(1)
    src:cancel_after(math.huge)
    assert.equal(0, core.stats().timers)
    await(neap.sleep(2))
    assert.is_false(src.token.cancelled)
    src:cancel_after(1)
    await(neap.sleep(2))
    assert.is_true(src.token.cancelled)
  end))

  it("[S94] puts off as well as forward", h.run(function()
    local src = neap.canceller()
    src:cancel_after(1)
    src:cancel_after(5)
    await(neap.sleep(4))
    assert.is_false(src.token.cancelled)
    await(neap.sleep(2))
    assert.is_true(src.token.cancelled)
  end))

  it("of 0 seconds cancels soon, not inside the call", h.run(function()
    local src = neap.canceller()
    src:cancel_after(0)
    assert.is_false(src.token.cancelled)
    support.takes(0, function() await(neap.sleep(0)) await(neap.yield()) end)
    assert.is_true(src.token.cancelled)
  end))

  it("[S144] leaves no timer after cancel, and does nothing then", h.run(function()
    local src = neap.canceller()
    src:cancel_after(5)
    assert.is_true(src:cancel("first"))
    assert.equal(0, core.stats().timers)
    src:cancel_after(1)
    assert.equal(0, core.stats().timers)
    await(neap.sleep(2))
    assert.equal("first", src.token.reason)
  end))

  it("[S142] rejects durations that are none", h.run(function()
    local src = neap.canceller()
    for _, seconds in ipairs({ -1, 0 / 0, "soon", {} }) do
      h.bad_argument("cancel_after", 1, function() src:cancel_after(seconds) end)
    end
    h.bad_argument("cancel_after", 1, function() src:cancel_after() end)
    src:cancel()
    h.bad_argument("cancel_after", 1, function() src:cancel_after(-1) end)
  end))

  it("cancels though only the token is held", h.run(function(t)
    local function token_of(seconds)
      local src = neap.canceller()
      src:cancel_after(seconds)
      return src.token
    end
    local token = token_of(3)
    token:register(notes(t, "cancelled"))
    collect()
    await(neap.sleep(4))
    assert.is_true(token.cancelled)
    assert.equal("cancelled", t:logged())
  end))

  it("does not keep a run going", h.plain(function(t)
    local src = neap.canceller()
    neap.run({ clock = t.clock }, function() src:cancel_after(100) end)
    assert.equal(0, t.clock:now())
    assert.is_false(src.token.cancelled)
    src:cancel_after(math.huge)
  end))

  it("[S250] that is armed makes a wait for its callback no deadlock", h.run(function()
    local src, c = neap.canceller(), neap.completion()
    src.token:register(function(reason) c:resolve(reason) end)
    src:cancel_after(7)
    support.takes(7, function() assert.equal("timeout", await(c.task)) end)
  end))
end)
