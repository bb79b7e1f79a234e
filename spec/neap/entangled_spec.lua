-- Scopes, streams, tokens and tasks that hold on to each other: what would wait for itself is
-- refused or let go of, and nothing is lost when everything ends.

local h = require "spec.helper"
local support = require "spec.support"
local neap = require "neap"

local await = neap.await
local closing, takes = support.closing, support.takes

local function sleep(seconds)
  await(neap.sleep(seconds))
end

--- A stream whose body starts use(stream) as a task in a group of its own, and then goes on.
local function used_inside(use, go_on)
  local s
  s = neap.stream(function(yield)
    neap.group(function(g)
      g:spawn(function()
        sleep(1)
        use(s)
      end)
      go_on(yield)
    end)
  end)()
  return s
end

local function pull(s) await(s:next()) end

local uses = {
  { "next", pull },
  { "close", function(s) await(s:close()) end },
  { "a loop", function(s) for _ in s do await(neap.yield()) end end },
  { "<close>", function(s)
    local _ <close> = s
    await(neap.yield())
  end },
}

describe("a stream that a task in a scope of its own body uses", function()
  for _, entry in ipairs(uses) do
    local name, use = entry[1], entry[2]
    it("[C19] is misuse while it is parked: " .. name, h.run(function()
      local s = used_inside(use, function(yield)
        yield(1)
        sleep(10)
      end)
      assert.equal(1, await(s:next()))
      sleep(2)
      local err = h.raises("EMISUSE", function() await(s:next()) end)
      assert.is_truthy(tostring(err):find("own body", 1, true), tostring(err))
      assert.equal(0, select("#", await(s:next())))
    end))

    it("[C19] is misuse while it is pulled: " .. name, h.run(function()
      local s = used_inside(use, function() sleep(1000) end)
      takes(1, function()
        h.raises("EMISUSE", function() await(s:next()) end)
      end)
    end))
  end

  it("[C21] ends with the run if nobody pulls it again", h.plain(function(t)
    local s
    neap.run({ clock = t.clock }, function()
      s = used_inside(function() t:note("used") sleep(1000) end, function(yield)
        yield(1)
        sleep(10)
      end)
      await(s:next())
      sleep(2)
    end)
    assert.equal("used", t:logged())
  end))

  it("[C19] is misuse also in a cancelled scope of the body", h.plain(function(t)
    neap.run({ clock = t.clock, grace = 1 }, function()
      local s
      s = neap.stream(function(yield)
        neap.scope(function(scope)
          neap.start(function()
            await(neap.yield())
            t:note(select(2, pcall(s.next, s)).code)
          end)
          yield(1)
          scope:cancel()
          sleep(10)
        end)
      end)()
      await(s:next())
      for _ = 1, 3 do await(neap.yield()) end
      await(s:close())
    end)
    assert.equal("EMISUSE", t:logged())
  end))

  it("[C19] leaves the scopes of its consumer as they are", h.run(function()
    local s = used_inside(pull, function(yield)
      yield(1)
      sleep(10)
    end)
    await(s:next())
    takes(2, function()
      neap.scope(function(scope)
        neap.start(function() sleep(5) end)
        scope:set_timeout(2)
      end)
    end)
    h.raises("EMISUSE", function() await(s:next()) end)
  end))

  it("[C21] is cancelled with its tasks at the end of the run, without a warning", h.plain(
    function(t)
      neap.run({ clock = t.clock }, function()
        local s = neap.stream(function(yield)
          neap.group(function(g)
            g:spawn(function()
              local _, err = pcall(sleep, 1000)
              t:note(neap.is_cancel(err))
            end)
            yield(1)
          end)
        end)()
        assert.equal(1, await(s:next()))
        t.stream = s -- it outlives the run
      end)
      assert.equal("true", t:logged())
      assert.equal(0, t.clock:now())
      t.stream = nil
    end))
end)

describe("close of a stream", function()
  it("[S219] ends when the producer goes on after its pull was cancelled", h.run(function(t)
    local s = neap.stream(function(yield)
      local ok, err = pcall(sleep, 10)
      t:note(ok)
      t:note(neap.is_cancel(err))
      yield(1)
      t:note("never")
    end)()
    local pulled = s:next()
    takes(0, function() await(s:close()) end)
    assert.is_true(pulled:is_done())
    assert.equal("neap.Stream: ended", tostring(s))
    assert.equal("false true", t:logged())
  end))

  it("[S209] waits for the producer also in a cancelled scope", h.run(function(t)
    local s = neap.stream(function()
      local _ <close> = neap.defer(function()
        sleep(1)
        t:note("cleaned up")
      end)
      sleep(100)
    end)()
    neap.start(function() neap.pcall(await, s:next()) end)
    takes(1, function()
      neap.scope(function(scope)
        scope:cancel()
        do
          local _ <close> = s
        end
        t:note("after")
      end)
    end)
    assert.equal("cleaned up after", t:logged())
  end))

  it("[S209] waits for the producer when its scope is cancelled meanwhile", h.run(function(t)
    local s = neap.stream(function()
      local _ <close> = neap.defer(function()
        sleep(3)
        t:note("cleaned up")
      end)
      sleep(100)
    end)()
    neap.start(function() neap.pcall(await, s:next()) end)
    takes(3, function()
      neap.scope({ timeout = 1 }, function()
        do
          local _ <close> = s
        end
        t:note("after")
      end)
    end)
    assert.equal("cleaned up after", t:logged())
  end))
end)

describe("tasks that await each other", function()
  it("[C11] through each are let go of when both are cancelled", h.run(function()
    takes(0, function()
      local ok, reason = neap.scope(function(scope)
        local box = {}
        local iterating = neap.start(function()
          await(neap.yield())
          for _ in neap.each({ box.task }) do end
        end)
        box.task = neap.start(function() await(iterating) end)
        await(neap.yield())
        await(neap.yield())
        scope:cancel("stop")
      end)
      assert.is_true(ok)
      assert.is_nil(reason)
    end)
  end))

  it("[C11] through two each are let go of when both are cancelled", h.run(function()
    takes(0, function()
      neap.scope(function(scope)
        local tasks = {}
        for i = 1, 2 do
          tasks[i] = neap.start(function()
            await(neap.yield())
            for _ in neap.each({ tasks[3 - i] }) do end
          end)
        end
        await(neap.yield())
        await(neap.yield())
        scope:cancel("stop")
      end)
    end)
  end))

  it("[C11] through each are waited for when they clean up", h.run(function(t)
    takes(3, function()
      neap.scope({ timeout = 1 }, function()
        local task = support.cleans_up(2, function() t:note("cleaned up") end)
        local _ <close> = closing(function() t:note("after") end)
        for _ in neap.each({ task }) do t:note("given") end
      end)
    end)
    assert.is_truthy(t:logged():find("^cleaned up .*after$"), t:logged())
  end))
end)

describe("what is left while everything ends:", function()
  it("[S97] the error of a runner of a cancelled race is reported once", h.run(function(t)
    local ok, why = neap.try_for(1, function()
      await(neap.race(function()
        local _ <close> = closing(function() error("clean-up failed", 0) end)
        sleep(10)
      end, function() sleep(10) end))
    end)
    assert.is_false(ok)
    assert.equal("timeout", why)
    local lost = t:take_unobserved()
    assert.equal(1, #lost)
    assert.equal("clean-up failed", lost[1].err)
  end))

  it("[S257] a report of progress made by a deadlocked task is dropped", h.plain(function(t)
    h.raises("EDEADLOCK", neap.run, { clock = t.clock }, function()
      local report = neap.progress(function(text) t:note(text) end)
      local _ <close> = closing(function() report("cleaning up") end)
      await(neap.completion().task)
    end)
    assert.equal("", t:logged())
  end))

  it("[S257] a report of progress made by a cancelled task is dropped", h.run(function(t)
    local task = neap.start(function()
      local report = neap.progress(function(text) t:note(text) end)
      local _ <close> = closing(function() report("cleaning up") end)
      sleep(1000)
    end)
    task:cancel()
    await(neap.settle(task))
    sleep(1)
    assert.equal("", t:logged())
  end))
end)

describe("tokens", function()
  it("[S92] linked to themselves again and again stay small", h.run(function()
    local src = neap.canceller()
    local token = src.token
    collectgarbage()
    local before = collectgarbage("count")
    for _ = 1, 17 do token = neap.link(token, token) end
    collectgarbage()
    assert.is_true(collectgarbage("count") - before < 256)
    src:cancel("why")
    assert.is_true(token.cancelled)
    assert.equal("why", token.reason)
  end))

  it("[S92] linked in rings of two sources are cancelled once, by either", h.run(function(t)
    for i = 1, 2 do
      local sources = { neap.canceller(), neap.canceller() }
      local a, b = sources[1].token, sources[2].token
      for _ = 1, 10 do a, b = neap.link(a, b), neap.link(b, a) end
      a:register(function() t:note(i) end)
      sources[i]:cancel()
      sources[3 - i]:cancel()
    end
    assert.equal("1 2", t:logged())
  end))

  it("[C2] of a scope that timed out have its reason, asked for early or late", h.run(function()
    for _, is_early in ipairs({ true, false }) do
      neap.scope({ timeout = 1 }, function(scope)
        local token = is_early and scope.token
        pcall(sleep, 5)
        token = token or scope.token
        assert.is_true(token.cancelled)
        assert.equal("timeout", token.reason)
      end)
    end
  end))

  it("[C2] of a scope that timed out and has ended have its reason", h.run(function()
    local ended
    neap.scope({ timeout = 1 }, function(scope)
      ended = scope
      sleep(5)
    end)
    assert.is_true(ended.token.cancelled)
    assert.equal("timeout", ended.token.reason)
  end))
end)
