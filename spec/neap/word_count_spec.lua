-- examples/word_count.lua, as it is.
local h = require "spec.helper"
local lfs = require "lfs"
local support = require "spec.support"
local neap = require "neap"

local await, process = neap.await, neap.process

--- The command of the example, with the module paths of this process; temporary files go to
--- `directory`.
local function example(directory, ...)
  local command = { h.interpreter(), "examples/word_count.lua", ... }
  command.env = {
    LUA_PATH_5_4 = package.path,
    LUA_CPATH_5_4 = package.cpath,
    NEAP_DEBUG = false,
    TMPDIR = directory,
  }
  return command
end

local function in_directory(fn)
  return h.run(function()
    local directory = support.temp_dir()
    local _ <close> = support.closing(function() support.remove_tree(directory) end)
    fn(directory)
  end)
end

local function entries(directory)
  local n = 0
  for name in lfs.dir(directory) do
    if name ~= "." and name ~= ".." then n = n + 1 end
  end
  return n
end

describe("examples/word_count.lua", function()
  it("counts words wherever pieces are cut", in_directory(function(directory)
    local path = directory .. "/text"
    local text = ("the Cat%d sat\n"):rep(200000):gsub("%%d", "") -- three pieces
    support.spit(path, text)
    local result = await(process.run(example(directory, path, "5")))
    assert.equal(0, result.code, result.stderr)
    local shown = result.stdout:gsub(" in [%d.]+ s, %d+ workers?", "")
    assert.equal("    200000 cat\n    200000 sat\n    200000 the\n3 different words\n", shown)
    assert.match("100 %% of 2%.4 MB\n$", result.stderr)
  end))

  it("counts nothing in an empty file", in_directory(function(directory)
    support.spit(directory .. "/empty", "")
    local result = await(process.run(example(directory, directory .. "/empty")))
    assert.match("^0 different words", result.stdout, result.stderr)
  end))

  it("ends at Ctrl-C, and leaves nothing", in_directory(function(directory)
    local command = example(directory)
    local p <close> = await(process.spawn(command))
    repeat
      local shown = await(p.stderr:read())
      assert.is_string(shown) -- or it was faster
    until shown:find("[1-9]%d? %%")
    p:kill("SIGINT")
    assert.equal(130, (await(p:wait())))
    assert.match("%% of 33%.%d MB\n$", await(p.stderr:read_all()))
    assert.equal("", await(p.stdout:read_all()))
    assert.equal(0, entries(directory))
  end))

  it("tells of a file that is not there", in_directory(function(directory)
    local result = await(process.run(example(directory, directory .. "/none")))
    assert.equal(1, result.code)
    assert.match("ENOENT", result.stderr)
  end))
end)
