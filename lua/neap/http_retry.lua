--- neap.http: trying again, with pauses that grow and are drawn, or that the server asks for.
local check = require "neap.check"
local core = require "neap.core"

local await = core.await

local M = {}

local STATUSES = { [408] = true, [429] = true, [500] = true, [502] = true, [503] = true,
  [504] = true }
local METHODS = { GET = true, HEAD = true, OPTIONS = true, PUT = true, DELETE = true, TRACE = true }
local CODES = { ECONNREFUSED = true, ECONNRESET = true, ECONNABORTED = true, EPIPE = true,
  ETIMEDOUT = true, ERESOLVE = true, EHOSTUNREACH = true, ENETUNREACH = true, ENETDOWN = true }

local function to_set(list, what, option, index)
  if type(list) ~= "table" then
    core.argument_error(what, index, ("option '%s': table expected, got %s"):format(
      option, core.type_name(list)))
  end
  local set = {}
  for _, each in ipairs(list) do set[each] = true end
  return set
end

local function check_callback(opts, option, what, index)
  if opts[option] == nil or check.is_callable(opts[option]) then return opts[option] end
  core.argument_error(what, index, ("option '%s': function expected, got %s"):format(
    option, core.type_name(opts[option])))
end

local KNOWN = { attempts = true, delay = true, max_delay = true, statuses = true, methods = true,
  random = true, on_retry = true }

local function refuse(what, index, message)
  core.argument_error(what, index, (what == "retry" and "" or "option 'retry': ") .. message)
end

local function attempts_of(opts, what, index)
  local attempts = opts.attempts
  if attempts == nil then return 3 end
  local n = type(attempts) == "number" and math.tointeger(attempts)
  if n and n >= 1 then return n end
  local got = type(attempts) == "number" and tostring(attempts) or core.type_name(attempts)
  refuse(what, index, "attempts: an integer of 1 or more expected, got " .. got)
end

--- A policy from a number of attempts, a table, or true.
function M.policy(opts, what, index)
  if opts == true then opts = {} end
  if type(opts) == "number" then opts = { attempts = opts } end
  if type(opts) ~= "table" then
    refuse(what, index, "a number of attempts, a table or true expected, got "
      .. core.type_name(opts))
  end
  for name in pairs(opts) do
    if not KNOWN[name] then
      core.argument_error(what, index, ("option 'retry': there is no '%s'"):format(tostring(name)))
    end
  end
  local policy = {
    attempts = attempts_of(opts, what, index),
    delay = opts.delay or 0.5,
    max_delay = opts.max_delay or 30,
    statuses = opts.statuses and to_set(opts.statuses, what, "statuses", index) or STATUSES,
    methods = opts.methods and to_set(opts.methods, what, "methods", index) or METHODS,
    random = check_callback(opts, "random", what, index) or math.random,
    on_retry = check_callback(opts, "on_retry", what, index),
  }
  check.seconds(policy.delay, "option 'delay'", what, index)
  check.seconds(policy.max_delay, "option 'max_delay'", what, index)
  return policy
end

--- What Retry-After says, in seconds: a number, or a date, which counts from the date of the
--- response.
local function told_delay(res)
  local text = res.headers["retry-after"]
  if not text then return nil end
  local seconds = tonumber(text:match("^%d+$"))
  if seconds then return seconds end
  local native = require "neap.http_client_driver"
  local date, now = native.date(text), res.headers.date and native.date(res.headers.date)
  return date and math.max(0, date - (now or os.time()))
end

--- Full jitter: from none at all to twice as much as the last time.
local function drawn_delay(policy, attempt)
  return policy.random() * math.min(policy.max_delay, policy.delay * 2.0 ^ (attempt - 1))
end

--- How long to wait before the next attempt; nil: this was the last one.
local function next_delay(policy, attempt, ok, result)
  if attempt >= policy.attempts then return nil end
  if not ok then
    local code = type(result) == "table" and result.code
    return CODES[code] and drawn_delay(policy, attempt) or nil
  end
  if not policy.statuses[result.status] then return nil end
  local told = told_delay(result)
  if told and told > policy.max_delay then return nil end -- it is told so in vain
  return told or drawn_delay(policy, attempt)
end

--- fn(attempt) gives a response; it is called again while what comes is worth it.
local function run(policy, fn)
  for attempt = 1, policy.attempts do
    local ok, result = core.pcall(fn, attempt)
    local delay = next_delay(policy, attempt, ok, result)
    if not delay then
      if ok then return result end
      error(result, 0)
    end
    if policy.on_retry then policy.on_retry(attempt, result, delay) end
    if ok then result:close() end
    await(core.sleep(delay))
  end
end

M.run = core.async(run)

--- Calls fn(attempt) until it gives a response that is none of those to be retried, and no error
--- of the
--- network.
---@param fn fun(attempt: integer): neap.http.Response
---@param opts? integer | neap.http.Retry
---@return neap.Task # of the response
---@nodiscard
function M.retry(fn, opts)
  check.callable(fn, "retry", 1)
  local policy = M.policy(opts == nil and true or opts, "retry", 2)
  return M.run(policy, fn)
end

return M
