-- How neap.net.serve ends: nobody is accepted any more, open connections have their grace.
local assert = require "luassert"
local h = require "spec.helper"
local neap = require "neap"

local await, net = neap.await, neap.net

local function echo(conn)
  for chunk in conn do await(conn:write(chunk)) end
end

--- A server for the handler, and a connection to it that has been answered once.
local function serve(grace, handler)
  local server = await(net.listen("127.0.0.1", 0))
  local host, port = server:address()
  local serving = net.serve({ server = server, grace = grace }, handler)
  local conn = await(net.connect(host, port))
  await(conn:write("before"))
  assert.equal("before", await(conn:read()))
  return serving, conn, host, port
end

describe("a cancelled serve", function()
  it("answers on open connections, and accepts no new ones", h.run(function()
    local serving, accepted, host, port = serve(5, echo)
    local conn <close> = accepted
    serving:cancel("enough")
    await(neap.sleep(1))
    h.raises("ECONNREFUSED", function() await(net.connect(host, port)) end)
    await(conn:write("after"))
    assert.equal("after", await(conn:read()))
    await(conn:shutdown())
    assert.is_nil(await(conn:read()))
    assert.equal("cancelled", (await(neap.settle(serving))))
  end))

  it("ends as soon as the last connection has ended", h.run(function()
    local serving, conn = serve(5, echo)
    local started = neap.now()
    serving:cancel()
    await(conn:close())
    await(neap.settle(serving))
    assert.equal(started, neap.now())
  end))

  it("cancels what is left after its grace", h.run(function()
    local left
    local serving, accepted = serve(5, function(conn)
      local _ <close> = neap.defer(function() left = neap.now() end)
      echo(conn)
    end)
    local conn <close> = accepted
    local started = neap.now()
    serving:cancel()
    assert.is_nil(await(conn:read()))
    await(neap.settle(serving))
    assert.equal(started + 5, left)
  end))

  it("gives no time when its grace is 0", h.run(function()
    local serving, accepted = serve(0, echo)
    local conn <close> = accepted
    local started = neap.now()
    serving:cancel()
    assert.is_nil(await(conn:read()))
    await(neap.settle(serving))
    assert.equal(started, neap.now())
  end))
end)
