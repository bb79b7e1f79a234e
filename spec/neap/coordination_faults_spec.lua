-- The core's allocations fail in the calls of channels, semaphores, mutexes, events, conditions and
-- tokens: each call succeeds, or raises and has changed nothing.
local h = require "spec.helper"
local neap = require "neap"

local await = neap.await

--- Runs `main` until no allocation fails; what it returns in the end is `expected`.
local function survives(expected, main)
  return h.plain(function(t)
    local result
    h.each_failure(function()
      result = neap.run({ clock = t.clock }, main)
      assert(result == expected, "a run that succeeded has a wrong result: " .. tostring(result))
    end)
    assert.equal(expected, result)
    for _, lost in ipairs(t:take_unobserved()) do
      local text = tostring(lost.err)
      assert.is_truthy(text:find("ENOMEM", 1, true) or text:find("memory", 1, true), text)
    end
    t:take_warnings()
  end)
end

--- Calls fn(...), which succeeds or raises; an error that is not for want of memory is raised.
local function attempt(fn, ...)
  local ok, result = pcall(fn, ...)
  if not ok then
    local text = tostring(result)
    local is_memory = text:find("ENOMEM", 1, true) or text:find("memory", 1, true)
    if not is_memory then error(result, 0) end
  end
  return ok, result
end

describe("failing allocations in", function()
  it("[S183, S185] channels between tasks", survives(6, function()
    return neap.group(function(g)
      local sum = 0
      for _, capacity in ipairs({ 0, 1 }) do
        local ch = neap.channel(capacity)
        g:spawn(function()
          await(ch:send(1, nil))
          await(ch:send(2))
          ch:close()
        end)
        for item in ch do sum = sum + item end
      end
      return sum
    end)
  end))

  it("[S195] drop modes", survives("3 1", function()
    local dropped = 0
    local ch = neap.channel(1, { full = "drop_oldest", on_drop = function(x) dropped = x end })
    await(ch:send(1))
    await(ch:send(3))
    return select(2, ch:try_recv()) .. " " .. dropped
  end))

  it("[S189, S190] closing", survives("ECLOSED false", function()
    local ch, full = neap.channel(), neap.channel(0)
    local recv, send = ch:recv(), full:send(1)
    ch:close()
    full:close()
    local received = await(recv)
    local _, err = pcall(await, send)
    if err.code == "ENOMEM" then error(err, 0) end
    return err.code .. " " .. tostring(received)
  end))

  it("[S198] semaphores", survives("done", function()
    return neap.group(function(g)
      local sem = neap.semaphore(1)
      for _ = 1, 3 do
        g:spawn(function()
          local _ <close> = await(sem:acquire())
          await(neap.yield())
        end)
      end
      await(sem:acquire()):release()
      return "done"
    end)
  end))

  it("[S204] mutexes and conditions", survives("ready", function()
    return neap.group(function(g)
      local mutex, state = neap.mutex(), nil
      local changed = neap.condition(mutex)
      local task = g:spawn(function()
        local _ <close> = await(mutex:lock())
        while not state do await(changed:wait()) end
        return state
      end)
      await(neap.yield())
      do
        local _ <close> = await(mutex:lock())
        state = "ready"
        changed:notify()
      end
      return await(task)
    end)
  end))

  it("[S205] events", survives(2, function()
    return neap.group(function(g)
      local event, woken = neap.event(), 0
      local tasks = {}
      for i = 1, 2 do
        tasks[i] = g:spawn(function() await(event:wait()) woken = woken + 1 end)
      end
      event:set()
      await(neap.all(tasks))
      return woken
    end)
  end))

  it("[S87, S92] tokens, links and their callbacks", survives("b a", function()
    local src, log = neap.canceller(), {}
    local link = neap.link(src.token, neap.canceller().token)
    link:register(function() log[#log + 1] = "a" end)
    link:register(function() log[#log + 1] = "b" end)
    link:register(print):unregister()
    src:cancel_after(1)
    await(neap.sleep(2))
    return table.concat(log, " ")
  end))

  it("[S93] with_token and scope.token", survives("ECANCELLED true", function()
    local src, token = neap.canceller(), nil
    src:cancel_after(1)
    neap.scope(function(scope)
      token = scope.token
      token:register(function() end)
      scope:cancel()
    end)
    local _, err = pcall(neap.with_token, src.token, function() await(neap.sleep(5)) end)
    if err.code ~= "ECANCELLED" then error(err, 0) end
    return err.code .. " " .. tostring(token.cancelled)
  end))
end)

describe("a call that fails for want of memory changes nothing:", function()
  it("[S183] try_send and try_recv", survives("consistent", function()
    local ch = neap.channel()
    for i = 1, 20 do
      local before = #ch
      local ok = attempt(ch.try_send, ch, i)
      assert(#ch == before + (ok and 1 or 0), "try_send")
    end
    local left = #ch
    while left > 0 do
      if attempt(ch.try_recv, ch) then left = left - 1 end
      assert(#ch == left, "try_recv")
    end
    return "consistent"
  end))

  it("[S184] send and recv with others that wait", survives("consistent", function()
    local ch = neap.channel(1)
    attempt(ch.try_send, ch, "x")
    local before = #ch
    local ok, recv = attempt(ch.recv, ch)
    if ok and recv:status() == "done" then assert(#ch == before - 1, "recv took the item")
    else assert(#ch == before, "recv left the item") end
    local empty = neap.channel(0)
    local waits, waiting = attempt(empty.recv, empty)
    local sent = attempt(function() assert(empty:try_send("y") == waits) end)
    if waits then assert(waiting:is_done() == sent, "the hand-over is all or nothing") end
    return "consistent"
  end))

  it("[S199] acquire and release", survives("consistent", function()
    local sem = neap.semaphore(1)
    local got, permit = attempt(sem.try_acquire, sem)
    local waits, waiting = attempt(sem.acquire, sem)
    if not (got and waits) then return "consistent" end
    assert(waiting:status() == "pending" or waiting:status() == "failed", "no permit is left")
    if waiting:status() == "failed" then error(waiting:error(), 0) end
    local released = attempt(permit.release, permit)
    assert((waiting:status() == "done") == released, "the hand-over is all or nothing")
    return "consistent"
  end))

  it("[S88] register and link", survives("consistent", function()
    local src, calls, expected = neap.canceller(), 0, 0
    for _ = 1, 5 do
      local token = src.token
      local linked, link = attempt(neap.link, token)
      local target = linked and link or token
      local ok = attempt(target.register, target, function() calls = calls + 1 end)
      expected = expected + (ok and 1 or 0)
    end
    src:cancel()
    assert(calls == expected, "the callbacks that were registered are called, once")
    return "consistent"
  end))
end)
