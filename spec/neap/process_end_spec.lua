-- How children are ended: by signals, by close, when nobody has them any more, and with the loop.
local h = require "spec.helper"
local support = require "spec.support"
local neap = require "neap"

local await, process = neap.await, neap.process
local spawn = process.spawn

local STUBBORN = "trap '' TERM; echo ready; exec sleep 100"

local function shell(script, opts)
  local command = { "/bin/sh", "-c", script }
  for name, value in pairs(opts or {}) do command[name] = value end
  return await(spawn(command))
end

--- Lets real time pass until a process has gone; the loop runs meanwhile.
local function await_gone(pid)
  local function runs() return support.is_known(pid) end
  for _ = 1, 500 do
    if not runs() then return end
    await(process.run{ "true" })
  end
  error("it is still there: " .. pid)
end

describe("process:kill", function()
  it("sends a signal, SIGTERM by default", h.run(function()
    local p <close> = await(spawn{ "sleep", "100" })
    assert.is_true(p:kill())
    assert.same({ 143, "SIGTERM" }, { await(p:wait()) })
    local q <close> = await(spawn{ "sleep", "100" })
    assert.is_true(q:kill("SIGKILL"))
    assert.same({ 137, "SIGKILL" }, { await(q:wait()) })
    local r <close> = await(spawn{ "sleep", "100" })
    assert.is_true(r:kill(0))
    assert.is_true(r:kill(2))
    assert.same({ 130, "SIGINT" }, { await(r:wait()) })
  end))

  it("says that the child has ended, and signals nobody else", h.run(function()
    local p <close> = await(spawn{ "true" })
    await(p:wait())
    assert.is_false(p:kill())
    assert.is_false(p:kill(0))
  end))

  it("reaches all of a group", h.run(function()
    local p <close> = shell("sleep 100 & echo $!; sleep 100", { group = true })
    local pid = tonumber(await(p.stdout:read_line()))
    p:kill("SIGKILL")
    await(p:wait())
    while support.is_running(pid) do await(process.run{ "true" }) end
  end))

  it("knows the names of signals", h.run(function()
    local p <close> = await(spawn{ "sleep", "100" })
    h.bad_argument("kill", 1, function() p:kill("TERM") end)
    h.bad_argument("kill", 1, function() p:kill(1000) end)
    h.bad_argument("kill", 1, function() p:kill({}) end)
  end))
end)

describe("neap.process.kill", function()
  it("sends a signal to any process", h.run(function()
    local p <close> = await(spawn{ "sleep", "100" })
    process.kill(p.pid, "SIGUSR1")
    assert.same({ 138, "SIGUSR1" }, { await(p:wait()) })
  end))

  it("fails where there is none", h.run(function()
    local p <close> = await(spawn{ "true" })
    await(p:wait())
    local err = h.raises("ESRCH", process.kill, p.pid)
    assert.equal("kill", err.syscall)
  end))

  it("takes no number that stands for many", h.run(function()
    for _, pid in ipairs{ 0, -1, 1 << 40, "x" } do
      h.bad_argument("kill", 1, function() process.kill(pid) end)
    end
    h.bad_argument("kill", 2, function() process.kill(1, "SIGNONE") end)
  end))
end)

describe("process:close", function()
  it("ends the child, reaps it and closes its pipes", h.run(function()
    local p = await(spawn{ "cat" })
    local pid = p.pid
    support.takes(0, function() await(p:close()) end)
    assert.is_false(support.is_known(pid))
    assert.equal("SIGTERM", select(2, await(p:wait())))
    h.raises("ECLOSED", await, p.stdin:write("x"))
    h.raises("ECLOSED", await, p.stdout:read())
    await(p:close())
  end))

  it("kills it when the grace is over", h.run(function()
    local p = shell(STUBBORN, { grace = 7 })
    await(p.stdout:read_line())
    support.takes(7, function() await(p:close()) end)
    assert.equal("SIGKILL", select(2, await(p:wait())))
  end))

  it("kills it at once without a grace", h.run(function()
    local p = shell(STUBBORN, { grace = 0 })
    await(p.stdout:read_line())
    support.takes(0, function() await(p:close()) end)
    assert.equal("SIGKILL", select(2, await(p:wait())))
  end))

  it("waits for ever where that is the grace", h.run(function()
    local p = shell("trap 'sleep 0.2; exit 3' TERM; echo ready; sleep 0.2", { grace = math.huge })
    await(p.stdout:read_line())
    await(p:close())
    assert.equal(3, (await(p:wait())))
  end))

  it("lets a child that has ended be", h.run(function()
    local p = await(spawn{ "true" })
    await(p:wait())
    await(p:close())
    assert.same({ 0, n = 1 }, table.pack(await(p:wait())))
  end))

  it("may be waited for by several, some of which give up", h.run(function()
    local p = shell(STUBBORN, { grace = 7 })
    await(p.stdout:read_line())
    local first, second = p:close(), p:close()
    first:cancel()
    await(second)
    assert.equal("cancelled", first:status())
  end))

  it("begins in a cancelled scope as well", h.run(function()
    local p = await(spawn{ "sleep", "100" })
    neap.scope(function(scope)
      scope:cancel()
      assert.equal("cancelled", p:close():status())
    end)
    assert.equal("SIGTERM", select(2, await(p:wait())))
  end))

  it("leaves a detached child alone, without its pipes", h.run(function()
    local p = shell("exec sleep 100", { detached = true })
    await(p:close())
    assert.is_true(support.is_running(p.pid))
    h.raises("ECLOSED", await, p.stdin:write("x"))
    p:kill()
    assert.equal("SIGTERM", select(2, await(p:wait())))
  end))

  it("ends what is left of a group", h.run(function()
    local p = shell("sleep 100 >/dev/null & echo $!", { group = true })
    local pid = tonumber(await(p.stdout:read_all()))
    await(p:wait())
    assert.is_true(support.is_running(pid))
    await(p:close())
    assert.is_false(support.is_running(pid))
  end))

  it("runs at the end of a block, also of a cancelled one, and is waited for", h.run(function()
    local pid
    local task = neap.start(function()
      local p <close> = shell(STUBBORN, { grace = 2 })
      pid = p.pid
      await(p.stdout:read_line())
      await(p:wait())
    end)
    while not pid do await(neap.sleep(0)) end
    await(neap.sleep(1))
    task:cancel()
    support.takes(2, function() h.raises("ECANCELLED", await, task) end)
    assert.is_false(support.is_known(pid))
  end))
end)

describe("a Process that nobody has any more", function()
  it("is ended when it is collected", h.run(function()
    local pid = await(spawn{ "sleep", "100" }).pid
    collectgarbage()
    collectgarbage()
    await_gone(pid)
  end))

  it("goes on as long as one has a pipe of it", h.run(function()
    local p = await(spawn{ "cat" })
    local pid, stdin, stdout = p.pid, p.stdin, p.stdout
    p = nil -- luacheck: ignore 311
    collectgarbage()
    collectgarbage()
    await(stdin:write("x\n"))
    assert.equal("x", await(stdout:read_line()))
    await(stdin:close())
    await(stdout:close())
    await_gone(pid)
  end))

  it("goes on as long as one waits for it", h.run(function()
    local wait = await(spawn{ "sh", "-c", "sleep 0.02; exit 5", stdin = "null", stdout = "null",
      stderr = "null" }):wait()
    collectgarbage()
    collectgarbage()
    assert.equal(5, (await(wait)))
  end))

  it("is ended when the last wait was given up", h.run(function()
    local p = await(spawn{ "sleep", "100", stdin = "null", stdout = "null", stderr = "null" })
    local pid, wait = p.pid, p:wait()
    p = nil -- luacheck: ignore 311
    collectgarbage()
    collectgarbage()
    assert.is_true(support.is_running(pid))
    wait:cancel()
    await_gone(pid)
  end))
end)

describe("the end of a loop", function()
  --- Runs a program that prints the pid of its child, and gives it.
  local function child_of(source)
    local output, how, code = h.process([[
      local neap = require "neap"
      io.stdout:setvbuf("no")
      local await, spawn = neap.await, neap.process.spawn
    ]] .. source)
    assert.same({ "exit", 0 }, { how, code }, output)
    return assert(tonumber(output), output)
  end

  it("kills the children", h.plain(function()
    local pid = child_of([[
      neap.run(function()
        kept = await(spawn{"sh", "-c", "trap '' TERM; echo x; exec sleep 100"})
        await(kept.stdout:read_line())
        print(kept.pid)
      end)
    ]])
    assert.is_false(support.is_known(pid))
  end))

  it("kills those who are being ended", h.plain(function()
    local pid = child_of([[
      neap.run(function()
        kept = await(spawn{"sh", "-c", "trap '' TERM; echo x; exec sleep 100", grace = 1000})
        await(kept.stdout:read_line())
        print(kept.pid)
        kept:close()
      end)
    ]])
    assert.is_false(support.is_known(pid))
  end))

  it("kills what is left of a group that is being ended", h.plain(function()
    local pid = child_of([[
      neap.run(function()
        local script = "(trap '' TERM; echo ready; sleep 100; sleep 100) & echo $!"
        kept = await(spawn{"sh", "-c", script, group = true, grace = 1000})
        local lines = {await(kept.stdout:read_line()), await(kept.stdout:read_line())}
        print(lines[1] == "ready" and lines[2] or lines[1])
        await(kept:wait())
        kept:close()
      end)
    ]])
    local stop_at = os.time() + 10
    while support.is_running(pid) and os.time() < stop_at do end -- it is nobody's to be reaped
    assert.is_false(support.is_running(pid))
  end))

  it("leaves detached children alone", h.plain(function()
    local pid = child_of([[
      neap.run(function()
        kept = await(spawn{"sleep", "100", detached = true, stdin = "null", stdout = "null",
          stderr = "null"})
        print(kept.pid)
      end)
    ]])
    assert.is_true(support.is_running(pid))
    process.kill(pid, "SIGKILL")
  end))
end)

describe("tostring of a Process", function()
  it("says which one it is and how it ended", h.run(function()
    local p <close> = await(spawn{ "sleep", "100" })
    assert.equal(("neap.Process %d 'sleep'"):format(p.pid), tostring(p))
    p:kill()
    await(p:wait())
    assert.equal(("neap.Process %d 'sleep': SIGTERM"):format(p.pid), tostring(p))
    local q <close> = shell("exit 3")
    await(q:wait())
    assert.equal(("neap.Process %d '/bin/sh': exit code 3"):format(q.pid), tostring(q))
  end))
end)
