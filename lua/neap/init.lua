--- neap: C#'s async and await for Lua 5.4.
---
--- ```lua
--- local neap = require "neap"
--- local async, await = neap.async, neap.await
--- ```
local core = require "neap.core"
local defer = require "neap.defer"
local main = require "neap.main"
local ticker = require "neap.ticker"

---@class neap
local M = {
  -- functions and tasks
  async = core.async,
  await = core.await,
  start = core.start,
  background = core.background,
  yield = core.yield,
  settle = core.settle,
  wait_for = core.wait_for,
  flatten = core.flatten,
  completed = core.completed,
  failed = core.failed,
  cancelled = core.cancelled,
  completion = core.completion,
  all = core.all,
  all_packed = core.all_packed,
  any = core.any,

  -- program
  run = core.run,
  main = main.main,
  sleep = core.sleep,
  now = core.now,
  every = ticker.every,

  -- scopes: ownership, cancellation, deadline
  scope = core.scope,
  timeout = core.timeout,
  try_for = core.try_for,
  group = core.group,
  deadline = core.deadline,
  shield = core.shield,
  defer = defer.defer,
  checkpoint = core.checkpoint,
  is_cancelling = core.is_cancelling,
  effective_deadline = core.effective_deadline,
  pcall = core.pcall,
  xpcall = core.xpcall,
  is_cancel = core.is_cancel,

  -- I/O
  fs = require "neap.fs",
  net = require "neap.net",

  -- diagnostics
  error = core.error,
  on_unobserved = core.on_unobserved,
  on_warning = core.on_warning,
  dump = main.dump,
  test_clock = core.test_clock,
  version = core.version,
}

return M
