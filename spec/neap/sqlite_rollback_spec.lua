-- Transactions that are cancelled, or that SQLite has ended: nothing of them is left.

local h = require "spec.helper"
local neap = require "neap"

local await = neap.await
local sqlite = neap.sqlite

local STUCK = "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) "
  .. "SELECT x FROM c WHERE x < 0"

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

describe("a transaction that is cancelled", function()
  it("in a sleep is rolled back before its task ends", with_db(function(db)
    local task = neap.start(function()
      db:transaction(function(tx)
        insert(tx, 1)
        await(neap.sleep(1000))
      end)
    end)
    await(neap.sleep(1))
    task:cancel()
    await(neap.settle(task))
    assert.equal("cancelled", task:status())
    assert.equal("", stored(db))
    insert(db, 2)
  end))

  it("in a statement is rolled back, and the connection usable", with_db(function(db)
    for _, sql in ipairs{ STUCK, "INSERT INTO t " .. STUCK } do
      local task = neap.start(function()
        db:transaction(function(tx)
          insert(tx, 1)
          await(tx:exec(sql))
        end)
      end)
      await(neap.sleep(0.05))
      task:cancel()
      await(neap.settle(task))
      assert.equal("cancelled", task:status())
      assert.equal("", stored(db))
    end
    db:transaction(insert, 2)
    assert.equal("2", stored(db))
  end))

  it("while it waits for another one has not begun", with_db(function(db)
    local go = neap.event()
    local first = neap.start(function()
      db:transaction(function(tx)
        await(go:wait())
        insert(tx, 1)
      end)
    end)
    local second = neap.start(function() db:transaction(insert, 2) end)
    local third = neap.start(function() db:transaction(insert, 3) end)
    await(neap.sleep(1))
    second:cancel()
    await(neap.settle(second))
    assert.equal("cancelled", second:status())
    go:set()
    await(neap.all{ first, third })
    assert.equal("1 3", stored(db))
  end))

  it("does not go on statement by statement when SQLite has undone it", with_db(function(db)
    local err = h.raises("ECLOSED", db.transaction, db, function(tx)
      insert(tx, 1)
      local ok = neap.try_for(0.05, function() await(tx:exec("INSERT INTO t " .. STUCK)) end)
      assert.is_false(ok)
      insert(tx, 2)
    end)
    assert.is_truthy(err.message:find("rolled back", 1, true))
    assert.equal("", stored(db))
  end))

  it("by a time limit is rolled back", with_db(function(db)
    local ok, err = neap.try_for(1, function()
      db:transaction(function(tx)
        insert(tx, 1)
        await(neap.sleep(2))
      end)
    end)
    assert.same({ false, "timeout" }, { ok, err })
    assert.equal("", stored(db))
  end))

  it("is not begun in a cancelled scope", with_db(function(db)
    neap.scope(function(scope)
      scope:cancel()
      local ok, err = pcall(db.transaction, db, error)
      assert.is_true(not ok and neap.is_cancel(err))
    end)
    assert.equal("", stored(db))
  end))
end)
