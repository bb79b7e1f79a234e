-- Many connections in one process: 10 000 where there are descriptors for them, else what fits.
local h = require "spec.helper"

--- What a process of its own prints; both ends are in it, so each connection has two descriptors.
local program = [[
  local neap = require "neap"
  local await, net = neap.await, neap.net
  local WANTED = %d

  local function resident()
    local file <close> = assert(io.open("/proc/self/statm"))
    local _, pages = file:read("n", "n")
    return pages * 4096
  end

  local function limit()
    for line in io.lines("/proc/self/limits") do
      local soft = line:match("^Max open files%%s+(%%d+)")
      if soft then return tonumber(soft) end
    end
  end

  local function echo(conn)
    for chunk in conn do await(conn:write(chunk)) end
  end

  neap.run(function()
    local count = math.min(WANTED, (limit() - 100) // 2)
    local server = await(net.listen("127.0.0.1", 0, { backlog = 4096 }))
    local host, port = server:address()
    local serving = net.serve({ server = server, grace = 0 }, echo)
    collectgarbage()
    local before = resident()
    local numbers, conns = {}, {}
    for i = 1, count do numbers[i] = i end
    await(neap.for_each(numbers, function(i) conns[i] = await(net.connect(host, port)) end,
      { limit = 200 }))
    local function echo_once()
      await(neap.for_each(numbers, function(i)
        await(conns[i]:write("hello ", i, "\n"))
        assert(await(conns[i]:read_line()) == "hello " .. i)
      end))
    end
    echo_once()
    for _ = 1, 3 do collectgarbage() end
    local idle = resident() - before
    echo_once()
    for i = 1, count do await(conns[i]:close()) end
    serving:cancel()
    await(neap.settle(serving))
    print(count, idle // count)
  end)
]]

describe("many connections", function()
  it("are open at the same time, and each echoes", function()
    local wanted = (os.getenv("NEAP_STRESS_GC") or os.getenv("NEAP_SLOW")) and 500 or 10000
    local output = h.process(program:format(wanted), [[timeout 100 sh -c '
      ulimit -n 20200 2>/dev/null || ulimit -n "$(ulimit -Hn)"; exec "$0" "$@"']])
    local count, bytes = output:match("^(%d+)\t(%d+)\n$")
    assert.is_truthy(count, output)
    assert.is_true(tonumber(count) >= math.min(wanted, 200), output)
    -- Both ends, with a task and its coroutine at one of them: 6.4 KiB were measured.
    if wanted > 500 then assert.is_true(tonumber(bytes) < 16384, output) end
    if os.getenv("NEAP_VERBOSE") then print(output) end
  end)
end)
