-- Files of a database whose system calls fail: a disk that is full, or broken.

local h = require "spec.helper"
local faults = require "faults"
local files = require "spec.files"
local neap = require "neap"

local await, at = neap.await, files.at
local sqlite = neap.sqlite

--- The sum that was committed; with it the file is whole.
local function check(expected)
  local db <close> = await(sqlite.open(at("db"), { synchronous = "off" }))
  assert.equal("ok", await(db:value("PRAGMA integrity_check")))
  assert.is_truthy(expected[await(db:value("SELECT total(x) FROM t"))])
end

local function given()
  local db <close> = await(sqlite.open(at("db"), { synchronous = "off" }))
  await(db:exec("CREATE TABLE t(x); INSERT INTO t VALUES(1)"))
end

--- An insert of two rows in a transaction; what it raises, if it does.
local function write()
  local ok, err = pcall(function()
    local db <close> = await(sqlite.open(at("db"), { busy_timeout = 0.01 }))
    db:transaction(function(tx)
      await(tx:exec("INSERT INTO t VALUES(2)"))
      await(tx:exec("INSERT INTO t SELECT zeroblob(100000)"))
      await(tx:exec("UPDATE t SET x = 2 WHERE x > 2"))
    end)
  end)
  return not ok and err or nil
end

describe("a disk that", function()
  before_each(files.make)
  after_each(function()
    faults.clear()
    files.remove()
  end)

  --- Lets each call of a name fail in turn; each time all or nothing is stored.
  local function sweep(call, errno, codes)
    local is_over, failures = false, 0
    for n = 1, 200 do
      given()
      faults.set{ call = call, nth = n, errno = errno, times = 1000 }
      local err = write()
      is_over = faults.count().delivered == 0
      faults.clear()
      if err then
        assert.is_truthy(codes[err.code], tostring(err))
        failures = failures + 1
      end
      check{ [1] = err ~= nil, [5] = true } -- an error at the very end may come after the last byte
      for _, suffix in ipairs{ "", "-wal", "-shm" } do os.remove(at("db") .. suffix) end
      if is_over then break end
    end
    assert.is_true(is_over and failures > 0)
  end

  it("is full fails with EFULL, and keeps what was committed", h.run(function()
    sweep("pwrite", "ENOSPC", { EFULL = true, EIO = true })
  end))

  it("is broken fails with EIO when it is written", h.run(function()
    sweep("pwrite", "EIO", { EIO = true, EFULL = true })
  end))

  it("is broken fails with EIO when it is read", h.run(function()
    sweep("pread", "EIO", { EIO = true, ECORRUPT = true })
  end))

  it("cannot be opened says why", h.run(function()
    given()
    faults.set{ call = "open", errno = "EMFILE", times = 100 }
    local err = write()
    assert.is_truthy(faults.count().delivered > 0)
    assert.equal("EMFILE", err.code)
    faults.clear()
    assert.is_nil(write())
  end))

  it("is interrupted does not fail", h.run(function()
    given()
    for _, call in ipairs{ "open", "pread", "pwrite" } do
      faults.set{ call = call, errno = "EINTR" }
    end
    assert.is_nil(write())
  end))
end)
