-- Each allocation of a request fails in turn.
local h = require "spec.helper"
local server = require "spec.http"
local neap = require "neap"

local await, http = neap.await, neap.http

local function answer(request)
  return server.response("200 OK", request.method .. request.body, { "X-A: b" })
end

--- Runs fn(client, base) with a server whose memory fails as well: then nothing comes, and the
--- time ends.
local function with_client(opts, fn)
  neap.scope({ timeout = 5 }, function(scope)
    local base = server.listen(server.answering(answer))
    local client <close> = http.client(opts)
    fn(client, base)
    scope:cancel("done")
  end)
end

local scenarios = {
  { "a request", function(client, base)
    assert(await(client:get(base)):text() == "GET")
  end },
  { "a request with all kinds of options", function(client, base)
    local res = await(client:post(base, { headers = { A = "b" }, form = { a = 1 },
      max_redirects = 3,
      auth = { "u", "p" }, query = { q = 1 } }))
    assert(res:text() == "POSTa=1" and res.headers["x-a"] == "b")
  end },
  { "a streamed response", function(client, base)
    local res <close> = await(client:get(base, { stream = true }))
    assert(await(res:read_all()) == "GET")
  end },
  { "a body that is sent", function(client, base)
    local n = 0
    local res = await(client:post(base, { body = function()
      n = n + 1
      return n < 3 and "x" or nil
    end }))
    assert(res:text() == "POSTxx")
  end },
  { "a response that is read again", function(client, base)
    local res = await(client:get(base))
    for line in res:lines() do assert(line == "GET") end
  end },
  { "cookies", function()
    local client <close> = http.client{ proxy = false,
      cookies = { "Set-Cookie: a=b; domain=h.test; path=/" } }
    assert(#client:cookies() == 1)
  end },
}

-- What a client sees of a server whose memory has failed.
local CONSEQUENCES = { ECONNRESET = true, EPIPE = true }

local function tolerate(opts, fn)
  local ok, err = neap.pcall(with_client, opts, fn)
  if ok or type(err) == "table" and CONSEQUENCES[err.code] then return end
  error(err, 0)
end

describe("failing memory", function()
  for _, scenario in ipairs(scenarios) do
    it("fails " .. scenario[1] .. " and nothing else", h.plain(function(context)
      local opts, clock = { proxy = false }, context.clock
      h.each_failure(function()
        neap.run({ clock = clock }, tolerate, opts, scenario[2])
      end)
      context:take_unobserved() -- the server has failed, too
      context:take_warnings()
      neap.run({ clock = clock }, with_client, opts, scenario[2])
    end))
  end
end)
