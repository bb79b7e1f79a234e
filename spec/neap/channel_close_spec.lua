-- Closing a channel, with an error and without.
local h = require "spec.helper"
local support = require "spec.support"
local neap = require "neap"

local await = neap.await
-- 10 000 at most; a collection per turn makes all costs quadratic.
local MANY = os.getenv("NEAP_STRESS_GC") and 50 or 2500

--- What await(task) raises.
local function error_of(task)
  local ok, err = pcall(await, task)
  assert.is_false(ok)
  return err
end

--- Asserts that the task fails with ECLOSED and this cause.
local function is_refused(task, cause)
  local err = h.raises("ECLOSED", await, task)
  assert.is_true(rawequal(cause, err.cause))
end

describe("closing a channel", function()
  it("[S187] leaves what is buffered to be received, then recv gives false", h.run(function()
    local ch = neap.channel()
    ch:try_send(1)
    ch:try_send(nil, 2)
    ch:close()
    assert.equal(2, #ch)
    assert.same({ true, 1 }, { await(ch:recv()) })
    assert.same(table.pack(true, nil, 2), table.pack(ch:try_recv()))
    for _ = 1, 2 do assert.same(table.pack(false), table.pack(await(ch:recv()))) end
    assert.same({ false, "closed" }, { ch:try_recv() })
  end))

  it("[S187] ends the loops over it, also those that wait", h.run(function(t)
    local ch = neap.channel()
    local loops = {}
    for i = 1, 3 do
      loops[i] = neap.start(function()
        for item in ch do t:note(item) end
        t:note("end" .. i)
      end)
    end
    ch:try_send("x")
    ch:close()
    await(neap.all(loops))
    table.sort(t.log)
    assert.equal("end1 end2 end3 x", t:logged())
    for _ in ch do error("an item after the end") end
  end))

  it("[S187] tells waiting receivers, in a later turn, in order", h.run(function(t)
    local ch = neap.channel(0)
    local tasks = {}
    for i = 1, 3 do
      tasks[i] = neap.start(function()
        t:note(i)
        assert.same(table.pack(false), table.pack(await(ch:recv())))
        t:note(i)
      end)
    end
    ch:close()
    t:note("after")
    await(neap.all(tasks))
    assert.equal("1 2 3 after 1 2 3", t:logged())
  end))

  it("[S188] gives true, then false", h.run(function()
    local ch, e = neap.channel(), {}
    assert.is_true(ch:close())
    assert.is_false(ch:close())
    assert.is_false(ch:close(e))
    assert.same({ false }, { await(ch:recv()) })
    is_refused(ch:send(1), nil)
  end))

  it("[S188] with an error keeps the first one", h.run(function()
    local ch, e = neap.channel(), {}
    assert.is_true(ch:close(e))
    assert.is_false(ch:close({}))
    assert.is_false(ch:close())
    assert.equal(e, error_of(ch:recv()))
  end))

  it("[S189] makes a later send fail with ECLOSED", h.run(function()
    for _, capacity in ipairs({ 0, 1, math.huge }) do
      local plain, e = neap.channel(capacity), {}
      plain:close()
      is_refused(plain:send(1), nil)
      assert.same({ false, "closed" }, { plain:try_send(1) })
      local broken = neap.channel(capacity)
      broken:close(e)
      is_refused(broken:send(1), e)
      assert.same({ false, "closed" }, { broken:try_send(1) })
      assert.equal(0, #plain + #broken)
    end
  end))

  it("[S189] makes waiting sends fail with ECLOSED, their items are gone", h.run(function()
    for _, cause in ipairs({ false, {} }) do
      local ch = neap.channel(1)
      ch:try_send("buffered")
      local second, third = ch:send("b"), ch:send("c")
      ch:close(cause or nil)
      assert.equal("failed", second:status())
      is_refused(second, cause or nil)
      is_refused(third, cause or nil)
      assert.equal(1, #ch)
      assert.same({ true, "buffered" }, { ch:try_recv() })
      assert.same({ false, "closed" }, { ch:try_recv() })
    end
  end))

  it("[S189] raises the error of a send in the task that awaits it", h.run(function()
    local ch, e = neap.channel(0), {}
    local sender = neap.start(function() await(ch:send(1)) end)
    await(neap.sleep(1))
    ch:close(e)
    local status, err = await(neap.settle(sender))
    assert.equal("failed", status)
    assert.equal("ECLOSED", err.code)
    assert.equal(e, err.cause)
    assert.matches("closed", tostring(err), 1, true)
  end))

  it("[S190] with an error raises it in receivers, waiting and later", h.run(function()
    local e = setmetatable({}, { __tostring = function() error("never called") end })
    local ch = neap.channel()
    local first, second = ch:recv(), ch:recv()
    ch:close(e)
    assert.is_true(rawequal(e, error_of(first)))
    assert.is_true(rawequal(e, error_of(second)))
    assert.is_true(rawequal(e, error_of(ch:recv())))
    assert.is_true(rawequal(e, error_of(ch:recv())))
  end))

  it("[S190] with an error gives what is buffered first", h.run(function(t)
    local ch = neap.channel()
    ch:try_send(1)
    ch:try_send(2)
    ch:close("broken")
    assert.same({ true, 1 }, { await(ch:recv()) })
    local ok, err = pcall(function() for item in ch do t:note(item) end end)
    assert.same({ false, "broken" }, { ok, err })
    assert.equal("2", t:logged())
    assert.same({ false, "closed" }, { ch:try_recv() })
  end))

  it("[S190] with an error raises it in a loop that waits", h.run(function()
    local ch, e = neap.channel(0), {}
    local loop = neap.start(function() for _ in ch do error("no item") end end)
    await(neap.sleep(1))
    ch:close(e)
    assert.equal(e, error_of(loop))
  end))

  it("works outside a task, and for a run that comes later", h.plain(function(t)
    local ch = neap.channel()
    ch:try_send(1)
    assert.is_true(ch:close())
    assert.is_false(ch:close())
    neap.run({ clock = t.clock }, function()
      for item in ch do t:note(item) end
    end)
    assert.equal("1", t:logged())
  end))

  it("works in a cancelled scope", h.run(function()
    local ch = neap.channel()
    local waiting = ch:recv()
    neap.scope(function(scope)
      scope:cancel()
      assert.is_true(ch:try_send("x"))
      assert.is_true(ch:close())
    end)
    assert.same({ true, "x" }, { await(waiting) })
    assert.same({ false }, { await(ch:recv()) })
  end))

  it("[C6] in the same turn after an item was handed over changes nothing", h.run(function()
    local ch = neap.channel(1)
    ch:try_send(1)
    local send = ch:send(2)
    assert.same({ true, 1 }, { ch:try_recv() })
    ch:close()
    await(send)
    assert.same({ true, 2 }, { ch:try_recv() })
    ch = neap.channel()
    local recv = ch:recv()
    ch:try_send(3)
    ch:close("broken")
    assert.same({ true, 3 }, { await(recv) })
  end))

  it("[C6] counts for a receiver that is cancelled in the same turn", h.run(function(t)
    local ch = neap.channel()
    local task = neap.start(function()
      t:note((await(ch:recv())))
      await(neap.yield())
      t:note("never")
    end)
    ch:close()
    task:cancel("late")
    assert.same({ "cancelled", "late" }, { await(neap.settle(task)) })
    assert.equal("false", t:logged())
  end))

  it("[C6] does not reach those that were cancelled before", h.run(function()
    local ch = neap.channel(0)
    local recv = ch:recv()
    recv:cancel("first")
    ch:close("broken")
    assert.same({ "cancelled", "first" }, { await(neap.settle(recv)) })
  end))

  it("[C4] gives a cancelled Task in a cancelled scope, no failed one", h.run(function()
    local plain, broken = neap.channel(), neap.channel()
    plain:close()
    broken:close("broken")
    neap.scope(function(scope)
      scope:cancel()
      for _, ch in ipairs({ plain, broken }) do
        assert.equal("cancelled", ch:recv():status())
        assert.equal("cancelled", ch:send(1):status())
      end
    end)
  end))

  it("wakes 10 000 waiting receivers in linear time", h.run(function()
    support.is_linear(function(n)
      local ch, woken = neap.channel(), 0
      local start = os.clock()
      neap.group(function(g)
        for _ = 1, n do
          g:spawn(function() if not await(ch:recv()) then woken = woken + 1 end end)
        end
        ch:close()
      end)
      assert.equal(n, woken)
      return os.clock() - start
    end, MANY)
  end))
end)
