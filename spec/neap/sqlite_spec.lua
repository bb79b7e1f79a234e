-- Databases: requests, their parameters and results.

local h = require "spec.helper"
local neap = require "neap"

local await = neap.await
local sqlite = neap.sqlite

--- A function for `it`: fn(db, context) with an empty database in memory, closed at the end.
local function with_db(fn)
  return h.run(function(t)
    local db <close> = await(sqlite.open(":memory:"))
    fn(db, t)
  end)
end

local function fill(db, n)
  await(db:exec("CREATE TABLE t(id INTEGER PRIMARY KEY, name TEXT)"))
  local sets = {}
  for i = 1, n do sets[i] = { i, "n" .. i } end
  await(db:exec_many("INSERT INTO t VALUES(?, ?)", sets))
end

describe("sqlite.open", function()
  it("gives a database that knows its path", with_db(function(db)
    assert.equal(":memory:", db:path())
    assert.equal("neap.Database ':memory:'", tostring(db))
    assert.is_truthy(sqlite.library_version:match("^3%."))
  end))

  it("checks its arguments", h.run(function()
    h.bad_argument("open", 1, function() return sqlite.open() end)
    h.bad_argument("open", 1, function() return sqlite.open("a\0b") end)
    h.bad_argument("open", 2, function() return sqlite.open(":memory:", { readers = 2 }) end)
    h.bad_argument("open", 2, function() return sqlite.open(":memory:", { readers = -1 }) end)
    h.bad_argument("open", 2, function() return sqlite.open(":memory:", { synchronous = "x" }) end)
    h.bad_argument("open", 2, function() return sqlite.open(":memory:", { busy_timeout = -1 }) end)
    h.bad_argument("open", 2, function() return sqlite.open(":memory:", { wal = 1 }) end)
  end))

  it("says which system error it was", h.run(function()
    local err = h.raises("ENOENT", await, sqlite.open("/nowhere/there.db"))
    assert.equal("/nowhere/there.db", err.path)
    assert.equal(14, err.sqlite_code & 0xff)
    h.raises("ENOENT", await, sqlite.open("/nowhere/there.db", { create = false }))
  end))
end)

describe("db:exec", function()
  it("gives the number of changes and the last rowid", with_db(function(db)
    assert.same({ 0, 0 }, { await(db:exec("CREATE TABLE t(id INTEGER PRIMARY KEY, x)")) })
    assert.same({ 2, 2 }, { await(db:exec("INSERT INTO t(x) VALUES(1), (2)")) })
    assert.equal(2, (await(db:exec("UPDATE t SET x = x + 1"))))
    assert.equal(0, (await(db:exec("CREATE TABLE u(x)"))))
    assert.equal(2, (await(db:exec("DELETE FROM t"))))
  end))

  it("runs several statements, with comments, and adds up the changes", with_db(function(db)
    local changes, rowid = await(db:exec [[
      -- a table
      CREATE TABLE t(x); /* rows */
      INSERT INTO t VALUES(1), (2); ;
      INSERT INTO t VALUES(3); -- the end
    ]])
    assert.same({ 3, 3 }, { changes, rowid })
    assert.equal(3, await(db:value("SELECT count(*) FROM t")))
  end))

  it("does nothing for a text without a statement", with_db(function(db)
    assert.same({ 0, 0 }, { await(db:exec("")) })
    assert.same({ 0, 0 }, { await(db:exec(" ; -- nothing")) })
  end))

  it("stops at the first statement that fails, and names its place", with_db(function(db)
    local sql = "CREATE TABLE t(x); INSERT INTO t VALUES(1); SELECT y FROM t; DELETE FROM t"
    local err = h.raises("ESQL", await, db:exec(sql))
    assert.equal(sql, err.sql)
    assert.equal(":memory:", err.path)
    assert.equal(1, err.sqlite_code)
    assert.equal("SQLITE_ERROR", err.sqlite_name)
    if err.offset then assert.equal("y FROM", sql:sub(err.offset, err.offset + 5)) end
    assert.is_truthy(tostring(err):find("no such column: y", 1, true))
    assert.equal(1, await(db:value("SELECT count(*) FROM t")))
  end))

  it("takes parameters for one statement only", with_db(function(db)
    h.raises("EINVAL", await, db:exec("CREATE TABLE t(x); INSERT INTO t VALUES(?)", 1))
    assert.equal(0, await(db:value("SELECT count(*) FROM sqlite_schema")))
  end))

  it("runs first in, first out", with_db(function(db)
    await(db:exec("CREATE TABLE t(x)"))
    local tasks = {}
    for i = 1, 50 do tasks[i] = db:exec("INSERT INTO t VALUES(?)", i) end
    local rows = await(db:arrays("SELECT x FROM t ORDER BY rowid"))
    await(neap.all(tasks))
    assert.equal(50, #rows)
    for i, row in ipairs(rows) do assert.equal(i, row[1]) end
  end))
end)

describe("db:exec_many", function()
  it("runs a statement for each set of parameters", with_db(function(db)
    await(db:exec("CREATE TABLE t(a, b)"))
    local changes, rowid = await(db:exec_many("INSERT INTO t VALUES(:a, :b)", {
      { 1, 2 }, { a = 3, b = sqlite.null }, { [2] = 6, a = 5 },
    }))
    assert.same({ 3, 3 }, { changes, rowid })
    await(db:exec_many("INSERT INTO t(a) VALUES(?)", { 7, "8" }))
    local rows = await(db:arrays("SELECT a, b FROM t"))
    assert.same({ { 1, 2, n = 2 }, { 3, nil, n = 2 }, { 5, 6, n = 2 }, { 7, nil, n = 2 },
      { "8", nil, n = 2 }, columns = { "a", "b" } }, rows)
    assert.same({ 0 }, { (await(db:exec_many("DELETE FROM t", {}))) })
  end))

  it("does all or nothing", with_db(function(db)
    await(db:exec("CREATE TABLE t(x INTEGER PRIMARY KEY)"))
    h.raises("ECONSTRAINT", await, db:exec_many("INSERT INTO t VALUES(?)", { 1, 2, 1 }))
    assert.equal(0, await(db:value("SELECT count(*) FROM t")))
    db:transaction(function(tx)
      await(tx:exec("INSERT INTO t VALUES(9)"))
      h.raises("ECONSTRAINT", await, tx:exec_many("INSERT INTO t VALUES(?)", { 1, 2, 1 }))
    end)
    assert.equal(9, await(db:value("SELECT sum(x) FROM t")))
  end))

  it("names the set that cannot be stored", with_db(function(db)
    local function many(sets) return function() return db:exec_many("SELECT ?", sets) end end
    local text = h.bad_argument("exec_many", 2, many{ 1, { print } })
    assert.is_truthy(text:find("set 2: ", 1, true), text)
    h.bad_argument("exec_many", 2, many(nil))
    h.raises("EINVAL", await, db:exec_many("SELECT ?", { 1, {} }))
    h.raises("EINVAL", await, db:exec_many("SELECT ?; SELECT 2", { 1 }))
  end))
end)

describe("db:query", function()
  it("gives rows by the names of their columns, NULL as nil", with_db(function(db)
    local rows = await(db:query("SELECT 1 AS a, NULL AS b UNION ALL SELECT 2, 'x' ORDER BY a"))
    assert.same({ { a = 1 }, { a = 2, b = "x" }, columns = { "a", "b" } }, rows)
    assert.same({ columns = { "a" } }, await(db:query("SELECT 1 AS a WHERE 0")))
  end))

  it("gives the last of several columns of one name, and arrays all", with_db(function(db)
    assert.same({ { a = 2 }, columns = { "a", "a" } }, await(db:query("SELECT 1 AS a, 2 AS a")))
    assert.same({ { 1, 2, n = 2 }, columns = { "a", "a" } },
      await(db:arrays("SELECT 1 AS a, 2 AS a")))
    assert.same({ { nil, nil, n = 2 }, columns = { "a", "b" } },
      await(db:arrays("SELECT NULL AS a, NULL AS b")))
  end))

  it("takes one statement", with_db(function(db)
    h.raises("EINVAL", await, db:query("SELECT 1; SELECT 2"))
    h.raises("EINVAL", await, db:query(" -- nothing"))
    assert.equal(1, await(db:value("SELECT 1; -- that is all")))
  end))

  it("gives what a statement that writes returns", with_db(function(db)
    fill(db, 0)
    assert.equal(7, await(db:value("INSERT INTO t VALUES(7, 'x') RETURNING id")))
    assert.same({ columns = {} }, await(db:query("DELETE FROM t")))
  end))

  it("sees a schema that has changed since it was prepared", with_db(function(db)
    fill(db, 1)
    assert.same({ id = 1, name = "n1" }, await(db:first("SELECT * FROM t")))
    await(db:exec("ALTER TABLE t ADD COLUMN more DEFAULT 5"))
    assert.same({ id = 1, name = "n1", more = 5 }, await(db:first("SELECT * FROM t")))
  end))

  it("takes many rows, and many different statements", with_db(function(db)
    fill(db, 3000)
    assert.equal(3000, #await(db:query("SELECT * FROM t")))
    for i = 1, 200 do assert.equal(i, await(db:value(("SELECT %d"):format(i)))) end
  end))
end)

describe("db:first and db:value", function()
  it("give the first row, and its first column", with_db(function(db)
    fill(db, 3)
    assert.same({ id = 3, name = "n3" }, await(db:first("SELECT * FROM t ORDER BY id DESC")))
    assert.is_nil(await(db:first("SELECT * FROM t WHERE id = 9")))
    assert.equal("n2", await(db:value("SELECT name FROM t WHERE id = ?", 2)))
    assert.is_nil(await(db:value("SELECT name FROM t WHERE id = ?", 9)))
    assert.is_nil(await(db:value("SELECT NULL")))
    assert.is_nil(await(db:value("DELETE FROM t WHERE id = 9")))
  end))

  it("do not run on to the end", with_db(function(db)
    local endless = "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) "
      .. "SELECT x FROM c"
    assert.same({ x = 1 }, await(db:first(endless)))
    assert.equal(1, await(db:value(endless)))
  end))
end)

describe("parameters", function()
  local function echo(db, ...)
    return await(db:value("SELECT ?", ...))
  end

  it("keep their types and all their bits", with_db(function(db)
    for _, value in ipairs{ 1, -1, math.maxinteger, math.mininteger, 0.5, -0.0, 1e300, math.huge,
      "", "text", "ä\0ö", ("x"):rep(100000) } do
      local back = echo(db, value)
      assert.equal(value, back)
      assert.equal(math.type(value), math.type(back))
    end
    assert.equal(1, echo(db, true))
    assert.equal(0, echo(db, false))
    assert.is_nil(echo(db, nil))
    assert.is_nil(echo(db, sqlite.null))
  end))

  it("are text, or a blob where that is asked for", with_db(function(db)
    local bytes = "\0\1\255"
    assert.equal("text", await(db:value("SELECT typeof(?)", bytes)))
    assert.equal("blob", await(db:value("SELECT typeof(?)", sqlite.blob(bytes))))
    assert.equal("blob", await(db:value("SELECT typeof(?)", sqlite.blob(""))))
    assert.equal(bytes, echo(db, sqlite.blob(bytes)))
    assert.equal("", echo(db, sqlite.blob("")))
    assert.equal(3, await(db:value("SELECT length(:x)", { x = sqlite.blob(bytes) })))
    h.bad_argument("blob", 1, function() return sqlite.blob(1) end)
  end))

  it("have numbers, and names in three forms", with_db(function(db)
    assert.equal("ba", await(db:value("SELECT ?2 || ?1", "a", "b")))
    assert.equal("abc", await(db:value("SELECT :a || @b || $c", { a = "a", b = "b", c = "c" })))
    assert.equal("ab", await(db:value("SELECT :a || @b", { [":a"] = "a", ["@b"] = "b", more = 1 })))
    assert.equal("ab", await(db:value("SELECT ? || ?", { "a", "b" })))
    assert.equal("aa", await(db:value("SELECT :a || :a", "a")))
  end))

  it("each need a value, and each number a parameter", with_db(function(db)
    local err = h.raises("EINVAL", await, db:value("SELECT :a, :b", { a = 1 }))
    assert.is_truthy(err.message:find("parameter :b has no value", 1, true))
    err = h.raises("EINVAL", await, db:value("SELECT ?, ?", 1))
    assert.is_truthy(err.message:find("parameter 2 has no value", 1, true))
    err = h.raises("EINVAL", await, db:value("SELECT ?", 1, 2))
    assert.is_truthy(err.message:find("value 2 is given", 1, true))
    h.raises("EINVAL", await, db:value("SELECT ?"))
    h.raises("EINVAL", await, db:value("SELECT 1", nil))
  end))

  it("that SQLite has no value for are argument errors", with_db(function(db)
    local text = h.bad_argument("value", 2, function() return db:value("SELECT ?", 0 / 0) end)
    assert.is_truthy(text:find("NaN", 1, true))
    h.bad_argument("value", 3, function() return db:value("SELECT ?, ?", 1, {}) end)
    h.bad_argument("exec", 2, function() return db:exec("SELECT ?", print) end)
    h.bad_argument("exec", 2, function() return db:exec("SELECT ?", io.stdout) end)
    h.bad_argument("exec", 2, function() return db:exec("SELECT ?", { [true] = 1 }) end)
    h.bad_argument("exec", 2, function() return db:exec("SELECT ?", { [0] = 1 }) end)
    h.bad_argument("exec", 2, function() return db:exec("SELECT ?", { x = {} }) end)
    h.bad_argument("exec", 1, function() return db:exec("SELECT\0 1") end)
    h.bad_argument("exec", 1, function() return db:exec() end)
  end))
end)

describe("an error", function()
  it("of a constraint says which", with_db(function(db)
    await(db:exec [[CREATE TABLE p(id INTEGER PRIMARY KEY, n INT NOT NULL UNIQUE CHECK (n > 0));
      CREATE TABLE c(p REFERENCES p(id)); INSERT INTO p VALUES(1, 1)]])
    local names = {}
    for i, sql in ipairs{ "INSERT INTO p VALUES(1, 2)", "INSERT INTO p VALUES(2, 1)",
      "INSERT INTO p VALUES(2, NULL)", "INSERT INTO p VALUES(2, 0)", "INSERT INTO c VALUES(7)" } do
      names[i] = h.raises("ECONSTRAINT", await, db:exec(sql)).sqlite_name:match("CONSTRAINT_(.*)")
    end
    assert.same({ "PRIMARYKEY", "UNIQUE", "NOTNULL", "CHECK", "FOREIGNKEY" }, names)
  end))

  it("of a type that does not fit is EMISMATCH", with_db(function(db)
    fill(db, 0)
    h.raises("EMISMATCH", await, db:exec("INSERT INTO t VALUES('x', 'y')"))
  end))

  it("of a value that is too long is ETOOLARGE", with_db(function(db)
    h.raises("ETOOLARGE", await, db:value("SELECT zeroblob(2000000000)"))
  end))

  it("leaves the connection usable", with_db(function(db)
    for _ = 1, 3 do h.raises("ESQL", await, db:query("SELECT nothing")) end
    assert.equal(1, await(db:value("SELECT 1")))
  end))
end)

describe("neap.sqlite", function()
  it("is loaded when it is first used", h.plain(function()
    local output = h.process [[
      local neap = require "neap"
      print(package.loaded["neap.sqlite_database"], package.loaded["neap.sqlite_driver"])
      local names = {}
      for name in pairs(neap.sqlite) do names[#names + 1] = name end
      table.sort(names)
      print(table.concat(names, " "), neap.sqlite.nothing)
    ]]
    assert.equal("nil\tnil\nblob library_version null open\tnil\n", output)
  end))

  it("says what is missing where it was not built", h.plain(function()
    local output = h.process [[
      for i, search in ipairs(package.searchers) do
        package.searchers[i] = function(name)
          return name ~= "neap.sqlite_driver" and search(name) or nil
        end
      end
      local neap = require "neap"
      print(select(2, pcall(neap.sqlite.open, ":memory:")))
      print(select(2, pcall(neap.sqlite.blob, "x")))
    ]]
    local message = "ENOTSUP: neap was built without SQLite: install libsqlite3-dev"
    local first, second = output:match("^([^\n]*)\n([^\n]*)\n$")
    assert.equal(message, first:sub(1, #message), output)
    assert.equal(first, second)
  end))
end)
