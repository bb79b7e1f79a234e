-- Counts the words of a file on all processors, with a line that shows how far it has come. Ctrl-C
-- ends it.
local neap = require "neap"
local await = neap.await

local USAGE = [==[
usage: word_count.lua [FILE [COUNT]]
  FILE    a text file; without it one of 32 MiB is made, and removed at the end
  COUNT   how many of the most frequent words to show, default 10]==]

local PIECE = 1024 * 1024 -- bytes for one call on a worker

-- On the workers. What these functions use from here is copied to them, but for the counter, which
-- all share.

local done = neap.worker.counters(1) -- bytes

--- A piece owns the words that begin in it: the last one is read to its end, the rest of a first
--- one is not its own.
local function read_piece(path, first, size)
  local file <close> = assert(io.open(path, "rb"))
  file:seek("set", math.max(first - 1, 0))
  local before = first > 0 and file:read(1) or " "
  local text = file:read(size) or ""
  while text:find("%w$") do
    local more = file:read(64)
    if not more then break end
    text = text .. (more:match("^%w+") or "")
    if more:find("%W") then break end
  end
  return before:find("%w") and text:gsub("^%w+", "", 1) or text
end

local function count_piece(totals, piece)
  local text = read_piece(piece.path, piece.first, piece.size)
  for word in text:gmatch("%w+") do
    word = word:lower()
    totals[word] = (totals[word] or 0) + 1
  end
  done:add(1, piece.size)
  return totals
end

local function merge(a, b)
  for word, n in pairs(b) do a[word] = (a[word] or 0) + n end
  return a
end

-- Here.

local function pieces_of(path, size)
  local pieces = {}
  for first = 0, size - 1, PIECE do
    pieces[#pieces + 1] = { path = path, first = first, size = math.min(PIECE, size - first) }
  end
  return pieces
end

local function show_progress(size)
  local percent = size > 0 and done:get(1) * 100 // size or 100
  await(neap.stdio.stderr:write(("\r%3d %% of %.1f MB"):format(percent, size / 1e6)))
end

--- Runs fn() and shows how far it has come meanwhile; the line is ended whatever happens.
local function with_progress(size, fn)
  local _ <close> = neap.defer(function()
    show_progress(size)
    await(neap.stdio.stderr:write("\n"))
  end)
  return neap.scope(function(scope)
    neap.start(function()
      for _ in neap.every(0.1) do show_progress(size) end
    end)
    local result = fn()
    scope:cancel("counted")
    return result
  end)
end

local function sorted(totals)
  local words = {}
  for word, n in pairs(totals) do words[#words + 1] = { word = word, n = n } end
  table.sort(words, function(a, b)
    if a.n ~= b.n then return a.n > b.n end
    return a.word < b.word
  end)
  return words
end

local function count_file(path, most)
  local size = await(neap.fs.stat(path)).size
  local begun = neap.now()
  local _, totals = with_progress(size, function()
    local opts = { combine = merge, chunk = 1 }
    return await(neap.parallel.reduce(pieces_of(path, size), count_piece, {}, opts))
  end)
  local words = sorted(totals)
  for i = 1, math.min(most, #words) do print(("%10d %s"):format(words[i].n, words[i].word)) end
  local seconds = neap.now() - begun
  print(("%d different words in %.2f s, %d workers"):format(#words, seconds, neap.worker.size()))
end

--- A text in which some words are more frequent than others.
local function make_text(path)
  local file <close> = await(neap.fs.open(path, "w"))
  local words = {}
  for i = 1, 100000 do words[i] = ("w%d"):format((i * i * 7919) % (i % 97 + 1)) end
  local block = table.concat(words, " ") .. "\n"
  for _ = 1, 32 * 1024 * 1024 // #block do await(file:write(block)) end
end

neap.main(function(path, most)
  most = math.tointeger(tonumber(most or 10))
  if not most then
    await(neap.stdio.stderr:write(USAGE, "\n"))
    return 2
  end
  if path then return count_file(path, most) end
  local directory <close> = await(neap.fs.temp_dir())
  path = directory.path .. "/words"
  make_text(path)
  count_file(path, most)
end, ...)
