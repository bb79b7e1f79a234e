-- What makes system calls fail, itself (tools/faults): otherwise the specs that use it would prove
-- nothing.

local h = require "spec.helper"
local faults = require "faults"
local neap = require "neap"
local support = require "spec.support"

local await, fs = neap.await, neap.fs

local path

local function given(content)
  path = os.tmpname()
  support.spit(path, content)
end

local function clean_up()
  faults.clear()
  os.remove(path)
end

local function read() return await(fs.read_file(path)) end

--- Opens, writes and closes, all in the pool.
local function write()
  await(fs.write_file(path, "content"))
  assert.equal("content", support.slurp(path))
end

describe("the faults", function()
  before_each(function() given("content") end)
  after_each(clean_up)

  it("let everything pass until they are set", h.run(function()
    write()
    assert.equal(0, faults.count().seen)
  end))

  it("strike the n-th call of a name, and no other", h.run(function()
    faults.set{ call = "open", nth = 2, errno = "EMFILE" }
    write()
    local err = h.raises("EMFILE", write)
    assert.equal("open", err.syscall)
    write()
    local count = faults.count()
    assert.equal(3, count.calls.open)
    assert.equal(1, count.delivered)
    assert.equal(1, count.faults.open)
    assert.equal("open", count.last)
  end))

  it("strike as many times as they are told", h.run(function()
    faults.set{ call = "open", times = 2, errno = "ENFILE" }
    h.raises("ENFILE", write)
    h.raises("ENFILE", write)
    write()
  end))

  it("see each call by each rule", h.run(function()
    faults.set{ call = "open", nth = 1, errno = "EMFILE" }
    faults.set{ call = "open", nth = 2, errno = "EIO" }
    h.raises("EMFILE", write)
    h.raises("EIO", write)
    write()
  end))

  it("of any call strike those that may fail so", h.run(function()
    faults.set{ call = "any", nth = 1, errno = "EMFILE" }
    assert.equal("open", h.raises("EMFILE", write).syscall)
    faults.clear()
    faults.set{ call = "any", nth = 2, errno = "EMFILE" }
    write()
    assert.equal(0, faults.count().delivered)
  end))

  it("shorten what is read and written", h.run(function()
    faults.set{ call = "reads", short = 2, times = math.huge }
    assert.equal("content", read())
    assert.is_true(faults.count().delivered >= 3)
    faults.clear()
    faults.set{ call = "writes", short = 1, times = math.huge }
    await(fs.write_file(path, "abc"))
    assert.equal(3, faults.count().calls.write)
    assert.equal("abc", support.slurp(path))
  end))

  it("end when they are cleared", h.run(function()
    faults.set{ call = "open", times = math.huge, errno = "EIO" }
    h.raises("EIO", write)
    faults.clear()
    write()
    assert.equal(0, faults.count().delivered)
  end))

  it("leave Lua's own io alone", h.run(function()
    for _, call in ipairs{ "open", "reads", "writes", "close" } do
      faults.set{ call = call, times = math.huge, errno = "EIO" }
    end
    support.spit(path, "other")
    assert.equal("other", support.slurp(path))
    assert.equal(0, faults.count().seen)
  end))

  it("are drawn from a seed, and do no harm", h.run(function()
    local content = ("0123456789"):rep(10000)
    local function counts(seed)
      faults.clear()
      faults.random(seed, { short = 0.5, EINTR = 0.3, EAGAIN = 0.3 })
      for _ = 1, 3 do
        await(fs.write_file(path, content))
        assert.is_true(read() == content)
      end
      local count = faults.count()
      assert.is_true(count.delivered > 0)
      return { write = count.calls.write, open = count.calls.open, struck = count.faults.write }
    end
    assert.same(counts(7), counts(7))
    assert.not_same(counts(7), counts(8))
  end))

  it("raise an error for names that they do not know", function()
    assert.has_error(function() faults.set{ call = "raed", errno = "EIO" } end)
    assert.has_error(function() faults.set{ call = "read", errno = "EOI" } end)
    assert.has_error(function() faults.set{ call = "read" } end)
    assert.has_error(function() faults.set{ call = "read", errno = "EIO", short = 1 } end)
  end)

  it("cannot be had where they would never strike", function()
    local output, how, code = h.process([[require "faults"]])
    assert.same({ "exit", 1 }, { how, code })
    assert.is_truthy(output:find("faults.so is not preloaded", 1, true), output)
  end)
end)
