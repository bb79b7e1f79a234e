-- The main job: fetches data from a TCP server of its own, many times at once and under one
-- deadline; reads every file below a directory; and catches a fetch that fails.
local neap = require "neap"
local async, await = neap.async, neap.await

local USAGE = [[
usage: fetch_data.lua [DIRECTORY] [FETCHES]
  DIRECTORY   every file below it is read (default: the project itself);
              .git, build and what symbolic links point to are left out
  FETCHES     how often data is fetched from the demo's own server, 1 to 1000000 (default: 200)]]

local DEADLINE = 10 -- seconds, for all fetches together
local ANSWER_DELAY = 0.02 -- seconds that the server takes for an answer
local FETCHES_AT_ONCE = 200 -- each takes two descriptors; a process often has 1024
local READS_AT_ONCE = 4 -- as many as libuv's pool has threads
local SKIPPED = { [".git"] = true, build = true }

-- --- the server ----------------------------------------------------------------------------------

local function read_all(conn)
  local chunks = {}
  while true do
    local chunk = await(conn:read())
    if not chunk then return table.concat(chunks) end
    chunks[#chunks + 1] = chunk
  end
end

--- Answers one request. A client that has gone away is no concern of the server.
local function answer(accepted)
  local conn <close> = accepted
  neap.pcall(function()
    local request = read_all(conn)
    await(neap.sleep(ANSWER_DELAY))
    await(conn:write("answer to ", request, ": ", ("x"):rep(100)))
  end)
end

local function serve(listening)
  local server <close> = listening
  local group <close> = neap.group()
  while true do group:spawn(answer, await(server:accept())) end
end

-- --- the client ----------------------------------------------------------------------------------

local fetch_data = async(function(host, port, request)
  local conn <close> = await(neap.net.connect(host, port))
  await(conn:write(request))
  await(conn:shutdown())
  local data = read_all(conn)
  return data
end)

-- --- many at once --------------------------------------------------------------------------------

--- Calls fn(1), fn(2), ... fn(count), `limit` of them at a time; fn returns a number of bytes, or
--- nil when there was nothing to be had. Adds up what was done. An error ends all of it.
local function for_each(count, limit, totals, fn)
  local taken = 0
  neap.group(function(group)
    for _ = 1, math.min(count, limit) do
      group:spawn(function()
        while taken < count do
          taken = taken + 1
          local started = neap.now()
          local bytes = fn(taken) -- the others run meanwhile: `totals` is read after it
          totals.single = totals.single + (neap.now() - started)
          if bytes then totals.done, totals.bytes = totals.done + 1, totals.bytes + bytes end
        end
      end)
    end
  end)
end

local function new_totals(what)
  return { what = what, started = neap.now(), done = 0, bytes = 0, single = 0, wall = 0 }
end

--- The totals, and whether it was done within the deadline.
local function fetch_many(host, port, count)
  local at_once = math.min(count, FETCHES_AT_ONCE)
  local totals = new_totals(("fetches, %d at a time"):format(at_once))
  local in_time = neap.try_for(DEADLINE, for_each, count, at_once, totals, function(i)
    return #await(fetch_data(host, port, "request " .. i))
  end)
  totals.wall = neap.now() - totals.started
  return totals, in_time
end

-- --- files ---------------------------------------------------------------------------------------

local function join(directory, name)
  return directory:gsub("/+$", "") .. "/" .. name
end

--- Adds the files below a directory to `found.files`; what cannot be listed to `found.problems`.
local collect
collect = async(function(directory, found)
  local ok, entries = neap.pcall(await, neap.fs.list(directory))
  if not ok then
    found.problems[#found.problems + 1] = entries
    return
  end
  local below = {}
  for _, entry in ipairs(entries) do
    local path = join(directory, entry.name)
    if entry.type == "file" then
      found.files[#found.files + 1] = path
    elseif entry.type == "directory" and not SKIPPED[entry.name] then
      below[#below + 1] = collect(path, found)
    end
  end
  await(neap.all(below))
end)

local function read_everything(directory)
  local found = { files = {}, problems = {} }
  await(collect(directory, found))
  local totals = new_totals(("files, %d at a time"):format(READS_AT_ONCE))
  for_each(#found.files, READS_AT_ONCE, totals, function(i)
    local ok, data = neap.pcall(await, neap.fs.read_file(found.files[i]))
    if ok then return #data end
    found.problems[#found.problems + 1] = data
  end)
  totals.wall = neap.now() - totals.started
  return totals, found.problems
end

-- --- a failure -----------------------------------------------------------------------------------

--- A port on which nobody listens any more.
local function closed_port()
  local server <close> = await(neap.net.listen("127.0.0.1", 0))
  return select(2, server:address())
end

--- The error of a fetch that fails, and its traceback through the awaits it passed.
local function failing_fetch()
  local port = closed_port()
  local show_page = async(function()
    local data = await(fetch_data("127.0.0.1", port, "request"))
    print(data)
  end)
  local task = show_page()
  local ok, err = pcall(await, task)
  assert(not ok, "a fetch from a closed port has succeeded")
  return err, task:traceback()
end

-- --- the report ----------------------------------------------------------------------------------

local function size_text(bytes)
  local unit = 1
  local units = { "B", "KiB", "MiB", "GiB" }
  while bytes >= 1024 and unit < #units do
    bytes, unit = bytes / 1024, unit + 1
  end
  return (unit == 1 and "%d %s" or "%.1f %s"):format(bytes, units[unit])
end

local function print_totals(...)
  local line = "%-26s %8s %11s %10s %13s %8s"
  print(line:format("", "done", "read", "wall time", "single times", "ratio"))
  for _, totals in ipairs{ ... } do
    print(line:format(totals.what, totals.done, size_text(totals.bytes),
      ("%.3f s"):format(totals.wall), ("%.3f s"):format(totals.single),
      ("%.1f"):format(totals.wall > 0 and totals.single / totals.wall or 0)))
  end
end

-- --- arguments -----------------------------------------------------------------------------------

--- The project, seen from this file.
local function project_directory()
  local here = arg[0]:match("^(.*)/[^/]*$")
  if not here then return ".." end
  if here == "examples" then return "." end
  return here:match("^(.*)/examples$") or here .. "/.."
end

local function complain(...)
  io.stderr:write("fetch_data: ", table.concat{ ... }, "\n")
  return 2
end

--- Options, or nil and the exit code.
local function parse_arguments(...)
  local directory, fetches = ...
  for _, value in ipairs{ ... } do
    if value == "--help" or value == "-h" then
      print(USAGE)
      return nil, 0
    elseif value:match("^%-%D") then
      return nil, complain("unknown option '", value, "'; --help shows what there is")
    end
  end
  if select("#", ...) > 2 then
    return nil, complain("too many arguments; --help shows what there is")
  end
  local count = math.tointeger(tonumber(fetches or 200))
  if not count or count < 1 or count > 1000000 then
    return nil, complain("FETCHES must be a whole number from 1 to 1000000, not '", fetches, "'")
  end
  return { directory = directory or project_directory(), fetches = count }
end

-- --- all of it -----------------------------------------------------------------------------------

neap.main(function(...)
  local options, code = parse_arguments(...)
  if not options then return code end
  local ok, problem = neap.pcall(await, neap.fs.list(options.directory))
  if not ok then
    return complain("cannot read the directory '", options.directory, "': ", problem.message)
  end

  local server = await(neap.net.listen("127.0.0.1", 0))
  local host, port = server:address()
  neap.background(serve, server) -- run ends it when all else has ended

  print(("neap %s: a server on %s:%d that takes %d ms for an answer, and the files below %s\n")
    :format(neap.version, host, port, ANSWER_DELAY * 1000, options.directory))
  local fetched, in_time = fetch_many(host, port, options.fetches)
  local read, problems = read_everything(options.directory)
  print_totals(fetched, read)
  if not in_time then
    print(("\nThe deadline of %d s has passed: %d of %d fetches were done.")
      :format(DEADLINE, fetched.done, options.fetches))
  end
  if #problems > 0 then
    print(("\n%d could not be read, the first: %s"):format(#problems, problems[1]))
  end

  local err, traceback = failing_fetch()
  print("\nA fetch from a closed port, caught by pcall: " .. err.code .. ". Its traceback:")
  print("  " .. traceback:gsub("\n", "\n  "))
  return in_time and 0 or 1
end, ...)
