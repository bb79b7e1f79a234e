-- neap.process.run: a child from its start to its end, with all that it writes.
local h = require "spec.helper"
local support = require "spec.support"
local neap = require "neap"

local await, run = neap.await, neap.process.run

local function shell(script, opts)
  local command = { "/bin/sh", "-c", script }
  for name, value in pairs(opts or {}) do command[name] = value end
  return run(command)
end

--- Reads the number that a child has written to a file, once it has. That takes real time, however
--- long: the loop turns, and time does not jump for it.
local function read_pid(path)
  for _ = 1, 1000 do
    local pid = io.open(path) and tonumber(support.slurp(path))
    if pid then return pid end
    await(neap.yield())
    os.execute("sleep 0.01")
  end
  error("no pid in " .. path)
end

--- Makes a spec of fn(path, t), where nothing is at the path.
local function with_path(fn)
  return h.run(function(t)
    local path = os.tmpname()
    local _ <close> = support.closing(function() os.remove(path) end)
    fn(path, t)
  end)
end

--- The same in real time: the child has to get something done before its grace is over.
local function with_path_in_real_time(fn)
  return h.plain(function(t)
    local path = os.tmpname()
    local _ <close> = support.closing(function() os.remove(path) end)
    neap.run(function() fn(path, t) end)
  end)
end

describe("neap.process.run", function()
  it("gives the exit code and what the child has written", h.run(function()
    local result = await(shell("echo out; echo err >&2; exit 3"))
    assert.same({ code = 3, stdout = "out\n", stderr = "err\n" }, result)
  end))

  it("passes strings and numbers as they are", h.run(function()
    local result = await(run{ "printf", "%s|", "a b", "$HOME", "", "\255\n", 7, 1.5 })
    assert.equal("a b|$HOME||\255\n|7|1.5|", result.stdout)
  end))

  it("finds the command in PATH, of the child's environment", h.run(function()
    assert.equal(0, await(run{ "true" }).code)
    local err = h.raises("ENOENT", await, run{ "true", env = { PATH = "/nonexistent" } })
    assert.equal("true", err.path)
  end))

  it("tells the signal that ended it, and the code that shells have for that", h.run(function()
    assert.same({ code = 137, signal = "SIGKILL", stdout = "", stderr = "" },
      await(shell("kill -KILL $$")))
    assert.equal("SIG40", await(shell("kill -40 $$")).signal)
  end))

  it("gives the child no input by default", h.run(function()
    assert.equal("", await(run{ "cat" }).stdout)
    assert.equal("", await(run{ "cat", stdin = "pipe" }).stdout)
  end))

  it("writes input while it reads output", h.run(function()
    local input = ("0123456789abcdef"):rep(10 * 65536)
    local result = await(run{ "cat", input = input })
    assert.is_true(result.stdout == input)
  end))

  it("takes it from a child that does not read its input", h.run(function()
    assert.equal(0, await(run{ "true", input = ("x"):rep(1 << 20) }).code)
    assert.equal(0, await(shell("exec <&-; sleep 0", { input = ("x"):rep(1 << 20) })).code)
  end))

  it("ends with the child though somebody else still has its input", h.run(function()
    local result = await(shell("exec 3<&0; sleep 100 <&3 >/dev/null 2>&1 & echo $!",
      { input = ("x"):rep(1 << 20) }))
    local pid = tonumber(result.stdout)
    assert.is_true(support.is_running(pid))
    neap.process.kill(pid, "SIGKILL")
  end))

  it("merges stderr into stdout", h.run(function()
    local result = await(shell("echo a; echo b >&2; echo c", { stderr = "stdout" }))
    assert.same({ code = 0, stdout = "a\nb\nc\n" }, result)
  end))

  it("merges it into a file or nothing as well", with_path(function(path)
    local file <close> = await(neap.fs.open(path, "w"))
    assert.same({ code = 0 },
      await(shell("echo a; echo b >&2", { stdout = file, stderr = "stdout" })))
    assert.equal("a\nb\n", support.slurp(path))
    assert.same({ code = 0 },
      await(shell("echo a; echo b >&2", { stdout = "null", stderr = "stdout" })))
  end))

  it("runs many at once, each with its own output", h.run(function()
    local tasks = {}
    for i = 1, 30 do tasks[i] = run{ "echo", i } end
    for i, result in ipairs(await(neap.all(tasks))) do assert.equal(i .. "\n", result.stdout) end
  end))

  it("changes the working directory", h.run(function()
    assert.equal("/\n", await(run{ "pwd", cwd = "/" }).stdout)
  end))

  it("gives the environment: added to, without some, or a new one", h.run(function()
    local result = await(shell("echo $A $HOME $PATH", { env = { A = 1, HOME = false } }))
    assert.equal("1 " .. os.getenv("PATH") .. "\n", result.stdout)
    result = await(run{ "/usr/bin/env", clear_env = true, env = { B = "x=y", A = "" } })
    assert.equal("A=\nB=x=y\n", result.stdout)
    assert.equal("", await(run{ "/usr/bin/env", clear_env = true }).stdout)
  end))

  it("runs it as somebody else, where the system allows that", h.run(function()
    local is_root = await(run{ "id", "-u" }).stdout == "0\n"
    local command = run{ "/bin/sh", "-c", "id -u; id -g", uid = 65534, gid = 65533 }
    if is_root then
      assert.equal("65534\n65533\n", await(command).stdout)
    else
      h.raises("EPERM", await, command)
    end
  end))

  it("starts it in a group of its own, unless it is told not to", h.run(function()
    local script = "ps -o pgid= -p $$ | tr -d ' '; echo $$"
    local group, pid = await(shell(script)).stdout:match("(%d+)\n(%d+)")
    assert.equal(pid, group)
    group, pid = await(shell(script, { group = false })).stdout:match("(%d+)\n(%d+)")
    assert.not_equal(pid, group)
  end))

  it("gives it the default actions of signals", h.run(function()
    await(run{ "true" }) -- the first pipe makes this process ignore SIGPIPE
    assert.equal("SIGPIPE", await(shell("kill -PIPE $$")).signal)
  end))
end)

describe("the errors of neap.process.run", function()
  it("say what could not be started", h.run(function()
    local err = h.raises("ENOENT", await, run{ "/nonexistent/command" })
    assert.equal("spawn", err.syscall)
    assert.equal("/nonexistent/command", err.path)
    err = h.raises("EACCES", await, run{ "/etc" })
    assert.equal("/etc", err.path)
  end))

  it("say that the working directory is missing", h.run(function()
    local err = h.raises("ENOENT", await, run{ "true", cwd = "/nonexistent" })
    assert.equal("spawn", err.syscall)
    assert.equal("true", err.path)
    assert.is_truthy(err.message:find("working directory", 1, true))
  end))

  it("leave nothing behind", h.run(function()
    local before = support.open_descriptors()
    for _ = 1, 3 do h.raises("ENOENT", await, run{ "/nonexistent", input = "x" }) end
    await(neap.sleep(0))
    assert.equal(before, support.open_descriptors())
  end))

  it("come of exit codes when they are checked", h.run(function()
    assert.equal(0, await(run{ "true", check = true }).code)
    local err = h.raises("EEXIT", await,
      shell("echo out; echo first >&2; echo reason >&2; exit 4", { check = true }))
    assert.equal(4, err.exit_code)
    assert.is_nil(err.signal)
    assert.equal("out\n", err.stdout)
    assert.equal("first\nreason\n", err.stderr)
    assert.equal("EEXIT: exit code 4: reason, run '/bin/sh'", tostring(err))
  end))

  it("come of signals when they are checked", h.run(function()
    local err = h.raises("EEXIT", await, shell("kill $$", { check = true }))
    assert.equal("SIGTERM", err.signal)
    assert.equal(143, err.exit_code)
    assert.is_truthy(tostring(err):find("ended by SIGTERM", 1, true))
  end))

  it("end a child that writes too much", with_path(function(path)
    local err = h.raises("ETOOLARGE", await,
      shell("echo $$ >" .. path .. "; exec yes", { max_output = 100000 }))
    assert.equal("/bin/sh", err.path)
    assert.is_truthy(tostring(err):find("100000", 1, true))
    assert.is_false(support.is_known(read_pid(path)))
    err = h.raises("ETOOLARGE", await, shell("echo 1234 >&2", { max_output = 4 }))
    assert.is_truthy(err.message:find("stderr", 1, true))
    assert.equal("1234", await(shell("printf 1234", { max_output = 4 })).stdout)
  end))
end)

describe("the arguments of neap.process.run", function()
  local function refused(opts, ...)
    local text = h.bad_argument("run", 1, function() return run(opts) end)
    for _, part in ipairs{ ... } do assert.is_truthy(text:find(part, 1, true), text) end
    return text
  end

  it("are refused at the caller's line", h.run(function()
    local text = h.bad_argument("run", 1, function() local _ = run{} end)
    local line = h.line() - 1
    assert.is_truthy(text:find("process_run_spec.lua:" .. line .. ":", 1, true), text)
  end))

  it("are a list of strings and numbers without NUL bytes", h.run(function()
    refused("ls", "table")
    refused({}, "the command", "string")
    refused({ "" }, "empty")
    refused({ "echo", {} }, "argument 1", "string expected, got table")
    refused({ "echo", "a", "b\0c" }, "argument 2", "NUL")
    refused({ true }, "the command")
  end))

  it("have options of their kinds", h.run(function()
    refused({ "true", cwd = 1.5, stdin = "nowhere" }, "'stdin'", "'pipe'")
    refused({ "true", cwd = "a\0b" }, "'cwd'", "NUL")
    refused({ "true", stdout = "stdout" }, "'stdout'")
    refused({ "true", stderr = io.stderr }, "'stderr'", "a File or a Conn")
    refused({ "true", env = "A=1" }, "'env'", "table")
    refused({ "true", env = { ["A=B"] = 1 } }, "'env'", "A=B")
    refused({ "true", env = { A = {} } }, "variable 'A'")
    refused({ "true", input = 7 }, "'input'", "string")
    refused({ "true", input = "x", stdin = "null" }, "'input'")
    refused({ "true", max_output = -1 }, "'max_output'")
    refused({ "true", check = 1 }, "'check'", "boolean")
    refused({ "true", grace = -1 }, "'grace'")
    refused({ "true", uid = -1 }, "'uid'")
    refused({ "true", gid = "users" }, "'gid'")
  end))
end)

describe("a run that is cancelled", function()
  it("has not begun in a cancelled scope", with_path(function(path)
    neap.scope(function(scope)
      scope:cancel()
      local task = shell("echo $$ >" .. path)
      assert.equal("cancelled", task:status())
    end)
    await(neap.sleep(1))
    assert.equal("", support.slurp(path))
  end))

  it("ends the child, and is over when that is reaped", with_path(function(path)
    local task = shell("echo $$ >" .. path .. "; exec sleep 100")
    local pid = read_pid(path)
    assert.is_true(support.is_running(pid))
    task:cancel()
    h.raises("ECANCELLED", await, task)
    assert.is_false(support.is_known(pid))
  end))

  it("does so at a time limit", with_path(function(path)
    h.raises("ETIMEDOUT", neap.timeout, 60, function()
      await(shell("echo $$ >" .. path .. "; exec sleep 1000"))
    end)
    assert.is_false(support.is_known(read_pid(path)))
  end))

  it("ends all of the child's group", with_path(function(path)
    local task = shell("sleep 100 & echo $! >" .. path .. "; sleep 100")
    local pid = read_pid(path)
    task:cancel()
    h.raises("ECANCELLED", await, task)
    assert.is_false(support.is_running(pid))
  end))

  it("ends what is left of the group when the child itself has ended", with_path(function(path)
    local task = shell("sleep 100 & echo $! >" .. path) -- it has our pipes
    local pid = read_pid(path)
    await(neap.sleep(1))
    assert.equal("pending", task:status())
    task:cancel()
    h.raises("ECANCELLED", await, task)
    assert.is_false(support.is_running(pid))
  end))

  it("kills a child that does not end within the grace", with_path(function(path)
    local task = shell("trap '' TERM; echo $$ >" .. path .. "; sleep 100; sleep 100", { grace = 3 })
    local pid = read_pid(path)
    local elapsed = support.stopwatch()
    task:cancel()
    h.raises("ECANCELLED", await, task)
    assert.near(3, elapsed(), 0.1) -- it looks for the rest of the group afterwards
    assert.is_false(support.is_known(pid))
  end))

  it("kills what of the group does not end within the grace", with_path(function(path)
    local script = "(trap '' TERM; sleep 100; sleep 100) & echo $! >%s; exec sleep 100"
    local task = shell(script:format(path), { grace = 3 })
    local pid = read_pid(path)
    await(neap.sleep(0.1)) -- until the trap is set
    local elapsed = support.stopwatch()
    task:cancel()
    h.raises("ECANCELLED", await, task)
    assert.is_true(elapsed() >= 3 - 1e-6 and elapsed() < 4, elapsed())
    assert.is_false(support.is_running(pid))
  end))

  it("lets the child clean up", with_path_in_real_time(function(path)
    local script = "trap 'echo cleaned >%s; exit' TERM; echo $$ >%s; while :; do sleep 0.01; done"
    local task = shell(script:format(path, path))
    read_pid(path)
    task:cancel()
    h.raises("ECANCELLED", await, task)
    assert.equal("cleaned\n", support.slurp(path))
  end))

  it("is not hurried by a second cancellation", with_path(function(path)
    local task = shell("trap '' TERM; echo $$ >" .. path .. "; sleep 100; sleep 100", { grace = 3 })
    local pid = read_pid(path)
    task:cancel()
    await(neap.sleep(1))
    task:cancel()
    assert.equal("pending", task:status())
    assert.is_true(support.is_running(pid))
    h.raises("ECANCELLED", await, task)
    assert.is_false(support.is_known(pid))
  end))

  it("ends also while input is on its way", h.run(function()
    local task = run{ "sleep", "100", input = ("x"):rep(1 << 20) }
    await(neap.sleep(1))
    assert.equal("pending", task:status())
    task:cancel()
    h.raises("ECANCELLED", await, task)
  end))

  it("has its result when it has ended before", h.run(function()
    local task = run{ "echo", "x" }
    assert.equal("x\n", await(task).stdout)
    assert.is_false(task:cancel())
    assert.equal("x\n", task:result().stdout)
  end))

  it("leaves a detached child alone", with_path(function(path)
    local task = shell("echo $$ >" .. path .. "; exec sleep 100", { detached = true })
    local pid = read_pid(path)
    support.takes(0, function()
      task:cancel()
      h.raises("ECANCELLED", await, task)
    end)
    assert.is_true(support.is_running(pid))
    neap.process.kill(pid, "SIGKILL")
    while support.is_known(pid) do await(run{ "true" }) end -- reaped by the loop, some time
  end))

  it("leaves what the child has left behind when it has ended well", h.run(function()
    local result = await(shell("sleep 100 >/dev/null 2>&1 & echo $!"))
    local pid = tonumber(result.stdout)
    assert.is_true(support.is_running(pid))
    neap.process.kill(pid, "SIGKILL")
  end))
end)
