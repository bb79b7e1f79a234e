-- What only a process of its own can show: exit codes, signals, lua_close.

local h = require "spec.helper"

local PREFIX = [[
  local neap = require "neap"
  local await = neap.await
  io.stdout:setvbuf("no")
  local function closing(fn) return setmetatable({}, {__close = fn}) end
  local function interrupt() io.popen("kill -INT $PPID"):close() end
]]

-- A shell that runs in the background has its children ignore SIGINT; undone where env can.
local DEFAULT_SIGNALS =
  "$(env --default-signal=INT true 2>/dev/null && echo env --default-signal=INT)"

local function ends_with(source, expected_how, expected_code, prefix)
  local output, how, code = h.process(PREFIX .. source, prefix)
  assert.same({expected_how, expected_code}, {how, code}, output)
  return output
end

describe("neap.main", function()
  it("exits with main's integer result, 0 without one", function()
    ends_with("neap.main(function() await(neap.yield()) return 3 end)", "exit", 3)
    ends_with("neap.main(function() await(neap.yield()) end)", "exit", 0)
  end)

  it("prints an error with its traceback and exits with 1", function()
    local output = ends_with([[
      local function inner() error("broken") end
      neap.main(function()
        await(neap.yield())
        inner()
      end)
    ]], "exit", 1)
    assert.is_truthy(output:find("broken", 1, true), output)
    assert.is_truthy(output:find("traceback", 1, true), output)
    assert.is_truthy(output:find("inner", 1, true), output)
  end)

  it("[S254] SIGINT cancels the main task, handlers run, the exit code is 130", function()
    local output = ends_with([[
      neap.main(function()
        local _ <close> = closing(function(_, err)
          print(neap.is_cancel(err), err.reason)
          neap.shield(function() await(neap.yield()) end)
          print("cleaned")
        end)
        interrupt()
        await(neap.sleep(10))
        print("never")
      end)
    ]], "exit", 130)
    assert.equal("true\tinterrupt\ncleaned\n", output)
  end)

  it("[S254] SIGINT reaches what main started", function()
    local output = ends_with([[
      neap.main(function()
        local child = neap.start(function()
          local _ <close> = closing(function() print("child") end)
          await(neap.sleep(10))
        end)
        local _ <close> = closing(function() print("main") end)
        interrupt()
        await(child)
      end)
    ]], "exit", 130)
    assert.equal("child\nmain\n", output)
  end)

  it("[S254] a second SIGINT ends the process at once", function()
    local output, how, code = h.process(PREFIX .. [[
      neap.main(function()
        local _ <close> = closing(function()
          print("cleaning")
          interrupt()
          neap.shield(function() await(neap.sleep(10)) end)
          print("never")
        end)
        interrupt()
        await(neap.sleep(10))
      end)
    ]])
    assert.equal("cleaning\n", output)
    assert.is_truthy((how == "signal" and code == 2) or (how == "exit" and code == 130),
      how .. " " .. code)
  end)
end)

-- The interpreter of the sanitizers has no handler of its own.
local has_own_handler = not (os.getenv("NEAP_LUA") or ""):find("luahost", 1, true)

describe("neap.run", has_own_handler and function()
  it("[S254] installs no signal handler", function()
    -- lua.c catches the first SIGINT, raises "interrupted!" and goes back to the default action.
    local output = ends_with([[
      print(pcall(function()
        interrupt()
        for _ = 1, 10 do type(1) end
      end))
      neap.run(function()
        print("running")
        interrupt()
        await(neap.sleep(5))
        print("never")
      end)
    ]], "signal", 2, DEFAULT_SIGNALS)
    assert.is_truthy(output:find("^false\t.*interrupted!\nrunning\n$"), output)
  end)
end or function() end)

describe("lua_close with pending tasks", function()
  local source = [[
    local c = neap.completion()
    for i = 1, 3 do
      neap.start(function()
        local _ <close> = closing(function()
          local ok, err = pcall(await, neap.completed())
          print("closed", i, ok, err.code)
        end)
        if i == 1 then await(neap.sleep(1)) end
        if i == 2 then await(neap.yield()) end
        await(c.task)
      end)
    end
    local group_task = neap.start(function()
      local g <close> = neap.group()
      g:spawn(function() await(c.task) end)
      await(neap.all{c.task, neap.sleep(1)})
    end)
    print(group_task:status())
  ]]

  it("[S258] runs their <close> handlers, which cannot await", function()
    local output = ends_with(source, "exit", 0)
    assert.is_truthy(output:find("pending", 1, true), output)
    for i = 1, 3 do
      assert.is_truthy(output:find("closed\t" .. i .. "\tfalse\tEMISUSE", 1, true), output)
    end
  end)

  it("[S258] works through os.exit(true, true)", function()
    local output = ends_with(source .. "os.exit(true, true)", "exit", 0)
    assert.is_truthy(output:find("closed\t3", 1, true), output)
  end)

  it("[S258] works after a run that ended", function()
    ends_with("neap.run(function() await(neap.yield()) end)\n" .. source, "exit", 0)
  end)

  it("[S258] works when a handler fails", function()
    local output = ends_with([[
      neap.start(function()
        local _ <close> = closing(function() print("second") end)
        local _ <close> = closing(function() print("first") error("broken") end)
        await(neap.sleep(1))
      end)
    ]], "exit", 0)
    assert.is_truthy(output:find("first.*second"), output)
  end)
end)
