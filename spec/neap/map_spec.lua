local h = require "spec.helper"
local support = require "spec.support"
local neap = require "neap"

local await = neap.await
local closing, takes = support.closing, support.takes

local function sleep(seconds)
  await(neap.sleep(seconds))
end

--- Counts bodies that run at once: gives fn, with .most the highest count, .calls all of them.
local function counting(fn)
  local counter = { running = 0, most = 0, calls = 0 }
  return setmetatable(counter, { __call = function(_, ...)
    counter.calls = counter.calls + 1
    counter.running = counter.running + 1
    counter.most = math.max(counter.most, counter.running)
    local _ <close> = closing(function() counter.running = counter.running - 1 end)
    return fn(...)
  end })
end

local function numbers(n)
  local list = {}
  for i = 1, n do list[i] = i end
  return list
end

--- A body that cleans up for so many seconds when it is cancelled, then notes `name`.
local function clean_up(t, seconds, name)
  local _ <close> = neap.defer(function()
    sleep(seconds)
    t:note(name)
  end)
  sleep(1000)
end

describe("neap.map", function()
  it("[S129] gives first results in list order, holes included", h.run(function()
    takes(3, function()
      local r = await(neap.map({ 3, 1, 2 }, function(seconds, index)
        sleep(seconds)
        if index == 2 then return nil, "second result" end
        return seconds .. "/" .. index, "second result"
      end))
      assert.same({ "3/1", nil, "2/3", n = 3 }, r)
    end)
  end))

  it("[S129] of an empty list is done at once", h.run(function()
    local map = neap.map({}, error)
    assert.equal("done", map:status())
    assert.same({ n = 0 }, await(map))
  end))

  it("[S129] never has more bodies in flight than its limit", h.run(function()
    for _, row in ipairs({ { 1, 5 }, { 2, 3 }, { 3, 2 }, { 5, 1 }, { 50, 1 } }) do
      local limit, seconds = row[1], row[2]
      local body = counting(function(i) sleep(1) return -i end)
      takes(seconds, function()
        local r = await(neap.map(numbers(5), function(...) return body(...) end, { limit = limit }))
        assert.same({ -1, -2, -3, -4, -5, n = 5 }, r)
      end)
      assert.equal(math.min(limit, 5), body.most)
      assert.equal(5, body.calls)
    end
  end))

  it("[S129] begins bodies in list order, each as soon as one has ended", h.run(function(t)
    await(neap.map({ 3.5, 1, 1, 1, 1 }, function(seconds, index)
      t:note("+" .. index)
      sleep(seconds)
      t:note("-" .. index)
    end, { limit = 2 }))
    assert.equal("+1 +2 -2 +3 -3 +4 -4 +5 -1 -5", t:logged())
    assert.equal(4, t.clock:now())
  end))

  it("[S129] runs all bodies at once where there is no limit", h.run(function()
    for _, opts in ipairs({ false, {} }) do
      local body = counting(function() sleep(1) end)
      takes(1, function()
        await(neap.map(numbers(200), function() body() end, opts or nil))
      end)
      assert.equal(200, body.most)
    end
  end))

  it("[S129] calls bodies that do not wait, whatever the limit", h.run(function()
    for _, limit in ipairs({ 1, 3, 1000 }) do
      local r = await(neap.map(numbers(1000), function(x) return 2 * x end, { limit = limit }))
      assert.equal(1000, r.n)
      for i = 1, 1000 do assert(r[i] == 2 * i) end
    end
  end))

  it("[S129] cancels and joins the rest at the first error, raised unchanged", h.run(function(t)
    local e = {}
    takes(3, function()
      local ok, err = pcall(await, neap.map({ "a", "fails", "b", "never", "never" }, function(x)
        if x == "fails" then
          sleep(1)
          error(e, 0)
        end
        t:note("+" .. x)
        clean_up(t, x == "a" and 2 or 1, x)
      end, { limit = 3 }))
      assert.is_false(ok)
      assert.is_true(rawequal(e, err))
    end)
    assert.equal("+a +b b a", t:logged())
  end))

  it("[S129] calls no body behind one that fails at once", h.run(function(t)
    local map = neap.map(numbers(5), function(i)
      t:note(i)
      if i == 2 then error("bad", 0) end
    end, { limit = 1 })
    assert.same({ "failed", "bad" }, { await(neap.settle(map)) })
    assert.equal("1 2", t:logged())
  end))

  it("[S105] raises the error that is first in time, others are reported", h.run(function(t)
    local e1, e2 = { "first" }, { "second" }
    local function drop()
      local status, err = await(neap.settle(neap.map({ 3, 1 }, function(seconds)
        local _ <close> = closing(function() if seconds == 3 then error(e2, 0) end end)
        sleep(seconds)
        error(e1, 0)
      end)))
      assert.equal("failed", status)
      assert.is_true(rawequal(e1, err))
    end
    drop()
    collectgarbage()
    await(neap.sleep(1))
    local lost = t:take_unobserved()
    assert.equal(1, #lost)
    assert.is_true(rawequal(e2, lost[1].err))
  end))

  it("[S71] [C16] calls nothing in a cancelled scope", h.run(function(t)
    neap.scope(function(scope)
      scope:cancel("closed")
      local map = neap.map({ 1 }, function() t:note("called") end)
      assert.equal("cancelled", map:status())
      assert.is_true(neap.is_cancel(select(2, pcall(await, map))))
      h.bad_argument("map", 2, neap.map, {}, 5)
    end)
    assert.equal("", t:logged())
  end))

  it("[S68] [C11] ends after its bodies when its scope is cancelled", h.run(function(t)
    takes(3, function()
      neap.scope({ timeout = 1 }, function()
        local _ <close> = closing(function() t:note("waiter") end)
        await(neap.map({ 1, 2, 3 }, function(i) clean_up(t, i, i) end, { limit = 2 }))
      end)
    end)
    assert.equal("1 2 waiter", t:logged())
  end))

  it("[S9] cancels its bodies when it is cancelled", h.run(function(t)
    local map = neap.map({ 1, 2 }, function(i) clean_up(t, i, i) end)
    assert.is_true(map:cancel("enough"))
    assert.is_false(map:cancel("again"))
    takes(2, function() assert.same({ "cancelled", "enough" }, { await(neap.settle(map)) }) end)
    assert.equal("1 2", t:logged())
  end))

  it("[S181] raises a body's error though the scope is cancelled in that turn", h.run(function(t)
    local e = {}
    local ok, err = pcall(neap.scope, function(scope)
      await(neap.map({ "fails", "cancels" }, function(x)
        sleep(1)
        t:note(x)
        if x == "fails" then error(e, 0) end
        scope:cancel("enough")
      end))
    end)
    assert.is_false(ok)
    assert.is_true(rawequal(e, err))
    assert.equal("fails cancels", t:logged())
  end))

  it("[S72] [C6] that is done before its waiter is cancelled is delivered", h.run(function(t)
    local task, go = nil, neap.completion()
    task = neap.start(function()
      local map = neap.map({ 1 }, function(x) await(go.task) return x end)
      map:on_done(function() task:cancel("late") end)
      t:note(await(map)[1])
      await(neap.yield())
      t:note("never")
    end)
    go:resolve()
    assert.equal("cancelled", (await(neap.settle(task))))
    assert.equal("1", t:logged())
  end))

  it("[S30] gives each of its awaits the same table", h.run(function()
    local map = neap.map({ 1 }, function(x) sleep(1) return x end)
    local r = await(map)
    assert.is_true(rawequal(r, await(map)))
  end))

  it("[S95] is joined by the scope around it, though it is dropped", h.run(function(t)
    takes(3, function()
      neap.scope(function()
        neap.map({ 1, 2 }, function(i) sleep(i) t:note(i) end, { limit = 1 })
        collectgarbage()
      end)
    end)
    assert.equal("1 2", t:logged())
  end))

  it("[S159] that failed and is dropped is reported", h.plain(function(t)
    local ok, err = pcall(neap.run, { clock = t.clock }, function()
      neap.map({ 1, 2 }, function(i) sleep(i) error("bad" .. i, 0) end)
    end)
    assert.same({ false, "bad1" }, { ok, err })
    assert.equal(1, #t:take_unobserved())
  end))

  it("[S252] in the background is cancelled and joined at the end of run", h.plain(function(t)
    neap.run({ clock = t.clock }, function()
      neap.background(function()
        await(neap.map({ 1, 2 }, function(i) clean_up(t, i, i) end))
      end)
      sleep(1)
    end)
    assert.equal("1 2", t:logged())
  end))

  it("[S182] gives each body the caller's local values, changes stay in it", h.run(function()
    local v = neap.localvar("default")
    v:set("caller")
    local map = neap.map(numbers(4), function(i)
      local before = v:get()
      v:set(i)
      sleep(1)
      return before .. v:get()
    end, { limit = 2 })
    v:set("later")
    assert.same({ "caller1", "caller2", "caller3", "caller4", n = 4 }, await(map))
    assert.equal("later", v:get())
  end))

  it("[S129] runs inside a body of another map", h.run(function()
    takes(4, function()
      local r = await(neap.map({ 1, 2 }, function(i)
        local inner = await(neap.map({ 1, 2 }, function(j)
          sleep(1)
          return i * 10 + j
        end, { limit = 1 }))
        return table.concat(inner, " ")
      end, { limit = 1 }))
      assert.same({ "11 12", "21 22", n = 2 }, r)
    end)
  end))

  it("copies its list", h.run(function()
    local list = { "a", "b", "c" }
    local map = neap.map(list, function(x) sleep(1) return x end, { limit = 1 })
    list[2], list[4] = "changed", "more"
    assert.same({ "a", "b", "c", n = 3 }, await(map))
  end))

  it("[S129] maps 10 000 items, 100 at a time", h.run(function()
    local body = counting(function(i) sleep(i % 7) return i + 1 end)
    local r = await(neap.map(numbers(10000), function(i) return body(i) end, { limit = 100 }))
    assert.equal(100, body.most)
    assert.equal(10000, body.calls)
    assert.equal(10000, r.n)
    for i = 1, 10000 do assert(r[i] == i + 1) end
  end))

  it("raises argument errors at once", h.run(function(t)
    local function called() t:note("called") end
    h.bad_argument("map", 1, neap.map)
    h.bad_argument("map", 1, neap.map, 5, called)
    h.bad_argument("map", 2, neap.map, { 1 })
    h.bad_argument("map", 2, neap.map, { 1 }, {})
    h.bad_argument("map", 3, neap.map, { 1 }, called, 5)
    for _, limit in ipairs({ 0, -1, 1.5, 0 / 0, "many", false }) do
      h.bad_argument("map", 3, neap.map, { 1 }, called, { limit = limit })
    end
    assert.equal("", t:logged())
  end))

  it("[S129] survives failing allocations", h.plain(function(t)
    h.each_failure(function()
      local r = neap.run({ clock = t.clock }, function()
        return await(neap.map({ 3, 1, 2 }, function(x) sleep(x) return x end, { limit = 2 }))
      end)
      assert(r.n == 3 and r[1] == 3 and r[2] == 1 and r[3] == 2)
    end)
    t:take_unobserved()
    t:take_warnings()
  end))
end)
