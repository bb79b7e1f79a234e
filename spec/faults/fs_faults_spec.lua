-- Each system call of files fails: see spec/sweep.lua.

local lfs = require "lfs"
local neap = require "neap"
local support = require "spec.support"
local sweep = require "spec.sweep"

local await, fs = neap.await, neap.fs
local at, expect, DATA = sweep.at, sweep.expect, sweep.DATA

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
  for i, entry in ipairs(await(fs.list(at(".")))) do
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

--- Names in the directory other than "file".
local function others()
  local names = {}
  for name in lfs.dir(at(".")) do
    if name ~= "." and name ~= ".." and name ~= "file" then names[#names + 1] = name end
  end
  return names
end

--- After a fault either content is there, and no other file, unless removing it has failed, too.
local function old_or_new(old, new)
  return function(counts)
    local content = support.slurp(at("file"))
    if content ~= old and content ~= new then error("neither old nor new: " .. content, 0) end
    for _, name in ipairs(others()) do
      os.remove(at(name))
      if not counts.faults.unlink then error("left: " .. name, 0) end
    end
  end
end

local function write_atomically()
  support.spit(at("file"), "old")
  await(fs.write_file(at("file"), DATA, { atomic = true }))
  expect(DATA, support.slurp(at("file")))
end

local function write_synced()
  await(fs.write_file(at("file"), DATA, { sync = true }))
  await(fs.append_file(at("file"), DATA, { sync = true }))
  expect(DATA .. DATA, support.slurp(at("file")))
end

local function copy()
  support.spit(at("file"), DATA)
  os.remove(at("copy"))
  await(fs.copy_file(at("file"), at("copy"), { overwrite = false }))
  expect(DATA, support.slurp(at("copy")))
end

--- A copy that has failed leaves nothing.
local function no_copy_or_whole(counts)
  if counts.faults.unlink then return end
  local ok, content = pcall(support.slurp, at("copy"))
  if ok and content ~= DATA then error("a part is left: " .. content, 0) end
end

local function make_tree()
  await(fs.mkdir(at("tree/a/b"), { parents = true }))
  await(fs.write_file(at("tree/a/b/file"), DATA))
  await(fs.symlink("b/file", at("tree/a/link")))
end

local function trees()
  os.execute("rm -rf " .. at("tree"))
  make_tree()
  local names = {}
  for entry in fs.walk(at("tree")) do names[#names + 1] = entry.name .. "=" .. entry.type end
  expect("a=directory b=directory file=file link=link", table.concat(names, " "))
  await(fs.remove(at("tree"), { recursive = true }))
  expect(false, await(fs.access(at("tree"))))
end

local function names()
  for _, name in ipairs{ "other", "second", "link" } do os.remove(at(name)) end
  support.spit(at("file"), DATA)
  await(fs.rename(at("file"), at("other")))
  await(fs.link(at("other"), at("second")))
  await(fs.symlink("second", at("link")))
  expect("second", await(fs.readlink(at("link"))))
  expect(await(fs.realpath(at("second"))), await(fs.realpath(at("link"))))
  expect(2, await(fs.stat(at("link"))).nlink)
  expect("link", await(fs.lstat(at("link"))).type)
  expect(DATA, support.slurp(at("link")))
end

local function attributes()
  support.spit(at("file"), DATA)
  await(fs.chmod(at("file"), "600"))
  await(fs.chown(at("file")))
  await(fs.truncate(at("file"), 10))
  await(fs.utime(at("file"), 1, 2))
  local info = await(fs.stat(at("file")))
  expect(2.0, info.mtime)
  expect(10, info.size)
  expect(true, await(fs.access(at("file"), "r")))
  expect(true, await(fs.statfs(at("file"))).bsize > 0)
end

local function temp_dir()
  local path
  do
    local dir <close> = await(fs.temp_dir{ dir = at(".") })
    path = dir.path
    await(fs.write_file(path .. "/x", DATA))
    await(dir:close())
  end
  expect(false, await(fs.access(path)))
end

local function temp_file()
  local file <close> = await(fs.temp_file{ dir = at(".") })
  await(file:write(DATA))
  await(file:seek("set"))
  expect(DATA, await(file:read_all()))
  await(file:close())
end

local function watch()
  local watcher <close> = await(fs.watch(at(".")))
  support.spit(at("file"), DATA)
  expect("file", await(watcher:next()).name)
  await(watcher:close())
end

--- What is read on the spot if it lies in memory is left to the pool where that fails.
local QUICK = { preadv2_nowait = true, pread = true, statfs = true }
local SPOT = {
  preadv2_nowait = true, read = true, open = true, stat = true, statfs = true, close = true,
}
local TEMPORARY = { preadv2_nowait = true, pread = true, statfs = true, unlink = true }

-- A directory that may not be read is opened otherwise.
local ATOMIC = { open = true, close = true }

-- A faster way that fails is followed by a slower one; closing what was read tells nothing.
local COPY = { ficlone = true, copy_file_range = true, sendfile = true, close = true }

sweep.define{
  { "fs.read_file", read_file, SPOT },
  { "fs.write_file", write_file, {} },
  { "fs.write_file, atomic", write_atomically, ATOMIC, after = old_or_new("old", DATA) },
  { "fs.write_file, append_file, sync", write_synced, {} },
  { "fs.copy_file", copy, COPY, after = no_copy_or_whole },
  { "fs: mkdir, symlink, walk, remove", trees, {} },
  { "fs: rename, link, symlink, readlink, realpath, stat", names, {} },
  { "fs: chmod, chown, utime, truncate, access, statfs", attributes, {} },
  { "fs.temp_dir", temp_dir, {} },
  { "fs.temp_file", temp_file, TEMPORARY },
  { "fs.list", list, {} },
  { "fs.watch", watch, { stat = true } },
  { "File: open, write, sync, read, close", write_and_read, QUICK },
  { "File: append", append, {} },
  { "File: write_at, read_at, seek, truncate", positions, QUICK },
  { "File: lines", lines, QUICK },
}
