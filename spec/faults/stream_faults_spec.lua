-- Calls on sockets that fail in an order which a sweep does not come upon.

local h = require "spec.helper"
local faults = require "faults"
local neap = require "neap"

local await, net = neap.await, neap.net

local function connected(server)
  local accepting = server:accept()
  local conn = await(net.connect(server:address()))
  return conn, await(accepting)
end

describe("Conn:write", function()
  after_each(faults.clear)

  it("that waits behind another one, and then goes at once, ends once", h.run(function()
    local server <close> = await(net.listen("127.0.0.1", 0))
    local conn, peer = connected(server)
    -- The first is tried by neap and by libuv, and waits; the second is refused to neap, and then
    -- libuv gets rid of it on the spot.
    faults.set{ call = "writes", nth = 1, times = 2, errno = "EAGAIN" }
    faults.set{ call = "writes", nth = 4, errno = "EAGAIN" }
    local first, second, third = conn:write("a"), conn:write("b"), conn:write("c")
    assert.equal(1, await(first))
    assert.equal(1, await(second))
    assert.equal(1, await(third))
    assert.equal(3, faults.count().delivered)
    assert.equal("abc", await(peer:read_exactly(3)))
    await(conn:close())
    await(peer:close())
  end))
end)

describe("Server:accept", function()
  after_each(faults.clear)

  local MANY = 10000 -- in the end the system recovers, or this spec would not

  for _, errno in ipairs{ "ENFILE", "EMFILE", "ENOMEM", "ENOBUFS" } do
    it("does not hold up the loop while it fails again and again, " .. errno, h.run(function()
      local server <close> = await(net.listen("127.0.0.1", 0))
      faults.set{ call = "accept", times = MANY, errno = errno }
      local accepting = neap.start(function() pcall(await, server:accept()) end)
      local connecting = net.connect(server:address())
      await(neap.sleep(1))
      local delivered = faults.count().delivered
      faults.clear()
      assert.is_true(delivered > 0 and delivered < MANY // 10, delivered .. " times, no pause")
      await(neap.settle(connecting))
      accepting:cancel()
      local conn, peer = connected(server)
      await(conn:close())
      await(peer:close())
    end))
  end
end)
