-- The position of a file: seek, and how reads and writes move it.
local h = require "spec.helper"
local support = require "spec.support"
local neap = require "neap"

local await, fs = neap.await, neap.fs

--- A function for `it`: fn(file, path) gets a file with that content, opened in that mode.
local function with_file(content, mode, fn)
  return h.run(function(t)
    local path = os.tmpname()
    local _ <close> = support.closing(function() os.remove(path) end)
    support.spit(path, content)
    local file <close> = await(fs.open(path, mode))
    fn(file, path, t)
  end)
end

local function seek(file, ...) return await(file:seek(...)) end

describe("File:seek", function()
  it("moves to a place from the start, from here and from the end", with_file("0123456789", "r",
    function(file)
      assert.equal(4, seek(file, "set", 4))
      assert.equal("45", await(file:read(2)))
      assert.equal(7, seek(file, "cur", 1))
      assert.equal("7", await(file:read(1)))
      assert.equal(6, seek(file, "cur", -2))
      assert.equal("6", await(file:read(1)))
      assert.equal(7, seek(file, "end", -3))
      assert.equal("789", await(file:read_all()))
      assert.equal(10, seek(file, "end"))
      assert.equal(0, seek(file, "set"))
      assert.equal("0123456789", await(file:read_all()))
    end))

  it("without arguments tells the position, whatever was read ahead", with_file("one\ntwo\nthree",
    "r", function(file)
      assert.equal(0, seek(file))
      assert.equal("one", await(file:read_line()))
      assert.equal(4, seek(file))
      assert.equal(4, seek(file, "cur"))
      assert.equal("two", await(file:read_line()))
      assert.equal(8, seek(file, "cur", 0))
      assert.equal("three", await(file:read_line()))
    end))

  it("goes behind the end, where a write leaves a hole", with_file("ab", "r+", function(file, path)
    assert.equal(5, seek(file, "end", 3))
    assert.is_nil((await(file:read())))
    assert.equal(5, seek(file))
    await(file:write("c"))
    assert.equal("ab\0\0\0c", support.slurp(path))
  end))

  it("to a place before the start fails, and moves nothing", with_file("0123456789", "r",
    function(file)
      await(file:read(3))
      for _, place in ipairs{ { "set", -1 }, { "cur", -4 }, { "end", -11 },
        { "end", math.mininteger }, { "cur", math.maxinteger }, { "end", math.maxinteger } } do
        local err = h.raises("EINVAL", function() seek(file, table.unpack(place)) end)
        assert.equal("lseek", err.syscall)
        assert.equal(file:path(), err.path)
        assert.equal(3, seek(file))
      end
      assert.equal("3", await(file:read(1)))
    end))

  it("raises an argument error for a bad whence or offset", with_file("x", "r", function(file)
    h.bad_argument("seek", 1, function() return file:seek("here") end)
    h.bad_argument("seek", 1, function() return file:seek(5) end)
    h.bad_argument("seek", 2, function() return file:seek("set", "x") end)
    h.bad_argument("seek", 2, function() return file:seek("set", 1.5) end)
  end))

  it("on a closed file fails with ECLOSED", with_file("x", "r", function(file)
    await(file:close())
    for _, whence in ipairs{ "set", "cur", "end" } do
      h.raises("ECLOSED", function() seek(file, whence) end)
    end
  end))

  it("[S71] moves nothing in a cancelled scope", with_file("0123", "r", function(file)
    neap.scope(function(scope)
      scope:cancel("closed")
      for _, whence in ipairs{ "set", "cur", "end" } do
        assert.equal("cancelled", file:seek(whence, 2):status())
      end
    end)
    assert.equal(0, seek(file))
  end))
end)

describe("the position of a file", function()
  it("is one for reads and writes", with_file("0123456789", "r+", function(file, path)
    assert.equal("01", await(file:read(2)))
    await(file:write("ab"))
    assert.equal(4, seek(file))
    assert.equal("45", await(file:read_exactly(2)))
    await(file:write("c"))
    assert.equal("789", await(file:read_all()))
    assert.equal("01ab45c789", support.slurp(path))
  end))

  it("is behind what was appended, as with io", with_file("0123456789", "a+", function(file, path)
    assert.equal("01", await(file:read(2)))
    await(file:write("ab"))
    assert.equal(12, seek(file))
    assert.is_nil((await(file:read())))
    seek(file, "set", 1)
    await(file:write("c"))
    assert.equal(13, seek(file))
    assert.equal("0123456789abc", support.slurp(path))
  end))

  it("is not moved by read_at and write_at", with_file("0123456789", "r+", function(file)
    assert.equal("01", await(file:read(2)))
    assert.equal("789", await(file:read_at(7, 10)))
    await(file:write_at(8, "x"))
    assert.equal(2, seek(file))
    assert.equal("234567x9", await(file:read_all()))
  end))

  it("[C6] is where it was after a read that was cancelled", with_file("0123456789", "r",
    function(file)
      for _ = 1, 5 do
        local read = file:read(3)
        if read:cancel("enough") then h.raises("ECANCELLED", await, read) else seek(file, "set") end
      end
      assert.equal(0, seek(file))
      assert.equal("0123456789", await(file:read_all()))
    end))
end)

describe("what was read ahead", function()
  it("is forgotten when the file is written to at another place", with_file("one\ntwo\nthree\n",
    "r+", function(file)
      assert.equal("one", await(file:read_line()))
      await(file:write_at(4, "TWO"))
      assert.equal("TWO", await(file:read_line()))
    end))

  it("is forgotten when the file is cut off", with_file("one\ntwo\nthree\n", "r+", function(file)
    assert.equal("one", await(file:read_line()))
    await(file:truncate(6))
    assert.equal("tw", await(file:read_all()))
  end))
end)
