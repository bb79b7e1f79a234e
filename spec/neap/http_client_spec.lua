-- Requests and their responses: what is sent, and what is made of the answer.
local h = require "spec.helper"
local server = require "spec.http"
local neap = require "neap"

local await, http = neap.await, neap.http
local response = server.response

local function echo(request)
  return response("200 OK", request.method .. " " .. request.target .. "\n" .. request.body, {
    "X-Type: " .. (request.headers["content-type"] or "none"),
    "X-Length: " .. (request.headers["content-length"] or "none"),
    "X-Mine: " .. (request.headers["x-mine"] or "none"),
    "X-Agent: " .. (request.headers["user-agent"] or "none"),
    "X-Accept: " .. (request.headers["accept"] or "none"),
  })
end

local function with_echo(fn, opts) return server.with_answers(echo, opts or {}, fn) end

describe("a response", function()
  local HEAD = "HTTP/1.1 299 All  is Fine\r\nContent-Length: 2\r\n"
    .. "X-A: 1\r\nx-a:2  \r\nEmpty:\r\n\r\n"

  local function with_response(fn)
    return server.with_answers(function() return HEAD .. "ok" end, {}, function(client, base, t)
      fn(await(client:get(base .. "/p")), base, t)
    end)
  end

  it("has status, reason, version, url and text", with_response(function(res, base)
    assert.equal(299, res.status)
    assert.equal("All  is Fine", res.reason)
    assert.equal("1.1", res.version)
    assert.equal(base .. "/p", res.url)
    assert.equal("ok", res:text())
    assert.equal("ok", res:text())
    assert.is_true(res.ok)
    assert.equal("neap.http.Response 299 " .. base .. "/p", tostring(res))
  end))

  it("has headers in any case, repeated ones joined and apart", with_response(function(res)
    local headers = res.headers
    assert.equal("1, 2", headers["x-a"])
    assert.equal("1, 2", headers["X-A"])
    assert.equal("1, 2", headers:get("X-a"))
    assert.same({ "1", "2" }, headers:all("x-A"))
    assert.equal("", headers.empty)
    assert.is_nil(headers.nothing)
    assert.is_nil(headers[1])
    assert.same({}, headers:all("nothing"))
    assert.equal(4, #headers)
    assert.equal(headers, res.headers)
  end))

  it("has headers in their order", with_response(function(res, _, t)
    for name, value in pairs(res.headers) do t:note(name .. "=" .. value) end
    assert.equal("Content-Length=2 X-A=1 x-a=2 Empty=", t:logged())
    assert.equal("Content-Length: 2\nX-A: 1\nx-a: 2\nEmpty: ", tostring(res.headers))
    h.misuse(function() res.headers["X-A"] = "3" end)
  end))

  it("joins lines that are folded", server.with_server(function(conn)
    server.read_request(conn)
    await(conn:write("HTTP/1.1 200 OK\r\nX-Long: a\r\n  b\r\nContent-Length: 0\r\n\r\n"))
  end, function(client, base)
    assert.equal("a b", await(client:get(base)).headers["x-long"])
  end))

  it("without a reason, of HTTP/1.0, to the end of the connection",
    server.with_server(function(conn)
    server.read_request(conn)
    await(conn:write("HTTP/1.0 200\r\n\r\nall of it"))
  end, function(client, base)
    local res = await(client:get(base))
    assert.equal("", res.reason)
    assert.equal("1.0", res.version)
    assert.equal("all of it", res:text())
  end))

  it("may be binary, and large", server.with_answers(function()
    return response("200 OK", ("\0\r\n\255"):rep(250000))
  end, function(client, base)
    assert.equal(("\0\r\n\255"):rep(250000), await(client:get(base)):text())
  end))
end)

describe("response:check", function()
  local function answer(request)
    return response(request.target:sub(2) .. " Word", "why")
  end

  it("returns the response below 400", server.with_answers(answer, function(client, base)
    local res = await(client:get(base .. "/399"))
    assert.equal(res, res:check())
  end))

  it("raises EHTTP with url, status and the response", server.with_answers(answer,
    function(client, base)
      for _, status in ipairs{ 400, 404, 503, 599 } do
        local res = await(client:get(base .. "/" .. status))
        assert.is_false(res.ok)
        local err = h.raises("EHTTP", res.check, res)
        assert.equal(status, err.status)
        assert.equal(res.url, err.url)
        assert.equal("why", err.response:text())
        assert.equal(("EHTTP: status %d Word, %s"):format(status, res.url), tostring(err))
      end
    end))

  it("ends a streamed response that it raises for", server.with_answers(answer,
    function(client, base)
      local res = await(client:get(base .. "/500", { stream = true }))
      h.raises("EHTTP", res.check, res)
      h.raises("ECLOSED", await, res:read())
    end))
end)

describe("a request", function()
  it("is sent by each method", with_echo(function(client, base)
    for _, method in ipairs{ "get", "post", "put", "patch", "delete", "options" } do
      assert.equal(method:upper() .. " /x\n", await(client[method](client, base .. "/x")):text())
    end
    assert.equal("PROPFIND /x\n", await(client:request("propfind", base .. "/x")):text())
    assert.equal("PUT /x\nb", await(client:request{ method = "put", url = base .. "/x",
      body = "b" }):text())
    assert.equal("GET /x\n", await(client:request{ url = base .. "/x" }):text())
  end))

  it("by the functions of the module uses the client that all share", with_echo(function(_, base)
    local opts = { proxy = false }
    for _, method in ipairs{ "get", "post", "put", "patch", "delete", "options" } do
      assert.equal(method:upper() .. " /x\n", await(http[method](base .. "/x", opts)):text())
    end
    assert.equal("", await(http.head(base, opts)):text())
    assert.equal("LOCK /\n", await(http.request("LOCK", base, opts)):text())
  end))

  it("HEAD has headers and no body", with_echo(function(client, base)
    local res = await(client:head(base))
    assert.equal("7", res.headers["content-length"])
    assert.equal("", res:text())
    assert.equal("GET /\n", await(client:get(base)):text())
  end))

  it("has headers of its own, instead of those of the client", with_echo(function(client, base)
    local res = await(client:get(base))
    assert.equal("client", res.headers["x-mine"])
    res = await(client:get(base, { headers = { ["x-MINE"] = "own", ["User-Agent"] = "me" } }))
    assert.equal("own", res.headers["x-mine"])
    assert.equal("me", res.headers["x-agent"])
    res = await(client:get(base, { headers = { ["X-Mine"] = { "a", 2 } } }))
    assert.equal("a, 2", res.headers["x-mine"])
    res = await(client:get(base, { headers = { ["X-Mine"] = "" } }))
    assert.equal("", res.headers["x-mine"])
    res = await(client:get(base))
    assert.equal("client", res.headers["x-mine"])
  end, { headers = { ["X-Mine"] = "client" }, user_agent = "spec/1" }))

  it("goes without headers that are false", with_echo(function(client, base)
    local res = await(client:get(base, { headers = { ["User-Agent"] = false, Accept = false } }))
    assert.equal("none", res.headers["x-agent"])
    assert.equal("none", res.headers["x-accept"])
    res = await(client:get(base))
    assert.equal("neap/" .. neap.version, res.headers["x-agent"])
    assert.equal("*/*", res.headers["x-accept"])
  end))

  it("has a query: of a table, a list or a string", with_echo(function(client, base)
    local function query(q, url)
      return await(client:get(base .. (url or "/"), { query = q })):text():match("GET (%S+)")
    end
    assert.equal("/?a=1&b=x+y%26%C3%A9&c=true", query{ a = 1, b = "x y&é", c = true })
    assert.equal("/?k=1&k=2", query{ k = { 1, 2 } })
    assert.equal("/?z=1&a=2&z=3", query{ { "z", 1 }, { "a", 2 }, { "z", 3 } })
    assert.equal("/?raw", query("raw"))
    assert.equal("/?x=1&a=2", query({ a = 2 }, "/?x=1"))
    assert.equal("/?a=2", query({ a = 2 }, "/#fragment"))
    assert.equal("/?no=false", query{ no = false })
    assert.equal("/", query{})
  end))

  it("goes to a URL below that of the client", with_echo(function(_, base)
    local client <close> = http.client{ base_url = base .. "/api/", proxy = false }
    assert.equal("GET /api/x?y\n", await(client:get("x?y")):text())
    assert.equal("GET /api/x\n", await(client:get("/x")):text())
    assert.equal("GET /api/\n", await(client:get("")):text())
    assert.equal("GET /other\n", await(client:get(base .. "/other")):text())
  end))
end)

describe("the body of a request", function()
  it("is a string, as it is, without a type", with_echo(function(client, base)
    local res = await(client:post(base, { body = "\0a\r\n" }))
    assert.equal("POST /\n\0a\r\n", res:text())
    assert.equal("none", res.headers["x-type"])
    res = await(client:post(base, { body = "a", headers = { ["content-type"] = "text/x" } }))
    assert.equal("text/x", res.headers["x-type"])
    for _, method in ipairs{ "put", "patch", "delete", "get", "options" } do
      assert.equal(method:upper() .. " /\nbody", await(client[method](client, base,
        { body = "body" })):text())
      assert.equal("GET /\n", await(client:get(base)):text())
    end
  end))

  it("is empty, and said to be so, where a method has one", with_echo(function(client, base)
    for _, method in ipairs{ "post", "put", "patch" } do
      local res = await(client[method](client, base))
      assert.equal("0", res.headers["x-length"])
      assert.equal("none", res.headers["x-type"])
    end
    assert.equal("none", await(client:delete(base)).headers["x-length"])
    assert.equal("0", await(client:delete(base, { body = "" })).headers["x-length"])
  end))

  it("is a form", with_echo(function(client, base)
    local res = await(client:post(base, { form = { b = "1 2", a = "&=" } }))
    assert.equal("POST /\na=%26%3D&b=1+2", res:text())
    assert.equal("application/x-www-form-urlencoded", res.headers["x-type"])
  end))

  it("is JSON, and so is a response", with_echo(function(client, base)
    local res = await(client:post(base, { json = { a = { 1, 2 } } }))
    assert.equal('POST /\n{"a":[1,2]}', res:text())
    assert.equal("application/json", res.headers["x-type"])
    local err = h.raises("EINVAL", res.json, res)
    assert.equal(res.url, err.url)
    h.raises("EINVAL", client.post, client, base, { json = print })
  end))

  it("is multipart", with_echo(function(client, base)
    local res = await(client:post(base, { multipart = {
      { name = "first", data = "1" },
      { name = 'f"\r\n', filename = "a.txt", data = "text", type = "text/plain" },
      plain = "p", number = 7,
    } }))
    local boundary = res.headers["x-type"]:match("^multipart/form%-data; boundary=(%S+)$")
    local expected = table.concat({
      'POST /\n--B\r\nContent-Disposition: form-data; name="first"\r\n\r\n1',
      '--B\r\nContent-Disposition: form-data; name="f%22%0D%0A"; filename="a.txt"\r\n'
        .. "Content-Type: text/plain\r\n\r\ntext",
      '--B\r\nContent-Disposition: form-data; name="number"\r\n\r\n7',
      '--B\r\nContent-Disposition: form-data; name="plain"\r\n\r\np',
      "--B--\r\n",
    }, "\r\n"):gsub("%-%-B", "--" .. boundary:gsub("%%", "%%%%"))
    assert.equal(expected, res:text())
  end))
end)

describe("response:json", function()
  it("decodes, null included", server.with_answers(function()
    return response("200 OK", '{"list":[1,2.5,"x"],"none":null}')
  end, function(client, base)
    local value = await(client:get(base)):json()
    assert.same({ 1, 2.5, "x" }, value.list)
    assert.equal("userdata", type(value.none))
  end))

  it("says what is missing without lua-cjson", server.with_answers(function()
    return response("200 OK", "{}")
  end, function(client, base)
    local loaded, path, cpath = package.loaded.cjson, package.path, package.cpath
    package.loaded.cjson, package.path, package.cpath = nil, "", ""
    local res = await(client:get(base))
    local err = h.raises("ENOTSUP", res.json, res)
    package.loaded.cjson, package.path, package.cpath = loaded, path, cpath
    assert.is_truthy(err.message:find("lua-cjson", 1, true))
  end))
end)
