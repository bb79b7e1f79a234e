-- A Lua state that is closed while tasks are in every state: their `<close>` variables run, where
-- an await is a misuse, nothing crashes, the exit status is 0 (258).
local h = require "spec.helper"

local PRELUDE = [=[
local neap = require "neap"
local await = neap.await
local inside = false

local function closing(name, fn)
  return setmetatable({}, { __close = function()
    if fn then fn() end
    print("closed " .. name)
  end })
end

local function sleep(seconds)
  await(neap.sleep(seconds))
end

-- The outcome of a Task, in a task and outside.
local function get(task)
  if inside then return await(task) end
  return task:wait()
end

local function start(name, fn)
  return neap.start(function()
    local _ <close> = closing(name)
    fn()
    print("never")
  end)
end
]=]

-- What is put between: each leaves tasks behind; `closes` are the names that have to be closed.
local states = {
  { name = "sleeping", closes = { "sleeper" }, source = [[
    start("sleeper", function() sleep(1000) end)
  ]] },
  { name = "awaiting another", closes = { "waiter", "target" }, source = [[
    local target = start("target", function() sleep(1000) end)
    start("waiter", function() await(target) end)
  ]] },
  { name = "awaiting a completion that is garbage", closes = { "orphan" }, source = [[
    start("orphan", function() await(neap.completion().task) end)
  ]] },
  { name = "awaiting each other", closes = { "one", "two" }, source = [[
    local one, two
    one = start("one", function() await(neap.yield()) await(two) end)
    two = start("two", function() await(one) end)
    get(neap.sleep(0.001))
  ]] },
  { name = "joining a scope", closes = { "parent", "child" }, source = [[
    start("parent", function()
      neap.scope(function() start("child", function() sleep(1000) end) end)
    end)
  ]] },
  { name = "joining a closable group", closes = { "parent", "spawned" }, source = [[
    start("parent", function()
      local g <close> = neap.group()
      g:spawn(function() local _ <close> = closing("spawned") sleep(1000) end)
    end)
  ]] },
  { name = "under a timeout and behind a shield", closes = { "timeout", "shield" }, source = [[
    start("timeout", function() neap.timeout(500, sleep, 1000) end)
    start("shield", function() neap.shield(sleep, 1000) end)
  ]] },
  { name = "awaiting combinations", closes = { "all", "any", "wait_for" }, source = [[
    start("all", function() await(neap.all { neap.sleep(1000), neap.completed() }) end)
    start("any", function() await(neap.any { neap.sleep(1000) }) end)
    start("wait_for", function() await(neap.wait_for(neap.sleep(1000), 500)) end)
  ]] },
  { name = "reading a file", closes = { "reader" }, source = [[
    start("reader", function() await(neap.fs.read_file(arg[0])) sleep(1000) end)
  ]] },
  { name = "accepting and reading on sockets", closes = { "accepting", "reading" }, source = [[
    local server = get(neap.net.listen("127.0.0.1", 0))
    local client = get(neap.net.connect(server:address()))
    local peer = get(server:accept())
    start("accepting", function() await(server:accept()) end)
    start("reading", function() await(client:read()) end)
    keep = { server, client, peer }
  ]] },
  { name = "queued but not run", closes = { "queued", "yielded" }, source = [[
    local c = neap.completion()
    start("queued", function() await(c.task) sleep(1000) end)
    start("yielded", function() await(neap.yield()) sleep(1000) end)
    c:resolve()
  ]] },
  { name = "cancelled but not resumed", closes = { "cancelled" }, source = [[
    start("cancelled", function() sleep(1000) end):cancel("unseen")
  ]] },
  { name = "in the background", closes = { "background" }, source = [[
    neap.background(function() local _ <close> = closing("background") sleep(1000) end)
  ]] },
  { name = "waiting inside a close handler", closes = { "first", "handler" }, source = [[
    neap.start(function()
      local _ <close> = closing("first")
      local _ <close> = setmetatable({}, { __close = function()
        local _ <close> = closing("handler")
        sleep(1000)
      end })
    end)
  ]] },
  { name = "with handlers that await", closes = { "EMISUSE", "plain" }, source = [[
    start("plain", function()
      local code
      local _ <close> = setmetatable({}, { __close = function() print("closed " .. code) end })
      local _ <close> = closing("", function()
        local ok, err = pcall(sleep, 1)
        code = not ok and err.code
        error("and this one fails", 0)
      end)
      sleep(1000)
    end)
  ]] },
  { name = "with neap.defer", closes = { "deferring" }, source = [[
    start("deferring", function()
      local _ <close> = neap.defer(function() end)
      sleep(1000)
    end)
  ]] },
  { name = "with callbacks and a canceller", closes = { "callback" }, source = [[
    start("callback", function()
      await(neap.from_callback(function() return function() end end))
    end)
    local c = neap.completion(function() end)
    c.task:on_done(function() end)
    start("callback", function() sleep(1000) end):on_done(function() end)
  ]], twice = true },
  { name = "that no one refers to, after a collection", closes = { "dropped" }, source = [[
    start("dropped", function() sleep(1000) end)
    collectgarbage()
    collectgarbage()
  ]] },
}

local endings = {
  { "by falling off the end", "states()\n" },
  { "by os.exit", "states()\nos.exit(0, true)\n" },
  { "by os.exit after a run", "neap.run(function() sleep(0) end)\nstates()\nos.exit(0, true)\n" },
  { "by os.exit inside a running task", [[
inside = true
neap.run(function()
  states()
  os.exit(0, true)
end)
]] },
  { "by os.exit in a task that was resumed", [[
inside = true
neap.run(function()
  states()
  neap.start(function()
    await(neap.yield())
    os.exit(0, true)
  end)
  sleep(1000)
end)
]] },
}

-- The names of the lines "closed NAME", sorted; fails on any "never".
local function closed(output)
  assert.is_nil(output:find("never", 1, true))
  local names = {}
  for name in output:gmatch("closed (%S+)") do names[#names + 1] = name end
  table.sort(names)
  return names
end

local function run(source)
  local output, how, code = h.process(source)
  assert.same({ "exit", 0, output }, { how, code, output })
  return output
end

describe("closing the Lua state", function()
  for _, ending in ipairs(endings) do
    for _, state in ipairs(states) do
      it("[S258] " .. ending[1] .. " closes tasks " .. state.name, function()
        local output = run(PRELUDE .. "local function states()\n" .. state.source .. "end\n"
          .. ending[2])
        local expected = { table.unpack(state.closes) }
        if state.twice then expected[#expected + 1] = expected[1] end
        table.sort(expected)
        assert.same(expected, closed(output))
      end)
    end

    it("[S258] " .. ending[1] .. " is fine with failed and unobserved ones", function()
      local output = run(PRELUDE .. [[
        neap.on_unobserved(function(err) print("closed " .. err) end)
        local function states()
          neap.start(function()
            local _ <close> = closing("handler")
            error("lost", 0)
          end)
        end
      ]] .. ending[2])
      assert.same({ "handler", "lost" }, closed(output))
    end)
  end

  it("[S258] lets the default handler report what failed unobserved", function()
    local output = run(PRELUDE .. [[
      neap.start(function() error("nobody looked at this", 0) end)
    ]])
    assert.truthy(output:find("nobody looked at this", 1, true))
  end)

  it("[S258] inside a running task needs no other task", function()
    assert.equal("before\n", run(PRELUDE .. [[
      neap.run(function()
        print("before")
        os.exit(0, true)
      end)
    ]]))
  end)

  it("[S258] closes the variables of one task in reverse order", function()
    assert.equal("closed two\nclosed one\n", run(PRELUDE .. [[
      neap.start(function()
        local _ <close> = closing("one")
        local _ <close> = closing("two")
        sleep(1000)
      end)
    ]]))
  end)

  it("[S258] with a thousand tasks in a tree closes all", function()
    local output = run(PRELUDE .. [[
      local function grow(depth)
        local _ <close> = closing("node")
        if depth > 0 then
          neap.scope(function()
            for _ = 1, 3 do neap.start(grow, depth - 1) end
          end)
        end
        sleep(1000)
      end
      neap.start(grow, 6)
    ]])
    assert.equal(1093, #closed(output)) -- 3^0 + ... + 3^6
  end)

  it("[S258] does not let handlers start or await anything new", function()
    local output = run(PRELUDE .. [[
      local function try(fn, ...)
        local ok, err = pcall(fn, ...)
        return ok and "fine" or type(err) == "table" and err.code or err
      end
      neap.start(function()
        local _ <close> = setmetatable({}, { __close = function()
          print(try(sleep, 1))
          print(try(neap.scope, sleep, 1))
          pcall(neap.start, sleep, 1)
          pcall(neap.run, sleep, 1)
          pcall(function() return neap.completion():resolve() end)
          print("still alive")
        end })
        sleep(1000)
      end)
    ]])
    assert.equal("EMISUSE\nEMISUSE\nstill alive\n", output)
  end)
end)
