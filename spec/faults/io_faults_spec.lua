-- Each system call of a scenario fails, one after the other, with each error that a kernel may
-- give it (tools/faults). The scenario comes through, or it raises that error; nothing is lost,
-- doubled or left open; and the next attempt works. A new scenario is a row in SCENARIOS.

local h = require "spec.helper"
local faults = require "faults"
local neap = require "neap"
local support = require "spec.support"
local testing = require "neap.testing"

local await, fs, net = neap.await, neap.fs, neap.net

-- Small, so that one byte at a time is bearable, and without a period that hides an exchange.
local WORDS = {}
for i = 1, 60 do WORDS[i] = ("%d;"):format(i * i) end
local DATA = table.concat(WORDS)

local HARD = {
  "ENOMEM", "EMFILE", "ENFILE", "ENOBUFS", "EIO", "ENOSPC", "EDQUOT", "EFBIG", "EACCES", "EPERM",
  "ECONNRESET", "EPIPE", "ECONNABORTED", "ECONNREFUSED", "ETIMEDOUT", "EADDRINUSE", "ENOTCONN",
  "EAGAIN", "EXDEV", "EOPNOTSUPP",
}
local MOST_CALLS = 500
local MANY = 100 -- in the end the system recovers
local LIMIT = 10 -- seconds of real time, for what waits for ever

-- What resolving says for the errors that have a code of their own there.
local RESOLVER_CODES = { ENOMEM = "EAI_MEMORY", EAGAIN = "EAI_AGAIN" }

local directory

local function at(name) return directory .. "/" .. name end

local function expect(expected, actual)
  if expected == actual then return end
  error(("expected %q, got %q"):format(tostring(expected), tostring(actual)), 2)
end

-- Scenarios.

local function read_file()
  support.spit(at("file"), DATA)
  expect(DATA, await(fs.read_file(at("file"))))
end

local function write_file()
  await(fs.write_file(at("file"), DATA))
  expect(DATA, support.slurp(at("file")))
end

local function list()
  for _, name in ipairs{ "b", "a", "c" } do support.spit(at(name), "") end
  local names = {}
  for i, entry in ipairs(await(fs.list(directory))) do
    names[i] = entry.name .. "=" .. entry.type
  end
  expect("a=file b=file c=file", table.concat(names, " "))
end

local function write_and_read()
  do
    local file <close> = await(fs.open(at("file"), "w"))
    expect(#DATA, await(file:write(DATA:sub(1, 9), DATA:sub(10))))
    await(file:sync())
    await(file:close())
  end
  local file <close> = await(fs.open(at("file")))
  expect(DATA:sub(1, 9), await(file:read_exactly(9)))
  expect(DATA:sub(10), await(file:read_all()))
  expect(nil, (await(file:read())))
end

local function append()
  support.spit(at("file"), DATA)
  do
    local file <close> = await(fs.open(at("file"), "a"))
    expect(#DATA, await(file:write(DATA)))
    await(file:close())
  end
  expect(DATA .. DATA, support.slurp(at("file")))
end

local function positions()
  local file <close> = await(fs.open(at("file"), "w+"))
  local half = #DATA // 2
  await(file:write_at(half, DATA:sub(half + 1)))
  await(file:write_at(0, DATA:sub(1, half)))
  expect(DATA:sub(11, 30), await(file:read_at(10, 20)))
  expect(DATA:sub(half), await(file:read_at(half - 1, 2 * #DATA)))
  await(file:seek("set", 20))
  await(file:truncate())
  await(file:seek("set"))
  expect(DATA:sub(1, 20), await(file:read_all()))
end

local function lines()
  support.spit(at("file"), "one\r\n\ntwo\nthree")
  local file <close> = await(fs.open(at("file")))
  local all = {}
  for line in file:lines() do all[#all + 1] = line end
  expect("one||two|three", table.concat(all, "|"))
end

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

--- What is read on the spot if it lies in memory is left to the pool where that fails.
local QUICK = { preadv2_nowait = true, pread = true, statfs = true }

--- A row: name, body, and of what names a path the calls whose failure may be without consequence.
local SCENARIOS = {
  { "fs.read_file", read_file, { close = true } },
  { "fs.write_file", write_file, {} },
  { "fs.list", list, {} },
  { "File: open, write, sync, read, close", write_and_read, QUICK },
  { "File: append", append, {} },
  { "File: write_at, read_at, seek, truncate", positions, QUICK },
  { "File: lines", lines, QUICK },
  { "net: listen, connect, accept, write, shutdown, read_all", tcp },
  { "net by name", by_name },
  { "net over a Unix socket", unix },
  { "Conn: lines, read_until, read_exactly", dialogue },
  { "net.serve", serve },
}

-- Sweeps.

local function make_directory() directory = support.temp_dir() end

local function remove_directory()
  faults.clear()
  support.remove_tree(directory)
end

local function run_limited(body)
  local ok, err = neap.try_for(LIMIT, body)
  if not ok and err == "timeout" then error("it waits for ever", 0) end
  if not ok then error(err, 0) end
end

--- Runs the body in a run of its own, under the faults that are set; gives its outcome and counts.
local function attempt(body)
  local ok, err = pcall(neap.run, run_limited, body)
  local counts = faults.count()
  faults.clear()
  return ok, err, counts
end

local function is_error_of(err, code, counts)
  if getmetatable(err) ~= getmetatable(neap.error("EINVAL", "a sample")) then return false end
  local expected = code
  if counts.last == "getaddrinfo" then expected = RESOLVER_CODES[code] or code end
  return err.code == expected
end

--- Where descriptors run out libuv lets the connections that wait go: their clients see that.
local function is_dropped(code, counts)
  return counts.last == "accept" and (code == "EMFILE" or code == "ENFILE")
end

local function check_error(err, code, counts, names_path)
  if is_dropped(code, counts) then return end
  if not is_error_of(err, code, counts) then error("it raised " .. tostring(err), 0) end
  if type(err.syscall) ~= "string" then error("no syscall in: " .. tostring(err), 0) end
  if names_path and not err.path then error("no path in: " .. tostring(err), 0) end
end

--- What is open and alive; compared after everything was collected.
local function count_open()
  local count = testing.count()
  count.descriptors = support.open_descriptors()
  return count
end

local function check_open(before)
  local now = count_open()
  for kind, n in pairs(before) do
    if now[kind] > n then error(("left: %d %s"):format(now[kind] - n, kind), 0) end
  end
end

--- One fault: the n-th call that may fail so does. Returns whether there was one. What fails as a
--- consequence (the other end, a close) is nobody's business.
local function survives(t, scenario, rule, before)
  local _, body, tolerated = table.unpack(scenario)
  faults.set(rule)
  local ok, err, counts = attempt(body)
  if not ok then t:take_unobserved() end
  local where = ("%s at call %d, %s: "):format(rule.errno, rule.nth, tostring(counts.last))
  local passed, problem = pcall(function()
    if rule.errno == "EINTR" then
      if not ok then error("it raised " .. tostring(err), 0) end
    elseif not ok then
      check_error(err, rule.errno, counts, tolerated)
    elseif tolerated and counts.last and not tolerated[counts.last] then
      error("nothing was raised", 0)
    end
    ok, err = attempt(body)
    if not ok then error("the next attempt raised " .. tostring(err), 0) end
    check_open(before)
  end)
  if not passed then error(where .. tostring(problem), 0) end
  return counts.delivered > 0
end

local function sweep(t, scenario, errno, times)
  attempt(scenario[2]) -- what is opened once for all is open now
  local before = count_open()
  for n = 1, MOST_CALLS do
    local rule = { call = "any", nth = n, errno = errno, times = times }
    if not survives(t, scenario, rule, before) then return end
  end
  error("the sweep never came to an end", 0)
end

describe("system calls that fail in", function()
  before_each(make_directory)
  after_each(remove_directory)

  for _, scenario in ipairs(SCENARIOS) do
    it(scenario[1] .. ", each of them once", h.plain(function(t)
      for _, errno in ipairs(HARD) do sweep(t, scenario, errno, 1) end
    end))

    it(scenario[1] .. ", many in a row", h.plain(function(t)
      for _, errno in ipairs(HARD) do sweep(t, scenario, errno, MANY) end
    end))

    it(scenario[1] .. ": an interruption is no failure", h.plain(function(t)
      sweep(t, scenario, "EINTR", 1)
    end))
  end
end)

describe("short counts in", function()
  before_each(make_directory)
  after_each(remove_directory)

  for _, scenario in ipairs(SCENARIOS) do
    it(scenario[1], h.plain(function()
      for _, size in ipairs{ 1, 2, 7 } do
        faults.set{ call = "reads", short = size, times = math.huge }
        faults.set{ call = "writes", short = size, times = math.huge }
        local ok, err = attempt(scenario[2])
        if not ok then error(("%d bytes at a time: %s"):format(size, tostring(err)), 0) end
      end
    end))
  end
end)
