-- neap.link, and the tokens of scopes.
local h = require "spec.helper"
local support = require "spec.support"
local neap = require "neap"

local await = neap.await
-- 10 000 at most; a collection per turn makes all costs quadratic.
local MANY = os.getenv("NEAP_STRESS_GC") and 50 or 2500

local function collect()
  collectgarbage()
  collectgarbage()
end

--- A function that notes the name.
local function notes(t, name)
  return function() t:note(name) end
end

describe("neap.link", function()
  it("[S92] is cancelled when either is, with its reason", h.plain(function()
    for i = 1, 2 do
      local sources = { neap.canceller(), neap.canceller() }
      local link = neap.link(sources[1].token, sources[2].token)
      assert.is_false(link.cancelled)
      sources[i]:cancel("by " .. i)
      assert.is_true(link.cancelled)
      assert.equal("by " .. i, link.reason)
      assert.is_false(sources[3 - i].token.cancelled)
      sources[3 - i]:cancel("too late")
      assert.equal("by " .. i, link.reason)
    end
  end))

  it("[S92] is cancelled at once if either already is", h.plain(function()
    local a, b = neap.canceller(), neap.canceller()
    b:cancel("early")
    local link = neap.link(a.token, b.token)
    assert.is_true(link.cancelled)
    assert.equal("early", link.reason)
    local err = h.raises("ECANCELLED", function() link:check() end)
    assert.equal(link, err.token)
    assert.equal("early", err.reason)
    assert.is_false(a.token.cancelled)
  end))

  it("[S92] of one, of the same twice and of ten", h.plain(function(t)
    local src = neap.canceller()
    local tokens = {}
    for i = 1, 9 do tokens[i] = neap.canceller().token end
    tokens[10] = src.token
    local links = {
      neap.link(src.token),
      neap.link(src.token, src.token),
      neap.link(table.unpack(tokens)),
    }
    for i, link in ipairs(links) do link:register(notes(t, i)) end
    src:cancel("why")
    table.sort(t.log)
    assert.equal("1 2 3", t:logged())
    for i = 1, 3 do assert.equal("why", links[i].reason) end
  end))

  it("[S92] of links is cancelled through all of them", h.plain(function(t)
    local src, other = neap.canceller(), neap.canceller()
    local link = src.token
    for _ = 1, 100 do link = neap.link(link, other.token) end
    link:register(function(reason) t:note(reason) end)
    collect()
    src:cancel("deep")
    assert.is_true(link.cancelled)
    assert.equal("deep", t:logged())
    other:cancel("again")
    assert.equal("deep", link.reason)
    assert.equal("deep", t:logged())
  end))

  it("[S92] of both a token and its own link is cancelled once", h.plain(function(t)
    local src = neap.canceller()
    local inner = neap.link(src.token)
    local outer = neap.link(src.token, inner)
    outer:register(notes(t, "once"))
    src:cancel("why")
    assert.equal("once", t:logged())
  end))

  it("[S87] runs its callbacks inside cancel, last in, first out", h.plain(function(t)
    local src = neap.canceller()
    local link = neap.link(src.token)
    link:register(notes(t, "first"))
    link:register(notes(t, "second"))
    src:cancel()
    t:note("after")
    assert.equal("second first after", t:logged())
  end))

  it("keeps working when only its callback is left", h.plain(function(t)
    local a, b = neap.canceller(), neap.canceller()
    neap.link(a.token, b.token):register(notes(t, "called"))
    collect()
    b:cancel()
    assert.equal("called", t:logged())
  end))

  it("outlives the cancellers", h.plain(function()
    local link = neap.link(neap.canceller().token, neap.canceller().token)
    collect()
    assert.is_false(link.cancelled)
    assert.is_nil(link.reason)
  end))

  it("[S94] follows a canceller whose time is over", h.run(function()
    local src = neap.canceller()
    local link = neap.link(neap.canceller().token, src.token)
    src:cancel_after(3)
    await(neap.sleep(4))
    assert.equal("timeout", link.reason)
  end))

  it("is not kept by its parents: dead links do not pile up", h.plain(function()
    local parent, other = neap.canceller(), neap.canceller()
    local weak = setmetatable({}, { __mode = "v" })
    local function make(n)
      for i = 1, n do
        local link = neap.link(parent.token, other.token)
        if i == n then weak.link = link end
      end
      collect()
      return collectgarbage("count")
    end
    make(1000)
    local before = make(1000)
    assert.is_nil(weak.link)
    for _ = 1, 10 do make(1000) end
    assert.is_true(make(1000) - before < 20, "12 000 dead links take memory")
    parent:cancel()
    assert.is_true(parent.token.cancelled)
  end))

  it("with registrations that are over is not kept either", h.plain(function(t)
    local parent = neap.canceller()
    local weak = setmetatable({}, { __mode = "v" })
    local function forget()
      local link = neap.link(parent.token)
      weak.link = link
      do
        local _ <close> = link:register(notes(t, "never"))
      end
    end
    forget()
    collect()
    assert.is_nil(weak.link)
    parent:cancel()
    assert.equal("", t:logged())
  end))

  it("rejects what is no token, naming it", h.plain(function()
    local token = neap.canceller().token
    h.bad_argument("link", 1, neap.link, 7)
    h.bad_argument("link", 1, neap.link, neap.canceller())
    h.bad_argument("link", 2, neap.link, token, {})
    h.bad_argument("link", 3, neap.link, token, token, "token")
  end))

  it("costs linear time for 10 000 links of one parent", h.plain(function()
    support.is_linear(function(n)
      local parent, links = neap.canceller(), {}
      local start = os.clock()
      for i = 1, n do links[i] = neap.link(parent.token) end
      for i = 1, n, 2 do links[i] = false end
      collect()
      parent:cancel("all")
      for i = 2, n, 2 do assert(links[i].cancelled) end
      return os.clock() - start
    end, MANY)
  end))
end)

describe("the token of a scope", function()
  it("is cancelled with the scope: at once, its callbacks in the next turn", h.run(function(t)
    local turns
    assert.same({ false, "why" }, { neap.scope(function(scope)
      local token = scope.token
      assert.is_true(rawequal(token, scope.token))
      assert.is_false(token.cancelled)
      token:register(function(reason) t:note("first " .. reason) end)
      token:register(function(reason) t:note("second " .. reason) end)
      turns = support.turn_counter()
      scope:cancel("why")
      assert.is_true(token.cancelled)
      assert.equal("why", token.reason)
      h.raises("ECANCELLED", function() token:check() end)
      t:note("after")
      neap.shield(function() await(neap.yield()) await(neap.yield()) end)
      turns.stop()
      await(neap.sleep(1))
    end) })
    assert.equal("after second why first why", t:logged())
  end))

  it("is cancelled with an outer scope, and with its task", h.run(function(t)
    local kept
    assert.same({ false, "outer" }, { neap.scope(function(outer)
      neap.scope(function(inner)
        kept = inner.token
        kept:register(function(reason) t:note(reason) end)
        outer:cancel("outer")
        assert.is_true(kept.cancelled)
        assert.equal("outer", kept.reason)
        await(neap.sleep(1))
      end)
    end) })
    local task = neap.start(neap.scope, function(scope)
      scope.token:register(function(reason) t:note(reason) end)
      await(neap.sleep(10))
    end)
    await(neap.sleep(1))
    task:cancel("task")
    await(neap.settle(task))
    await(neap.yield())
    assert.equal("outer task", t:logged())
  end))

  it("is cancelled at the scope's deadline", h.run(function(t)
    local token
    neap.scope({ timeout = 2 }, function(scope)
      token = scope.token
      token:register(function() t:note(("at %g"):format(neap.now())) end)
      await(neap.sleep(5))
    end)
    await(neap.yield())
    assert.is_true(token.cancelled)
    assert.equal("timeout", token.reason)
    assert.equal("at 2", t:logged())
  end))

  it("is not cancelled by the scope's normal end, nor after it", h.run(function(t)
    local token
    neap.scope(function(outer)
      neap.scope(function(scope)
        token = scope.token
        token:register(notes(t, "never"))
      end)
      await(neap.yield())
      assert.is_false(token.cancelled)
      outer:cancel("later")
    end)
    await(neap.sleep(1))
    assert.is_false(token.cancelled)
    assert.is_nil(token.reason)
    assert.equal("", t:logged())
  end))

  it("[S78] behind a shield is cancelled only when the shield is off", h.run(function(t)
    neap.scope(function(outer)
      neap.scope({ shield = true }, function(scope)
        local token = scope.token
        token:register(notes(t, "called"))
        outer:cancel("outer")
        await(neap.sleep(1))
        assert.is_false(token.cancelled)
        assert.equal("", t:logged())
        scope:set_shield(false)
        assert.is_true(token.cancelled)
        await(neap.sleep(1))
      end)
    end)
    await(neap.yield())
    assert.equal("called", t:logged())
  end))

  it("[S92] may be linked, and stops what runs elsewhere", h.run(function(t)
    local src, task = neap.canceller(), nil
    neap.scope(function(scope)
      local link = neap.link(scope.token, src.token)
      task = neap.background(function()
        local err = h.raises("ECANCELLED", neap.with_token, link, function()
          await(neap.sleep(10))
        end)
        t:note(err.reason)
      end)
      await(neap.sleep(1))
      scope:cancel("scope")
    end)
    await(task)
    assert.equal("scope", t:logged())
    assert.equal(1, neap.now())
  end))

  it("[S229] calls back with the local values of the registration", h.run(function(t)
    local v = neap.localvar("default")
    neap.scope(function(scope)
      v:with("then", function() scope.token:register(function() t:note(v:get()) end) end)
      v:set("now")
      scope:cancel()
    end)
    await(neap.yield())
    await(neap.yield())
    assert.equal("then", t:logged())
  end))

  it("[S89] skips a callback that is unregistered before the next turn", h.run(function(t)
    neap.scope(function(scope)
      local reg = scope.token:register(notes(t, "never"))
      scope.token:register(notes(t, "called"))
      scope:cancel()
      assert.is_true(reg:unregister())
    end)
    await(neap.yield())
    await(neap.yield())
    assert.equal("called", t:logged())
  end))
end)
