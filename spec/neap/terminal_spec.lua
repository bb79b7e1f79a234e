-- neap.stdio at a terminal: programs in a terminal of their own, which tools/terminal.c makes.
local h = require "spec.helper"
local lfs = require "lfs"
local program = require "spec.program"
local neap = require "neap"

local await = neap.await

local TERMINAL = (os.getenv("NEAP_BUILD") or "build/dev") .. "/terminal"

--- Starts a program in a terminal: p.stdin is what is typed, p.stdout what is shown.
local function start(source)
  local command = program.command(source)
  table.insert(command, 1, TERMINAL)
  return await(neap.process.spawn(command))
end

--- Reads until `text` was shown; gives all that came before it.
local function expect(p, text)
  return (assert(await(p.stdout:read_until(text)), "not shown: " .. text))
end

--- All that is shown, up to the end, with the ends of lines that programs know.
local function show(source, typed)
  local p <close> = start(source)
  if typed then await(p.stdin:write(typed)) end
  return (await(p.stdout:read_all()):gsub("\r\n", "\n"))
end

local function contains(text, shown)
  assert(shown:find(text, 1, true), ("not shown: %s\n%s"):format(text, shown))
end

local AS_USUAL = "the terminal is as usual\n"

describe("a terminal", lfs.attributes(TERMINAL, "mode") and function()
  it("is a Tty, with a size", h.run(function()
    local shown = show([[
      print(stdio.is_tty("stdin"), stdio.is_tty("stdout"))
      print(stdio.stdout)
      print(stdio.stdout:size())
    ]])
    contains("true\ttrue\n", shown)
    contains("neap.Tty", shown)
    contains("100\t40\n", shown)
    contains(AS_USUAL, shown)
  end))

  it("is read into a Buffer, and shows one", h.run(function()
    contains("<typed\n>", show([[
      neap.run(function()
        local buf = neap.buffer(100)
        local n = await(stdio.stdin:read_into(buf))
        await(stdio.stdout:write("<", buf:slice(1, n):freeze(), ">\n"))
      end)
    ]], "typed\n"))
  end))

  it("has all methods of a Conn, and two of its own", h.run(function()
    local shown = show([[
      neap.run(function()
        local server = await(neap.net.listen("127.0.0.1", 0))
        local conn = await(neap.net.connect(server:address()))
        local conn_methods = debug.getmetatable(conn).__index
        local more = {}
        for name in pairs(debug.getmetatable(stdio.stdin).__index) do
          if not conn_methods[name] then more[#more + 1] = name end
        end
        for name in pairs(conn_methods) do assert(stdio.stdin[name], name) end
        table.sort(more)
        print(table.concat(more, " "))
      end)
    ]])
    contains("set_mode size\n", shown)
  end))

  it("gives lines as they are typed, and the loop goes on meanwhile", h.run(function()
    local p <close> = start([[
      neap.run(function()
        local reading = stdio.stdin:read_line()
        for i = 1, 3 do await(neap.sleep(0.001)) end
        await(stdio.stdout:write("ticked, ", reading:status(), "\n"))
        await(stdio.stdout:write("got ", await(reading), "\n"))
        await(stdio.stdout:write("got ", tostring(await(stdio.stdin:read_line())), "\n"))
      end)
    ]])
    expect(p, "ticked, pending\r\n")
    await(p.stdin:write("a line\n"))
    expect(p, "got a line\r\n")
    await(p.stdin:write("\4")) -- Ctrl-D, the end
    expect(p, "got nil\r\n")
    contains("as usual", expect(p, "\n"))
  end))

  it("gives single keys in raw mode", h.run(function()
    local p <close> = start([[
      neap.run(function()
        stdio.stdin:set_mode("raw")
        await(stdio.stdout:write("ready"))
        local key = await(stdio.stdin:read())
        os.execute("stty -a")
        stdio.stdin:set_mode("normal")
        print("key " .. key:byte())
        os.execute("stty -a")
      end)
    ]])
    expect(p, "ready")
    await(p.stdin:write("\3"))
    contains("-icanon", expect(p, "key 3\r\n"))
    local rest = expect(p, AS_USUAL)
    contains("icanon", rest)
    assert.is_nil(rest:find("-icanon", 1, true))
  end))

  it("has the mode io as well", h.run(function()
    contains("as usual", show([[stdio.stdin:set_mode("io") stdio.stdin:set_mode("normal")]]))
    contains("bad argument", show([[print(pcall(stdio.stdin.set_mode, stdio.stdin, "cooked"))]]))
  end))

  it("has neither mode nor size once it is closed", h.run(function()
    contains("ECLOSED\tECLOSED\n", show([[
      neap.run(function()
        await(stdio.stdin:close())
        local _, err = pcall(stdio.stdin.set_mode, stdio.stdin, "raw")
        local _, other = pcall(stdio.stdin.size, stdio.stdin)
        print(err.code, other.code)
      end)
    ]]))
  end))

  it("has its usual mode again when it is closed", h.run(function()
    contains(" icanon", show([[
      neap.run(function()
        stdio.stdin:set_mode("raw")
        await(stdio.stdin:close())
        os.execute("stty -a")
      end)
    ]]))
  end))

  it("has it when the program ends, however that is", h.run(function()
    contains(AS_USUAL, show([[stdio.stdin:set_mode("raw")]]))
    contains(AS_USUAL, show([[
      neap.main(function()
        stdio.stdin:set_mode("raw")
        error("broken")
      end)
    ]]))
    contains(AS_USUAL, show([[
      neap.run(function()
        stdio.stdin:set_mode("raw")
        await(neap.sleep(0.001))
        os.exit(3, true)
      end)
    ]]))
  end))

  it("stays as it was for Lua's io and for children", h.run(function()
    local shown = show([[
      neap.run(function()
        local line = await(stdio.stdin:read_line())
        await(stdio.stdout:write(line, "\n"))
        print(blocks(0), blocks(1))
      end)
    ]], "one\n")
    contains("true\ttrue\n", shown)
  end))

  it("is read by others when it was closed", h.run(function()
    local p <close> = start([[
      neap.run(function()
        await(stdio.stdout:write("got ", await(stdio.stdin:read_line()), "\n"))
        await(stdio.stdin:close())
        os.execute("echo ready; read x; echo child $x")
        print("io " .. io.read())
      end)
    ]])
    await(p.stdin:write("one\n"))
    expect(p, "got one\r\n")
    expect(p, "ready\r\n")
    await(p.stdin:write("two\n"))
    expect(p, "child two\r\n")
    await(p.stdin:write("three\n"))
    expect(p, "io three\r\n")
  end))

  it("sends Ctrl-C to neap.main, which cleans up", h.run(function()
    local p <close> = start([[
      neap.main(function()
        local _ <close> = neap.defer(function() await(stdio.stdout:write("cleaned\n")) end)
        await(stdio.stdout:write("ready\n"))
        await(stdio.stdin:read_line())
      end)
    ]])
    expect(p, "ready\r\n")
    await(p.stdin:write("\3"))
    expect(p, "cleaned\r\n")
    expect(p, AS_USUAL)
    assert.equal(130, (await(p:wait())))
  end))
end or function() end)
