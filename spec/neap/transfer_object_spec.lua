-- Objects of neap, and of registered classes, that cross to another thread.
local h = require "spec.helper"
local core = require "neap.core"
local neap = require "neap"

local transfer = core.transfer

describe("objects of neap", function()
  it("[S52] that are errors arrive as errors", h.plain(function()
    local cause = neap.error("ENOENT", "no such file", { path = "/x" })
    local err = neap.error("ECLOSED", "closed", { cause = cause, n = 1, list = { 1 } })
    local copy = transfer({ err })[1]
    assert.is_true(copy ~= err and getmetatable(copy) == getmetatable(err))
    assert.equal(tostring(err), tostring(copy))
    assert.equal("/x", copy.cause.path)
    assert.equal(tostring(cause), tostring(copy.cause))
    assert.same({ 1, 1 }, { copy.n, copy.list[1] })
  end))

  it("[S52] that are errors arrive without the fields that cannot cross", h.plain(function()
    local task = neap.completed()
    local fields = { print, 5, task = task, f = print, [task] = 1, n = 2 }
    local copy = transfer(neap.error("ECANCELLED", "m", fields))
    assert.equal("ECANCELLED: m", tostring(copy))
    assert.is_nil(copy.task)
    assert.is_nil(copy.f)
    assert.equal(2, copy.n)
    assert.is_nil(copy[task])
    assert.same({ nil, 5 }, { copy[1], copy[2] })
  end))

  it("that are Cancelled arrive as tables with their reason", h.run(function()
    local function cancelled(reason)
      local caught
      neap.scope(function(s)
        s:cancel(reason)
        local _, err = pcall(neap.await, neap.yield())
        caught = err
      end)
      return caught
    end
    local copy = transfer(cancelled("why"))
    assert.is_nil(getmetatable(copy))
    assert.is_false(neap.is_cancel(copy))
    assert.same({ reason = "why" }, copy)
    assert.same({ reason = { 1 } }, transfer(cancelled({ 1 })))
    assert.same({}, transfer(cancelled(neap.completed())))
  end))

  it("[S182] that are local variables arrive with the value that they have", h.run(function()
    local var = neap.localvar("default")
    assert.equal("default", transfer(var):get())
    var:set(7)
    local copy, again = transfer(var, { var })
    assert.is_true(copy == again[1] and copy ~= var and getmetatable(copy) == getmetatable(var))
    assert.equal(7, copy:get())
    var:set(nil)
    assert.is_nil(transfer(var):get())
    copy:set(8)
    assert.same({ 8, nil }, { copy:get(), var:get() })
    var:set({ list = { var } })
    copy = transfer(var)
    assert.is_true(copy:get().list[1] == copy)
    var:set({ list = { print } })
    local ok, err = pcall(transfer, var)
    assert.is_false(ok)
    assert.is_truthy(err:find("argument 1.default.list[1]: a C function", 1, true))
  end))
end)

describe("crossing_class", function()
  local Point = { __name = "Point" }
  local made = 0
  core.crossing_class("spec.point", Point, function(p)
    made = made + 1
    return p.bad or transfer({ x = p.x }) -- which writes a message of its own
  end)
  local function point(x) return setmetatable({ x = x, secret = print }, Point) end

  it("makes the copy from what `before` returns", h.plain(function()
    made = 0
    local p = point({ 1 })
    local copy, again = transfer(p, { p })
    assert.is_true(copy == again[1] and getmetatable(copy) == Point)
    assert.same({ 1 }, copy.x)
    assert.is_nil(copy.secret)
    assert.equal(1, made)
  end))

  it("passes errors of `before` on", h.plain(function()
    local ok, err = pcall(transfer, setmetatable({ bad = 1 }, Point))
    assert.is_false(ok)
    assert.is_truthy(err:find("a class that crosses has made a number", 1, true))
  end))
end)
