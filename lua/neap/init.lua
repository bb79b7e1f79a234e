--- neap: C#'s async and await for Lua 5.4.
---
--- ```lua
--- local neap = require "neap"
--- local async, await = neap.async, neap.await
--- ```
local callback = require "neap.callback"
local combine = require "neap.combine"
local core = require "neap.core"
local defer = require "neap.defer"
local event = require "neap.event"
local lazy = require "neap.lazy"
local localvar = require "neap.localvar"
local main = require "neap.main"
local mutex = require "neap.mutex"
local progress = require "neap.progress"
local semaphore = require "neap.semaphore"
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
  from_callback = callback.from_callback,
  wrap = callback.wrap,

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
  canceller = core.canceller,
  link = core.link,
  with_token = core.with_token,

  -- combinators
  all = core.all,
  all_packed = core.all_packed,
  any = core.any,
  each = combine.each,
  race = combine.race,
  map = combine.map,
  for_each = combine.for_each,

  -- coordination
  channel = core.channel,
  semaphore = semaphore.semaphore,
  mutex = mutex.mutex,
  event = event.event,
  condition = mutex.condition,
  stream = core.stream,
  localvar = localvar.localvar,
  progress = progress.progress,

  -- I/O
  buffer = core.buffer,
  fs = require "neap.fs",
  net = require "neap.net",
  tls = require "neap.tls",
  dns = require "neap.dns",
  signal = require "neap.signal",
  stdio = require "neap.stdio",

  -- diagnostics
  error = core.error,
  on_unobserved = core.on_unobserved,
  on_warning = core.on_warning,
  dump = main.dump,
  test_clock = core.test_clock,
  version = core.version,
}

-- Threads, and what stands on libraries of its own: half of the time that loading all of it takes.
return lazy.names(M, "neap", {
  serve_cores = "neap.cores",
  luv = "neap.luv",
}, {
  worker = "neap.worker",
  parallel = "neap.parallel",
  process = "neap.process",
  http = "neap.http",
  sqlite = "neap.sqlite",
  websocket = "neap.websocket",
})
