--- How the sockets of neap.compat.socket wait: limits of time as LuaSocket counts them, and its
--- texts for errors.
local core = require "neap.core"

local M = {}

-- The loop looks at the system once in so many turns of its tasks (NEAP__TURNS_PER_POLL), at least.
local TURNS_OF_A_POLL = 33

-- Limits. A negative number is none, as in LuaSocket.

---@return table limits `block` and `total`, in seconds
function M.new_limits()
  return { block = -1, total = -1 }
end

function M.set_limit(limits, value, mode)
  value = value == nil and -1 or tonumber(value)
  if not value then core.argument_error("settimeout", 1, "number expected") end
  local kind = tostring(mode or "b"):sub(1, 1)
  if kind == "b" then
    limits.block = value
  elseif kind == "t" or kind == "r" then
    limits.total = value
  else
    core.argument_error("settimeout", 2, "invalid timeout mode")
  end
  return 1
end

--- How long a wait may take now in a call that began at `start`. LuaSocket counts "b" from there,
--- too, unless there is a total.
function M.time_left(limits, start)
  local block, total = limits.block, limits.total
  if block < 0 and total < 0 then return math.huge end
  local elapsed = core.now() - start
  if total < 0 then return math.max(block - elapsed, 0) end
  local rest = math.max(total - elapsed, 0)
  return block < 0 and rest or math.min(block, rest)
end

-- Waiting.

--- Nothing is started where it could not be awaited, nor in a cancelled scope.
function M.check_task(what)
  if not core.current() then
    core.misuse(what .. " outside a task: call it in neap.run(fn) or an async function")
  end
  core.checkpoint()
end

--- What the system has already gets the chance to arrive; time does not pass.
local function poll(task)
  for _ = 1, TURNS_OF_A_POLL do
    core.await(core.yield())
    if task:is_done() then return true end
  end
  return false
end

local function await_within(task, seconds)
  if seconds <= 0 then return poll(task) end
  core.await(seconds < math.huge and core.wait_for(task, seconds) or task)
  return true
end

--- Waits until the Task has ended, in whatever way. False: the time was over before. What is raised
--- is about the caller, Cancelled for one; the Task is then cancelled, unless it has ended.
function M.wait(task, seconds)
  if task:is_done() then
    if task:status() == "cancelled" then core.checkpoint() end
    return true
  end
  local ok, result = pcall(await_within, task, seconds)
  if ok then return result end
  if not core.is_cancel(result) then
    if task:is_done() then return true end
    if type(result) == "table" and result.code == "ETIMEDOUT" then return false end
  end
  task:cancel("the caller waits no more")
  error(result, 0)
end

local function nothing() end

--- Its error is nobody's.
function M.ignore(task)
  task:on_done(nothing)
end

-- Errors.

local TEXTS = {
  ECANCELLED = "closed",
  ECLOSED = "closed",
  ECONNABORTED = "closed",
  ECONNRESET = "closed",
  EOF = "closed",
  EPIPE = "closed",
  EACCES = "permission denied",
  EADDRINUSE = "address already in use",
  ECONNREFUSED = "connection refused",
  EISCONN = "already connected",
  ETIMEDOUT = "timeout",
  EAI_ADDRFAMILY = "Address family for hostname not supported",
  EAI_AGAIN = "temporary failure in name resolution",
  EAI_FAIL = "non-recoverable failure in name resolution",
  EAI_FAMILY = "ai_family not supported",
  EAI_MEMORY = "memory allocation failure",
  EAI_NODATA = "No address associated with hostname",
  EAI_NONAME = "host or service not provided, or not known",
  -- where the C library says it in other words than libuv
  EADDRNOTAVAIL = "Cannot assign requested address",
  EHOSTUNREACH = "No route to host",
  EMSGSIZE = "Message too long",
  ENOTCONN = "Transport endpoint is not connected",
}

--- LuaSocket's text for an error of neap; what is none of neap's is raised again.
function M.text_of(err)
  if type(err) ~= "table" or type(err.code) ~= "string" or err.code == "EMISUSE" then
    error(err, 0)
  end
  local text = TEXTS[err.code]
  if text then return text end
  return (tostring(err.message):gsub("^%l", string.upper))
end

--- The outcome of a Task that has ended: true and its first result, or nil and the text.
function M.outcome(task)
  local ok, result = pcall(task.result, task)
  if ok then return true, result end
  return nil, M.text_of(result), result
end

--- Waits for it without a limit: its first result, or nil and the text.
function M.result_of(task)
  M.wait(task, math.huge)
  local ok, result = M.outcome(task)
  if ok then return result end
  return nil, result
end

--- fn(...), or nil and the text of what it raises.
function M.call(fn, ...)
  local results = table.pack(pcall(fn, ...))
  if results[1] then return table.unpack(results, 2, results.n) end
  return nil, M.text_of(results[2])
end

-- Arguments.

--- An integer from 0 to 65535, also as a string; nil and LuaSocket's text otherwise.
function M.read_port(port, name, index)
  if port == nil then core.argument_error(name, index, "a port expected") end
  local n = math.tointeger(tonumber(port))
  if n and n >= 0 and n <= 65535 then return n end
  return nil, "service not supported for socket type"
end

function M.check_string(x, name, index)
  if type(x) == "string" then return x end
  if type(x) == "number" then return tostring(x) end
  core.argument_error(name, index, "string expected, got " .. core.type_name(x))
end

--- `level` 3 is who called the method that asks.
function M.check_class(self, class, method)
  if self.class == class then return end
  error(("calling '%s' on bad self (%s expected)"):format(method, class), 3)
end

return M
