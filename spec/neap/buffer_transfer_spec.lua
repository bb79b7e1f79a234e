-- Buffers that cross to another Lua state: here to the same one, by way of a message. Threads are
-- in buffer_worker_spec.lua and bindings/test/test_buffer.c.
local h = require "spec.helper"
local wires = require "spec.wires"
local core = require "neap.core"
local neap = require "neap"

local buffer, transfer = neap.buffer, core.transfer

local function refused(text, ...)
  local ok, err = pcall(transfer, ...)
  assert.is_false(ok)
  assert.matches(text, tostring(err), 1, true)
end

local function moved(buf)
  return h.misuse(function() return #buf end).message:find("has moved to another thread", 1, true)
end

describe("an immutable Buffer that crosses", function()
  it("stays, and arrives as another one", h.plain(function()
    local buf = buffer("abc")
    local copy = transfer(buf)
    assert.is_false(rawequal(copy, buf))
    assert.equal("abc", copy:string())
    assert.is_false(copy:is_writable())
    assert.equal("abc", buf:string())
    buf:close()
    assert.equal("abc", copy:string())
  end))

  it("is not copied", h.plain(function()
    local size = 256 * 1024 * 1024
    local buf = buffer(size):freeze() -- its pages are not there as long as nobody touches them
    local copies = {}
    for i = 1, 1000 do copies[i] = transfer(buf) end
    assert.equal(size, #copies[1000])
    assert.equal("\0", copies[1000]:sub(-1))
  end))

  it("may be a slice, be there twice, and be in tables", h.plain(function()
    local buf = buffer("abcdef")
    local a, list = transfer(buf:slice(2, 3), { buf, buf, deep = { buf:slice(4) } })
    assert.equal("bc", a:string())
    assert.equal("abcdef", list[1]:string())
    assert.is_true(rawequal(list[1], list[2]))
    assert.equal("def", list.deep[1]:string())
  end))

  it("is what freeze has made of a writable one", h.plain(function()
    local buf = buffer(3)
    local slice = buf:slice(2)
    buf:set(1, "abc")
    local copy = transfer(buf:freeze())
    assert.equal("abc", copy:string())
    assert.equal("bc", slice:string())
    h.misuse(function() copy:set(1, "x") end)
  end))
end)

describe("a writable Buffer that crosses", function()
  it("moves: the sender and all slices have nothing any more", h.plain(function()
    local buf = buffer(6):fill(97)
    local slice = buf:slice(2, 3)
    local other = transfer(buf)
    assert.equal("aaaaaa", other:string())
    assert.is_true(other:is_writable())
    other:fill(98)
    for _, view in ipairs{ buf, slice } do
      assert.is_truthy(moved(view))
      assert.equal("neap.Buffer: moved to another thread", tostring(view))
      assert.is_false(view == other)
      for name, arguments in pairs{
        sub = { 1 }, string = {}, byte = {}, find = { "a" }, slice = {}, unpack = { "b" },
        set = { 1, "a" }, pack = { 1, "b", 1 }, fill = { 0 }, freeze = {}, is_writable = {},
      } do
        local err = h.misuse(function() view[name](view, table.unpack(arguments)) end)
        assert.matches("has moved to another thread", err.message, 1, true)
      end
      view:close()
      assert.equal("neap.Buffer: closed", tostring(view))
    end
    assert.equal("bbbbbb", other:string())
  end))

  it("takes all of the block away, whichever slice was sent", h.plain(function()
    local buf = buffer(6):fill(97)
    local slice = buf:slice(2, 3)
    local other = transfer(slice)
    assert.equal("aa", other:string())
    assert.is_truthy(moved(buf))
    assert.equal("aa", other:freeze():string())
  end))

  it("moves on, and back", h.plain(function()
    local buf = buffer(1):fill(97)
    for _ = 1, 100 do
      local former = buf
      buf = transfer(buf)
      assert.is_truthy(moved(former))
    end
    assert.equal("a", buf:string())
  end))

  it("is one object where it is there twice", h.plain(function()
    local buf = buffer(1)
    local a, b = transfer(buf, { buf })
    assert.is_true(rawequal(a, b[1]))
  end))

  it("stays when a slice of it is in the same message", h.plain(function()
    local buf = buffer(6)
    refused("another slice of this writable buffer is in the same message", buf, buf:slice(1, 3))
    assert.equal(6, #buf)
    buf:freeze()
  end))

  it("stays when something else cannot cross", h.plain(function()
    local buf = buffer(6)
    local slice = buf:slice(2)
    refused("argument 2", buf, coroutine.create(print))
    buf:fill(1)
    assert.equal(6, #transfer(buf))
    assert.is_truthy(moved(slice))
  end))

  it("cannot cross while a read into it is under way", wires.with_pair("TCP", function(conn, peer)
    local buf = buffer(6)
    local slice = buf:slice(2)
    local reading = conn:read_into(slice)
    refused("a read into the buffer is under way", buf)
    refused("a read into the buffer is under way", slice)
    neap.await(peer:write("abc"))
    neap.await(reading)
    reading = conn:read_into(buf)
    reading:cancel("enough")
    assert.equal("\0abc\0\0", transfer(buf):string())
  end))
end)

describe("a Buffer that cannot cross", function()
  it("is one that is closed or has moved", h.plain(function()
    local buf = buffer(1)
    transfer(buf)
    refused("the buffer has moved to another thread", buf)
    buf:close()
    refused("the buffer is closed", { buf })
    assert.is_false(pcall(transfer, buf))
  end))

  it("leaves no operation behind that it was given to", wires.with_pair("TCP", function(conn)
    local buf = buffer(1)
    transfer(buf)
    h.misuse(function() return conn:read_into(buf) end)
    h.misuse(function() return conn:write("a", buf) end)
    h.misuse(function() return neap.fs.write_file("/nowhere", buf) end)
  end))
end)

-- A class whose tables are made ready for their journey by a function, which may do anything.
local class = { __index = {} }
local meanwhile
core.crossing_class("spec.buffer_traveller", class, function(self)
  meanwhile(self)
  return {}
end)

describe("while a writable Buffer leaves", function()
  local function travel(fn, ...)
    meanwhile = fn
    return transfer(...)
  end

  it("nothing can be begun that its leaving could not wait for", wires.with_pair("TCP",
    function(conn)
      local buf = buffer(3)
      local other = travel(function()
        h.misuse(function() buf:freeze() end)
        h.misuse(function() return conn:read_into(buf) end)
        assert.is_false(pcall(transfer, buf))
        buf:set(1, "abc")
        buf:close()
      end, buf, setmetatable({}, class))
      assert.equal("abc", other:string())
      assert.is_truthy(moved(buf))
    end))

  it("a failure leaves it as it was", h.plain(function()
    local buf = buffer(3)
    local ok = pcall(travel, function() error("on the way") end, buf, setmetatable({}, class))
    assert.is_false(ok)
    collectgarbage() -- the message of the failure
    buf:freeze()
    assert.equal(3, #transfer(buf))
  end))

  it("an immutable one may be closed", h.plain(function()
    local buf = buffer("abc")
    local other = travel(function() buf:close() end, buf, setmetatable({}, class))
    assert.equal("abc", other:string())
  end))
end)

describe("Buffers that cross", function()
  it("survive failing allocations, or stay", h.plain(function()
    local fixed, kept = buffer("abc"), buffer(3)
    h.each_failure(function()
      local buf = buffer(3)
      local a, b, c = transfer(fixed, buf, { fixed:slice(2) })
      assert(a:string() == "abc" and #b == 3 and c[1]:string() == "bc")
    end)
    collectgarbage()
    assert.equal(3, #transfer(kept))
    assert.equal("abc", fixed:string())
  end))

  it("go to nobody when their message is collected", h.plain(function()
    for _ = 1, 100 do
      pcall(transfer, buffer(10), buffer("x"), coroutine.create(print))
    end
  end))
end)
