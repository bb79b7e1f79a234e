-- examples/fetch_all.lua, the job of ./dev demo. Its deadline and pauses are those of a test clock.
local h = require "spec.helper"
local lfs = require "lfs"
local support = require "spec.support"
local web = require "spec.http"
local neap = require "neap"

local await, process = neap.await, neap.process

local PROGRAM = "examples/fetch_all.lua"
local TERMINAL = (os.getenv("NEAP_BUILD") or "build/dev") .. "/terminal"

-- How many seconds a test clock moves on, whatever the system takes: none; enough for pauses
-- between attempts; more than the deadline.
local STILL, PAUSES, DEADLINE = 0, 10, 31

--- A program that runs it with arguments under a test clock, which moves on for so many seconds.
local function under_clock(seconds, ...)
  local arguments = {}
  for i, argument in ipairs{ ... } do arguments[i] = ("%q"):format(argument) end
  return ([[
    local neap = require "neap"
    local clock = neap.test_clock()
    neap.main = function(fn, ...)
      os.exit(neap.run({ clock = clock }, function(...)
        neap.background(function() neap.await(clock:advance(%d)) end)
        return fn(...)
      end, ...), true)
    end
    arg = { [0] = %q }
    assert(loadfile(arg[0]))(%s)
  ]]):format(seconds, PROGRAM, table.concat(arguments, ", "))
end

--- The command with arguments: under a clock, or as it is; with a proxy in its environment or none.
local function command(clock, proxy, ...)
  local list = { h.interpreter(), PROGRAM, ... }
  if clock then list = { h.interpreter(), "-e", under_clock(clock, ...) } end
  list.env = {
    LUA_PATH_5_4 = package.path,
    LUA_CPATH_5_4 = package.cpath,
    NEAP_DEBUG = false,
    http_proxy = proxy,
  }
  return list
end

local function run(clock, ...)
  return await(process.run(command(clock, false, ...)))
end

--- The servers of its own are no business of a proxy, at which nobody answers.
local function run_beside_proxy(...)
  return await(process.run(command(STILL, "http://127.0.0.1:1", ...)))
end

--- The lines of the table: { words, bytes, page, bar }.
local function rows_of(text)
  local rows = {}
  for words, bytes, page, bar in text:gmatch("(%d+) +(%d+) +[%d.]+  (%S+) *(#*)\n") do
    rows[#rows + 1] = { tonumber(words), tonumber(bytes), page, #bar }
  end
  return rows
end

local function in_directory(fn)
  return h.run(function()
    local directory = support.temp_dir()
    local _ <close> = support.closing(function() support.remove_tree(directory) end)
    fn(directory)
  end)
end

--- Calls fn(base): URLs that begin with `base` are answered with what answer(request, conn) gives.
local function with_answers(answer, fn)
  neap.scope(function(scope)
    fn((web.listen(web.answering(answer))))
    scope:cancel()
  end)
end

--- A port on which nobody listens any more.
local function closed_port()
  local server <close> = await(neap.net.listen("127.0.0.1", 0))
  return select(2, server:address())
end

local function lines_of(text)
  local lines = {}
  for line in text:gmatch("[^\n]+") do lines[#lines + 1] = line end
  return lines
end

local function begins(expected, text)
  assert.equal(expected, text:sub(1, #expected))
end

--- How many files of the project there are.
local function count_files()
  local n = 0
  local skipped = { [".git"] = true, build = true, ["build.luarocks"] = true }
  local entries = neap.fs.walk(".", { filter = function(entry) return not skipped[entry.name] end })
  for entry in entries do
    if entry.type == "file" then n = n + 1 end
  end
  return n
end

describe(PROGRAM, function()
  it("fetches the project's own files", h.run(function()
    local result = run_beside_proxy()
    assert.equal("", result.stderr)
    assert.equal(0, result.code)
    assert.equal(count_files(), tonumber(result.stdout:match("(%d+) pages")))
    local rows = rows_of(result.stdout)
    assert.equal(10, #rows)
    for i = 2, 10 do assert.is_true(rows[i][1] <= rows[i - 1][1], result.stdout) end
    assert.match("s of wall time for [%d.]+ s of requests\n$", result.stdout)
  end))

  it("fetches a directory, without links and without builds", in_directory(function(directory)
    support.spit(directory .. "/three", "one two\nthree\n")
    support.spit(directory .. "/.hidden", "hidden")
    support.spit(directory .. "/a ü%", "two words")
    support.spit(directory .. "/empty", "")
    lfs.mkdir(directory .. "/below")
    support.spit(directory .. "/below/index.html", ("word "):rep(6))
    lfs.mkdir(directory .. "/build")
    support.spit(directory .. "/build/made", "made")
    lfs.link("three", directory .. "/link", true)
    local result = run_beside_proxy(directory .. "/")
    assert.equal("", result.stderr)
    assert.equal(0, result.code)
    local rows = rows_of(result.stdout)
    for _, row in ipairs(rows) do row[3] = row[3]:match("[^/]*$") end
    assert.same({
      { 6, 30, "index.html", rows[1][4] },
      { 3, 14, "three", rows[1][4] // 2 },
      { 2, 9, "a%20%C3%BC%25", rows[1][4] // 3 },
      { 1, 6, ".hidden", rows[1][4] // 6 },
      { 0, 0, "empty", 0 },
    }, rows)
    assert.match("5 pages, 12 words, 0.0 MB\n", result.stdout)
  end))

  it("tries again what is worth it", h.run(function()
    local asked = 0
    with_answers(function(request)
      assert.equal("/page", request.target)
      asked = asked + 1
      if asked > 2 then return web.response("200 OK", "at last") end
      return web.response("500 Internal Server Error", "broken", { "Retry-After: 0" })
    end, function(base)
      local result = run(STILL, base .. "/page")
      assert.equal("", result.stderr)
      assert.equal(0, result.code)
      assert.equal(3, asked)
      local row = rows_of(result.stdout)[1]
      assert.same({ 2, 7 }, { row[1], row[2] })
    end)
  end))

  it("tells of each page that fails in a line, after the table of the others", h.run(function()
    with_answers(function(request)
      if request.target == "/there" then return web.response("200 OK", "some words") end
      return web.response("404 Not Found", "no words at all")
    end, function(base)
      local port = closed_port()
      local closed = ("http://127.0.0.1:%d/"):format(port)
      local result = run(PAUSES,
        base .. "/none", closed, base .. "/there", "nowhere", "strange://x")
      local lines = lines_of(result.stderr)
      assert.equal(4, #lines, result.stderr)
      assert.equal(base .. "/none: status 404 Not Found", lines[1])
      begins(closed .. ": Failed to connect to 127.0.0.1 port " .. port, lines[2])
      assert.equal("nowhere: no such file or directory", lines[3])
      begins("strange://x: Protocol \"strange\" not supported", lines[4])
      assert.equal(1, result.code)
      assert.match("^ +words.*1 pages, 2 words", result.stdout)
    end)
  end))

  it("shows no table of nothing", h.run(function()
    local result = run(STILL, "nowhere")
    assert.equal(1, result.code)
    assert.equal("nowhere: no such file or directory\n", result.stderr)
    assert.match("^0 pages, 0 words, 0.0 MB\n", result.stdout)
  end))

  it("gives up what is not done in time", h.run(function()
    with_answers(function(_, conn)
      await(conn:read()) -- the client has gone
    end, function(base)
      local result = run(DEADLINE, base .. "/never")
      assert.equal(base .. "/never: not done within 30 s\n", result.stderr)
      assert.equal(1, result.code)
    end)
  end))

  it("has 16 requests under way, and ends at Ctrl-C", h.run(function()
    local under_way, all_there, all_gone = 0, neap.event(), neap.event()
    with_answers(function(_, conn)
      under_way = under_way + 1
      if under_way == 16 then all_there:set() end
      await(conn:read())
      under_way = under_way - 1
      if under_way == 0 then all_gone:set() end
    end, function(base)
      local urls = {}
      for i = 1, 20 do urls[i] = base .. "/" .. i end
      local p <close> = await(process.spawn(command(nil, false, "docs", table.unpack(urls))))
      await(all_there:wait())
      assert.equal(16, under_way)
      p:kill("SIGINT")
      assert.equal("", await(p.stderr:read_all()))
      assert.equal("", await(p.stdout:read_all()))
      assert.equal(130, (await(p:wait())))
      await(all_gone:wait())
    end)
  end))

  it("explains itself", h.run(function()
    local result = run(nil, "--help")
    assert.equal(2, result.code)
    assert.match("^usage: fetch_all.lua %[URL or DIRECTORY ...%]\n", result.stderr)
  end))
end)

describe(PROGRAM .. " at a terminal", lfs.attributes(TERMINAL, "mode") and function()
  --- Runs fn(p, answer_now) where one of two pages is fetched, and the other waits to be answered.
  local function half_done(fn)
    return h.run(function()
      local answer = neap.event()
      with_answers(function(request)
        if request.target == "/slow" then await(answer:wait()) end
        return web.response("200 OK", "one two three")
      end, function(base)
        local list = command(nil, false, base .. "/quick", base .. "/slow")
        table.insert(list, 1, TERMINAL)
        local p <close> = await(process.spawn(list))
        await(p.stdout:read_until("\r1 of 2 pages"))
        fn(p, answer)
      end)
    end)
  end

  it("shows how far it has come, and a table as wide as it is", half_done(function(p, answer)
    answer:set()
    local shown = await(p.stdout:read_all()):gsub("\r\n", "\n")
    assert.match("\r\27%[K +words.*2 pages", shown)
    assert.equal(2, #rows_of(shown))
    local first, second = shown:match("([^\n]*#)\n([^\n]*#)\n")
    assert.same({ 99, 99 }, { #first, #second }) -- of 100
  end))

  it("takes the line away at Ctrl-C", half_done(function(p)
    await(p.stdin:write("\3"))
    local shown = await(p.stdout:read_all())
    assert.match("^.*\r\27%[Kthe terminal is as usual\r?\n$", shown)
    assert.equal(130, (await(p:wait())))
  end))
end or function() end)
