-- Each system call of files fails: see spec/sweep.lua.

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

--- What is read on the spot if it lies in memory is left to the pool where that fails.
local QUICK = { preadv2_nowait = true, pread = true, statfs = true }

sweep.define{
  { "fs.read_file", read_file, { close = true } },
  { "fs.write_file", write_file, {} },
  { "fs.list", list, {} },
  { "File: open, write, sync, read, close", write_and_read, QUICK },
  { "File: append", append, {} },
  { "File: write_at, read_at, seek, truncate", positions, QUICK },
  { "File: lines", lines, QUICK },
}
