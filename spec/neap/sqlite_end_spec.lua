-- How requests and databases end: cancelled, closed, dropped, with their Lua state.

local h = require "spec.helper"
local neap = require "neap"
local support = require "spec.support"

local await = neap.await
local sqlite = neap.sqlite

local ENDLESS = "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) SELECT x FROM c"
local STUCK = ENDLESS .. " WHERE x < 0"

local function with_db(fn)
  return h.run(function(t)
    local db <close> = await(sqlite.open(":memory:"))
    await(db:exec("CREATE TABLE t(x)"))
    fn(db, t)
  end)
end

local function count(db)
  return await(db:value("SELECT count(*) FROM t"))
end

describe("a query that is cancelled", function()
  it("while it runs stops, and the connection is usable", with_db(function(db)
    for _, method in ipairs{ "exec", "query", "arrays", "first", "value" } do
      local task = neap.start(function() return await(db[method](db, STUCK)) end)
      await(neap.sleep(0.01))
      task:cancel()
      task:cancel()
      await(neap.settle(task))
      assert.equal("cancelled", task:status())
      assert.equal(0, count(db))
    end
  end))

  it("by its own Task is waited for until it has stopped", with_db(function(db)
    local task = db:query(STUCK)
    await(neap.sleep(0.01))
    assert.is_true(task:cancel())
    assert.is_false(task:cancel())
    h.raises("ECANCELLED", await, task)
    assert.equal(0, count(db))
  end))

  it("before its turn never runs", with_db(function(db)
    local stuck = db:query(STUCK)
    local task = db:exec("INSERT INTO t VALUES(1)")
    assert.is_true(task:cancel())
    assert.equal("cancelled", task:status())
    stuck:cancel()
    await(neap.settle(stuck))
    assert.equal(0, count(db))
  end))

  it("in a cancelled scope is not begun", with_db(function(db)
    neap.scope(function(scope)
      scope:cancel()
      assert.equal("cancelled", db:exec("INSERT INTO t VALUES(1)"):status())
    end)
    assert.equal(0, count(db))
  end))

  it("when its scope is left ends there", with_db(function(db)
    neap.scope(function()
      db:query(STUCK)
    end)
    assert.equal(0, count(db))
  end))

  it("after its end keeps its result", with_db(function(db)
    local task = db:value("SELECT 7")
    assert.equal(7, await(task))
    assert.is_false(task:cancel())
    assert.equal(7, await(task))
  end))

  it("undoes exec_many", with_db(function(db)
    local sets = {}
    for i = 1, 3 do sets[i] = { i } end
    local task = db:exec_many("INSERT INTO t SELECT ? FROM (" .. ENDLESS .. ")", sets)
    await(neap.sleep(0.02))
    task:cancel()
    await(neap.settle(task))
    assert.equal("cancelled", task:status())
    assert.equal(0, count(db))
  end))

  it("does not stop the rows of another loop", with_db(function(db)
    local rows <close> = db:rows(ENDLESS)
    for i = 1, 2000 do
      assert.equal(i, rows().x)
      if i % 200 == 0 then
        local task = db:query(STUCK)
        await(neap.sleep(0.01))
        task:cancel()
        await(neap.settle(task))
        assert.equal("cancelled", task:status())
      end
    end
  end))
end)

describe("sqlite.open", function()
  it("that is cancelled leaves nothing open", h.run(function()
    for _ = 1, 20 do
      local task = sqlite.open(":memory:")
      task:cancel()
      local status, db = await(neap.settle(task))
      if status == "done" then await(db:close()) end
    end
  end))

  it("whose Task is dropped leaves nothing open", h.run(function()
    for _ = 1, 5 do
      sqlite.open(":memory:")
      collectgarbage()
      await(neap.sleep(0.01))
    end
    collectgarbage()
  end))
end)

describe("db:close", function()
  it("lets what was asked before end first", with_db(function(db)
    local tasks = {}
    for i = 1, 20 do tasks[i] = db:exec("INSERT INTO t VALUES(?)", i) end
    tasks[21] = db:value("SELECT count(*) FROM t")
    await(db:close())
    for i = 1, 21 do assert.equal("done", tasks[i]:status()) end
    assert.equal(20, await(tasks[21]))
    assert.equal("neap.Database ':memory:': closed", tostring(db))
  end))

  it("makes all that comes later ECLOSED", with_db(function(db)
    db:close()
    assert.equal(":memory:", h.raises("ECLOSED", await, db:exec("SELECT 1")).path)
    h.raises("ECLOSED", await, db:query("SELECT 1"))
    h.raises("ECLOSED", db.transaction, db, print)
    await(db:close())
    await(db:close())
    h.raises("ECLOSED", await, db:value("SELECT 1"))
  end))

  it("fails what waits for a transaction, which is undone", with_db(function(db)
    local inside = neap.start(function()
      db:transaction(function(tx)
        await(tx:exec("INSERT INTO t VALUES(1)"))
        await(neap.sleep(1))
        await(tx:exec("INSERT INTO t VALUES(2)"))
      end)
    end)
    await(neap.sleep(0.5))
    local waiting = neap.start(function() return await(db:exec("INSERT INTO t VALUES(3)")) end)
    await(db:close())
    h.raises("ECLOSED", await, waiting)
    h.misuse(await, inside)
  end))

  it("closes also in a cancelled scope", with_db(function(db)
    neap.scope(function(scope)
      scope:cancel()
      assert.equal("cancelled", db:close():status())
    end)
    h.raises("ECLOSED", await, db:exec("SELECT 1"))
    await(db:close())
  end))

  it("is waited for by <close>, a query that runs included", h.run(function()
    local task, kept
    do
      local db <close> = await(sqlite.open(":memory:"))
      kept = db
      task = db:value("WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c "
        .. "WHERE x < 10000) SELECT count(*) FROM c")
    end
    assert.equal(10000, await(task))
    h.raises("ECLOSED", await, kept:exec("SELECT 1"))
  end))
end)

describe("a database that is collected", function()
  it("is closed when the last request has ended", h.run(function()
    local task = await(sqlite.open(":memory:")):value("SELECT 5")
    collectgarbage()
    assert.equal(5, await(task))
    task = nil -- luacheck: ignore 311
    collectgarbage()
  end))

  it("gives back its descriptors", h.run(function()
    local before = support.open_descriptors()
    local path = os.tmpname()
    await(await(sqlite.open(path)):exec("CREATE TABLE t(x)"))
    collectgarbage()
    collectgarbage()
    for _ = 1, 100 do
      if support.open_descriptors() == before then break end
      await(neap.sleep(0.01))
    end
    assert.equal(before, support.open_descriptors())
    os.remove(path)
  end))

  it("ends its transaction with the coroutine that was dropped", with_db(function(db)
    local task = neap.background(function()
      db:transaction(function() await(neap.completion().task) end)
    end)
    await(neap.sleep(0.1))
    task:cancel()
    await(neap.settle(task))
    assert.equal(0, count(db))
  end))
end)

describe("a Lua state that closes", function()
  local PRELUDE = [[
    local neap = require "neap"
    local await = neap.await
    local ENDLESS = "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) "
      .. "SELECT x FROM c"
    local STUCK = ENDLESS .. " WHERE x < 0"
    local path = os.tmpname()
    local db = neap.sqlite.open(path):wait()
    db:exec("CREATE TABLE t(x)"):wait()
    local function leave() print("leaving") os.remove(path) os.exit(true, true) end
  ]]
  local states = {
    ["a query that runs"] = "local t = db:query(STUCK) neap.sleep(0.01):wait() leave()",
    ["queries that wait"] = "for _ = 1, 9 do db:query(STUCK) end leave()",
    ["rows that are waited for"] = [[
      local rows = db:rows(STUCK)
      neap.start(function() rows() end)
      neap.sleep(0.01):wait()
      leave()]],
    ["rows between two batches"] = [[
      local rows = db:rows(ENDLESS)
      neap.start(function() rows() end):wait()
      leave()]],
    ["a transaction"] = [[
      neap.start(function()
        db:transaction(function(tx)
          await(tx:exec("INSERT INTO t VALUES(1)"))
          await(neap.sleep(1000))
        end)
      end)
      local other = db:exec("INSERT INTO t VALUES(2)")
      neap.sleep(0.01):wait()
      leave()]],
    ["a database that opens"] = "neap.sqlite.open(':memory:') leave()",
    ["a database that closes"] = "db:close() leave()",
    ["a database that was dropped"] = "db = nil collectgarbage() leave()",
    ["readers at work"] = [[
      local readers = neap.sqlite.open(path, { readers = 2 }):wait()
      for _ = 1, 5 do readers:query(STUCK) end
      local rows = readers:rows(STUCK)
      neap.start(function() rows() end)
      neap.sleep(0.01):wait()
      leave()]],
    ["a database in a scope that is left"] = [[
      neap.run(function()
        local mine <close> = await(neap.sqlite.open(path))
        leave()
      end)]],
  }
  for name, source in pairs(states) do
    it("ends " .. name, h.plain(function()
      local output, how, code = h.process(PRELUDE .. source)
      assert.same({ "leaving\n", "exit", 0 }, { output, how, code })
    end))
  end
end)

describe("without memory", function()
  it("each request fails and works the next time", h.run(function()
    local db <close> = await(sqlite.open(":memory:"))
    await(db:exec("CREATE TABLE t(x)"))
    h.each_failure(function()
      await(db:exec("DELETE FROM t"))
      await(db:exec_many("INSERT INTO t VALUES(:x)", { { x = 1 }, { x = "2" }, { 3 } }))
      assert.equal(3, #await(db:query("SELECT * FROM t")))
      assert.equal(3, await(db:value("SELECT count(*) FROM t WHERE x <> ?", sqlite.blob("x"))))
    end)
  end))

  it("rows and transactions do, too", h.run(function()
    local db <close> = await(sqlite.open(":memory:"))
    await(db:exec("CREATE TABLE t(x)"))
    h.each_failure(function()
      await(db:exec("DELETE FROM t"))
      db:transaction(function(tx)
        await(tx:exec("INSERT INTO t VALUES(1)"))
        tx:transaction(function(inner) await(inner:exec("INSERT INTO t VALUES(2)")) end)
      end)
      local sum = 0
      for row in db:rows("SELECT x FROM t") do sum = sum + row.x end
      assert.equal(3, sum)
    end)
  end))

  it("opening and closing do, too", h.run(function()
    h.each_failure(function()
      local db <close> = await(sqlite.open(":memory:"))
      assert.equal(1, await(db:value("SELECT 1")))
    end)
  end))
end)
