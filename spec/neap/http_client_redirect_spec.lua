-- Redirects, and what goes along with them: methods, bodies, credentials, cookies; and proxies.
local h = require "spec.helper"
local server = require "spec.http"
local neap = require "neap"

local await, http = neap.await, neap.http
local response = server.response

local function redirect(status, location, headers)
  return response(status .. " Moved", "gone", { "Location: " .. location, table.unpack(headers
    or {}) })
end

--- /STATUS leads to /end, which tells what it got.
local function answer(request)
  local status = request.target:match("^/(3%d%d)")
  if status then return redirect(status, "/end") end
  local hops = tonumber(request.target:match("^/hops/(%d+)"))
  if hops and hops > 0 then return redirect(302, "/hops/" .. hops - 1) end
  if request.target == "/loop" then return redirect(302, "/loop") end
  return response("200 OK", request.method .. " " .. request.target .. " " .. request.body)
end

describe("a redirect", function()
  local kept = "POST /end body"
  local cases = {
    { "GET", 301, "GET /end " }, { "GET", 302, "GET /end " }, { "GET", 303, "GET /end " },
    { "GET", 307, "GET /end " }, { "GET", 308, "GET /end " },
    { "POST", 301, "GET /end ", "body" }, { "POST", 302, "GET /end ", "body" },
    { "POST", 303, "GET /end ", "body" }, { "POST", 307, kept, "body" }, { "POST", 308, kept,
      "body" },
    { "PUT", 301, "PUT /end body", "body" }, { "PUT", 302, "PUT /end body", "body" },
    { "PUT", 303, "GET /end ", "body" }, { "PUT", 307, "PUT /end body", "body" },
    { "PATCH", 308, "PATCH /end body", "body" }, { "PATCH", 303, "GET /end ", "body" },
    { "DELETE", 302, "DELETE /end " }, { "DELETE", 303, "GET /end " }, { "DELETE", 307,
      "DELETE /end " },
    { "HEAD", 303, "" },
  }
  for _, case in ipairs(cases) do
    local method, status, expected, body = table.unpack(case, 1, 4)
    it(("of %s by %d is followed"):format(method, status), server.with_answers(answer,
      function(client, base)
        for _ = 1, 2 do -- the handle of libcurl is used again
          local res = await(client:request(method, base .. "/" .. status, { body = body }))
          assert.equal(expected, res:text())
          assert.equal(200, res.status)
          assert.equal(base .. "/end", res.url)
          assert.equal("GET / ", await(client:get(base)):text())
        end
      end))
  end

  it("is followed 10 times, then fails with ELOOP", server.with_answers(answer,
    function(client, base)
      assert.equal("GET /hops/0 ", await(client:get(base .. "/hops/10")):text())
      local err = h.raises("ELOOP", await, client:get(base .. "/hops/11"))
      assert.equal(base .. "/hops/11", err.url)
      h.raises("ELOOP", await, client:get(base .. "/loop"))
      h.raises("ELOOP", await, client:get(base .. "/loop", { stream = true }))
      h.raises("ELOOP", await, client:get(base .. "/hops/3", { max_redirects = 2 }))
    end))

  it("is a response like others where none is followed", server.with_answers(answer,
    function(client, base)
      local res = await(client:get(base .. "/302", { max_redirects = 0 }))
      assert.same({ 302, "/end", "gone" }, { res.status, res.headers.location, res:text() })
      assert.equal(base .. "/302", res.url)
    end))

  it("without a place to go to is a response like others", server.with_answers(function()
    return response("304 Not Modified", "", { "Location:  " })
  end, function(client, base)
    for _, stream in ipairs{ false, true } do
      local res <close> = await(client:get(base, { stream = stream }))
      assert.equal(304, res.status)
    end
  end))

  it("is followed before the response is streamed", server.with_answers(answer,
    function(client, base)
      local res = await(client:get(base .. "/302", { stream = true }))
      assert.equal("GET /end ", await(res:read_all()))
    end))

  it("to something that is no HTTP fails with EPROTO", server.with_answers(function(request)
    return redirect(302, request.target == "/1" and "ftp://h/" or "file:///etc/passwd")
  end, function(client, base)
    h.raises("EPROTO", await, client:get(base .. "/1"))
    h.raises("EPROTO", await, client:get(base .. "/2"))
  end))
end)

describe("credentials", function()
  local function tell(request)
    local auth, cookie = request.headers.authorization, request.headers.cookie
    return response("200 OK", ("%s|%s"):format(auth or "", cookie or ""))
  end

  --- Two hosts of one server: /other leads to the other one, /same to this one.
  local function with_hosts(fn, opts)
    local port
    return server.with_answers(function(request)
      if request.target == "/other" then return redirect(302, "http://b.host:" .. port
        .. "/end") end
      if request.target == "/same" then return redirect(302, "/end") end
      return tell(request)
    end, function(_, base)
      port = base:match("%d+$")
      local all = { proxy = false,
        resolve = { ["a.host:" .. port] = "127.0.0.1", ["b.host:" .. port] = "127.0.0.1" } }
      for name, value in pairs(opts or {}) do all[name] = value end
      local client <close> = http.client(all)
      fn(client, "http://a.host:" .. port)
    end)
  end

  it("are sent as Basic", with_hosts(function(client, base)
    local expected = "Basic dTpwOjE=|"
    assert.equal(expected, await(client:get(base, { auth = { "u", "p:1" } })):text())
    assert.equal("|", await(client:get(base)):text())
    assert.equal(expected, await(client:get((base:gsub("//", "//u:p%%3A1@")))):text())
  end))

  it("stay on the host for which they are", with_hosts(function(client, base)
    local secret = { headers = { Authorization = "Bearer x", Cookie = "a=b" } }
    assert.equal("Bearer x|a=b", await(client:get(base .. "/same", secret)):text())
    assert.equal("|", await(client:get(base .. "/other", secret)):text())
    assert.equal("Basic dTpw|", await(client:get(base .. "/same", { auth = { "u", "p" } })):text())
    assert.equal("|", await(client:get(base .. "/other", { auth = { "u", "p" } })):text())
    assert.equal("|", await(client:get((base:gsub("//", "//u:p@")) .. "/other")):text())
  end))

  it("of a client stay there, too", with_hosts(function(client, base)
    assert.equal("Bearer x|", await(client:get(base .. "/same")):text())
    assert.equal("|", await(client:get(base .. "/other")):text())
  end, { headers = { Authorization = "Bearer x" } }))
end)

describe("cookies", function()
  local function jar(request)
    if request.target == "/set" then
      return response("200 OK", "", { "Set-Cookie: one=1; Path=/",
        "Set-Cookie: two=2; Path=/deep" })
    elseif request.target == "/login" then
      return redirect(302, "/end", { "Set-Cookie: session=s; Path=/" })
    end
    return response("200 OK", request.headers.cookie or "none")
  end

  it("are forgotten unless they are wanted", server.with_answers(jar, function(client, base)
    await(client:get(base .. "/set"))
    assert.equal("none", await(client:get(base)):text())
    assert.same({}, client:cookies())
  end))

  it("of a client are sent where they belong", server.with_answers(jar, { cookies = true },
    function(client, base)
      await(client:get(base .. "/set"))
      assert.equal("one=1", await(client:get(base .. "/x")):text())
      assert.equal("one=1; two=2", await(client:get(base .. "/deep")):text():gsub("two=2; one=1",
        "one=1; two=2"))
      assert.equal("session=s", await(client:get(base .. "/login")):text():match("session=s"))
      assert.equal(3, #client:cookies())
      client:clear_cookies()
      assert.equal("none", await(client:get(base)):text())
    end))

  it("are shared by requests at the same time", server.with_answers(jar, { cookies = true },
    function(client, base)
      await(client:get(base .. "/set"))
      local tasks = {}
      for i = 1, 10 do tasks[i] = client:get(base) end
      for _, task in ipairs(tasks) do assert.equal("one=1", await(task):text()) end
    end))

  it("are kept as lines", server.with_answers(jar, { cookies = true }, function(client, base)
    await(client:get(base .. "/set"))
    local other <close> = http.client{ proxy = false, cookies = client:cookies() }
    assert.equal("one=1", await(other:get(base)):text())
    other:set_cookie("Set-Cookie: mine=3; domain=127.0.0.1; path=/")
    assert.equal("mine=3", await(other:get(base)):text():match("mine=3"))
    h.bad_argument("set_cookie", 1, function() other:set_cookie(1) end)
  end))
end)

describe("a proxy", function()
  it("is asked for the whole URL", server.with_answers(function(request)
    return response("200 OK", request.method .. " " .. request.target)
  end, function(_, base)
    local client <close> = http.client{ proxy = base }
    assert.equal("GET http://some.host/x", await(client:get("http://some.host/x")):text())
    assert.equal("GET /x", await(client:get(base .. "/x", { proxy = false })):text())
    assert.equal("GET /x", await(client:get(base .. "/x", { no_proxy = "127.0.0.1" })):text())
  end))

  it("makes a tunnel for https, and says if it cannot", server.with_answers(function(request)
    return response("403 No", request.method .. " " .. request.target)
  end, function(_, base)
    local client <close> = http.client{ proxy = base }
    local err = h.raises("EPROTO", await, client:get("https://some.host/x"))
    assert.is_truthy(err.message:find("403", 1, true), err.message)
    assert.equal("https://some.host/x", err.url)
  end))

  it("that is not there fails with ECONNREFUSED", h.run(function()
    local client <close> = http.client{ proxy = "http://127.0.0.1:1" }
    h.raises("ECONNREFUSED", await, client:get("http://some.host/x"))
  end))

  it("of the environment is used, unless there shall be none", h.plain(function()
    local output = h.process([[
      local neap = require "neap"
      neap.run(function()
        print(select(2, pcall(neap.await, neap.http.get("http://some.invalid/"))).code)
        print(select(2, pcall(neap.await, neap.http.get("http://some.invalid/",
          { proxy = false }))).code)
      end)
    ]], "http_proxy=http://127.0.0.1:1 timeout 20")
    assert.equal("ECONNREFUSED\nERESOLVE\n", output)
  end))
end)
