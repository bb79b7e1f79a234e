local h = require "spec.helper"
local support = require "spec.support"
local neap = require "neap"
local core = require "neap.core"

local await, dns = neap.await, neap.dns

-- A label of more than 63 bytes is refused before any server is asked.
local NO_NAME = ("x"):rep(64)

describe("neap.dns.resolve", function()
  it("gives a literal address back on the spot", h.run(function()
    for literal, family in pairs{
      ["127.0.0.1"] = "ipv4", ["192.0.2.77"] = "ipv4", ["::1"] = "ipv6", ["2001:db8::7"] = "ipv6",
      ["::ffff:192.0.2.1"] = "ipv6",
    } do
      local task = dns.resolve(literal)
      assert.equal("done", task:status())
      assert.same({ { address = literal, family = family } }, await(task))
    end
  end))

  it("writes an IPv6 address in its short form", h.run(function()
    assert.equal("2001:db8::1", await(dns.resolve("2001:0DB8:0:0::0001"))[1].address)
  end))

  it("resolves localhost to addresses of the loopback, each once", h.run(function()
    local seen = {}
    local list = await(dns.resolve("localhost"))
    assert.is_true(#list >= 1)
    for _, found in ipairs(list) do
      assert.is_truthy(found.address == "::1" or found.address:match("^127%."))
      assert.equal(found.address == "::1" and "ipv6" or "ipv4", found.family)
      assert.is_nil(found.port)
      assert.is_nil(seen[found.address])
      seen[found.address] = true
    end
  end))

  it("gives only one family, the port, only the first, as asked", h.run(function()
    local list = await(dns.resolve("localhost", { family = "ipv4", port = 80, all = false }))
    assert.equal(1, #list)
    assert.equal("ipv4", list[1].family)
    assert.equal(80, list[1].port)
    assert.same({ { address = "::1", family = "ipv6", port = 0 } },
      await(dns.resolve("::1", { family = "ipv6", port = 0 })))
  end))

  it("fails with EAI_ADDRFAMILY for a literal of another family", h.run(function()
    local err = h.raises("EAI_ADDRFAMILY", await, dns.resolve("::1", { family = "ipv4" }))
    assert.equal("::1", err.address)
    assert.equal("getaddrinfo", err.syscall)
  end))

  it("[S50] fails for what is no name; the error has it", h.run(function()
    for _, name in ipairs{ NO_NAME, "", "a..b", "name.invalid" } do
      local ok, err = pcall(await, dns.resolve(name))
      assert.is_false(ok)
      assert.is_truthy(err.code:find("^EAI_"))
      assert.equal(name, err.address)
      assert.equal("getaddrinfo", err.syscall)
      assert.is_string(err.message)
    end
    h.raises("EAI_NONAME", await, dns.resolve(""))
  end))

  it("fails for bytes that are no UTF-8", h.run(function()
    local name = "\xff\xfe"
    local ok, err = pcall(await, dns.resolve(name))
    assert.is_false(ok)
    assert.equal(name, err.address)
  end))

  it("runs many at the same time", h.run(function()
    local tasks = {}
    for i = 1, 50 do tasks[i] = dns.resolve(i % 2 == 0 and "localhost" or "127.0.0.1") end
    for _, list in ipairs(await(neap.all(tasks))) do assert.is_true(#list >= 1) end
  end))

  it("raises an argument error for bad arguments", h.run(function()
    local text = h.bad_argument("resolve", 1, dns.resolve, "local\0host")
    assert.is_truthy(text:find("NUL", 1, true))
    h.bad_argument("resolve", 1, dns.resolve)
    h.bad_argument("resolve", 1, dns.resolve, 127)
    h.bad_argument("resolve", 2, dns.resolve, "localhost", "ipv4")
    for option, value in pairs{ family = "ipx", port = 65536, all = 1 } do
      text = h.bad_argument("resolve", 2, dns.resolve, "localhost", { [option] = value })
      assert.is_truthy(text:find("option '" .. option .. "'", 1, true))
    end
  end))

  it("[S71] starts nothing in a cancelled scope", h.run(function()
    neap.scope(function(scope)
      scope:cancel("closed")
      assert.equal("cancelled", dns.resolve("localhost"):status())
      assert.equal("cancelled", dns.resolve("127.0.0.1"):status())
      assert.equal("cancelled", dns.reverse("127.0.0.1"):status())
    end)
  end))

  it("[C3] that is cancelled ends at once and leaves nothing behind", h.run(function()
    local task = neap.start(function() return await(dns.resolve("localhost")) end)
    support.takes(0, function()
      task:cancel("enough")
      assert.same({ "cancelled", "enough" }, { await(neap.settle(task)) })
    end)
  end))

  it("[C13] that are cancelled leave nothing behind, in the pool or before it", h.run(function()
    local tasks = {}
    for i = 1, 20 do tasks[i] = dns.resolve("localhost") end
    for i = 1, 20 do
      if i % 3 > 0 then assert.is_true(tasks[i]:cancel("enough")) end
    end
    for i = 1, 20 do
      local status = await(neap.settle(tasks[i]))
      assert.equal(i % 3 > 0 and "cancelled" or "done", status)
    end
  end))

  it("[S8] keeps its result when it is cancelled after completion", h.run(function()
    local task = dns.resolve("localhost")
    await(neap.settle(task))
    assert.is_false(task:cancel("late"))
    assert.is_true(#await(task) >= 1)
  end))

  it("gives its result as often as it is awaited", h.run(function()
    local task = dns.resolve("localhost")
    assert.equal(await(task), await(task))
  end))

  it("[S99] that is dropped does not hold up a scope", h.run(function()
    support.takes(0, function()
      neap.scope(function() dns.resolve("localhost") end)
    end)
  end))

  it("fails with ENOMEM, and leaves nothing behind, when there is no memory", h.run(function()
    h.each_failure(function() await(dns.resolve("127.0.0.1")) end)
    h.each_failure(function() await(dns.resolve("localhost")) end)
    h.each_failure(function() await(dns.reverse("127.0.0.1")) end)
  end))
end)

describe("neap.dns.reverse", function()
  it("gives the name of an address", h.run(function()
    local name = await(dns.reverse("127.0.0.1"))
    assert.is_string(name)
    assert.is_truthy(name:find("%a"))
  end))

  it("raises an argument error for what is no address", h.run(function()
    for _, bad in ipairs{ "localhost", "", "127.0.0.1\0", "127.0.0", "1:2" } do
      h.bad_argument("reverse", 1, dns.reverse, bad)
    end
    h.bad_argument("reverse", 1, dns.reverse)
  end))

  it("[C13] that is cancelled leaves nothing behind", h.run(function()
    local task = dns.reverse("127.0.0.1")
    assert.is_true(task:cancel("enough"))
    h.raises("ECANCELLED", await, task)
    assert.equal(0, core.stats().handles)
  end))
end)
