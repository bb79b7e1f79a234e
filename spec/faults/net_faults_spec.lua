-- Each system call of sockets fails: see spec/sweep.lua.

local neap = require "neap"
local sweep = require "spec.sweep"

local await, net = neap.await, neap.net
local at, expect, DATA = sweep.at, sweep.expect, sweep.DATA

--- What comes is sent back once it has ended.
local function send_back(conn)
  await(conn:write(await(conn:read_all())))
  await(conn:shutdown())
end

local function ask(conn)
  await(conn:write(DATA))
  await(conn:shutdown())
  expect(DATA, await(conn:read_all()))
end

local function echo(server, connect)
  neap.group(function(group)
    group:spawn(function()
      local conn <close> = await(server:accept())
      send_back(conn)
    end)
    local conn <close> = connect()
    ask(conn)
  end)
end

local function tcp()
  local server <close> = await(net.listen("127.0.0.1", 0))
  echo(server, function() return await(net.connect(server:address())) end)
end

local function by_name()
  local server <close> = await(net.listen("localhost", 0))
  local _, port = server:address()
  echo(server, function() return await(net.connect("localhost", port)) end)
end

local function unix()
  os.remove(at("socket"))
  local server <close> = await(net.listen{ path = at("socket") })
  echo(server, function() return await(net.connect{ path = at("socket") }) end)
end

local function dialogue()
  local server <close> = await(net.listen("127.0.0.1", 0))
  neap.group(function(group)
    group:spawn(function()
      local conn <close> = await(server:accept())
      for line in conn:lines() do await(conn:write(line:upper(), "\n\n", #line, ";")) end
    end)
    local conn <close> = await(net.connect(server:address()))
    for _, word in ipairs{ "one", "", "three" } do
      await(conn:write(word, "\n"))
      expect(word:upper(), await(conn:read_until("\n\n")))
      expect(#word .. ";", await(conn:read_exactly(2)))
    end
    await(conn:shutdown())
    expect(nil, (await(conn:read())))
  end)
end

--- An error on the server's side goes to on_error, and is what counts here.
local function serve()
  local failure
  local ok, err = pcall(neap.group, function(group)
    local listening = neap.completion()
    local opts = { host = "127.0.0.1", port = 0, grace = 0 }
    function opts.on_listen(server) listening:resolve(server) end
    function opts.on_error(e) failure = failure or e end
    local serving = group:spawn(function() await(net.serve(opts, send_back)) end)
    local server = await(listening.task)
    for _ = 1, 3 do
      local conn <close> = await(net.connect(server:address()))
      ask(conn)
    end
    serving:cancel()
  end)
  if not ok then error(failure or err, 0) end
end

local function resolve()
  for _, entry in ipairs(await(neap.dns.resolve("localhost", { family = "ipv4" }))) do
    expect("127.0.0.1", entry.address)
  end
  expect("string", type(await(neap.dns.reverse("127.0.0.1"))))
end

sweep.define{
  { "neap.dns", resolve },
  { "net: listen, connect, accept, write, shutdown, read_all", tcp },
  { "net by name", by_name },
  { "net over a Unix socket", unix },
  { "Conn: lines, read_until, read_exactly", dialogue },
  { "net.serve", serve },
}
