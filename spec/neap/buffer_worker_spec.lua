-- Buffers that go to other threads and come back.
local h = require "spec.helper"
local neap = require "neap"

local await, buffer, worker = neap.await, neap.buffer, neap.worker

describe("a Buffer as an argument of worker.run", function()
  it("moves there and back when it is writable", h.run(function()
    local buf = buffer(100000)
    local slice = buf:slice(2)
    local working = worker.run(function(b)
      for place = 1, #b, 4 do b:pack(place, "<I4", place) end
      return b
    end, buf)
    h.misuse(function() return #buf end)
    h.misuse(function() slice:set(1, "x") end)
    local result = await(working)
    assert.equal(99997, (result:unpack("<I4", 99997)))
    assert.is_true(result:is_writable())
    h.misuse(function() return #buf end)
  end))

  it("is shared by many when it is immutable", h.run(function()
    local buf = buffer(("0123456789"):rep(10000) .. "end")
    local tasks = {}
    for i = 1, 16 do
      tasks[i] = worker.run(function(b, n)
        assert(b:find("end") == 100001 and #b:string() == 100003)
        return b:slice(n, n + 9)
      end, buf, i)
    end
    for i, task in ipairs(tasks) do
      assert.equal(("0123456789"):rep(3):sub(i % 10 == 0 and 10 or i % 10):sub(1, 10),
        await(task):string())
    end
    assert.equal("end", buf:sub(-3))
  end))

  it("is frozen there and read by both", h.run(function()
    local result = await(worker.run(function(b)
      kept = b:fill(97):freeze() -- luacheck: ignore 111
      return b
    end, buffer(10)))
    assert.equal("aaaaaaaaaa", result:string())
    h.misuse(function() result:set(1, "x") end)
  end))

  it("stays where it is when another argument cannot go", h.run(function()
    local buf = buffer(10)
    h.bad_argument("run", 3, function() return worker.run(function() end, buf, print) end)
    assert.equal(10, #buf:fill(1))
  end))

  it("is an upvalue as well", h.run(function()
    local buf, fixed = buffer(3), buffer("abc")
    local other = await(worker.run(function() return buf:fill(98), fixed end))
    assert.equal("bbb", other:string())
    assert.equal("abc", fixed:string())
    h.misuse(function() return #buf end)
  end))

  it("goes with a job that is cancelled, or fails", h.run(function()
    local buf = buffer(1000000)
    worker.run(function(b) return b end, buf):cancel("enough")
    h.misuse(function() return #buf end)
    buf = buffer(1000000)
    assert.is_false(pcall(await, worker.run(function(b) b:fill(1) error("no") end, buf)))
    h.misuse(function() return #buf end)
  end))
end)

describe("a Buffer as an item of a channel between threads", function()
  it("moves, or is shared", h.run(function()
    local there, back = worker.channel(1), worker.channel(1)
    local working = worker.with{ loop = true }.run(function(receiving, sending)
      local thread = require "neap"
      for fixed, buf in receiving do
        thread.await(sending:send(buf:set(1, fixed) == 4 and buf))
      end
      sending:close()
    end, there, back)
    local fixed, buf = buffer("abc"), buffer(10)
    for _ = 1, 20 do
      local former = buf
      await(there:send(fixed, buf:fill(0)))
      h.misuse(function() return #former end)
      local _, received = await(back:recv())
      buf = received
      assert.equal("abc\0\0\0\0\0\0\0", buf:string())
    end
    there:close()
    await(working)
  end))

  it("stays where try_send finds no room", h.run(function()
    local ch = worker.channel(1)
    local buf = buffer(3)
    assert.is_true(ch:try_send("full"))
    assert.is_false((ch:try_send(buf)))
    assert.equal(3, #buf:fill(1))
    ch:close()
  end))
end)
