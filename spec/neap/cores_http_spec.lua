-- neap.http.serve on several threads: neap.serve_cores with a server of the module's own.
local certificates = require "spec.certificates"
local h = require "spec.helper"
local support = require "spec.support"
local web = require "spec.http_wire"
local neap = require "neap"

local await, net = neap.await, neap.net

local APP = [[
local neap = require "neap"

local function handler(req)
  if req.path == "/fail" then error("asked to") end
  local text = neap.await(req:text())
  return req.path .. " " .. (req:tls() and "TLS" or "plain") .. text
end

return {
  serve = function(opts, stats)
    return neap.http.serve(opts, function(req)
      stats:add("requests")
      return handler(req)
    end)
  end,
}
]]

--- A directory of modules, in which workers look.
local function with_module(fn)
  local directory, path = support.temp_dir(), package.path
  support.spit(directory .. "/cores_web.lua", APP)
  package.path = directory .. "/?.lua;" .. path
  local ok, err = pcall(fn)
  package.path = path
  support.remove_tree(directory)
  if not ok then error(err, 0) end
end

--- Starts a server and runs fn(cores, task) when all workers listen.
local function serving(opts, fn)
  with_module(function()
    local ready, cores = neap.event(), nil
    opts.module = "cores_web"
    opts.on_listen = function(x)
      cores = x
      ready:set()
    end
    local task = neap.serve_cores(opts)
    await(neap.any{ task, ready:wait() })
    if not cores then await(task) end
    fn(cores, task)
    task:cancel("the spec is over")
    await(neap.settle(task))
  end)
end

describe("serve_cores with neap.http.serve", function()
  it("serves on one port with several workers, and counts", h.run(function()
    serving({ workers = 3 }, function(cores, task)
      local conns = {}
      for i = 1, 30 do
        conns[i] = web.connect(cores)
        for _ = 1, 2 do
          await(conns[i]:write(web.get("/" .. i)))
          local status, _, body = web.read(conns[i])
          assert.same({ 200, ("/%d plain"):format(i) }, { status, body })
        end
      end
      assert.equal(60, cores:stats().total.requests)
      assert.equal("pending", task:status())
      for _, conn in ipairs(conns) do await(conn:close()) end
    end)
  end))

  it("hands a handler's errors to on_error, with the worker's number", h.run(function()
    local errors = neap.channel()
    local opts = { workers = 2, on_error = function(err, number) errors:try_send(err, number) end }
    serving(opts, function(cores)
      assert.equal(500, (web.ask(cores, web.get("/fail"))))
      local _, err, number = await(errors:recv())
      assert.match("cores_web.lua:4: asked to$", err)
      assert.is_true(number == 1 or number == 2)
      assert.equal(1, cores:stats().total.errors)
      assert.equal(200, (web.ask(cores, web.get("/"))))
    end)
  end))

  it("answers what is under way when it ends", h.run(function()
    serving({ workers = 2, grace = 10 }, function(cores, task)
      local idle <close> = web.connect(cores)
      local busy <close> = web.connect(cores)
      await(busy:write(web.get("/slow", "Content-Length: 4\r\n")))
      while cores:stats().total.requests == 0 do await(neap.sleep(0.001)) end
      task:cancel("enough")
      assert.equal("", await(idle:read_all()))
      await(busy:write("last"))
      assert.equal("/slow plainlast", (select(3, web.read(busy))))
      assert.same({ "cancelled", "enough" }, { await(neap.settle(task)) })
      h.raises("ECONNREFUSED", await, net.connect(cores:address()))
    end)
  end))

  it("serves with TLS, the options of which cross to the workers", h.run(function()
    local c = certificates.make()
    local _ <close> = neap.defer(c.remove)
    local opts = { workers = 2, tls = { cert = c.good.cert, key = c.good.key } }
    serving(opts, function(cores)
      local host, port = cores:address()
      local tls = { ca = c.ca, server_name = "localhost", alpn = { "http/1.1" } }
      for i = 1, 10 do
        local conn <close> = await(net.connect(host, port, { tls = tls }))
        assert.equal("http/1.1", conn:tls().alpn)
        await(conn:write(web.get("/" .. i)))
        assert.equal(("/%d TLS"):format(i), (select(3, web.read(conn))))
      end
    end)
    local context = neap.tls.context{ cert = c.good.cert, key = c.good.key }
    h.bad_argument("serve_cores", 1, neap.serve_cores, { module = "cores_web", tls = context })
  end))
end)
