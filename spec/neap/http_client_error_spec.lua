-- What fails, by which name, and what is refused at once.
local h = require "spec.helper"
local server = require "spec.http"
local support = require "spec.support"
local neap = require "neap"

local await, http, net = neap.await, neap.http, neap.net

local function with_client(fn, opts)
  opts = opts or {}
  if opts.proxy == nil then opts.proxy = false end
  return h.run(function(t)
    local client <close> = http.client(opts)
    fn(client, t)
  end)
end

--- A port that nobody listens to any more.
local function free_port()
  local listener <close> = await(net.listen("127.0.0.1", 0))
  local _, port = listener:address()
  return port
end

describe("a connection", function()
  it("that is refused fails with ECONNREFUSED, url and message", with_client(function(client)
    local url = ("http://127.0.0.1:%d/x"):format(free_port())
    local err = h.raises("ECONNREFUSED", await, client:get(url))
    assert.equal(url, err.url)
    assert.is_truthy(err.message:find("Failed to connect", 1, true))
    assert.equal("ECONNREFUSED: " .. err.message .. ", " .. url, tostring(err))
    h.raises("ECONNREFUSED", await, client:get(url, { stream = true }))
    h.raises("ECONNREFUSED", await, client:post(url, { body = function() end }))
  end))

  it("to a host without a name fails with ERESOLVE", with_client(function(client)
    local err = h.raises("ERESOLVE", await, client:get("http://" .. ("a"):rep(64) .. ".invalid/"))
    assert.is_truthy(err.message:find("resolve", 1, true))
    assert.is_truthy(err.url)
  end, { connect_timeout = math.huge }))

  it("that does not come about fails with ETIMEDOUT", h.run(function()
    -- A listener that accepts nobody: when its backlog is full, connecting waits.
    local listener <close> = await(net.listen("127.0.0.1", 0, { backlog = 1 }))
    local _, port = listener:address()
    local url = "http://127.0.0.1:" .. port
    local client <close> = http.client{ proxy = false, connect_timeout = 5,
      max_host_connections = 64 }
    local tasks, codes = {}, {}
    for i = 1, 16 do tasks[i] = client:get(url) end
    await(neap.sleep(20))
    for _, task in ipairs(tasks) do -- those in the backlog wait for a response
      local err = not task:cancel() and task:error()
      if err then codes[err.code] = err end
    end
    assert.equal(url, codes.ETIMEDOUT.url)
    assert.equal("no connection within 5 s", codes.ETIMEDOUT.message)
  end))

  it("goes to an address that is told for its name", server.with_answers(function(request)
    return server.response("200 OK", request.headers.host)
  end, function(_, base)
    local port = base:match("%d+$")
    local client <close> = http.client{ proxy = false, resolve = { ["some.host:"
      .. port] = "127.0.0.1" } }
    assert.equal("some.host:" .. port, await(client:get("http://some.host:" .. port)):text())
  end))

  it("goes to a Unix socket", h.run(function()
    local folder = support.temp_dir()
    local _ <close> = support.closing(function() support.remove_tree(folder) end)
    neap.scope(function(scope)
      local listener <close> = await(net.listen{ path = folder .. "/s" })
      neap.start(function()
        local conn <close> = await(listener:accept())
        server.answering(function(request) return server.response("200 OK",
          request.target) end)(conn)
      end)
      local client <close> = http.client{ proxy = false, unix_socket = folder .. "/s" }
      assert.equal("/x", await(client:get("http://any/x")):text())
      scope:cancel()
    end)
  end))
end)

describe("idle_timeout", function()
  local function slow(pieces, pause)
    return function(conn)
      server.read_request(conn)
      for _, piece in ipairs(pieces) do
        await(conn:write(piece))
        await(neap.sleep(pause))
      end
    end
  end
  local HEAD = "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n"

  it("ends a request to which nothing comes", server.with_server(slow({ HEAD, "a" }, 100),
    { idle_timeout = 10 }, function(client, base)
      local begin = neap.now()
      local err = h.raises("ETIMEDOUT", await, client:get(base))
      assert.equal("nothing came or went for 10 s", err.message)
      assert.equal(base, err.url)
      assert.near(10, neap.now() - begin, 1)
    end))

  it("counts from what came last", server.with_server(slow({ HEAD, "a", "b", "c" }, 9),
    { idle_timeout = 10 }, function(client, base)
      assert.equal("abc", await(client:get(base)):text())
    end))

  it("ends a streamed body", server.with_server(slow({ HEAD .. "a" }, 100), { idle_timeout = 10 },
    function(client, base)
      local res = await(client:get(base, { stream = true }))
      assert.equal("a", await(res:read()))
      local err = h.raises("ETIMEDOUT", await, res:read())
      assert.equal(base, err.url)
    end))

  it("does not count while nobody reads", server.with_server(function(conn)
    server.read_request(conn)
    await(conn:write("HTTP/1.1 200 OK\r\n\r\n", ("x"):rep(1 << 20)))
  end, { idle_timeout = 10 }, function(client, base)
    local res <close> = await(client:get(base, { stream = true }))
    await(neap.sleep(50))
    assert.equal(1 << 20, #await(res:read_all()))
  end))

  it("may be another one for a request", server.with_server(slow({ HEAD, "abc" }, 1),
    { idle_timeout = 0.1 }, function(client, base)
      assert.equal("abc", await(client:get(base, { idle_timeout = math.huge })):text())
    end))
end)

describe("a URL", function()
  it("that makes no sense fails with EINVAL", with_client(function(client)
    for _, url in ipairs{ "http://", "http://a b/", "http://[::1", "http://h:99999/", "ftp://h/",
      "file:///etc/passwd" } do
      local err = h.raises("EINVAL", await, client:get(url))
      assert.equal(url, err.url)
    end
  end))

  it("has to be absolute, without a base", with_client(function(client)
    local text = h.bad_argument("get", 1, function() client:get("/x") end)
    assert.is_truthy(text:find("absolute URL expected, got '/x'", 1, true))
    h.bad_argument("get", 1, function() client:get() end)
    h.bad_argument("get", 1, function() client:get("http://h/\0") end)
    h.bad_argument("request", 2, function() client:request("GET", 1) end)
  end))
end)

describe("arguments", function()
  local refused = {
    { "there is no option 'timeout': use neap.timeout", { timeout = 5 } },
    { "there is no option 'steam'", { steam = true } },
    { "option 'headers': table expected", { headers = "a" } },
    { "no name of a header: 'a b'", { headers = { ["a b"] = "x" } } },
    { "no name of a header: '1'", { headers = { "x" } } },
    { "header 'a': string expected, got boolean", { headers = { a = true } } },
    { "header 'a': its value has a line break", { headers = { a = "x\r\nB: y" } } },
    { "header 'a': its value has a line break", { headers = { a = { "x", "\n" } } } },
    { "option 'body': a string or a function", { body = {} } },
    { "option 'form': a table or a string", { form = 1 } },
    { "option 'form'", { form = { a = {{}} } } },
    { "option 'query': a table", { query = true } },
    { "only one of the options", { body = "a", form = {} } },
    { "option 'multipart': a table", { multipart = "x" } },
    { "option 'multipart': the name of a part", { multipart = {{ data = "x" }} } },
    { "option 'multipart': a string, a function or a path", { multipart = { a = {} } } },
    { "option 'multipart': a media type", { multipart = {{ name = "a", data = "",
      type = "a\n" }} } },
    { "option 'stream': a boolean", { stream = 1 } },
    { "option 'max_body': an integer", { max_body = -1 } },
    { "option 'length': an integer", { length = 1.5 } },
    { "option 'verify': a boolean", { verify = "no" } },
    { "option 'http': one of '1.0' '1.1'", { http = "3.1415" } },
    { "option 'max_redirects': an integer", { max_redirects = -1 } },
    { "option 'connect_timeout': a duration", { connect_timeout = -1 } },
    { "option 'proxy': a string", { proxy = 1 } },
    { "option 'auth': {user, password}", { auth = "user" } },
    { "option 'resolve': a table", { resolve = "x" } },
    { 'option \'resolve\': ["host:port"]', { resolve = { host = "1.1.1.1" } } },
    { "an integer of 1 or more", { retry = 0 } },
    { "option 'retry': there is no 'tries'", { retry = { tries = 1 } } },
  }

  for _, case in ipairs(refused) do
    it("are refused: " .. case[1], with_client(function(client)
      local text = h.bad_argument("post", 2,
        function() client:post("http://127.0.0.1:1/", case[2]) end)
      assert.is_truthy(text:find(case[1], 1, true), text)
      assert.is_truthy(text:find("http_client_error_spec.lua", 1, true), text)
    end))
  end

  it("of a method are refused", with_client(function(client)
    h.bad_argument("request", 1, function() client:request("A B", "http://h") end)
    h.bad_argument("request", 1, function() client:request(("x"):rep(32), "http://h") end)
    h.bad_argument("head", 2, function() client:head("http://h", { body = "x" }) end)
    h.bad_argument("get", 2, function() client:get("http://h", 1) end)
  end))

  it("of a client are refused", h.run(function()
    local wrong = { { base_url = "/x" }, { cookies = 1 }, { max_connections = 0 }, { body = "x" },
      { max_host_connections = "x" }, { user_agent = "a\n" }, { headers = 1 }, { verify = 1 },
        { stream = 1 },
      { max_body = "x" }, { retry = "x" } }
    for _, opts in ipairs(wrong) do
      h.bad_argument("client", 1, function() return http.client(opts) end)
    end
    h.bad_argument("client", 1, function() return http.client("x") end)
  end))
end)

describe("neap.http", function()
  it("has no other names", h.plain(function()
    assert.is_nil(http.nothing)
  end))

  it("says which library is missing where the driver was not built", h.plain(function()
    local output = h.process([[
      local neap = require "neap"
      package.cpath = ""
      package.preload["neap.http_client_driver"] = nil
      print(pcall(function() return neap.http.get end))
    ]])
    assert.is_truthy(output:find("libcurl4-openssl-dev", 1, true), output)
  end))

  it("is loaded when it is first used", h.plain(function()
    local output = h.process([[
      local neap = require "neap"
      print(package.loaded["neap.http_client"], package.loaded["neap.http_client_driver"])
    ]])
    assert.equal("nil\tnil\n", output)
  end))
end)
