-- Readers: connections for queries beside the one that writes.

local h = require "spec.helper"
local files = require "spec.files"
local support = require "spec.support"
local neap = require "neap"

local await, at = neap.await, files.at
local sqlite = neap.sqlite

local COUNT = "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c WHERE x < ?1) "
  .. "SELECT x FROM c WHERE x <= ?1"
local STUCK = "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) "
  .. "SELECT x FROM c WHERE x < 0"

local function open(opts)
  return await(sqlite.open(at("db"), opts))
end

--- A database file with a table t(x) of 1 to n.
local function given(n)
  local db <close> = open()
  await(db:exec("CREATE TABLE t(x)"))
  await(db:exec("INSERT INTO t " .. COUNT, n))
end

describe("readers", function()
  before_each(files.make)
  after_each(files.remove)

  it("read while a query runs, and while a transaction is open", h.run(function()
    given(3)
    local db <close> = open{ readers = 2 }
    local stuck = db:query(STUCK)
    assert.equal(3, await(db:value("SELECT count(*) FROM t")))
    local inside, outside
    local held, go = neap.event(), neap.event()
    local writer = neap.start(function()
      db:transaction(function(tx)
        await(tx:exec("DELETE FROM t"))
        inside = await(db:value("SELECT count(*) FROM t"))
        held:set()
        await(go:wait())
      end)
    end)
    await(held:wait())
    outside = await(db:value("SELECT count(*) FROM t"))
    go:set()
    await(writer)
    assert.same({ 0, 3, 0 }, { inside, outside, await(db:value("SELECT count(*) FROM t")) })
    stuck:cancel()
    await(neap.settle(stuck))
  end))

  it("see what was written before", h.run(function()
    given(0)
    local db <close> = open{ readers = 4 }
    for i = 1, 50 do
      await(db:exec("INSERT INTO t VALUES(?)", i))
      assert.equal(i, await(db:value("SELECT count(*) FROM t")))
    end
  end))

  it("leave to the writer what turns out to write, or to be no query", h.run(function()
    given(0)
    local db <close> = open{ readers = 2 }
    assert.equal(7, await(db:value("INSERT INTO t VALUES(7) RETURNING x")))
    await(db:query("CREATE TEMP TABLE mine(x)"))
    assert.equal("mine", await(db:value("INSERT INTO mine VALUES('mine') RETURNING x")))
    assert.equal("mine", await(db:value("SELECT x FROM mine")))
    for row in db:rows("SELECT x FROM mine") do assert.equal("mine", row.x) end
    h.raises("ESQL", await, db:value("SELECT x FROM yours"))
    h.raises("ESQL", db:rows("SELECT x FROM yours"))
    for row in db:rows("UPDATE t SET x = x + 1 RETURNING x") do assert.equal(8, row.x) end
    await(db:query("BEGIN"))
    await(db:exec("DELETE FROM t"))
    await(db:query("ROLLBACK"))
    assert.equal(8, await(db:value("SELECT x FROM t")))
  end))

  it("leave it even while others wait for the writer, or it is cancelled", h.run(function()
    given(1)
    local db <close> = open{ readers = 2 }
    local go, held = neap.event(), neap.event()
    local writer = neap.start(function()
      db:transaction(function()
        held:set()
        await(go:wait())
      end)
    end)
    await(held:wait())
    local kept = db:value("INSERT INTO t VALUES(2) RETURNING x")
    local dropped = db:value("INSERT INTO t VALUES(3) RETURNING x")
    await(neap.sleep(0.1))
    assert.is_true(dropped:cancel())
    assert.equal("cancelled", dropped:status())
    go:set()
    assert.equal(2, await(kept))
    await(writer)
    assert.equal(2, await(db:value("SELECT count(*) FROM t")))
  end))

  it("keep a snapshot for the rows of a loop, which others do not disturb", h.run(function()
    given(2000)
    local db <close> = open{ readers = 1 }
    local n = 0
    for _ in db:rows("SELECT x FROM t") do
      n = n + 1
      if n % 500 == 1 then
        await(db:exec("DELETE FROM t WHERE x % 2 = 0"))
        assert.equal(1000, await(db:value("SELECT count(*) FROM t")))
      end
    end
    assert.equal(2000, n)
  end))

  it("are as many as there are loops", h.run(function()
    given(600)
    local db <close> = open{ readers = 2 }
    local loops, sum = {}, 0
    for i = 1, 6 do
      loops[i] = db:rows("SELECT x FROM t")
      sum = sum + loops[i]().x
    end
    for _, rows in ipairs(loops) do
      for row in rows do sum = sum + row.x end
    end
    assert.equal(6 * 300 * 601, sum)
  end))

  it("stop when they are cancelled, alone", h.run(function()
    given(3)
    local db <close> = open{ readers = 2 }
    local one, two = db:query(STUCK), db:query(STUCK)
    local queued = db:query(STUCK)
    await(neap.sleep(0.01))
    queued:cancel()
    one:cancel()
    await(neap.settle(one))
    assert.equal(3, await(db:value("SELECT count(*) FROM t")))
    two:cancel()
    await(neap.settle(two))
    assert.same({ "cancelled", "cancelled", "cancelled" },
      { one:status(), two:status(), queued:status() })
  end))

  it("end before their database has closed", h.run(function()
    given(1000)
    local before = support.open_descriptors()
    local db = open{ readers = 3 }
    local tasks = {}
    for i = 1, 20 do tasks[i] = db:query("SELECT * FROM t") end
    local rows = db:rows("SELECT * FROM t")
    rows()
    await(db:close())
    assert.equal(before, support.open_descriptors())
    for i = 1, 20 do assert.equal(1000, #await(tasks[i])) end
    h.raises("ECLOSED", function() for _ in rows do end end)
  end))

  it("may be given up while they open", h.run(function()
    given(1)
    for _ = 1, 10 do
      local db = open{ readers = 2 }
      db:query("SELECT 1"):cancel()
      local rows = db:rows("SELECT * FROM t")
      local task = neap.start(rows)
      task:cancel()
      await(neap.settle(task))
      rows:close()
      await(db:close())
    end
  end))
end)
