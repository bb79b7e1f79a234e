-- neap.localvar: what a task sees, what flows into what it starts, what with() puts back.

local h = require "spec.helper"
local support = require "spec.support"
local neap = require "neap"

local await = neap.await
local closing = support.closing

local function sleep(seconds)
  await(neap.sleep(seconds))
end

describe("neap.localvar", function()
  it("gives its default until it is set", h.run(function()
    local v, none = neap.localvar("default"), neap.localvar()
    assert.equal("default", v:get())
    assert.is_nil(none:get())
    v:set("x")
    assert.equal("x", v:get())
    assert.is_nil(none:get())
    assert.matches("^neap%.LocalVar", tostring(v))
  end))

  it("gives its default outside a task", h.plain(function()
    assert.equal("default", neap.localvar("default"):get())
  end))

  it("takes nil and false as values that hide the default", h.run(function()
    local v = neap.localvar("default")
    v:set(nil)
    assert.is_nil(v:get())
    assert.is_nil(await(neap.start(function() return v:get() end)))
    v:set(false)
    assert.is_false(v:get())
    v:set("x")
    assert.equal("x", v:get())
  end))

  it("shares values, it does not copy them", h.run(function()
    local v, shared = neap.localvar(), {}
    v:set(shared)
    assert.is_true(rawequal(shared, await(neap.start(function() return v:get() end))))
  end))

  it("keeps two variables apart", h.run(function()
    local a, b = neap.localvar("a"), neap.localvar("b")
    a:set(1)
    assert.equal("b", b:get())
    b:set(2)
    assert.equal(1, a:get())
    a:set(nil)
    assert.equal(2, b:get())
  end))

  it("[S226] gives a child the value of its start, changes stay on either side", h.run(
    function(t)
      local v = neap.localvar("default")
      v:set("start")
      local child = neap.start(function()
        t:note(v:get())
        sleep(1)
        t:note(v:get())
        v:set("child")
        sleep(2)
        t:note(v:get())
      end)
      v:set("parent")
      sleep(2)
      t:note(v:get())
      await(child)
      t:note(v:get())
      assert.equal("start start parent child parent", t:logged())
    end))

  local starters = {
    { "neap.start", function(fn) return neap.start(fn) end },
    { "an async function", function(fn) return neap.async(fn)() end },
    { "neap.background", function(fn) return neap.background(fn) end },
    { "group:spawn", function(fn)
      return neap.group(function(g) return g:spawn(fn) end)
    end },
  }
  for _, row in ipairs(starters) do
    it("[S226] flows into " .. row[1] .. " and not back", h.run(function()
      local v = neap.localvar("default")
      v:set("mine")
      local task = row[2](function()
        local before = v:get()
        v:set("changed")
        await(neap.yield())
        return before, v:get()
      end)
      assert.same({ "mine", "changed" }, { await(task) })
      assert.equal("mine", v:get())
    end))
  end

  it("[S226] flows to grandchildren", h.run(function()
    local v = neap.localvar()
    v:set("top")
    local task = neap.start(function()
      await(neap.yield())
      return await(neap.start(function() return v:get() end))
    end)
    v:set("later")
    assert.equal("top", await(task))
  end))

  it("[S227] keeps a value over awaits, whatever others set meanwhile", h.run(function()
    local v, wrong = neap.localvar(), 0
    local list = {}
    for i = 1, 50 do
      list[i] = neap.start(function()
        v:set(i)
        for _ = 1, 20 do
          await(i % 2 == 0 and neap.yield() or neap.sleep(i))
          if v:get() ~= i then wrong = wrong + 1 end
        end
      end)
    end
    await(neap.all(list))
    assert.equal(0, wrong)
    assert.is_nil(v:get())
  end))

  it("[S227] keeps what the body of a function form has set", h.run(function()
    local v = neap.localvar()
    neap.scope(function() v:set("scope") end)
    assert.equal("scope", v:get())
    neap.timeout(1, function() v:set("timeout") end)
    assert.equal("timeout", v:get())
    pcall(function() v:set("pcall") error("x") end)
    assert.equal("pcall", v:get())
  end))

  it("[S229] gives a callback of on_done the value of its registration", h.run(function(t)
    local v = neap.localvar("default")
    local task = neap.start(function() v:set("task") sleep(1) end)
    v:set("registered")
    task:on_done(function() t:note(v:get()) end)
    v:set("later")
    await(task)
    sleep(1)
    assert.equal("registered", t:logged())
  end))

  it("[S229] gives a callback of a token the value of its registration", h.run(function(t)
    local v = neap.localvar("default")
    local src = neap.canceller()
    v:set("registered")
    src.token:register(function() t:note(v:get()) v:set("callback") end)
    v:set("later")
    src:cancel()
    assert.equal("registered", t:logged())
    assert.equal("later", v:get())
    await(neap.start(function() v:set("other") src:cancel() end))
    assert.equal("registered", t:logged())
  end))

  it("[S230] gives a stream the values of whoever pulls", h.run(function()
    local v = neap.localvar("default")
    local s <close> = neap.stream(function(yield)
      while true do
        local before = v:get()
        sleep(1)
        yield(before, v:get())
      end
    end)()
    assert.same({ "default", "default" }, { await(s:next()) })
    v:set("a")
    assert.same({ "a", "a" }, { await(s:next()) })
    v:with("b", function() assert.same({ "b", "b" }, { await(s:next()) }) end)
    await(neap.start(function()
      v:set("task")
      assert.same({ "task", "task" }, { await(s:next()) })
    end))
    assert.same({ "a", "a" }, { await(s:next()) })
  end))

  it("does not keep the values of a task that has ended", h.run(function()
    local v, weak = neap.localvar(), setmetatable({}, { __mode = "v" })
    local task = neap.start(function()
      weak[1] = {}
      v:set(weak[1])
      assert.is_truthy(v:get())
    end)
    await(task)
    collectgarbage()
    collectgarbage()
    assert.is_nil(weak[1])
    assert.equal("done", task:status())
    assert.is_nil(v:get())
  end))

  it("does not grow with the number of changes", h.run(function()
    local v = neap.localvar()
    local function change(n)
      for i = 1, n do v:with({}, v.set, v, i) v:set({}) end
      collectgarbage()
      return collectgarbage("count")
    end
    local before = change(1000)
    local grown = change(10000) - before
    assert.is_true(grown < 64, grown .. " KiB more after 10 000 changes")
  end))

  it("[S226] survives failing allocations", h.plain(function(t)
    h.each_failure(function()
      local v = neap.localvar("default")
      local a, b, c = neap.run({ clock = t.clock }, function()
        v:set("main")
        local task = neap.start(function() sleep(1) return v:get() end)
        local inner = v:with("inner", function() sleep(1) return v:get() end)
        return await(task), inner, v:get()
      end)
      assert(a == "main" and b == "inner" and c == "main")
    end)
    t:take_unobserved()
    t:take_warnings()
  end))
end)

describe("localvar:with", function()
  it("[S58] passes arguments in and all results out, nils kept", h.run(function()
    local v = neap.localvar()
    local r = table.pack(v:with("x", function(...)
      return select("#", ...), nil, v:get(), nil
    end, "a", nil))
    assert.same({ 2, nil, "x", nil, n = 4 }, r)
  end))

  it("[S228] restores on a normal exit, also what the body set", h.run(function()
    local v = neap.localvar("default")
    v:with("outer", function()
      v:with("inner", function()
        sleep(1)
        assert.equal("inner", v:get())
        v:set("changed")
      end)
      assert.equal("outer", v:get())
      v:with(nil, function() assert.is_nil(v:get()) end)
      assert.equal("outer", v:get())
    end)
    assert.equal("default", v:get())
  end))

  it("[S228] restores on an error, which passes unchanged", h.run(function()
    local v, e = neap.localvar("default"), {}
    for _, wait in ipairs({ false, true }) do
      local ok, err = pcall(v.with, v, "inner", function()
        if wait then sleep(1) end
        error(e, 0)
      end)
      assert.is_false(ok)
      assert.is_true(rawequal(e, err))
      assert.equal("default", v:get())
    end
  end))

  it("[S228] restores on cancellation, before the handlers around it run", h.run(function(t)
    local v = neap.localvar("default")
    local task = neap.start(function()
      local _ <close> = closing(function() t:note(v:get()) end)
      v:with("inner", function()
        local _ <close> = closing(function() t:note(v:get()) end)
        sleep(100)
      end)
    end)
    task:cancel()
    assert.equal("cancelled", (await(neap.settle(task))))
    assert.equal("inner default", t:logged())
  end))

  it("[S226] leaves its value to a task that was started in it", h.run(function()
    local v = neap.localvar("default")
    local task = v:with("inner", function()
      return neap.start(function() sleep(1) return v:get() end)
    end)
    assert.equal("default", v:get())
    assert.equal("inner", await(task))
  end))

  it("raises an argument error for what is not callable", h.run(function()
    local v = neap.localvar("default")
    h.bad_argument("with", 2, function() v:with(1, 5) end)
    h.bad_argument("with", 2, function() v:with(1) end)
    assert.equal("default", v:get())
  end))
end)
