-- Databases in files: how they are opened, locks of others, and what is full, broken or killed.

local h = require "spec.helper"
local files = require "spec.files"
local program = require "spec.program"
local neap = require "neap"

local await, at = neap.await, files.at
local sqlite = neap.sqlite

local COUNT = "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c WHERE x < ?1) "
  .. "SELECT x FROM c WHERE x <= ?1"

local function open(opts)
  return await(sqlite.open(at("db"), opts))
end

--- A database file with a table t(x) of 1 to n.
local function given(n)
  local db <close> = open()
  await(db:exec("CREATE TABLE t(x)"))
  await(db:exec("INSERT INTO t " .. COUNT, n))
end

local function pragma(db, name)
  local value = await(db:value("PRAGMA " .. name))
  return value
end

describe("a database file", function()
  before_each(files.make)
  after_each(files.remove)

  it("is opened with a write-ahead log, foreign keys and a time limit for locks", h.run(function()
    local db <close> = open()
    assert.same({ "wal", 1, 1 },
      { pragma(db, "journal_mode"), pragma(db, "synchronous"), pragma(db, "foreign_keys") })
    local other <close> = await(sqlite.open(at("other"),
      { wal = false, foreign_keys = false, synchronous = "extra" }))
    assert.same({ "delete", 3, 0 }, { pragma(other, "journal_mode"), pragma(other, "synchronous"),
      pragma(other, "foreign_keys") })
    local third <close> = await(sqlite.open(at("third"), { wal = false }))
    assert.equal(2, pragma(third, "synchronous"))
  end))

  it("keeps what was committed", h.run(function()
    given(10)
    local db <close> = open{ create = false }
    assert.equal(55, await(db:value("SELECT sum(x) FROM t")))
  end))

  it("may be read only", h.run(function()
    given(3)
    local db <close> = open{ readonly = true }
    assert.equal(3, await(db:value("SELECT count(*) FROM t")))
    local err = h.raises("EREADONLY", await, db:exec("DELETE FROM t"))
    assert.equal(at("db"), err.path)
    h.raises("ENOENT", await, sqlite.open(at("nothing"), { readonly = true }))
  end))

  it("is not made where that is not wanted", h.run(function()
    h.raises("ENOENT", await, sqlite.open(at("db"), { create = false }))
    h.raises("EISDIR", await, sqlite.open(at(".")))
  end))

  it("that is none is refused", h.run(function()
    files.given("db", ("this is no database "):rep(100))
    local err = h.raises("ECORRUPT", await, sqlite.open(at("db")))
    assert.equal("SQLITE_NOTADB", err.sqlite_name)
  end))

  it("that is damaged says so, and can be closed", h.run(function()
    given(5000)
    local content = files.slurp("db")
    local middle = 4096 * 2
    files.given("db", content:sub(1, middle) .. ("\255"):rep(#content - middle))
    local db <close> = open()
    h.raises("ECORRUPT", await, db:query("SELECT * FROM t"))
    h.raises("ECORRUPT", function()
      for row in db:rows("SELECT * FROM t") do assert.is_truthy(row) end
    end)
    assert.equal(1, await(db:value("SELECT 1")))
  end))

  it("that is full says so, and keeps what it has", h.run(function()
    given(10)
    local db <close> = open()
    await(db:exec("PRAGMA max_page_count = 4"))
    local err = h.raises("EFULL", await, db:exec("INSERT INTO t SELECT zeroblob(100000)"))
    assert.equal(13, err.sqlite_code)
    h.raises("EFULL", db.transaction, db, function(tx)
      await(tx:exec("INSERT INTO t VALUES(11)"))
      await(tx:exec("INSERT INTO t SELECT zeroblob(100000)"))
    end)
    assert.equal(10, await(db:value("SELECT count(*) FROM t")))
    await(db:exec("INSERT INTO t VALUES(12)"))
  end))

  it("that a process was killed over is as after the last commit", h.run(function()
    given(100)
    local child <close> = await(neap.process.spawn(program.command([[
      neap.run(function()
        local db = await(neap.sqlite.open("]] .. at("db") .. [["))
        await(db:exec("PRAGMA cache_size = 5"))
        await(db:exec("UPDATE t SET x = x + 1"))
        db:transaction(function(tx)
          await(tx:exec("UPDATE t SET x = 0"))
          await(tx:exec("INSERT INTO t SELECT zeroblob(5000) FROM t, (SELECT 1 FROM t LIMIT 20)"))
          print("in the middle")
          await(neap.sleep(1000))
        end)
      end)]], { stdout = "pipe" })))
    assert.equal("in the middle", await(child.stdout:read_line()))
    child:kill("SIGKILL")
    await(child:wait())
    local db <close> = open()
    assert.equal("ok", await(db:value("PRAGMA integrity_check")))
    assert.same({ 100, 5150 }, { await(db:value("SELECT count(*) FROM t")),
      await(db:value("SELECT sum(x) FROM t")) })
    await(db:exec("INSERT INTO t VALUES(1)"))
  end))
end)

describe("a lock of another connection", function()
  before_each(files.make)
  after_each(files.remove)

  --- Calls fn(other) while another connection has a transaction open.
  local function while_locked(fn)
    given(3)
    local other <close> = open{ busy_timeout = 0.001 }
    local db <close> = open()
    local go, held = neap.event(), neap.event()
    local holder = neap.start(function()
      db:transaction(function()
        held:set()
        await(go:wait())
      end)
    end)
    await(held:wait())
    fn(other, go)
    go:set()
    await(holder)
  end

  it("is waited for, up to the time limit", h.run(function()
    while_locked(function(other)
      local err = h.raises("EBUSY", await, other:exec("DELETE FROM t"))
      assert.equal(5, err.sqlite_code & 0xff)
      h.raises("EBUSY", other.transaction, other, print)
      assert.equal(3, await(other:value("SELECT count(*) FROM t"))) -- it may read
    end)
  end))

  it("that is released lets the other one go on", h.run(function()
    while_locked(function(_, go)
      local patient <close> = open{ busy_timeout = 1000 }
      local task = patient:exec("DELETE FROM t")
      await(neap.sleep(0.01))
      assert.is_false(task:is_done())
      go:set()
      assert.equal(3, (await(task)))
    end)
  end))

  it("is no longer waited for when that is cancelled", h.run(function()
    while_locked(function(_, _)
      local patient <close> = open{ busy_timeout = 1000 }
      local task = neap.start(function() await(patient:exec("DELETE FROM t")) end)
      await(neap.sleep(0.01))
      task:cancel()
      await(neap.settle(task))
      assert.equal("cancelled", task:status())
      local other = neap.start(function() patient:transaction(print) end)
      await(neap.sleep(0.01))
      other:cancel()
      await(neap.settle(other))
      assert.equal("cancelled", other:status())
      assert.equal(3, await(patient:value("SELECT count(*) FROM t")))
    end)
  end))

  it("in the way of opening is waited for until that is cancelled", h.run(function()
    local db <close> = open{ wal = false }
    local opening
    db:transaction({ mode = "exclusive" }, function()
      h.raises("EBUSY", await, sqlite.open(at("db"), { busy_timeout = 0.001 }))
      opening = neap.start(function() return open{ busy_timeout = 1000 } end)
      await(neap.sleep(0.01))
      opening:cancel()
      await(neap.settle(opening))
    end)
    assert.equal("cancelled", opening:status())
  end))

  it("of 100 tasks on five connections loses no update", h.run(function()
    given(1)
    local dbs, tasks = {}, {}
    for i = 1, 5 do dbs[i] = open{ busy_timeout = 100 } end
    for i = 1, 100 do
      tasks[i] = neap.start(function()
        dbs[i % 5 + 1]:transaction(function(tx)
          local x = await(tx:value("SELECT x FROM t"))
          await(tx:exec("UPDATE t SET x = ?", x + 1))
        end)
      end)
    end
    await(neap.all(tasks))
    assert.equal(101, await(dbs[1]:value("SELECT x FROM t")))
    for _, db in ipairs(dbs) do await(db:close()) end
  end))
end)
