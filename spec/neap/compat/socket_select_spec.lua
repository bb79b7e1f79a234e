-- socket.select, on all that it takes.
local h = require "spec.helper"
local sockets = require "spec.sockets"
local support = require "spec.support"
local neap = require "neap"
local socket = require "neap.compat.socket"

local await = neap.await
local with_pair = sockets.with_pair

describe("socket.select of neap.compat", function()
  it("waits until one can be read, and tells it by its place, too", with_pair(
    function(client, peer, t)
      local other, other_peer = sockets.pair()
      local _ <close> = sockets.closes(other, other_peer)
      local task = neap.start(function()
        local readable, writable, why = socket.select({ other, client }, nil, 5)
        t:note(why)
        t:note(#writable)
        return readable
      end)
      t:note("others run")
      await(peer:write("x"))
      local readable = await(task)
      assert.equal(1, #readable)
      assert.equal(client, readable[1])
      assert.equal(1, readable[client])
      assert.equal("others run nil 0", t:logged())
      assert.equal("x", client:receive(1))
      await(other_peer:write("y"))
      assert.equal("y", other:receive(1))
    end))

  it("ends when its time is over", with_pair(function(client)
    support.takes(2, function()
      local readable, writable, why = socket.select({ client }, {}, 2)
      assert.equal("0 0 timeout", #readable .. " " .. #writable .. " " .. why)
    end)
    support.takes(1, function() socket.select(nil, nil, 1) end)
    support.takes(0, function() socket.select({ client }, nil, 0) end)
  end))

  it("does not watch what is closed", with_pair(function(client, _, t)
    client:close()
    support.takes(1, function()
      t:note(#socket.select({ client }, { client }, 1))
    end)
    assert.equal("0", t:logged())
  end))

  it("serves several clients in one task", h.run(function()
    local server = assert(socket.bind("127.0.0.1", 0))
    local _, port = server:getsockname()
    local serving = neap.start(function()
      local watched, open = { server }, 0
      repeat
        for _, object in ipairs((socket.select(watched))) do
          if object == server then
            watched[#watched + 1] = server:accept()
            open = open + 1
          else
            local line = object:receive()
            if line then
              object:send(line:upper() .. "\n")
            else
              object:close()
              open = open - 1
              for i, one in ipairs(watched) do
                if one == object then table.remove(watched, i) break end
              end
            end
          end
        end
      until open == 0
      server:close()
    end)
    local first, second = socket.connect("127.0.0.1", port), socket.connect("127.0.0.1", port)
    for i = 1, 3 do
      first:send(i .. " a\n")
      second:send(i .. " b\n")
      assert.equal(i .. " B", second:receive())
      assert.equal(i .. " A", first:receive())
    end
    first:close()
    second:close()
    await(serving)
  end))

  it("keeps what it has seen when it is cancelled meanwhile", with_pair(function(client, peer)
    local task = neap.start(function() socket.select({ client }) end)
    await(peer:write("x\n"))
    task:cancel("enough")
    await(neap.settle(task)) -- it may have ended before
    assert.equal("x", client:receive())
  end))

  it("watches nothing any more after it was misused", with_pair(function(client, peer)
    local other, other_peer = sockets.pair()
    local _ <close> = sockets.closes(other, other_peer)
    local task = neap.start(function() return other:receive() end)
    neap.scope(function()
      h.misuse(function() socket.select({ client, other }) end)
    end)
    await(peer:write("x\n"))
    await(other_peer:write("y\n"))
    assert.equal("x", client:receive())
    assert.equal("y", await(task))
  end))

  it("takes a socket in both lists, and twice in one", with_pair(function(client, peer)
    await(peer:write("y"))
    local readable = socket.select({ client, client }, nil, 1)
    assert.equal(1, #readable)
    local _, writable = socket.select({ client }, { client, client }, 1)
    assert.equal(1, #writable)
    assert.equal("y", client:receive(1))
  end))

  it("refuses what is no socket of its own", with_pair(function(client)
    h.bad_argument("select", 1, function() socket.select({ client, 3 }) end)
    h.bad_argument("select", 2, function() socket.select(nil, { client, {} }) end)
    h.bad_argument("select", 1, function() socket.select("x") end)
    h.bad_argument("select", 3, function() socket.select(nil, nil, "x") end)
  end))
end)
