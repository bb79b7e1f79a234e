-- Calls on files that fail in an order which a sweep does not come upon.

local h = require "spec.helper"
local faults = require "faults"
local neap = require "neap"
local support = require "spec.support"

local await, fs = neap.await, neap.fs

describe("File:close", function()
  local path

  before_each(function()
    path = os.tmpname()
    support.spit(path, "content")
  end)

  after_each(function()
    faults.clear()
    os.remove(path)
  end)

  it("is done when a read in the pool has ended and the descriptor is closed", h.run(function()
    local before = support.open_descriptors()
    local file = await(fs.open(path))
    faults.set{ call = "preadv2_nowait", errno = "EAGAIN" } -- it is not in the page cache
    local read = file:read()
    await(file:close())
    assert.equal(1, faults.count().delivered)
    assert.equal(before, support.open_descriptors())
    h.raises("ECLOSED", await, read)
  end))
end)
