--- SQLite on its own thread: inserts in one transaction, point queries, a scan; us of real time for
--- each.
local common = require "bench.common"
local neap = require "neap"

local await = neap.await
local clock = neap.now

local N = tonumber(arg[1]) or 20000
local AT_ONCE = 64

local function measure(name, n, fn)
  collectgarbage()
  local start = clock()
  fn()
  common.report(name, (clock() - start) / n * 1e6)
end

local INSERT = "INSERT INTO t(id, name, x) VALUES(?, ?, ?)"
local SELECT = "SELECT id, name, x FROM t WHERE id = ?"

local function fresh(db)
  await(db:exec [[DROP TABLE IF EXISTS t;
    CREATE TABLE t(id INTEGER PRIMARY KEY, name TEXT, x REAL)]])
end

local function insert_one_by_one(db)
  db:transaction(function(tx)
    for i = 1, N do await(tx:exec(INSERT, i, "name", i / 2)) end
  end)
end

local function insert_together(db)
  db:transaction(function(tx)
    local tasks = {}
    for i = 1, N do tasks[i] = tx:exec(INSERT, i, "name", i / 2) end
    for i = 1, N do await(tasks[i]) end
  end)
end

local function insert_many(db)
  local sets = {}
  for i = 1, N do sets[i] = { i, "name", i / 2 } end
  await(db:exec_many(INSERT, sets))
end

local function query_one_by_one(db)
  for i = 1, N do assert(await(db:first(SELECT, i)).id == i) end
end

local function query_together(db)
  local tasks = {}
  for task = 1, AT_ONCE do
    tasks[task] = neap.start(function()
      for i = task, N, AT_ONCE do assert(await(db:first(SELECT, i)).id == i) end
    end)
  end
  await(neap.all(tasks))
end

local function scan(db)
  local n = 0
  for row in db:rows("SELECT id, name, x FROM t") do n = n + (row.id > 0 and 1 or 0) end
  assert(n == N)
end

local function query_all(db)
  assert(#await(db:query("SELECT id, name, x FROM t")) == N)
end

neap.run(function()
  local db <close> = await(neap.sqlite.open(":memory:"))
  for _, case in ipairs{
    { "insert", insert_one_by_one }, { "insert_together", insert_together },
    { "insert_many", insert_many },
  } do
    fresh(db)
    measure(case[1], N, function() case[2](db) end)
  end
  measure("point", N, function() query_one_by_one(db) end)
  measure("point_together", N, function() query_together(db) end)
  measure("scan", N, function() scan(db) end)
  measure("query", N, function() query_all(db) end)
end)
