local h = require "spec.helper"
local neap = require "neap"

local await = neap.await

local function yields(n)
  for _ = 1, n do await(neap.yield()) end
end

describe("neap.progress", function()
  it("[S257] reports in order and never inline", h.run(function(t)
    local report = neap.progress(function(...) t:note(table.concat({ ... }, ",")) end)
    report(1)
    report(2, "x")
    t:note("inline")
    yields(2)
    t:note("later")
    report(3)
    yields(2)
    assert.equal("inline 1 2,x later 3", t:logged())
  end))

  it("[S257] keeps nils and returns nothing", h.run(function(t)
    local report = neap.progress(function(...) t:note(select("#", ...)) end)
    assert.equal(0, select("#", report(nil, 2, nil)))
    report()
    yields(2)
    assert.equal("3 0", t:logged())
  end))

  it("[S257] keeps the order over several tasks that report", h.run(function(t)
    local report = neap.progress(function(x) t:note(x) end)
    local list = {}
    for i = 1, 3 do
      list[i] = neap.start(function()
        report("a" .. i)
        await(neap.sleep(4 - i))
        report("b" .. i)
      end)
    end
    await(neap.all(list))
    yields(2)
    assert.equal("a1 a2 a3 b3 b2 b1", t:logged())
  end))

  it("[S257] drops what is queued when its owner ends", h.run(function(t)
    local report
    await(neap.start(function()
      report = neap.progress(function(x) t:note(x) end)
      report("shown")
      yields(2)
      report("dropped")
    end))
    yields(3)
    report("after the end")
    yields(3)
    assert.equal("shown", t:logged())
  end))

  it("[S257] ends with an owner that fails or is cancelled", h.run(function(t)
    local report
    local function owner(fail)
      report = neap.progress(function(x) t:note(x) end)
      await(neap.sleep(1))
      if fail then error("bad", 0) end
      await(neap.sleep(100))
    end
    local task = neap.start(owner, true)
    assert.equal("failed", (await(neap.settle(task))))
    report("after failure")
    yields(3)
    task = neap.start(owner, false)
    report("while it lives")
    yields(3)
    task:cancel()
    assert.equal("cancelled", (await(neap.settle(task))))
    report("after cancellation")
    yields(3)
    assert.equal("while it lives", t:logged())
  end))

  it("[S257] goes on while its owner is cleaning up", h.run(function(t)
    local task = neap.start(function()
      local report = neap.progress(function(x) t:note(x) end)
      local _ <close> = neap.defer(function()
        report("clean-up")
        await(neap.sleep(1))
      end)
      await(neap.sleep(100))
    end)
    task:cancel()
    await(neap.settle(task))
    assert.equal("clean-up", t:logged())
  end))

  it("[S257] of main is silent once the run has ended", h.plain(function(t)
    local report
    neap.run({ clock = t.clock }, function()
      report = neap.progress(function(x) t:note(x) end)
      report("dropped")
    end)
    report("after the run")
    neap.run({ clock = t.clock }, function() yields(3) end)
    assert.equal("", t:logged())
  end))

  it("[S257] reports the error of the function; later reports arrive", h.run(function(t)
    local e = {}
    local report = neap.progress(function(x)
      if x == 2 then error(e, 0) end
      t:note(x)
    end)
    for i = 1, 3 do report(i) end
    yields(4)
    assert.equal("1 3", t:logged())
    collectgarbage()
    yields(2)
    local lost = t:take_unobserved()
    assert.equal(1, #lost)
    assert.is_true(rawequal(e, lost[1].err))
  end))

  it("[S257] delivers a report of its own function in a later turn", h.run(function(t)
    local report
    report = neap.progress(function(n)
      t:note("in" .. n)
      if n < 3 then report(n + 1) end
      t:note("out" .. n)
    end)
    report(1)
    yields(10)
    assert.equal("in1 out1 in2 out2 in3 out3", t:logged())
  end))

  it("[S257] delivers 10 000 reports in order, though report is dropped", h.run(function()
    local seen, wrong = 0, 0
    do
      local report = neap.progress(function(i)
        seen = seen + 1
        if i ~= seen then wrong = wrong + 1 end
      end)
      for i = 1, 10000 do report(i) end
    end
    collectgarbage()
    await(neap.sleep(1))
    assert.equal(10000, seen)
    assert.equal(0, wrong)
  end))

  it("[S257] works in a cancelled scope, where it is no operation", h.run(function(t)
    local report = neap.progress(function(x) t:note(x) end)
    neap.scope(function(scope)
      scope:cancel("closed")
      report("reported")
    end)
    yields(2)
    assert.equal("reported", t:logged())
  end))

  it("raises an argument error for what is not callable", h.run(function()
    h.bad_argument("progress", 1, neap.progress)
    h.bad_argument("progress", 1, neap.progress, 5)
  end))

  it("[S257] survives failing allocations", h.plain(function(t)
    local result
    h.each_failure(function()
      local seen = {}
      neap.run({ clock = t.clock }, function()
        local report = neap.progress(function(x) seen[#seen + 1] = x end)
        report(1)
        report(2)
        await(neap.sleep(1))
      end)
      result = table.concat(seen, " ")
    end)
    assert.equal("1 2", result)
    t:take_unobserved()
    t:take_warnings()
  end))
end)
