-- Transactions: whose they are, and that they end well or not at all.

local h = require "spec.helper"
local neap = require "neap"

local await = neap.await
local sqlite = neap.sqlite

--- fn(db, context) with a database that has a table t(x).
local function with_db(fn)
  return h.run(function(t)
    local db <close> = await(sqlite.open(":memory:"))
    await(db:exec("CREATE TABLE t(x)"))
    fn(db, t)
  end)
end

local function insert(db, x)
  await(db:exec("INSERT INTO t VALUES(?)", x))
end

--- The values in t, in the order in which they were stored: "1 2 3".
local function stored(db)
  local list = {}
  for i, row in ipairs(await(db:query("SELECT x FROM t ORDER BY rowid"))) do list[i] = row.x end
  return table.concat(list, " ")
end

describe("db:transaction", function()
  it("commits, and returns what its function returns", with_db(function(db)
    local results = table.pack(db:transaction(function(tx, ...)
      insert(tx, 1)
      assert.equal("neap.Transaction", tostring(tx))
      return nil, select("#", ...), nil
    end, "a", nil))
    assert.same({ nil, 2, nil, n = 3 }, results)
    assert.equal("1", stored(db))
  end))

  it("rolls back and raises the error as it was", with_db(function(db)
    local err = {}
    local ok, raised = pcall(db.transaction, db, function(tx)
      insert(tx, 1)
      error(err)
    end)
    assert.is_true(not ok and raised == err)
    assert.equal("", stored(db))
    insert(db, 2)
    assert.equal("2", stored(db))
  end))

  it("rolls back when a statement in it has failed and nobody caught it", with_db(function(db)
    h.raises("ESQL", db.transaction, db, function(tx)
      insert(tx, 1)
      await(tx:exec("SELECT nothing"))
    end)
    assert.equal("", stored(db))
  end))

  it("commits when the error was caught", with_db(function(db)
    db:transaction(function(tx)
      insert(tx, 1)
      h.raises("ESQL", await, tx:exec("SELECT nothing"))
    end)
    assert.equal("1", stored(db))
  end))

  it("takes a mode, and checks its arguments", with_db(function(db)
    for _, mode in ipairs{ "deferred", "immediate", "exclusive" } do
      assert.equal(mode, db:transaction({ mode = mode }, function() return mode end))
    end
    db:transaction({}, insert, 3)
    assert.equal("3", stored(db))
    h.bad_argument("transaction", 1, function() db:transaction({ mode = "x" }, print) end)
    h.bad_argument("transaction", 1, function() db:transaction(1, print) end)
    h.bad_argument("transaction", 2, function() db:transaction({}) end)
  end))

  it("fails at its end where a deferred constraint is broken, and is undone", with_db(function(db)
    await(db:exec [[CREATE TABLE p(id INTEGER PRIMARY KEY);
      CREATE TABLE c(p REFERENCES p(id) DEFERRABLE INITIALLY DEFERRED)]])
    h.raises("ECONSTRAINT", db.transaction, db, function(tx)
      insert(tx, 1)
      await(tx:exec("INSERT INTO c VALUES(5)"))
    end)
    assert.equal("", stored(db))
    db:transaction(function(tx) insert(tx, 2) end)
    assert.equal("2", stored(db))
  end))

  it("is what runs in its function, by whatever name the database is called", with_db(function(db)
    pcall(db.transaction, db, function()
      insert(db, 1)
      await(neap.all{ neap.start(insert, db, 2), neap.start(function() insert(db, 3) end) })
      assert.equal("1 2 3", stored(db))
      error("undo")
    end)
    assert.equal("", stored(db))
  end))

  it("keeps the requests of others waiting, in their order", with_db(function(db)
    local go = neap.event()
    local tx = neap.start(function()
      db:transaction(function(tx)
        insert(tx, 1)
        await(go:wait())
        insert(tx, 2)
      end)
    end)
    local others = { db:exec("INSERT INTO t VALUES(3)"), db:value("SELECT count(*) FROM t"),
      db:exec("INSERT INTO t VALUES(4)") }
    await(neap.sleep(1))
    for _, other in ipairs(others) do assert.is_false(other:is_done()) end
    go:set()
    assert.equal(3, await(others[2]))
    await(neap.all(others))
    await(tx)
    assert.equal("1 2 3 4", stored(db))
  end))

  it("waits for one that is open, and for what was asked before it", with_db(function(db)
    local tasks = {}
    for i = 1, 9 do
      tasks[i] = neap.start(i % 3 == 0 and insert or function()
        db:transaction(function()
          insert(db, i)
          await(neap.sleep(0.1))
          insert(db, i)
        end)
      end, db, i)
    end
    await(neap.all(tasks))
    assert.equal("1 1 2 2 3 4 4 5 5 6 7 7 8 8 9", stored(db))
  end))

  it("of 100 tasks that read and write leaves the right totals", with_db(function(db)
    await(db:exec [[CREATE TABLE account(id INTEGER PRIMARY KEY, n);
      INSERT INTO account VALUES(1, 0)]])
    local function add()
      for _ = 1, 5 do
        db:transaction(function(tx)
          local n = await(tx:value("SELECT n FROM account WHERE id = 1"))
          await(neap.yield())
          await(tx:exec("UPDATE account SET n = ? WHERE id = 1", n + 1))
        end)
        insert(db, 1)
      end
    end
    local tasks = {}
    for i = 1, 100 do tasks[i] = neap.start(add) end
    await(neap.all(tasks))
    assert.equal(500, await(db:value("SELECT n FROM account")))
    assert.equal(500, await(db:value("SELECT count(*) FROM t")))
  end))
end)

describe("a transaction in another one", function()
  it("is undone alone", with_db(function(db)
    db:transaction(function(tx)
      insert(tx, 1)
      assert.is_false(pcall(tx.transaction, tx, function(inner)
        insert(inner, 2)
        error("no")
      end))
      tx:transaction(insert, 3)
      db:transaction(function()
        db:transaction(insert, 4)
        insert(tx, 5) -- the innermost one is what its name means here
      end)
    end)
    assert.equal("1 3 4 5", stored(db))
  end))

  it("goes with the outer one", with_db(function(db)
    pcall(db.transaction, db, function(tx)
      tx:transaction(insert, 1)
      error("no")
    end)
    assert.equal("", stored(db))
  end))

  it("takes its turn among those of other tasks", with_db(function(db)
    db:transaction(function(tx)
      local tasks = {}
      for i = 1, 4 do
        tasks[i] = neap.start(function()
          tx:transaction(function()
            insert(db, i)
            await(neap.sleep(0.1))
            if i == 2 then error("no", 0) end
            insert(db, i)
          end)
        end)
      end
      tasks[5] = neap.start(insert, tx, 5)
      await(neap.settle(tasks[2]))
      assert.equal("failed", tasks[2]:status())
      await(neap.all{ tasks[1], tasks[3], tasks[4], tasks[5] })
    end)
    assert.equal("1 1 3 3 4 4 5", stored(db))
  end))

  it("that still runs is waited for by the end of the outer one", with_db(function(db)
    local inner
    db:transaction(function(tx)
      inner = neap.background(function()
        tx:transaction(function()
          insert(db, 1)
          await(neap.sleep(1))
          insert(db, 2)
        end)
      end)
      await(neap.sleep(0.1))
    end)
    await(inner)
    assert.equal("1 2", stored(db))
  end))
end)

describe("tx", function()
  it("may be given to a task that was started before", with_db(function(db)
    local ch = neap.channel(0)
    local helper = neap.start(function()
      local _, tx = await(ch:recv())
      insert(tx, 1)
      await(ch:send(true))
    end)
    pcall(db.transaction, db, function(tx)
      await(ch:send(tx))
      await(ch:recv())
      assert.equal("1", stored(tx))
      error("undo")
    end)
    await(helper)
    assert.equal("", stored(db))
  end))

  it("that has ended is a misuse; its tasks use the database as all others", with_db(function(db)
    local kept, late
    db:transaction(function(tx)
      kept = tx
      late = neap.background(function()
        await(neap.sleep(1))
        insert(db, 2)
      end)
    end)
    assert.equal("neap.Transaction: ended", tostring(kept))
    h.misuse(function() return kept:exec("SELECT 1") end)
    h.misuse(function() kept:transaction(print) end)
    h.misuse(function() return kept:rows("SELECT 1") end)
    await(late)
    assert.equal("2", stored(db))
  end))

  it("closes the rows that are open at its end", with_db(function(db)
    local rows
    local many = "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) SELECT x FROM c"
    db:transaction(function(tx)
      rows = tx:rows(many)
      assert.same({ x = 1 }, rows())
    end)
    h.raises("ECLOSED", function() for _ in rows do end end)
    insert(db, 1)
  end))

  it("belongs to its database: another one is not concerned", with_db(function(db)
    local other <close> = await(sqlite.open(":memory:"))
    await(other:exec("CREATE TABLE t(x)"))
    pcall(db.transaction, db, function()
      insert(other, 1)
      other:transaction(function()
        insert(db, 2)
        insert(other, 3)
      end)
      error("undo")
    end)
    assert.equal("", stored(db))
    assert.equal("1 3", stored(other))
  end))
end)
