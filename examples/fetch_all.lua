-- Fetches many pages at once, counts their words on all processors, keeps what it has found in
-- SQLite, and shows the pages that have the most words. Ctrl-C ends it.
local neap = require "neap"
local await, stdio = neap.await, neap.stdio

local USAGE = [==[
usage: fetch_all.lua [URL or DIRECTORY ...]
  URL         is fetched
  DIRECTORY   is served by a server of our own, from which each file below it is fetched
Without arguments it is the directory of neap. Links and what is called .git or build are left out.
The exit code is 1 if a page could not be fetched.]==]

local AT_ONCE = 16 -- requests
local ATTEMPTS = 3 -- for each page
local DEADLINE = 30 -- seconds, for all pages together
local SKIPPED = { [".git"] = true, build = true, ["build.luarocks"] = true }

-- What to fetch: pages { name =, url =, proxy = }, or { name =, problem = }.

--- Serves a directory until the program ends; returns its URL.
local function serve(directory)
  local server = await(neap.net.listen("127.0.0.1", 0))
  local handler = neap.http.files(directory, { hidden = true })
  neap.background(neap.http.serve, { server = server }, handler)
  return ("http://%s:%d/"):format(server:address())
end

local function escape(path)
  return (path:gsub("[^%w/._~-]", function(c) return ("%%%02X"):format(c:byte()) end))
end

local function add_directory(pages, directory, prefix)
  local base = serve(directory)
  local entries = neap.fs.walk(directory, {
    filter = function(entry) return not SKIPPED[entry.name] end,
    on_error = function(err, path) table.insert(pages, { name = path, problem = err }) end,
  })
  for entry in entries do
    if entry.type == "file" then
      local path = escape(entry.path:sub(#directory + 1):gsub("^/", ""))
      table.insert(pages, { name = prefix .. path, url = base .. path, proxy = false })
    end
  end
end

local function find_pages(arguments)
  local pages = {}
  for _, argument in ipairs(arguments) do
    if argument:find("://", 1, true) then
      table.insert(pages, { name = argument, url = argument })
    else
      add_directory(pages, argument, argument:gsub("/*$", "/", 1))
    end
  end
  if #arguments == 0 then add_directory(pages, (arg[0]:match("^.*/") or "./") .. "..", "") end
  return pages
end

-- Fetching.

--- Runs on another thread.
local function count_words(text)
  local n = 0
  for _ in text:gmatch("%S+") do n = n + 1 end
  return n
end

local function fetch(page)
  local opts = { retry = ATTEMPTS, proxy = page.proxy }
  return await(neap.http.get(page.url, opts)):check():text()
end

local function fetch_page(page)
  if page.problem then return end
  local begun = neap.now()
  local ok, result = neap.pcall(fetch, page)
  page.seconds = neap.now() - begun
  if ok then
    page.bytes = #result
    page.words = await(neap.worker.run(count_words, result))
  else
    page.problem = result
  end
end

--- When the time is over there are pages with neither words nor a problem.
local function fetch_all(pages)
  neap.try_for(DEADLINE, function()
    await(neap.map(pages, fetch_page, { limit = AT_ONCE }))
  end)
end

local function show_progress(pages)
  local _ <close> = neap.defer(function() await(stdio.stderr:write("\r\27[K")) end)
  for _ in neap.every(0.05) do
    local done = 0
    for _, page in ipairs(pages) do
      if page.words or page.problem then done = done + 1 end
    end
    await(stdio.stderr:write(("\r%d of %d pages"):format(done, #pages)))
  end
end

--- The line ends when fn(pages) has ended.
local function with_progress(fn, pages)
  if not stdio.is_tty("stderr") then return fn(pages) end
  await(neap.race(function() fn(pages) end, function() show_progress(pages) end))
end

-- The report.

--- The pages that were fetched, in a table of a database, and a list of the others.
local function store(db, pages)
  local done, failed = {}, {}
  for _, page in ipairs(pages) do table.insert(page.words and done or failed, page) end
  db:transaction(function(tx)
    await(tx:exec("CREATE TABLE page(name TEXT, words INT, bytes INT, seconds REAL)"))
    await(tx:exec_many("INSERT INTO page VALUES(:name, :words, :bytes, :seconds)", done))
  end)
  return failed
end

--- The end of a text that is longer.
local function cut(text, width)
  return #text <= width and text or ".." .. text:sub(2 - width)
end

local function print_largest(db)
  local rows = await(db:query("SELECT * FROM page ORDER BY words DESC, name LIMIT 10"))
  if #rows == 0 then return end
  local columns = math.max(stdio.is_tty("stdout") and stdio.stdout:size() or 80, 60)
  local width = 4
  for _, row in ipairs(rows) do width = math.max(width, math.min(#row.name, columns // 2 - 14)) end
  local line = "%8s %9s %7s  %-" .. width .. "s  %s"
  print(line:format("words", "bytes", "ms", "page", ""))
  for _, row in ipairs(rows) do
    local bar = ("#"):rep(row.words * (columns - width - 31) // math.max(rows[1].words, 1))
    local ms = ("%.1f"):format(row.seconds * 1000)
    print(line:format(row.words, row.bytes, ms, cut(row.name, width), bar))
  end
end

local function print_sums(db, pages, wall)
  local sums = await(db:first(
    "SELECT count(*) AS n, total(words) AS words, total(bytes) AS bytes FROM page"))
  local seconds = 0
  for _, page in ipairs(pages) do seconds = seconds + (page.seconds or 0) end
  print(("%d pages, %d words, %.1f MB"):format(sums.n, sums.words, sums.bytes / 1e6))
  print(("%.2f s of wall time for %.2f s of requests"):format(wall, seconds))
end

local function print_failures(failed)
  for _, page in ipairs(failed) do
    local problem = page.problem or ("not done within %d s"):format(DEADLINE)
    await(stdio.stderr:write(page.name, ": ", problem.message or problem, "\n"))
  end
end

neap.main(function(...)
  if (... or ""):find("^%-") then
    await(stdio.stderr:write(USAGE, "\n"))
    return 2
  end
  local pages = find_pages{ ... }
  local begun = neap.now()
  with_progress(fetch_all, pages)
  local wall = neap.now() - begun

  local db <close> = await(neap.sqlite.open(":memory:"))
  local failed = store(db, pages)
  print_largest(db)
  print_sums(db, pages, wall)
  io.stdout:flush()
  print_failures(failed)
  return #failed > 0 and 1 or 0
end, ...)
