-- Trying again: when, how long after, and when not.
local h = require "spec.helper"
local server = require "spec.http"
local neap = require "neap"

local await, http = neap.await, neap.http

--- A server whose responses are these, one after the other, and a client.
local function with_script(script, fn, opts)
  return function()
    local n = 0
    server.with_server(function(conn)
      for request in server.read_request, conn do
        server.read_body(conn, request)
        n = n + 1
        local step = script[n] or 200
        if step == "close" then return end
        local headers = type(step) == "table" and step[2] or {}
        local status = type(step) == "table" and step[1] or step
        await(conn:write(server.response(status .. " Status", "body " .. n, headers)))
      end
    end, opts or {}, function(client, base, t)
      fn(client, base, t, function() return n end)
    end)()
  end
end

local function half() return 0.5 end

describe("retry", function()
  it("tries again what may come right, three times in all", with_script({ 503, "close", 200 },
    function(client, base, _, count)
      local res = await(client:get(base, { retry = true }))
      assert.equal("body 3", res:text())
      assert.equal(3, count())
    end))

  it("returns the last response, or raises the last error", with_script({ 500, 502, 503, "close",
    "close", "close" },
    function(client, base, _, count)
      assert.equal(503, await(client:get(base, { retry = 3 })).status)
      assert.equal(3, count())
      h.raises("ECONNRESET", await, client:get(base, { retry = 2 }))
      assert.equal(6, count()) -- libcurl tries a connection that has rested once more by itself
    end))

  it("waits longer each time, by chance, and no longer than max_delay", with_script({ 500, 500, 500,
    500, 500 },
    function(client, base, t)
      local begin, delays = neap.now(), {}
      await(client:get(base, { retry = { attempts = 6, delay = 1, max_delay = 5, random = half,
        on_retry = function(attempt, res, delay)
          t:note(attempt .. "=" .. res.status)
          delays[#delays + 1] = delay
        end } }))
      assert.same({ 0.5, 1, 2, 2.5, 2.5 }, delays)
      assert.equal("1=500 2=500 3=500 4=500 5=500", t:logged())
      assert.near(8.5, neap.now() - begin, 0.5)
    end))

  it("waits as long as Retry-After says", with_script({ { 429, { "Retry-After: 7" } },
    { 503, { "Retry-After: Fri, 31 Dec 1999 23:59:59 GMT",
      "Date: Fri, 31 Dec 1999 23:59:47 GMT" } },
    { 503, { "Retry-After: nonsense" } } },
    function(client, base)
      local delays = {}
      await(client:get(base, { retry = { attempts = 4, delay = 1, random = half,
        on_retry = function(_, _, delay) delays[#delays + 1] = delay end } }))
      assert.same({ 7, 12, 2 }, delays)
    end))

  it("gives up where Retry-After is longer than max_delay", with_script({ { 503,
    { "Retry-After: 31" } } },
    function(client, base, _, count)
      assert.equal(503, await(client:get(base, { retry = 3 })).status)
      assert.equal(1, count())
    end))

  it("leaves alone what would not come right", with_script({ 404, 501 },
    function(client, base, _, count)
    assert.equal(404, await(client:get(base, { retry = 3 })).status)
    assert.equal(501, await(client:get(base, { retry = 3 })).status)
    assert.equal(2, count())
    h.raises("EINVAL", await, client:get("http://", { retry = 3 }))
  end))

  it("leaves alone methods that are not idempotent, unless it is told", with_script({ 503, 503,
    503 },
    function(client, base, _, count)
      assert.equal(503, await(client:post(base, { body = "x", retry = 3 })).status)
      assert.equal(503, await(client:patch(base, { body = "x", retry = 3 })).status)
      assert.equal(2, count())
      local res = await(client:post(base, { body = "x", retry = { methods = { "POST" } } }))
      assert.equal(200, res.status)
      assert.equal(4, count())
    end))

  it("leaves alone bodies that are gone", with_script({ 503 }, function(client, base, _, count)
    assert.equal(503, await(client:put(base, { body = function() end, retry = 3 })).status)
    assert.equal(1, count())
  end))

  it("takes the statuses that it is told", with_script({ 404, 503 }, function(client, base)
    local policy = { statuses = { 404 } }
    assert.equal(503, await(client:get(base, { retry = policy })).status)
  end))

  it("of a client holds for its requests", with_script({ 503, 200, 503 },
    function(client, base, _, count)
    assert.equal(200, await(client:get(base)).status)
    assert.equal(2, count())
    assert.equal(503, await(client:get(base, { retry = false })).status)
  end, { retry = 2 }))

  it("is cancelled while it waits", with_script({ 503 }, function(client, base, _, count)
    h.raises("ETIMEDOUT", neap.timeout, 1, function()
      await(client:get(base, { retry = { delay = 100, max_delay = 1000, random = half } }))
    end)
    assert.equal(1, count())
  end))

  it("ends the streamed responses that it does not return", with_script({ 503, 200 },
    function(client, base)
      local res = await(client:get(base, { retry = 2, stream = true }))
      assert.equal("body 2", await(res:read_all()))
    end))
end)

describe("neap.http.retry", function()
  it("calls a function again", with_script({ 503, 503 }, function(client, base, t)
    local res = await(http.retry(function(attempt)
      t:note(attempt)
      return await(client:post(base, { body = "x" }))
    end))
    assert.equal(200, res.status)
    assert.equal("1 2 3", t:logged())
  end))

  it("raises what is no matter of the network", h.run(function(t)
    local _, err = pcall(await, http.retry(function(attempt)
      t:note(attempt)
      error("mine", 0)
    end, 5))
    assert.equal("mine", err)
    assert.equal("1", t:logged())
  end))

  it("checks its arguments", h.plain(function()
    h.bad_argument("retry", 1, http.retry)
    h.bad_argument("retry", 2, http.retry, print, "x")
    h.bad_argument("retry", 2, http.retry, print, { delay = -1 })
    h.bad_argument("retry", 2, http.retry, print, { random = 1 })
    h.bad_argument("retry", 2, http.retry, print, { methods = "GET" })
    local text = h.bad_argument("get", 2, http.get, "http://x", { retry = "x" })
    assert.match("option 'retry': a number of attempts, a table or true expected, got string", text)
    text = h.bad_argument("get", 2, http.get, "http://x", { retry = 0 })
    assert.match("option 'retry': attempts: an integer of 1 or more expected, got 0", text)
  end))
end)
