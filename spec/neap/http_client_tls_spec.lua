-- TLS and HTTP/2, with servers that are not ours.
local h = require "spec.helper"
local https = require "spec.https"
local support = require "spec.support"
local neap = require "neap"

local await, http = neap.await, neap.http

--- An `it` that needs a server.
local function it_with(name, title, fn)
  if https.has(name) then it(title, h.plain(https.run(name, fn))) end
end

local function client_of(folder, name, opts)
  local all = { proxy = false, ca_file = folder .. "/cert.pem", unix_socket = folder .. "/"
    .. name }
  for key, value in pairs(opts or {}) do all[key] = value end
  return http.client(all)
end

describe("https with nginx", function()
  it_with("nginx", "speaks HTTP/2 where both can, compressed", function(folder)
    local client <close> = client_of(folder, "tls")
    local res = await(client:get("https://localhost/text"))
    assert.equal("2", res.version)
    assert.equal("gzip", res.headers["content-encoding"])
    assert.equal("hello hello hello over HTTP/2.0", res:text())
    assert.equal("", res.reason)
    res = await(client:get("https://localhost/text", { http = "1.1" }))
    assert.equal("1.1", res.version)
    assert.equal("hello hello hello over HTTP/1.1", res:text())
    assert.equal("https://localhost/text", await(client:get("https://localhost/move")).url)
    h.raises("EHTTP", function() await(client:get("https://localhost/missing")):check() end)
  end)

  it_with("nginx", "has many requests on one connection", function(folder)
    local client <close> = client_of(folder, "tls", { max_host_connections = 1 })
    local tasks = {}
    for i = 1, 50 do tasks[i] = client:get("https://localhost/text", { stream = i % 2 == 0 }) end
    tasks[25]:cancel()
    for i, task in ipairs(tasks) do
      if i ~= 25 then assert.is_truthy(await(await(task):read_all()):find("HTTP/2")) end
    end
  end)

  it_with("nginx", "streams a large file, and stops in the middle of one", function(folder)
    support.spit(folder .. "/large", ("0123456789abcdef"):rep(1 << 18))
    for _, version in ipairs{ "1.1", "2" } do
      local client <close> = client_of(folder, "tls", { http = version })
      local res = await(client:get("https://localhost/files/large", { stream = true }))
      local size = 0
      for chunk in res do size = size + #chunk end
      assert.equal(1 << 22, size)
      res = await(client:get("https://localhost/files/large", { stream = true }))
      assert.equal(1000, #await(res:read_exactly(1000)))
      await(res:close())
      assert.equal(200, await(client:get("https://localhost/text")).status)
      assert.equal(1 << 22, await(await(client:get("https://localhost/files/large")):save(folder
        .. "/copy")))
    end
  end)

  it_with("nginx", "sends a large body", function(folder)
    local client <close> = client_of(folder, "tls")
    local res = await(client:post("https://localhost/text", { body = ("x"):rep(900000),
      http = "1.1" }))
    assert.equal(200, res.status)
  end)

  it_with("nginx", "verifies who answers, unless told not to", function(folder)
    local client <close> = client_of(folder, "tls")
    local url = "https://localhost/text"
    local empty <close> = http.client{ proxy = false, unix_socket = folder .. "/tls" }
    local err = h.raises("ETLS", await, empty:get(url))
    assert.equal(url, err.url)
    assert.is_truthy(err.message:find("certificate", 1, true), err.message)
    err = h.raises("ETLS", await, client:get("https://other.name/text"))
    assert.is_truthy(err.message:find("other.name", 1, true), err.message)
    assert.equal(200, await(client:get("https://other.name/text", { verify = false })).status)
    h.raises("ETLS", await, client:get(url, { ca_file = folder .. "/none.pem" }))
    h.raises("ETLS", await, client:get(url, { ca_file = folder .. "/conf" }))
    assert.equal(200, await(client:get(url)).status)
  end)

  it_with("nginx", "shows a certificate of the client", function(folder)
    local client <close> = client_of(folder, "mutual")
    assert.equal(400, await(client:get("https://localhost/")).status)
    local known <close> = client_of(folder, "mutual",
      { cert = folder .. "/cert.pem", key = folder .. "/key.pem" })
    assert.equal("you are CN=localhost", await(known:get("https://localhost/")):text())
    local err = h.raises("ETLS", await, client:get("https://localhost/", { cert = folder
      .. "/none.pem" }))
    assert.is_truthy(err.url)
  end)

  it_with("nginx", "is not what a plain server, or a plain client, speaks", function(folder)
    local client <close> = client_of(folder, "tls")
    assert.equal(400, await(client:get("http://localhost/text")).status)
  end)
end)

describe("https with Node", function()
  it_with("node", "asks, and is answered", function(folder, port)
    local client <close> = http.client{ proxy = false, ca_file = folder .. "/cert.pem",
      base_url = "https://127.0.0.1:" .. port, cookies = true }
    local res = await(client:post("/x", { body = "body" }))
    assert.equal("body!", res:text())
    assert.equal("POST", res.headers["x-method"])
    assert.same({ "a=1; Secure", "b=2" }, res.headers:all("set-cookie"))
    assert.equal(2, #client:cookies())
    local n = 0
    res = await(client:put("/x", { body = function()
      n = n + 1
      return n <= 50 and ("y"):rep(10000) or nil
    end }))
    assert.equal(500001, #res:text())
    res = await(client:get("https://localhost:" .. port .. "/", { stream = true }))
    assert.equal("!", await(res:read_all()))
  end)

  it_with("node", "is cancelled", function(folder, port)
    local client <close> = http.client{ proxy = false, ca_file = folder .. "/cert.pem" }
    h.raises("ETIMEDOUT", neap.timeout, 0.05, function()
      await(client:get("https://127.0.0.1:" .. port .. "/slow"))
    end)
  end)

  it_with("node", "that asks in plain words a plain error is what comes", function(folder, port)
    local client <close> = http.client{ proxy = false, ca_file = folder .. "/cert.pem" }
    h.raises("ECONNRESET", await, client:get("http://127.0.0.1:" .. port))
  end)
end)
