-- Servers: their addresses and options, Unix sockets.
local h = require "spec.helper"
local support = require "spec.support"
local neap = require "neap"
local core = require "neap.core"
local lfs = require "lfs"

local await, net = neap.await, neap.net

local directory

local function at(name) return directory .. "/" .. name end

--- Whether a connection to there comes about.
local function answers(...)
  local ok, conn = pcall(await, net.connect(...))
  if ok then await(conn:close()) end
  return ok, conn
end

describe("neap.net.listen", function()
  it("on '*' answers both families", h.run(function()
    local server <close> = await(net.listen("*", 0))
    local host, port = server:address()
    assert.equal("::", host)
    assert.is_true(answers("127.0.0.1", port))
    assert.is_true(answers("::1", port))
    local conn <close> = await(net.connect("127.0.0.1", port))
    for _ = 1, 3 do await(server:accept()) end
    assert.equal("127.0.0.1", (conn:peer()))
  end))

  it("on '::' answers both families, with ipv6_only one", h.run(function()
    local both <close> = await(net.listen("::", 0))
    assert.is_true(answers("127.0.0.1", select(2, both:address())))
    for _, host in ipairs{ "::", "*", "::1" } do
      local server <close> = await(net.listen(host, 0, { ipv6_only = true }))
      local _, port = server:address()
      assert.is_true(answers("::1", port))
      h.raises("ECONNREFUSED", function() await(net.connect("127.0.0.1", port)) end)
    end
  end))

  it("takes a name, and one table", h.run(function()
    local named <close> = await(net.listen("localhost", 0))
    local host, port = named:address()
    assert.is_true(host == "127.0.0.1" or host == "::1")
    assert.is_true(answers(host, port))
    local server <close> = await(net.listen{ host = "127.0.0.1", port = 0, backlog = 5 })
    assert.is_true(answers(server:address()))
  end))

  it("with reuse_port shares a port", h.run(function()
    local one <close> = await(net.listen("127.0.0.1", 0, { reuse_port = true }))
    local host, port = one:address()
    local two <close> = await(net.listen(host, port, { reuse_port = true }))
    h.raises("EADDRINUSE", function() await(net.listen(host, port)) end)
    local counts = { 0, 0 }
    for i, server in ipairs{ one, two } do
      neap.background(function()
        for conn in server do
          counts[i] = counts[i] + 1
          await(conn:close())
        end
      end)
    end
    for _ = 1, 64 do
      local conn <close> = await(net.connect(host, port))
      assert.is_nil((await(conn:read())))
    end
    assert.equal(64, counts[1] + counts[2])
    assert.is_true(counts[1] > 0 and counts[2] > 0)
  end))

  it("fails with the address where the host is not this one's or not known", h.run(function()
    local err = h.raises("EADDRNOTAVAIL", function() await(net.listen("192.0.2.1", 0)) end)
    assert.equal("192.0.2.1:0", err.address)
    assert.is_string(err.syscall)
    local handles = core.stats().handles
    local ok
    ok, err = pcall(await, net.listen("no-such-host.invalid", 0))
    assert.is_false(ok)
    assert.matches("^EAI_", err.code)
    assert.equal("getaddrinfo", err.syscall)
    assert.equal("no-such-host.invalid:0", err.address)
    assert.equal(handles, core.stats().handles)
  end))

  it("[C3] that is cancelled while a name is looked up leaves nothing", h.run(function()
    local handles = core.stats().handles
    for _ = 1, 5 do
      local task = net.listen("localhost", 0)
      assert.is_true(task:cancel("enough"))
    end
    for _ = 1, 3 do await(await(net.listen("localhost", 0)):close()) end
    assert.equal(handles, core.stats().handles)
  end))

  it("raises an argument error for options of a wrong type", h.run(function()
    for name, value in pairs{
      backlog = 0, reuse_port = 1, ipv6_only = "yes", mode = "9", unlink = 1, family = "ipv5",
    } do
      local text = h.bad_argument("listen", 3, net.listen, "127.0.0.1", 0, { [name] = value })
      assert.is_truthy(text:find("'" .. name .. "'", 1, true), text)
      text = h.bad_argument("listen", 1, net.listen, { host = "::1", port = 0, [name] = value })
      assert.is_truthy(text:find("'" .. name .. "'", 1, true), text)
    end
    for name, value in pairs{ host = 5, port = "http", path = {} } do
      local opts = { host = "127.0.0.1", port = 0 }
      opts[name] = value
      local text = h.bad_argument("listen", 1, net.listen, opts)
      assert.is_truthy(text:find("'" .. name .. "'", 1, true), text)
    end
    h.bad_argument("listen", 1, net.listen, {})
    h.bad_argument("listen", 1, net.listen, { host = "::1" })
    h.bad_argument("listen", 1, net.listen, { path = "a\0b" })
    h.bad_argument("listen", 3, net.listen, "::1", 0, 5)
  end))
end)

describe("neap.net.listen at a path", function()
  before_each(function() directory = support.temp_dir() end)
  after_each(function() support.remove_tree(directory) end)

  it("makes a socket, and removes it at close", h.run(function()
    local server = await(net.listen{ path = at("s") })
    assert.same({ at("s") }, { server:address() })
    assert.matches("s$", tostring(server))
    assert.equal("socket", lfs.attributes(at("s"), "mode"))
    assert.is_true(answers{ path = at("s") })
    await(server:close())
    assert.is_nil(lfs.attributes(at("s")))
    h.raises("ENOENT", function() await(net.connect{ path = at("s") }) end)
  end))

  it("removes it also when the server is collected", h.run(function()
    await(net.listen{ path = at("s") })
    for _ = 1, 4 do
      collectgarbage()
      await(neap.yield())
    end
    assert.is_nil(lfs.attributes(at("s")))
  end))

  it("gives it its permissions", h.run(function()
    for mode, expected in pairs{ ["600"] = "rw-------", [511] = "rwxrwxrwx" } do
      local server <close> = await(net.listen{ path = at("s"), mode = mode })
      assert.equal(expected, lfs.attributes(at("s"), "permissions"))
      assert.is_false(server:is_closed())
    end
  end))

  --- Leaves a socket that nobody listens to.
  local function leave_stale(path)
    local output = h.process(([[
      local neap = require "neap"
      neap.run(function()
        neap.await(neap.net.listen{ path = %q })
        os.exit(0, false)
      end)]]):format(path))
    assert.equal("", output)
    assert.equal("socket", lfs.attributes(path, "mode"))
  end

  it("replaces a stale socket with unlink only", h.run(function()
    leave_stale(at("s"))
    h.raises("EADDRINUSE", function() await(net.listen{ path = at("s") }) end)
    local server <close> = await(net.listen{ path = at("s"), unlink = true })
    assert.is_true(answers{ path = at("s") })
    assert.is_false(server:is_closed())
  end))

  it("steals no socket that is listened to, and no file", h.run(function()
    local server <close> = await(net.listen{ path = at("s"), backlog = 1 })
    for _ = 1, 3 do
      local err = h.raises("EADDRINUSE", function()
        await(net.listen{ path = at("s"), unlink = true })
      end)
      assert.equal("bind", err.syscall)
      assert.equal(at("s"), err.address)
    end
    assert.is_false(server:is_closed())
    support.spit(at("file"), "content")
    h.raises("EADDRINUSE", function() await(net.listen{ path = at("file"), unlink = true }) end)
    assert.equal("content", support.slurp(at("file")))
  end))

  it("fails for paths that are too long, empty or nowhere", h.run(function()
    h.raises("ENAMETOOLONG", function() await(net.listen{ path = ("x"):rep(108) }) end)
    h.raises("ENAMETOOLONG", function() await(net.listen{ path = "@" .. ("x"):rep(108) }) end)
    h.raises("EINVAL", function() await(net.listen{ path = "" }) end)
    h.raises("ENOENT", function() await(net.listen{ path = at("none/s") }) end)
    local name = "@" .. ("x"):rep(107)
    local server <close> = await(net.listen{ path = name })
    assert.equal(name, (server:address()))
    assert.is_true(answers{ path = name })
  end))

  it("survives failing allocations, and leaves no socket", h.plain(function(t)
    local n = 0
    h.each_failure(function()
      n = n + 1 -- one that failed is closed when it is collected
      neap.run({ clock = t.clock }, function()
        await(await(net.listen{ path = at("s" .. n), mode = "600" }):close())
        await(await(net.listen("127.0.0.1", 0)):close())
        await(await(net.listen("localhost", 0)):close())
        await(await(net.listen("*", 0, { reuse_port = true })):close())
      end)
    end)
    collectgarbage()
    for name in lfs.dir(directory) do assert.matches("^%.", name) end
    t:take_unobserved()
    t:take_warnings()
  end))
end)
