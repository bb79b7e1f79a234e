--- The driver of the benches: ./dev bench [NAMES]. Each program runs in a process of its own, the
--- peers take turns (A B C A B C ...), and what is compared was measured in the same round.
local data = require "bench.data"
local neap = require "neap"

local lua = os.getenv("NEAP_LUA") or "lua5.4"
local build = os.getenv("NEAP_BUILD") or "build/release"
local ROUNDS = tonumber(os.getenv("NEAP_ROUNDS")) or 5
local BUSY = 0.9 -- of its core: where neither server nor load had that, somebody else was there

local function imports_uvloop(python)
  return os.execute(python .. " -c 'import uvloop' 2>/dev/null")
end

--- The system's Python, if that one has uvloop and the first in the path has not.
local function find_python()
  local python, system = os.getenv("NEAP_PYTHON") or "python3", "/usr/bin/python3"
  return not imports_uvloop(python) and imports_uvloop(system) and system or python
end
local python = find_python()

local kinds = {
  node = { "node", ".js" },
  asyncio = { python, ".py" },
}

local function script(name, ...)
  local kind = kinds[name:match("_(%a+)$")] or { lua, ".lua" }
  return table.concat({ kind[1], "bench/" .. name .. kind[2], ... }, " ")
end

local function program(name, ...)
  return table.concat({ build .. "/bench/" .. name, ... }, " ")
end

local function go_build(name)
  return ("go build -o %s bench/%s.go"):format(program(name), name)
end

--- The load's arguments: connections, bytes of a message, messages under way on each, seconds.
local function echo(load, server)
  return program("echo_load", load, server)
end

local function echo_peers(load)
  return {
    { "neap", echo(load, script("echo")) },
    { "C libuv", echo(load, program("echo_server")) },
    { "C libuv, uv_try_write", echo(load, program("echo_server", "try")) },
    { "luv callbacks", echo(load, script("echo_luv", "callbacks")), needs = "luv" },
    { "luv + coroutines", echo(load, script("echo_luv", "coroutines")), needs = "luv" },
    { "Node", echo(load, script("echo_node")), needs = "node" },
    { "uvloop protocol", echo(load, script("echo_asyncio", "protocol")), needs = "uvloop" },
    { "Go", echo(load, program("echo_go")), needs = "go", prepare = go_build("echo_go") },
  }
end

--- The load's arguments: connections, seconds.
local function http(load, server)
  return script("http_load", load, server)
end

local function http_peers(load)
  return {
    { "neap", http(load, script("http")), needs = "wrk" },
    { "C libuv + llhttp", http(load, program("http_uv")), needs = "wrk" },
    { "nginx + Lua", http(load, "sh bench/http_nginx.sh"), needs = "nginx" },
    { "Go", http(load, program("http_go")), needs = "go", prepare = go_build("http_go") },
    { "Node", http(load, script("http_node")), needs = "node" },
    { "lua-http", http(load, script("http_lua")), needs = "lua-http" },
  }
end

--- `work` and what its peers in C are given; bench/data.lua sets FOLDER and BYTES.
local function files_peers(work)
  local arguments = work .. ' "$FOLDER" $BYTES'
  return {
    { "neap", script("files", arguments) },
    { "C that blocks", program("files_raw", arguments) },
    { "C libuv", program("files_uv", arguments) },
    { "luv callbacks", script("files_luv", arguments, "callbacks"), needs = "luv" },
    { "luv + coroutines", script("files_luv", arguments, "coroutines"), needs = "luv" },
    { "Node", script("files_node", arguments), needs = "node" },
    { "asyncio + 4 threads", script("files_asyncio", arguments), needs = "python" },
    { "Go", program("files_go", arguments), needs = "go", prepare = go_build("files_go") },
  }
end

--- 20 000 GETs, 64 at a time.
local function http_client(command)
  return program("http_origin", command, "20000 64")
end

local function http_client_peers()
  return {
    { "neap", http_client(script("http_client")) },
    { "C, curl multi", http_client(program("http_curl")) },
    { "Node http.Agent", http_client(script("http_client_node")), needs = "node" },
    { "Go net/http", http_client(program("http_client_go")), needs = "go",
      prepare = go_build("http_client_go") },
  }
end

local function process_peers()
  return {
    { "neap", script("processes") },
    { "C libuv", program("processes_uv") },
    { "C that blocks, no pipes", program("processes_raw") },
    { "luv callbacks", script("processes_luv"), needs = "luv" },
    { "Node", script("processes_node"), needs = "node" },
    { "asyncio", script("processes_asyncio"), needs = "python" },
    { "Go", program("processes_go"), needs = "go", prepare = go_build("processes_go") },
  }
end

local function startup(code)
  return script("startup", lua, "-e", "'" .. code .. "'")
end

local CROWD = "100000 0.6 0.2"
local MILLION = "1000000 4 0.5"

-- In each bench: peers in their order, `needs` what may be absent, `prepare` what to do before;
-- `data` what is to lie in a folder of its own (bench/data.lua); rows are what is shown. The first
-- peer is neap; a row compares with the limit (a peer), or with a value of neap's (`base`). A row
-- with a `limit` of its own shows these two alone; `limit_key` is that peer's value, where it goes
-- by another name. Benches may share a name.
local benches = {
  {
    name = "tasks",
    about = "tasks, ns of CPU time for each",
    peers = {
      { "neap", script("tasks") },
      { "Lua coroutines", script("tasks_raw") },
      { "luv + 30 lines", script("tasks_luv"), needs = "luv" },
      { "Node", script("tasks_node"), needs = "node" },
    },
    limit = "Lua coroutines",
    rows = {
      { "spawn_await", "P1 spawn a trivial task and await it", at_most = 0.65 },
      { "suspend_shared", "P2 spawn, suspend, complete, resume: 1 000 on one completion",
        at_most = 0.75 },
      { "suspend_completion", "P2 the same with a completion for each", at_most = 0.75 },
      { "suspend_yield", "P2 the same with neap.yield", at_most = 0.75 },
      { "await_done", "P3 await a completed task", at_most = 1.6 },
    },
  },
  {
    name = "native",
    about = "functions in C, called and awaited, ns for each: CPU time, of threads real time",
    peers = {
      { "neap", program("native", "bench/native.lua") },
      { "C libuv", program("native", "uv") },
      { "luv callbacks", script("native_luv"), needs = "luv" },
    },
    limit = "C libuv",
    rows = {
      { "native_call", "P14 on the spot, next to awaiting a completed task", base = "await_done",
        at_most = 2 },
      { "native_call", "the same, next to making a completed task and awaiting it",
        base = "await_new" },
      { "native_call", "the same, next to a lua_CFunction", base = "plain_call" },
      { "await_done", "awaiting a completed task, next to a lua_CFunction", base = "plain_call" },
      { "await_new", "making a completed task and awaiting it, next to a lua_CFunction",
        base = "plain_call" },
      { "native_later", "ended in the next turn, one by one" },
      { "native_later_64", "ended in the next turn, 64 under way", limit = "luv callbacks" },
      { "native_work", "on a thread of the pool, one by one" },
      { "native_work_64", "on a thread of the pool, 64 under way" },
    },
  },
  {
    name = "sleep",
    about = "100 000 sleeps at once, ns of CPU time for each",
    peers = {
      { "neap", script("sleeps", CROWD) },
      { "uv_timer_t", program("timers", CROWD) },
      { "neap, a task for each", script("sleepers", CROWD) },
      { "luv + 30 lines", script("sleepers_luv", CROWD), needs = "luv" },
      { "Node", script("sleepers_node", CROWD), needs = "node" },
    },
    limit = "uv_timer_t",
    rows = {
      { "start", "start" },
      { "start_fire", "P4 start and fire", at_most = 1.5 },
    },
  },
  {
    name = "memory",
    about = "100 000 sleeping tasks, peak growth of the process, bytes for each",
    peers = {
      { "neap", script("sleepers", CROWD) },
      { "Lua coroutines", script("sleepers_raw", CROWD) },
      { "luv + 30 lines", script("sleepers_luv", CROWD), needs = "luv" },
      { "Node", script("sleepers_node", CROWD), needs = "node" },
    },
    limit = "Lua coroutines",
    rows = { { "bytes", "P4 bytes for a sleeping task", limit_value = 1.35 * 1024 } },
  },
  {
    name = "million",
    about = "1 000 000 sleeping tasks, peak growth of the process, bytes for each",
    peers = {
      { "neap", script("sleepers", MILLION) },
      { "Lua coroutines", script("sleepers_raw", MILLION) },
    },
    limit = "Lua coroutines",
    rows = {
      { "bytes", "P4 bytes for a sleeping task", limit_value = 1.35 * 1024 },
      { "start_fire", "start and fire, ns of CPU time" },
    },
  },
  {
    name = "echo",
    about = "TCP echo of 64 bytes, 50 connections, server on core 0, load on core 1",
    peers = echo_peers("50 64 1 1"),
    limit = "C libuv",
    rows = {
      { "requests", "P5 requests/s", at_least = 0.97 },
      { "p99", "P5 p99, us", at_most = 1.2 },
      { "server_cpu", "CPU time of the server for a request, ns" },
      { "server_busy", "share of its core that the server used" },
    },
  },
  {
    name = "echo500",
    about = "the same over 500 connections",
    peers = {
      { "neap", echo("500 64 1 1", script("echo")) },
      { "C libuv", echo("500 64 1 1", program("echo_server")) },
    },
    limit = "C libuv",
    rows = {
      { "requests", "P5 requests/s", at_least = 0.97 },
      { "p99", "P5 p99, us", at_most = 1.2 },
      { "server_cpu", "CPU time of the server for a request, ns" },
    },
  },
  {
    name = "stream",
    about = "TCP echo of messages of 64 KiB, 16 connections, 4 messages under way on each",
    peers = echo_peers("16 65536 4 0.4"),
    limit = "C libuv",
    rows = {
      { "megabytes", "P6 MB/s", at_least = 1 },
      { "p99", "p99, us" },
      { "server_cpu", "CPU time of the server for a message, ns" },
      { "server_busy", "share of its core that the server used" },
    },
  },
  {
    name = "stream",
    about = "TCP echo of 64 bytes, 50 connections, 16 messages under way on each",
    peers = echo_peers("50 64 16 0.4"),
    limit = "C libuv",
    rows = {
      { "requests", "P6 requests/s", at_least = 0.95 },
      { "p99", "p99, us" },
      { "server_cpu", "CPU time of the server for a message, ns" },
    },
  },
  {
    name = "http",
    about = "HTTP hello world, kept alive, 64 connections, server on core 0, wrk on core 1",
    peers = http_peers("64 2"),
    limit = "C libuv + llhttp",
    rows = {
      { "requests", "P7 requests/s", at_least = 0.9 },
      { "p99", "p99, us" },
      { "server_cpu", "CPU time of the server for a request, ns" },
      { "server_busy", "share of its core that the server used" },
    },
  },
  {
    name = "http",
    about = "the same over 256 connections",
    peers = http_peers("256 2"),
    limit = "C libuv + llhttp",
    rows = {
      { "requests", "P7 requests/s", at_least = 0.9 },
      { "p99", "p99, us" },
      { "server_cpu", "CPU time of the server for a request, ns" },
    },
  },
  {
    name = "files",
    about = "read 10 000 files of 4 KiB, 64 at a time, cached",
    data = "small",
    peers = files_peers("read"),
    limit = "C that blocks",
    rows = { { "file_us", "P9 us for each", at_most = 1.3 } },
  },
  {
    name = "files",
    about = "read 1 GiB in chunks of 64 KiB, cached",
    data = "big",
    peers = files_peers("sequential"),
    limit = "C that blocks",
    rows = { { "megabytes", "P10 MB/s", at_least = 0.6 } },
  },
  {
    name = "files",
    about = "write 10 000 new files of 4 KiB, 64 at a time, in memory",
    data = "empty",
    peers = files_peers("write"),
    limit = "C that blocks",
    rows = { { "file_us", "P11 us for each", at_most = 1.1 } },
  },
  {
    name = "processes",
    about = "200 processes of /bin/true, both outputs read",
    peers = process_peers(),
    limit = "C libuv",
    rows = {
      { "one_by_one", "one after the other, us for each" },
      { "together", "16 at a time, us for each" },
    },
  },
  {
    name = "http_client",
    about = "20 000 GETs of 13 bytes, 64 at a time, server on core 0, client on core 1",
    peers = http_client_peers(),
    limit = "C, curl multi",
    rows = { { "requests", "P8 requests/s", at_least = 0.85 } },
  },
  {
    name = "workers",
    about = "16 jobs that count the primes below 200 000; round trips; copies there and back",
    peers = {
      { "neap, 2 threads", script("workers") },
      { "one thread", script("workers_single") },
      { "C, 2 threads with Lua", program("workers_raw") },
      { "luv new_work", "UV_THREADPOOL_SIZE=2 " .. script("workers_luv"), needs = "luv" },
      { "Node, 2 workers", script("workers_node"), needs = "node" },
    },
    limit = "C, 2 threads with Lua",
    rows = {
      { "wall_ms", "P12 the jobs, ms, next to one thread", limit = "one thread",
        at_most = 1 / 1.9 },
      { "wall_ms", "the jobs, ms" },
      { "round_trip_us", "P13 an empty job and back, one by one, us", at_most = 1.2 },
      { "round_trip_64_us", "P13 an empty job and back, 64 under way, us for each", at_most = 1.3 },
      { "records_mb", "20 000 records of five fields, MB/s" },
      { "string_mb", "a string of 16 MiB, MB/s" },
    },
  },
  {
    name = "sqlite",
    about = "20 000 rows in memory, us of real time for each",
    peers = {
      { "neap", script("sqlite"), needs = "sqlite" },
      { "C API, blocking", program("sqlite_raw"), needs = "sqlite" },
    },
    limit = "C API, blocking",
    rows = {
      { "insert", "inserts in one transaction, one awaited after the other" },
      { "insert_together", "the same, all started, then awaited", limit = "C API, blocking",
        limit_key = "insert" },
      { "insert_many", "the same by exec_many", limit = "C API, blocking", limit_key = "insert" },
      { "point", "point queries, one awaited after the other" },
      { "point_together", "the same by 64 tasks", limit = "C API, blocking", limit_key = "point" },
      { "scan", "rows of a scan by db:rows" },
      { "query", "the same by db:query", limit = "C API, blocking", limit_key = "scan" },
    },
  },
  {
    name = "deep",
    about = "a recursion of awaits, ns of CPU time for each level",
    peers = {
      { "neap", script("deep") },
      { "Node", "node --stack-size=50000 bench/deep_node.js", needs = "node" },
    },
    rows = {
      { "level_of_1000", "1 000 levels" },
      { "level_of_20000", "20 000 levels", base = "level_of_1000" },
    },
  },
  {
    name = "coordination",
    about = "channels, semaphores, all, map, streams, tokens; ns of CPU time for each",
    peers = {
      { "neap", script("coordination") },
      { "Lua coroutines", script("coordination_raw") },
      { "luv + 100 lines", script("coordination_luv"), needs = "luv" },
      { "cqueues", script("coordination_cqueues"), needs = "cqueues" },
      { "copas", script("coordination_copas"), needs = "copas" },
      { "Node", script("coordination_node"), needs = "node" },
      { "asyncio", script("coordination_asyncio"), needs = "python" },
      { "Go", program("coordination_go"), needs = "go", prepare = go_build("coordination_go") },
    },
    limit = "Lua coroutines",
    rows = {
      { "item", "P15 an item through a channel of 100: await(ch:recv())", limit_value = 400 },
      { "item", "P15 the same and asyncio.Queue", limit = "asyncio", at_most = 0.2 },
      { "item", "P15 the same and copas.queue", limit = "copas", at_most = 0.2 },
      { "item", "P15 the same and what Go hands over unbuffered", limit = "Go",
        limit_key = "item_handed", at_most = 1 },
      { "item_loop", "P15 an item through a channel of 100: for v in ch", limit_value = 400 },
      { "item_handed", "an item through a channel of 0" },
      { "ping_pong", "a round trip over two channels of 0" },
      { "ping_pong_buffer", "a round trip over two channels of 1" },
      { "semaphore", "one permit handed around among 100 tasks" },
      { "semaphore_free", "a permit acquired and released, nobody else wants it" },
      { "all", "neap.all of 10 000 tasks that yield once, each with its start" },
      { "map", "neap.map, limit 100, a body that yields once" },
      { "stream", "a value of a stream whose producer does not wait" },
      { "register", "register and unregister a callback at a token" },
      { "with_token", "enter and leave neap.with_token" },
    },
  },
  {
    name = "startup",
    about = "start and end of a process, ms",
    peers = {
      { "neap", startup('require "neap".run(function() end)') },
      { "bare Lua", startup("") },
      { "require alone", startup('require "neap"') },
      { "luv", startup('require "luv"'), needs = "luv" },
      { "Node", script("startup", "node", "-e", "1"), needs = "node" },
    },
    limit = "bare Lua",
    rows = { { "start_ms", "start-up, require and an empty run", more_at_most = 3 } },
  },
}

-- --- running ------------------------------------------------------------------------------------

local function output_of(command)
  local pipe = assert(io.popen(command .. " 2>&1"))
  local text = pipe:read("a")
  return text, pipe:close()
end

--- Why a program failed: the line before Lua's traceback, or its last one.
local function complaint(text)
  local before = text:match("^(.-)\n?stack traceback:") or text
  return before:match("([^\n]*)\n*$")
end

--- What a program reports, by name; nil and a reason if it fails.
local function measure(command)
  local values = {}
  local text, ok = output_of(command)
  for name, value in text:gmatch("([%w_]+) (%-?[%d.]+)\n") do values[name] = tonumber(value) end
  if not ok then return nil, complaint(text) end
  return values
end

local spare_tries = 10 -- for all benches: the whole run does not take much longer

--- The share of its core that the busier one of server and load used; 1 where there are none.
local function busy_share(values)
  return math.max(values.server_busy or 1, values.load_busy or 0)
end

--- The same, once more where somebody else was using the machine: what was disturbed less.
local function measure_undisturbed(command)
  local values, why = measure(command)
  if not values or busy_share(values) >= BUSY or spare_tries == 0 then return values, why end
  spare_tries = spare_tries - 1
  local again = measure(command)
  return again and busy_share(again) > busy_share(values) and again or values
end

local function lua_prints(code)
  return ("%s -e 'print(%s)'"):format(lua, code)
end

-- What may be absent, and the command that prints its version.
local tools = {
  { "luv", lua_prints('require "luv".version_string()') },
  { "cqueues", lua_prints('require "cqueues".VERSION') },
  { "copas", lua_prints('require "copas.queue" and require "copas"._VERSION') },
  { "node", "node -v" },
  { "sqlite", lua_prints('require "neap".sqlite.library_version or error()') },
  { "python", python .. " -V" },
  { "uvloop", python .. " -c 'import uvloop; print(uvloop.__version__)'" },
  { "go", "go version" },
  { "wrk", "wrk -v | head -n 1; command -v wrk" },
  { "nginx", "nginx -v 2>&1 && ls /usr/lib/nginx/modules/ngx_http_lua_module.so" },
  { "lua-http", lua_prints('require "http.version".version') },
}

--- Versions of the tools that are there, by their names.
local function find_tools()
  local found = {}
  for _, tool in ipairs(tools) do
    local text, ok = output_of(tool[2])
    if ok then found[tool[1]] = text:match("%d[%w.]*") end
  end
  return found
end

--- Why a peer cannot take its turn, nil if it can.
local function obstacle(peer, found)
  if peer.needs and not found[peer.needs] then return "there is no " .. peer.needs end
  if peer.prepare then
    local text, ok = output_of(peer.prepare)
    if not ok then return complaint(text) end
  end
end

--- For each peer the list of what its rounds reported.
local function take_turns(bench, found)
  local results = {}
  for _, peer in ipairs(bench.peers) do
    local why = obstacle(peer, found)
    if why then
      print(("  %s: skipped, %s"):format(peer[1], why))
    else
      results[peer[1]] = {}
    end
  end
  local files <close> = bench.data and data.make(bench.data)
  local shell = files and files.shell or ""
  for _ = 1, ROUNDS do
    for _, peer in ipairs(bench.peers) do
      local list = results[peer[1]]
      if list then
        local values, why = measure_undisturbed(shell .. peer[2])
        if not values then print(("  %s: FAILED: %s"):format(peer[1], why)) end
        if values then table.insert(list, values) else results[peer[1]] = nil end
      end
    end
  end
  return results
end

-- --- showing ------------------------------------------------------------------------------------

--- The sorted values of one name, and of one divided by another in the same round.
local function values_of(list, key, base_list, base_key)
  local values = {}
  for i, round in ipairs(list) do
    local base = base_list and base_list[i] and base_list[i][base_key]
    local value = round[key]
    if value and base_list then value = base and value / base end
    if value then values[#values + 1] = value end
  end
  table.sort(values)
  return values
end

local function median(values)
  local middle = (#values + 1) // 2
  if #values % 2 == 1 then return values[middle] end
  return (values[middle] + values[middle + 1]) / 2
end

local function number(x)
  if x >= 1000 then return ("%.0f"):format(x) end
  if x >= 100 then return ("%.1f"):format(x) end
  return ("%.2f"):format(x)
end

local function spread(values)
  return ("%10s  %s..%s"):format(number(median(values)), number(values[1]), number(values[#values]))
end

local function with_range(ratio, ratios)
  return ("x %.2f (%.2f..%.2f)"):format(ratio, ratios[1], ratios[#ratios])
end

--- "target ..., met" for neap's value and its ratio.
local function verdict(row, value, ratio, limit_value)
  local text, is_met
  if row.at_most then
    text, is_met = ("<= %.2f"):format(row.at_most), ratio and ratio <= row.at_most
  elseif row.at_least then
    text, is_met = (">= %.2f"):format(row.at_least), ratio and ratio >= row.at_least
  elseif row.limit_value then
    text, is_met = ("<= %.0f"):format(row.limit_value), value <= row.limit_value
  elseif row.more_at_most then
    local more = limit_value and value - limit_value
    text = ("<= %.1f more"):format(row.more_at_most)
    is_met = more and more <= row.more_at_most
  else
    return ""
  end
  return ("target %s: %s"):format(text, is_met and "met" or "MISSED")
end

--- What a peer calls the value of a row; nil if the row is not about that peer.
local function key_of(row, peer, is_neap)
  if not row.limit or is_neap then return row[1] end
  return peer[1] == row.limit and (row.limit_key or row[1]) or nil
end

local function show_row(bench, row, results)
  print("  " .. row[2])
  local limit, limit_key = results[row.limit or bench.limit], row.limit_key or row[1]
  if row.limit and not limit then
    print(("    not compared: %s is not among the peers"):format(row.limit))
    return
  end
  for _, peer in ipairs(bench.peers) do
    local is_neap = peer == bench.peers[1]
    local list, key = results[peer[1]], key_of(row, peer, is_neap)
    local values = list and key and values_of(list, key) or {}
    if #values > 0 then
      local base, base_key = limit, limit_key
      if row.base then base, base_key = list, row.base end
      local ratios = base and values_of(list, key, base, base_key) or {}
      local ratio = #ratios > 0 and median(ratios)
      local limits = limit and values_of(limit, limit_key) or {}
      local limit_value = #limits > 0 and median(limits)
      local judged = is_neap and verdict(row, median(values), ratio, limit_value) or ""
      local shown = ratio and with_range(ratio, ratios) or ""
      local line = ("    %-24s %-32s %-22s %s"):format(peer[1], spread(values), shown, judged)
      print((line:gsub("%s+$", "")))
    end
  end
end

local function show(bench, results)
  for _, row in ipairs(bench.rows) do show_row(bench, row, results) end
end

local function first_line(command)
  return (output_of(command):match("[^\n]*"))
end

local function show_method(found)
  print(("%d rounds, the peers in turns, each program in a process of its own;"):format(ROUNDS))
  print("median, min..max, x: the median of the ratios to the limit, each within one round")
  print(("neap %s, %s, libuv %s"):format(
    neap.version, first_line(lua .. " -v"):match("^Lua [%d.]+") or _VERSION,
    first_line(program("timers", "version"))))
  local versions = {}
  for i, tool in ipairs(tools) do versions[i] = tool[1] .. " " .. (found[tool[1]] or "none") end
  print(table.concat(versions, ", "))
  print(("%s, %s cores, load average %s"):format(
    first_line("uname -srm"), first_line("getconf _NPROCESSORS_ONLN"),
    first_line("cut -d ' ' -f 1 /proc/loadavg")))
end

-- --- main ---------------------------------------------------------------------------------------

local function chosen()
  if #arg == 0 then return benches end
  local list = {}
  for _, name in ipairs(arg) do
    local count = #list
    for _, bench in ipairs(benches) do
      if bench.name == name then list[#list + 1] = bench end
    end
    if #list == count then
      io.stderr:write("no bench is called ", name, "\n")
      os.exit(1)
    end
  end
  return list
end

local function main()
  local list = chosen()
  local found = find_tools()
  show_method(found)
  for _, bench in ipairs(list) do
    print(("\n%s: %s"):format(bench.name, bench.about))
    io.stdout:flush()
    show(bench, take_turns(bench, found))
    io.stdout:flush()
  end
end

main()
