-- Rows one by one: db:rows, in batches that are fetched ahead.

local h = require "spec.helper"
local neap = require "neap"

local await = neap.await
local sqlite = neap.sqlite

local COUNT = "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c WHERE x < ?) "
  .. "SELECT x FROM c"
local ENDLESS = "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) SELECT x FROM c"
--- Steps for ever without a row.
local STUCK = ENDLESS .. " WHERE x < 0"

local function with_db(fn)
  return h.run(function(t)
    local db <close> = await(sqlite.open(":memory:"))
    fn(db, t)
  end)
end

local function count(db, n)
  local seen = 0
  for row in db:rows(COUNT, n) do
    seen = seen + 1
    assert.equal(seen, row.x)
  end
  return seen
end

describe("db:rows", function()
  it("gives all rows, at the borders of batches as well", with_db(function(db)
    for _, n in ipairs{ 1, 255, 256, 257, 511, 512, 513, 1100 } do assert.equal(n, count(db, n)) end
  end))

  it("gives none where there are none", with_db(function(db)
    for _ in db:rows("SELECT 1 WHERE 0") do error("a row") end
    for _ in db:rows("CREATE TABLE t(x)") do error("a row") end
    assert.equal(1, await(db:value("SELECT count(*) FROM sqlite_schema")))
  end))

  it("gives rows that are larger than a batch, and NULL as nil", with_db(function(db)
    local sizes = {}
    local sql = "SELECT zeroblob(value) AS b, NULL AS n FROM json_each('[1, 200000, 0, 70000]')"
    for row in db:rows(sql) do
      sizes[#sizes + 1] = #row.b
      assert.is_nil(row.n)
    end
    assert.same({ 1, 200000, 0, 70000 }, sizes)
  end))

  it("is bounded: a loop over endless rows ends with a break", with_db(function(db)
    local n = 0
    for row in db:rows(ENDLESS) do
      n = row.x
      if n == 1000 then break end
    end
    assert.equal(1000, n)
    assert.equal(5, count(db, 5))
  end))

  it("fetches the next batch while the last one is used, and no more", with_db(function(db)
    await(db:exec("CREATE TABLE t(x)"))
    local rows = db:rows("INSERT INTO t WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 "
      .. "FROM c WHERE x < 10) SELECT x FROM c RETURNING x")
    assert.equal(0, await(db:value("SELECT count(*) FROM t"))) -- it begins with the first row
    assert.same({ x = 1 }, rows())
    rows:close()
    assert.equal(10, await(db:value("SELECT count(*) FROM t")))
  end))

  it("leaves nothing behind an error in the loop", with_db(function(db)
    local ok, err = pcall(function()
      for row in db:rows(ENDLESS) do
        if row.x == 300 then error("stop", 0) end
      end
    end)
    assert.same({ false, "stop" }, { ok, err })
    await(db:exec("CREATE TABLE t(x); DROP TABLE t")) -- no statement stands in the way
  end))

  it("lets others use the database meanwhile", with_db(function(db)
    await(db:exec("CREATE TABLE t(x)"))
    local n = 0
    for row in db:rows(COUNT, 700) do
      n = n + 1
      if row.x % 100 == 0 then await(db:exec("INSERT INTO t VALUES(?)", row.x)) end
    end
    assert.equal(700, n)
    assert.equal(7, await(db:value("SELECT count(*) FROM t")))
  end))

  it("loses no row where it gives way with the next batch at hand", with_db(function(db)
    local n = 0
    for row in db:rows(COUNT, 900) do
      n = n + 1
      assert.equal(n, row.x)
      if n % 200 == 0 then await(neap.sleep(0.01)) end -- the next batch comes meanwhile
    end
    assert.equal(900, n)
  end))

  it("may be nested, with one text", with_db(function(db)
    local pairs_seen = 0
    for a in db:rows(COUNT, 20) do
      for b in db:rows(COUNT, 20) do pairs_seen = pairs_seen + (a.x == b.x and 1 or 0) end
    end
    assert.equal(20, pairs_seen)
  end))

  it("goes on behind a transaction in its loop", with_db(function(db)
    await(db:exec("CREATE TABLE t(x)"))
    for row in db:rows(COUNT, 600) do
      if row.x == 10 then
        db:transaction(function(tx) await(tx:exec("INSERT INTO t VALUES(1)")) end)
      end
    end
    assert.equal(1, await(db:value("SELECT count(*) FROM t")))
  end))

  it("raises what is wrong with the first row", with_db(function(db)
    local err = h.raises("ESQL", db:rows("SELECT nothing"))
    assert.equal("SELECT nothing", err.sql)
    assert.equal(1, err.sqlite_code)
    h.raises("EINVAL", db:rows("SELECT ?"))
    h.raises("EINVAL", db:rows("SELECT 1; SELECT 2"))
    h.raises("EINVAL", db:rows(""))
    h.bad_argument("rows", 2, function() db:rows("SELECT ?", {{}}) end)
    h.bad_argument("rows", 1, function() db:rows() end)
  end))

  it("gives the rows before an error, then raises it, again and again", with_db(function(db)
    local rows <close> = db:rows("SELECT abs(CASE WHEN value = 3 THEN -9223372036854775807 - 1 "
      .. "ELSE value END) AS v FROM json_each('[1, 2, 3]')")
    assert.same({ v = 1 }, rows())
    assert.same({ v = 2 }, rows())
    h.raises("ESQL", rows)
    h.raises("ESQL", rows)
  end))

  it("is at its end for ever", with_db(function(db)
    local rows = db:rows("SELECT 1 AS x")
    assert.same({ x = 1 }, rows())
    assert.is_nil(rows())
    assert.is_nil(rows())
    rows:close()
    rows:close()
    assert.is_nil(rows())
  end))

  it("gives way to others in a long loop", with_db(function(db)
    local turns, is_over = 0, false
    neap.start(function()
      while not is_over do
        turns = turns + 1
        await(neap.yield())
      end
    end)
    count(db, 700)
    is_over = true
    assert.is_true(turns >= 5)
  end))

  it("may be pulled by one task at a time", with_db(function(db)
    local rows <close> = db:rows(STUCK)
    local first = neap.start(rows)
    h.misuse(rows)
    first:cancel()
    await(neap.settle(first))
  end))
end)

describe("rows that are waited for", function()
  it("lose nothing when the wait is cancelled", with_db(function(db)
    local rows <close> = db:rows(COUNT, 600)
    local n = 0
    while true do
      local row
      local task = neap.start(function() row = rows() end)
      task:cancel()
      await(neap.settle(task))
      row = row or rows()
      if not row then break end
      n = n + 1
      assert.equal(n, row.x)
    end
    assert.equal(600, n)
  end))

  it("are given up in a cancelled loop, and the connection is free at once", with_db(function(db)
    local task = neap.start(function()
      for _ in db:rows(STUCK) do error("a row") end
    end)
    await(neap.sleep(0.01))
    task:cancel()
    await(neap.settle(task))
    assert.equal("cancelled", task:status())
    assert.equal(1, await(db:value("SELECT 1")))
  end))

  it("end with a time limit", with_db(function(db)
    local ok, err = neap.try_for(0.5, function()
      for _ in db:rows(STUCK) do error("a row") end
    end)
    assert.same({ false, "timeout" }, { ok, err })
    assert.equal(1, await(db:value("SELECT 1")))
  end))

  it("are not begun in a cancelled scope", with_db(function(db)
    neap.scope(function(scope)
      scope:cancel()
      local ok, err = pcall(db:rows(COUNT, 1))
      assert.is_true(not ok and neap.is_cancel(err))
    end)
  end))

  it("end when somebody else closes them", with_db(function(db)
    local rows = db:rows(STUCK)
    local task = neap.start(function() return rows() end)
    await(neap.sleep(0.01))
    rows:close()
    assert.is_nil(await(task))
    assert.equal(1, await(db:value("SELECT 1")))
  end))

  it("are closed with their database", with_db(function(db)
    local waiting, used = db:rows(STUCK), db:rows(COUNT, 100000)
    used()
    local task = neap.start(function() return waiting() end)
    await(neap.sleep(0.01))
    local closed = db:close()
    h.raises("ECLOSED", await, task)
    await(closed)
    local n = 1
    local err = h.raises("ECLOSED", function()
      for _ in used do n = n + 1 end
    end)
    assert.equal(":memory:", err.path)
    assert.is_true(n <= 512)
    h.raises("ECLOSED", db:rows("SELECT 1"))
  end))

  it("may be dropped in any state", with_db(function(db)
    for n = 0, 3 do
      local rows = db:rows(n == 3 and STUCK or COUNT, n < 3 and 1000 or nil)
      if n == 1 then rows() end
      if n == 2 then for _ = 1, 256 do rows() end end
      if n == 3 then
        local task = neap.start(function() rows() end)
        task:cancel()
        await(neap.settle(task))
      end
      rows = nil -- luacheck: ignore 311
      collectgarbage()
      assert.equal(1, await(db:value("SELECT 1")))
    end
  end))

  it("may be dropped with their database", h.run(function()
    local rows = await(sqlite.open(":memory:")):rows(COUNT, 1000)
    assert.same({ x = 1 }, rows())
    collectgarbage()
    assert.same({ x = 2 }, rows())
  end))
end)
