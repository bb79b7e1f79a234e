--- System calls that fail, one after the other, in rows of scenarios: what those specs share.
---
--- Each system call of a scenario fails in turn, with each error that a kernel may give it
--- (tools/faults). The scenario comes through, or it raises that error; nothing is lost, doubled or
--- left open; and the next attempt works. A new scenario is a new row in a spec.

local busted = require "busted"
local faults = require "faults"
local h = require "spec.helper"
local neap = require "neap"
local support = require "spec.support"
local testing = require "neap.testing"

local M = {}

-- Small, so that one byte at a time is bearable, and without a period that hides an exchange.
local WORDS = {}
for i = 1, 60 do WORDS[i] = ("%d;"):format(i * i) end
M.DATA = table.concat(WORDS)

local HARD = {
  "ENOMEM", "EMFILE", "ENFILE", "ENOBUFS", "EIO", "ENOSPC", "EDQUOT", "EFBIG", "EACCES", "EPERM",
  "ECONNRESET", "EPIPE", "ECONNABORTED", "ECONNREFUSED", "ETIMEDOUT", "EADDRINUSE", "ENOTCONN",
  "EAGAIN", "EXDEV", "EOPNOTSUPP",
}
local MOST_CALLS = 500
local MANY = 100 -- in the end the system recovers
local LIMIT = 10 -- seconds of real time, for what waits for ever

-- What resolving says for the errors that have a code of their own there.
local RESOLVER_CODES = { ENOMEM = "EAI_MEMORY", EAGAIN = "EAI_AGAIN" }
local RESOLVES = { getaddrinfo = true, getnameinfo = true }

local directory

--- A path in the temporary directory of this spec.
function M.at(name) return directory .. "/" .. name end

function M.expect(expected, actual)
  if expected == actual then return end
  error(("expected %q, got %q"):format(tostring(expected), tostring(actual)), 2)
end

local function make_directory() directory = support.temp_dir() end

local function remove_directory()
  faults.clear()
  support.remove_tree(directory)
end

local function run_limited(body)
  local ok, err = neap.try_for(LIMIT, body)
  if not ok and err == "timeout" then error("it waits for ever", 0) end
  if not ok then error(err, 0) end
end

--- Runs the body in a run of its own, under the faults that are set; gives its outcome and counts.
local function attempt(body)
  local ok, err = pcall(neap.run, run_limited, body)
  local counts = faults.count()
  faults.clear()
  return ok, err, counts
end

local function is_error_of(err, code, counts)
  if getmetatable(err) ~= getmetatable(neap.error("EINVAL", "a sample")) then return false end
  local expected = code
  if RESOLVES[counts.last] then expected = RESOLVER_CODES[code] or code end
  return err.code == expected
end

--- Where descriptors run out libuv lets the connections that wait go: their clients see that.
local function is_dropped(code, counts)
  return counts.last == "accept" and (code == "EMFILE" or code == "ENFILE")
end

local function check_error(err, code, counts, names_path)
  if is_dropped(code, counts) then return end
  if not is_error_of(err, code, counts) then error("it raised " .. tostring(err), 0) end
  if type(err.syscall) ~= "string" then error("no syscall in: " .. tostring(err), 0) end
  if names_path and not err.path then error("no path in: " .. tostring(err), 0) end
end

--- What is open and alive; compared after everything was collected.
local function count_open()
  local count = testing.count()
  count.descriptors = support.open_descriptors()
  return count
end

local function check_open(before)
  local now = count_open()
  for kind, n in pairs(before) do
    if now[kind] > n then error(("left: %d %s"):format(now[kind] - n, kind), 0) end
  end
end

--- One fault: the n-th call that may fail so does. Returns whether there was one. What fails as a
--- consequence (the other end, a close) is nobody's business.
local function survives(t, scenario, rule, before)
  local _, body, tolerated = table.unpack(scenario)
  local after = scenario.after
  faults.set(rule)
  local ok, err, counts = attempt(body)
  if not ok then t:take_unobserved() end
  local where = ("%s at call %d, %s: "):format(rule.errno, rule.nth, tostring(counts.last))
  local passed, problem = pcall(function()
    if rule.errno == "EINTR" then
      if not ok then error("it raised " .. tostring(err), 0) end
    elseif not ok then
      check_error(err, rule.errno, counts, tolerated)
    elseif tolerated and counts.last and not tolerated[counts.last] then
      error("nothing was raised", 0)
    end
    if after then after(counts) end
    ok, err = attempt(body)
    if not ok then error("the next attempt raised " .. tostring(err), 0) end
    check_open(before)
  end)
  if not passed then error(where .. tostring(problem), 0) end
  return counts.delivered > 0
end

local function sweep(t, scenario, errno, times)
  attempt(scenario[2]) -- what is opened once for all is open now
  local before = count_open()
  for n = 1, MOST_CALLS do
    local rule = { call = "any", nth = n, errno = errno, times = times }
    if not survives(t, scenario, rule, before) then return end
  end
  error("the sweep never came to an end", 0)
end

local function define_failures(scenario)
  busted.it(scenario[1] .. ", each of them once", h.plain(function(t)
    for _, errno in ipairs(HARD) do sweep(t, scenario, errno, 1) end
  end))

  busted.it(scenario[1] .. ", many in a row", h.plain(function(t)
    for _, errno in ipairs(HARD) do sweep(t, scenario, errno, MANY) end
  end))

  busted.it(scenario[1] .. ": an interruption is no failure", h.plain(function(t)
    sweep(t, scenario, "EINTR", 1)
  end))
end

local function define_short_counts(scenario)
  busted.it(scenario[1], h.plain(function()
    for _, size in ipairs{ 1, 2, 7 } do
      faults.set{ call = "reads", short = size, times = math.huge }
      faults.set{ call = "writes", short = size, times = math.huge }
      local ok, err = attempt(scenario[2])
      if not ok then error(("%d bytes at a time: %s"):format(size, tostring(err)), 0) end
    end
  end))
end

local function describe_each(title, scenarios, define)
  busted.describe(title, function()
    busted.before_each(make_directory)
    busted.after_each(remove_directory)
    for _, scenario in ipairs(scenarios) do define(scenario) end
  end)
end

--- Defines the specs. A scenario is { name, body, tolerated, after = fn }. `body` is a main task,
--- and can be run again and again. `tolerated`: where all errors name a path, the calls whose
--- failure may be without consequence. `after(counts)` looks at what
--- a fault has left.
function M.define(scenarios)
  describe_each("system calls that fail in", scenarios, define_failures)
  describe_each("short counts in", scenarios, define_short_counts)
end

return M
