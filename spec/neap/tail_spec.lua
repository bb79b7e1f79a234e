-- examples/tail.lua, as it is.
local h = require "spec.helper"
local support = require "spec.support"
local neap = require "neap"

local await, process = neap.await, neap.process

--- The command of the example, with the module paths of this process.
local function example(...)
  local command = { h.interpreter(), "examples/tail.lua", ... }
  command.env = { LUA_PATH_5_4 = package.path, LUA_CPATH_5_4 = package.cpath, NEAP_DEBUG = false }
  return command
end

--- Makes a spec of fn(path), where an old log is.
local function with_log(fn)
  return h.run(function()
    local path = os.tmpname()
    local _ <close> = support.closing(function() os.remove(path) end)
    support.spit(path, "old\n")
    fn(path)
  end)
end

describe("examples/tail.lua", function()
  it("prints what a child appends, and ends with it", with_log(function(path)
    local script = 'printf "one\\ntwo" >>"$0"; sleep 0.05; printf "\\nthree" >>"$0"; exit 3'
    local result = await(process.run(example(path, "/bin/sh", "-c", script, path)))
    assert.equal("one\ntwo\nthree\n", result.stdout, result.stderr)
    assert.equal("/bin/sh: exit code 3\n", result.stderr)
    assert.equal(3, result.code)
  end))

  it("ends its child at Ctrl-C", with_log(function(path)
    local script = 'echo $$ >>"$0"; exec sleep 100'
    local p <close> = await(process.spawn(example(path, "/bin/sh", "-c", script, path)))
    local pid = tonumber(await(p.stdout:read_line()))
    assert.is_true(support.is_running(pid))
    p:kill("SIGINT")
    assert.equal(130, (await(p:wait())))
    assert.is_false(support.is_known(pid))
  end))

  it("shows itself without arguments", h.run(function()
    local result = await(process.run(example()))
    assert.equal("line 1\nline 2\nline 3\nline 4\nline 5\n", result.stdout, result.stderr)
  end))
end)
