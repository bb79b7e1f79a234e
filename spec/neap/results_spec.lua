local h = require "spec.helper"
local neap = require "neap"
local async, await = neap.async, neap.await

--- Returns its arguments, after a wait.
local function echo(...)
  await(neap.sleep(1))
  return ...
end

describe("the results of a task", function()
  it("[S53] keep nils and trailing nils", h.run(function()
    local f = async(function() return echo(nil, 2, nil) end)
    assert.same({n = 3, nil, 2, nil}, table.pack(await(f())))
    local g = async(function() return nil, 2, nil end)
    assert.same({n = 3, nil, 2, nil}, table.pack(await(g())))
    assert.same({n = 3, nil, 2, nil}, table.pack(g():result()))
  end))

  it("[S54] are none when the function returns nothing", h.run(function()
    assert.equal(0, select("#", await(async(function() end)())))
    assert.equal(0, select("#", await(async(function() await(neap.yield()) end)())))
    assert.equal(0, select("#", await(neap.sleep(1))))
    assert.equal(0, select("#", await(neap.yield())))
  end))

  it("[S55] may be 250 after a wait", h.run(function()
    local numbers = {}
    for i = 1, 250 do numbers[i] = i end
    local results = table.pack(await(async(function()
      return echo(table.unpack(numbers))
    end)()))
    assert.equal(250, results.n)
    results.n = nil
    assert.same(numbers, results)
  end))

  it("[S55] may be 250 through run and wait", h.plain(function(t)
    local numbers = {}
    for i = 1, 250 do numbers[i] = i end
    assert.equal(250, select("#", neap.run({clock = t.clock}, echo, table.unpack(numbers))))
    assert.equal(250, select("#", neap.completed(table.unpack(numbers)):wait()))
  end))

  it("[S56] of resolve(nil) are one nil, of resolve() none", h.run(function()
    local one, none = neap.completion(), neap.completion()
    one:resolve(nil)
    none:resolve()
    assert.same({n = 1}, table.pack(await(one.task)))
    assert.same({n = 0}, table.pack(await(none.task)))
    assert.equal(1, select("#", neap.completed(nil):result()))
    assert.equal(0, select("#", neap.completed():result()))
  end))
end)

describe("neap.all", function()
  it("[S57] gives the first results and n, nil leaving a hole", h.run(function()
    local r = await(neap.all{
      neap.start(echo, 1, "ignored"),
      neap.completed(nil),
      neap.completed(),
      neap.start(echo, 4),
      neap.completed(nil, 5),
    })
    assert.same({n = 5, 1, nil, nil, 4, nil}, r)
  end))
end)

describe("blocks pass arguments in and all results out, nils kept:", function()
  --- Its arguments, their count in front, after a wait.
  local function counted(...)
    return select("#", ...), echo(...)
  end

  local function packed(n, ...)
    return table.pack(n, ...)
  end

  it("[S58] scope", h.run(function()
    assert.same(packed(true, 3, nil, 2, nil), table.pack(neap.scope(function(scope, ...)
      assert.is_not_nil(scope)
      return counted(...)
    end, nil, 2, nil)))
  end))

  it("[S58] scope with options", h.run(function()
    assert.same(packed(true, 3, nil, 2, nil), table.pack(neap.scope({name = "s"}, function(_, ...)
      return counted(...)
    end, nil, 2, nil)))
  end))

  it("[S58] timeout", h.run(function()
    assert.same(packed(3, nil, 2, nil), table.pack(neap.timeout(5, counted, nil, 2, nil)))
  end))

  it("[S58] try_for", h.run(function()
    assert.same(packed(true, 3, nil, 2, nil), table.pack(neap.try_for(5, counted, nil, 2, nil)))
  end))

  it("[S58] shield", h.run(function()
    assert.same(packed(3, nil, 2, nil), table.pack(neap.shield(counted, nil, 2, nil)))
  end))

  it("[S58] group", h.run(function()
    assert.same(packed(3, nil, 2, nil), table.pack(neap.group(function(group, ...)
      assert.is_not_nil(group)
      return counted(...)
    end, nil, 2, nil)))
  end))

  it("[S58] pcall and xpcall", h.run(function()
    assert.same(packed(true, 3, nil, 2, nil), table.pack(neap.pcall(counted, nil, 2, nil)))
    assert.same(packed(true, 3, nil, 2, nil),
      table.pack(neap.xpcall(counted, debug.traceback, nil, 2, nil)))
  end))

  it("[S58] run", h.plain(function(t)
    assert.same(packed(3, nil, 2, nil),
      table.pack(neap.run({clock = t.clock}, counted, nil, 2, nil)))
  end))

  it("[S58] no results at all", h.run(function()
    local function nothing() await(neap.yield()) end
    assert.equal(1, select("#", neap.scope(nothing)))
    assert.equal(0, select("#", neap.timeout(5, nothing)))
    assert.equal(1, select("#", neap.try_for(5, nothing)))
    assert.equal(0, select("#", neap.shield(nothing)))
    assert.equal(0, select("#", neap.group(nothing)))
  end))
end)

describe("a block that owns a <close> group", function()
  it("[S59] returns its values after the join, nils kept", h.run(function(t)
    local function block()
      local g <close> = neap.group()
      g:spawn(function()
        await(neap.sleep(3))
        t:note("child")
      end)
      return 1, nil, 3
    end
    assert.same({n = 3, 1, nil, 3}, table.pack(block()))
    assert.equal("child", t:logged())
    assert.equal(3, t.clock:now())
  end))
end)
