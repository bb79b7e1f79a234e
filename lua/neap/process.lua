--- neap.process: child processes. Spawning and ending them is written in C.
local check = require "neap.check"
local core = require "neap.core"

local await = core.await
local native = core.process

local M = { kill = native.kill }

local MAX_OUTPUT = 64 * 1024 * 1024
local MAX_ID = 0x7fffffff

-- What a child is told: options, checked, as the C side wants them.

local function refuse(name, option, expected, value)
  core.argument_error(name, 1, ("option '%s': %s expected, got %s"):format(
    option, expected, core.type_name(value)))
end

local function has_nul(text)
  return text:find("\0", 1, true) ~= nil
end

--- A string without NUL bytes, which the system would cut off; numbers are written out.
local function to_text(value, what, name)
  if type(value) == "number" then return tostring(value) end
  if type(value) ~= "string" then
    core.argument_error(name, 1, ("%s: string expected, got %s"):format(
      what, core.type_name(value)))
  end
  if has_nul(value) then
    core.argument_error(name, 1, what .. ": the string contains a NUL byte")
  end
  return value
end

local function arguments(opts, name)
  local args = {}
  for i = 1, math.max(#opts, 1) do
    args[i] = to_text(opts[i], i == 1 and "the command" or "argument " .. i - 1, name)
  end
  if args[1] == "" then core.argument_error(name, 1, "the command is empty") end
  return args
end

--- The list "NAME=value", or nil for the parent's own environment.
local function environment(opts, name)
  if opts.env == nil and not opts.clear_env then return nil end
  if opts.env ~= nil and type(opts.env) ~= "table" then
    refuse(name, "env", "a table", opts.env)
  end
  local merged = opts.clear_env and {} or native.environ()
  for key, value in pairs(opts.env or {}) do
    local variable = to_text(key, "a name in option 'env'", name)
    if variable == "" or variable:find("=", 1, true) then
      core.argument_error(name, 1, "option 'env': no name of a variable: '" .. variable .. "'")
    end
    merged[variable] = value and to_text(value, ("variable '%s'"):format(variable), name) or nil
  end
  local list = {}
  for variable, value in pairs(merged) do list[#list + 1] = variable .. "=" .. value end
  table.sort(list)
  return list
end

local STREAM_WORDS = { pipe = true, inherit = true, null = true }
local STREAM_CLASSES = { ["neap.File"] = true, ["neap.Conn"] = true, ["neap.Tty"] = true }

local function stream(opts, option, default, name)
  local value = opts[option]
  if value == nil then return default end
  if STREAM_WORDS[value] or (option == "stderr" and value == "stdout") then return value end
  if type(value) == "userdata" and STREAM_CLASSES[core.type_name(value)] then return value end
  local words = "'pipe', 'inherit', 'null'" .. (option == "stderr" and ", 'stdout'" or "")
  refuse(name, option, words .. ", a File or a Conn", value)
end

local function boolean(opts, option, default, name)
  local value = opts[option]
  if value == nil then return default end
  if type(value) ~= "boolean" then refuse(name, option, "a boolean", value) end
  return value
end

local function id(opts, option, name)
  local value = opts[option]
  if value == nil then return nil end
  local n = math.type(value) == "integer" and value
  if not n or n < 0 or n > MAX_ID then refuse(name, option, "an integer of 0 or more", value) end
  return n
end

local function grace(opts, name)
  if opts.grace == nil then return nil end
  check.seconds(opts.grace, "option 'grace'", name, 1)
  return opts.grace
end

--- `default`: the standard streams that are not told, and whether it gets a group of its own.
local function command(opts, default, name)
  check.table(opts, name, 1)
  return {
    args = arguments(opts, name),
    env = environment(opts, name),
    cwd = opts.cwd ~= nil and to_text(opts.cwd, "option 'cwd'", name) or nil,
    stdin = stream(opts, "stdin", default.stdin, name),
    stdout = stream(opts, "stdout", "pipe", name),
    stderr = stream(opts, "stderr", "pipe", name),
    group = boolean(opts, "group", default.group, name),
    detached = boolean(opts, "detached", false, name),
    grace = grace(opts, name),
    uid = id(opts, "uid", name),
    gid = id(opts, "gid", name),
  }
end

function M.spawn(opts)
  return native.spawn(command(opts, { stdin = "pipe", group = false }, "spawn"))
end

-- Running to the end.

--- A child that does not read all of its input is within its rights.
local function feed(stdin, input)
  local ok, err = core.pcall(await, stdin:write(input))
  await(stdin:close())
  if not ok and err.code ~= "EPIPE" then error(err, 0) end
end

local function collect(self, name, conn)
  local ok, output = core.pcall(await, conn:read_all(self.max_output))
  if not ok and output.code == "ETOOLARGE" then
    output = core.error("ETOOLARGE", ("more than %d bytes of %s, see option 'max_output'"):format(
      self.max_output, name), { syscall = "run", path = self.command.args[1] })
  end
  if not ok then error(output, 0) end
  self.result[name] = output
end

--- Feeds it, takes what it writes, and waits for both ends of that, and for its own.
local function attend(self, process, group)
  local feeding = process.stdin and group:spawn(feed, process.stdin, self.input)
  local readers = {}
  for _, name in ipairs{"stdout", "stderr"} do
    local conn = process[name]
    if conn then readers[#readers + 1] = group:spawn(collect, self, name, conn) end
  end
  local result = self.result
  result.code, result.signal = await(process:wait())
  for _, reader in ipairs(readers) do await(core.settle(reader)) end -- the group raises its error
  if feeding then feeding:cancel() end
end

local function last_line(text)
  local line = text and text:match("([^\n]+)\n*$")
  return line and ": " .. line or ""
end

local function raise_exit(path, result)
  local how = result.signal and "ended by " .. result.signal or "exit code " .. result.code
  error(core.error("EEXIT", how .. last_line(result.stderr), {
    syscall = "run",
    path = path,
    exit_code = result.code,
    signal = result.signal,
    stdout = result.stdout,
    stderr = result.stderr,
  }), 0)
end

local function run(self)
  local process <close> = await(native.spawn(self.command))
  core.group(function(group) attend(self, process, group) end)
  native.release(process)
  if self.check and self.result.code ~= 0 then raise_exit(self.command.args[1], self.result) end
  return self.result
end

--- What the child reads is what is in a Buffer now, whatever becomes of that.
local function input(opts)
  local text = opts.input
  if text == nil then return "" end
  local is_buffer = core.type_name(text) == "neap.Buffer"
  if type(text) ~= "string" and not is_buffer then
    refuse("run", "input", "a string or a Buffer", text)
  end
  if opts.stdin ~= nil and opts.stdin ~= "pipe" then
    core.argument_error("run", 1, "option 'input' goes to a pipe: option 'stdin' is something else")
  end
  if not is_buffer then return text end
  return text:is_writable() and text:string() or text:slice()
end

local function max_output(opts)
  local max = opts.max_output
  if max == nil then return MAX_OUTPUT end
  if math.type(max) ~= "integer" or max < 0 then
    refuse("run", "max_output", "an integer of 0 or more", max)
  end
  return max
end

function M.run(opts)
  check.table(opts, "run", 1)
  local stdin = opts.input ~= nil and "pipe" or "null"
  return core.start(run, {
    command = command(opts, { stdin = stdin, group = true }, "run"),
    input = input(opts),
    max_output = max_output(opts),
    check = boolean(opts, "check", false, "run"),
    result = {},
  })
end

return M
