-- neap.stdio on pipes, sockets and files; what it does at a terminal is in terminal_spec.lua.
local h = require "spec.helper"
local program = require "spec.program"
local support = require "spec.support"
local neap = require "neap"

local await = neap.await

local ECHO = [[
  neap.run(function()
    for line in stdio.stdin:lines() do await(stdio.stdout:write("<", line, ">\n")) end
  end)
]]

--- Makes a spec of fn(file, path), with a file that is open for both.
local function with_file(content, fn)
  return h.run(function()
    local path = os.tmpname()
    local _ <close> = support.closing(function() os.remove(path) end)
    support.spit(path, content)
    local file <close> = await(neap.fs.open(path, "r+"))
    fn(file, path)
  end)
end

describe("neap.stdio", function()
  it("reads and writes pipes", h.run(function()
    assert.equal("<a>\n<b>\n", program.run(ECHO, { input = "a\nb" }))
    local input = ("0123456789abcde\n"):rep(65536)
    local output = program.run([[
      neap.run(function()
        for chunk in stdio.stdin do await(stdio.stdout:write(chunk)) end
      end)
    ]], { input = input })
    assert.is_true(output == input)
  end))

  it("reads into Buffers and writes them", h.run(function()
    local input = ("0123456789abcde\n"):rep(65536)
    local output = program.run([[
      neap.run(function()
        local buf = neap.buffer(10000)
        while true do
          local n = await(stdio.stdin:read_into(buf))
          if not n then break end
          await(stdio.stdout:write(buf:slice(1, n)))
        end
      end)
    ]], { input = neap.buffer(input) })
    assert.is_true(output == input)
  end))

  it("reads and writes files", with_file("a\nb\n", function(file)
    assert.equal("<a>\n<b>\n", program.run(ECHO, { stdin = file }))
  end))

  it("shares the position of a file", with_file("1\n2\n3\n", function(file, path)
    await(file:read_line())
    program.run([[
      neap.run(function()
        await(stdio.stdout:write("neap\n"))
        print("print")
        await(stdio.stdout:write("neap again\n"))
      end)
    ]], { stdout = file })
    await(file:write("parent\n"))
    assert.equal("1\nneap\nprint\nneap again\nparent\n", support.slurp(path))
  end))

  it("reads and writes devices", h.run(function()
    assert.equal("nil\n", program.run([[
      neap.run(function()
        await(stdio.stderr:write("lost"))
        print(await(stdio.stdin:read()))
      end)
    ]], { stdin = "null", stderr = "null" }))
  end))

  it("reads and writes sockets", h.run(function()
    local server <close> = await(neap.net.listen("127.0.0.1", 0))
    local peer <close> = await(neap.net.connect(server:address()))
    local conn <close> = await(server:accept())
    await(peer:write("a\nb\n"))
    await(peer:shutdown())
    program.run(ECHO, { stdin = conn, stdout = conn })
    await(conn:close())
    assert.equal("<a>\n<b>\n", await(peer:read_all()))
  end))

  it("is a Conn, or a File, and always the same", h.run(function()
    local output = program.run([[
      print(stdio.stdin, stdio.stdout, stdio.stderr)
      print(stdio.stdout == stdio.stdout, stdio.something)
    ]], { stdin = "null", stderr = "null" })
    assert.is_truthy(output:find("^neap.File 'stdin'\tneap.Conn .*\tneap.File 'stderr'\n"), output)
    assert.is_truthy(output:find("true\tnil\n", 1, true), output)
  end))

  it("knows what is no terminal", h.run(function()
    assert.equal("false\tfalse\n",
      program.run([[print(stdio.is_tty("stdin"), stdio.is_tty("stdout"))]]))
    h.bad_argument("is_tty", 1, function() neap.stdio.is_tty("stdlog") end)
  end))
end)

describe("closing what neap.stdio has opened", function()
  it("leaves the descriptor open", h.run(function()
    assert.equal("before\nafter\nECLOSED\n", program.run([[
      neap.run(function()
        await(stdio.stdout:write("before\n"))
        await(stdio.stdout:close())
        print("after")
        local ok, err = pcall(await, stdio.stdout:write("x"))
        print(err.code)
      end)
    ]]))
  end))

  it("is not what a pipe needs to block for others, it always does", h.run(function()
    assert.equal("x\ntrue\ttrue\n", program.run([[
      neap.run(function()
        await(stdio.stdout:write(await(stdio.stdin:read_all())))
        print(blocks(0), blocks(1))
      end)
    ]], { input = "x\n" }))
  end))

  it("lets a socket block again", h.run(function()
    local source = [[
      neap.run(function()
        await(stdio.stdin:read_line())
        io.stderr:write(tostring(blocks(0)), "\n")
        %s
      end)
    ]]
    for _, way in ipairs{ "await(stdio.stdin:close())", "" } do
      local server <close> = await(neap.net.listen("127.0.0.1", 0))
      local peer <close> = await(neap.net.connect(server:address()))
      local conn <close> = await(server:accept())
      await(peer:write("line\n"))
      local command = program.command(source:format(way))
      local result = await(neap.process.run{ "/bin/sh", "-c",
        '"$@"; grep flags /proc/self/fdinfo/0', "sh", command[1], command[2], command[3],
        stdin = conn, env = command.env })
      assert.equal("false\n", result.stderr)
      assert.equal(0, tonumber(result.stdout:match("%d+"), 8) & 2048, result.stdout)
    end
  end))
end)

describe("a read of stdin", function()
  it("does not keep a run from ending", h.run(function()
    local p <close> = await(neap.process.spawn(program.command([[
      neap.run(function()
        local reading = stdio.stdin:read()
        await(neap.sleep(0.001))
        print(reading:status())
      end)
      print("over")
    ]])))
    assert.equal("pending\nover\n", await(p.stdout:read_all()))
    assert.equal(0, (await(p:wait())))
  end))

  it("that was cancelled has read nothing", h.run(function()
    local p <close> = await(neap.process.spawn(program.command([[
      neap.run(function()
        print(neap.try_for(0.001, function() await(stdio.stdin:read_line()) end))
        print(await(stdio.stdin:read_line()))
      end)
    ]])))
    assert.equal("false\ttimeout", await(p.stdout:read_line()))
    await(p.stdin:write("all of it\n"))
    assert.equal("all of it", await(p.stdout:read_line()))
  end))

  it("is no leak for tests, nor is what it has opened", h.run(function()
    assert.equal("nil\n", program.run([[
      local testing = require "neap.testing"
      local before = testing.count()
      neap.run(function() await(stdio.stdin:read()) end)
      print(testing.leaks(before))
    ]], { input = "x" }))
  end))
end)
