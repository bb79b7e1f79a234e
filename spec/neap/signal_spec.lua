local h = require "spec.helper"
local support = require "spec.support"
local neap = require "neap"
local core = require "neap.core"

local await, signal = neap.await, neap.signal

--- Sends signals to this process, in order: "USR1", "HUP".
local function send(...)
  local commands = {}
  for i, name in ipairs{...} do commands[i] = "kill -" .. name .. " $PPID" end
  io.popen(table.concat(commands, "; ")):close()
end

describe("neap.signal.on", function()
  it("gives the names of signals that arrive", h.run(function()
    local signals <close> = signal.on("SIGUSR1", "SIGUSR2")
    for _, name in ipairs{ "USR1", "USR2", "USR1" } do
      local task = signals:next()
      assert.equal("pending", task:status())
      send(name)
      assert.equal("SIG" .. name, await(task))
    end
  end))

  it("keeps what arrives while nobody waits, merged as the system merges signals", h.run(function()
    local signals <close> = signal.on("SIGUSR1", "SIGUSR2", "SIGHUP")
    for _ = 1, 5 do send("USR2", "USR1", "USR2", "HUP", "USR1") end
    local counts = {}
    while neap.try_for(1, function()
      local name = await(signals:next())
      counts[name] = (counts[name] or 0) + 1
    end) do end
    for _, name in ipairs{ "SIGUSR1", "SIGUSR2", "SIGHUP" } do
      assert.is_true(counts[name] == 1 or counts[name] == 2, name)
    end
  end))

  it("gives a signal to each iterator that listens to it", h.run(function()
    local a <close> = signal.on("SIGUSR1")
    local b <close> = signal.on("SIGUSR1", "SIGUSR2")
    send("USR1")
    assert.equal("SIGUSR1", await(a:next()))
    assert.equal("SIGUSR1", await(b:next()))
    await(a:close())
    send("USR1")
    assert.equal("SIGUSR1", await(b:next()))
  end))

  it("takes a name twice as once", h.run(function()
    local signals <close> = signal.on("SIGUSR1", "SIGUSR1")
    assert.equal("neap.Signals SIGUSR1", tostring(signals))
  end))

  it("is closed when a for loop is left", h.run(function()
    local got = {}
    neap.background(function()
      await(neap.yield())
      send("USR2", "USR1")
    end)
    for name in signal.on("SIGUSR2", "SIGUSR1") do
      got[name] = true
      if got.SIGUSR1 and got.SIGUSR2 then break end
    end
    assert.equal(0, core.stats().handles)
  end))

  it("has a for loop end when it is closed", h.run(function(t)
    local signals = signal.on("SIGUSR1")
    local task = neap.start(function()
      for name in signals do t:note(name) end
      t:note("end")
    end)
    await(neap.yield())
    await(signals:close())
    await(task)
    assert.equal("end", t:logged())
  end))

  it("raises an argument error that names what is wrong", h.run(function()
    local text = h.bad_argument("on", 1, signal.on)
    assert.is_truthy(text:find("string expected", 1, true))
    text = h.bad_argument("on", 2, signal.on, "SIGHUP", "SIGFOO")
    assert.is_truthy(text:find("unknown signal 'SIGFOO'", 1, true))
    for _, bad in ipairs{ "", "HUP", "sighup", "SIGHUP\0", "SIG" } do
      h.bad_argument("on", 1, signal.on, bad)
    end
    h.bad_argument("on", 1, signal.on, 15)
    for _, name in ipairs{ "SIGKILL", "SIGSTOP", "SIGSEGV" } do
      text = h.bad_argument("on", 1, signal.on, name)
      assert.is_truthy(text:find("'" .. name .. "' cannot be waited for: ", 1, true), text)
    end
    assert.equal(0, core.stats().handles)
  end))

  it("leaves nothing behind when there is no memory", h.run(function()
    h.each_failure(function()
      local signals <close> = signal.on("SIGUSR1", "SIGUSR2")
      send("USR1")
      await(signals:next())
    end)
  end))
end)

describe("Signals:next", function()
  it("raises EMISUSE while another one waits", h.run(function()
    local signals <close> = signal.on("SIGUSR1")
    local task = signals:next()
    h.misuse(function() return signals:next() end)
    send("USR1")
    assert.equal("SIGUSR1", await(task))
  end))

  it("[C6] that is cancelled has taken no signal", h.run(function()
    local signals <close> = signal.on("SIGUSR1")
    local task = signals:next()
    send("USR1")
    assert.is_true(task:cancel("enough"))
    h.raises("ECANCELLED", await, task)
    assert.equal("SIGUSR1", await(signals:next()))
  end))

  it("[C3] is cancelled with its task", h.run(function()
    local signals <close> = signal.on("SIGUSR1")
    local task = neap.start(function() return await(signals:next()) end)
    task:cancel("enough")
    assert.same({ "cancelled", "enough" }, { await(neap.settle(task)) })
    send("USR1")
    assert.equal("SIGUSR1", await(signals:next()))
  end))

  it("[S8] keeps its signal when it is cancelled after completion", h.run(function()
    local signals <close> = signal.on("SIGUSR1")
    send("USR1")
    local task = signals:next()
    await(neap.settle(task))
    assert.is_false(task:cancel("late"))
    assert.equal("SIGUSR1", await(task))
  end))

  it("[S71] takes nothing in a cancelled scope", h.run(function()
    local signals <close> = signal.on("SIGUSR1")
    send("USR1")
    neap.scope(function(scope)
      scope:cancel("closed")
      assert.equal("cancelled", signals:next():status())
    end)
    assert.equal("SIGUSR1", await(signals:next()))
  end))

  it("gives nil when it is closed meanwhile, and from then on", h.run(function()
    local signals = signal.on("SIGUSR1")
    local task = signals:next()
    local closing = signals:close()
    assert.is_nil(await(task))
    await(closing)
    assert.is_nil(await(signals:next()))
    assert.equal("neap.Signals SIGUSR1: closed", tostring(signals))
  end))

  it("[S99] that is dropped does not hold up a scope", h.run(function()
    local signals <close> = signal.on("SIGUSR1")
    support.takes(0, function()
      neap.scope(function() assert(signals:next()) end)
    end)
  end))

  it("keeps its iterator, which nobody else holds", h.run(function()
    local task = signal.on("SIGUSR1"):next()
    collectgarbage()
    collectgarbage()
    send("USR1")
    assert.equal("SIGUSR1", await(task))
    assert.equal(0, core.stats().handles)
  end))
end)

describe("Signals", function()
  it("that nobody holds are closed when they are collected", h.run(function()
    assert(signal.on("SIGUSR1", "SIGUSR2"))
    collectgarbage()
    collectgarbage()
    assert.equal(0, core.stats().handles)
  end))

  it("[S225] may be closed again and again, also in a cancelled scope", h.run(function()
    local signals = signal.on("SIGUSR1")
    neap.scope(function(scope)
      scope:cancel("closed")
      assert.equal("cancelled", signals:close():status())
    end)
    local first, second = signals:close(), signals:close()
    await(second)
    await(first)
    await(signals:close())
    assert.equal(0, core.stats().handles)
  end))

  it("[S44] that nobody waits on do not keep a run from its end, and a wait is no deadlock",
    function()
      local output, how, code = h.process([[
        local neap = require "neap"
        local idle, signals
        neap.run(function()
          idle = neap.signal.on("SIGUSR1")
          signals = neap.signal.on("SIGHUP")
          local pipe = io.popen("(sleep 0.05; kill -HUP $PPID) >/dev/null & echo", "r")
          pipe:close()
        end)
        print("ended")
        os.exit(true, true)
      ]])
      assert.same({ "ended\n", "exit", 0 }, { output, how, code })
    end)

  it("restore what the signal did before", function()
    local _, how, code = h.process([[
      local neap = require "neap"
      neap.run(function() neap.await(neap.signal.on("SIGUSR1"):close()) end)
      io.popen("kill -USR1 $PPID"):close()
    ]])
    assert.same({ "signal", 10 }, { how, code })
  end)

  it("leave a signal ignored that was ignored, and SIGPIPE always", function()
    local output = h.process([[
      local neap = require "neap"
      neap.run(function()
        neap.await(neap.signal.on("SIGUSR1", "SIGPIPE"):close())
      end)
      io.popen("kill -USR1 $PPID; kill -PIPE $PPID"):close()
      print("alive")
    ]], "sh -c 'trap \"\" USR1; exec \"$@\"' sh")
    assert.equal("alive\n", output)
  end)

  it("may be open, and waited on, when the Lua state closes", function()
    local output, how, code = h.process([[
      local neap = require "neap"
      signals = neap.signal.on("SIGUSR1", "SIGUSR2")
      task = signals:next()
      setmetatable({}, { __gc = function()
        print(pcall(function() return tostring(signals) end))
      end })
      os.exit(true, true)
    ]])
    assert.same({ "exit", 0 }, { how, code })
    assert.is_truthy(output:find("neap.Signals", 1, true) or output:find("finalized", 1, true))
  end)
end)
