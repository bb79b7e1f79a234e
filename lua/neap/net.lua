--- neap.net: TCP and Unix sockets. The operations are written in C; the types are in neap/types.
local check = require "neap.check"
local core = require "neap.core"
local semaphore = require "neap.semaphore"

local await = core.await

require "neap.tls" -- adds the option 'tls', and methods of connections

local M = {
  connect = core.net.connect,
  listen = core.net.listen,
  udp = core.udp,
}

-- How long to wait when the system cannot give a connection now: descriptors or memory are short.
local RETRY = 0.1

-- Accepting ends, as opposed to a connection that failed to come about. A cancelled token is told
-- by an error of its own.
local function has_ended(err)
  if core.is_cancel(err) then return true end
  return type(err) == "table" and (err.code == "ECLOSED" or err.code == "ECANCELLED")
end

--- A peer that does not speak holds up nobody but itself.
local function shake_hands(conn, limit)
  local is_done = core.try_for(limit, await, conn:handshake())
  if is_done then return end
  local host, port = conn:peer()
  error(core.error("ETIMEDOUT", "the TLS handshake took too long",
    { syscall = "handshake", address = port and ("%s:%d"):format(host, port) or host }), 0)
end

local function run_handler(self, accepted)
  local conn <close> = accepted
  if conn:is_tls() then shake_hands(conn, self.handshake_timeout) end
  self.handler(conn)
end

--- What became of a connection: its errors are nobody else's.
local function finish(self, task, conn, permit)
  if permit then permit:release() end
  if task:status() ~= "failed" then return end
  if self.on_error then self.on_error(task:error(), conn) else core.report(task:error(), task) end
end

local function start_handler(self, conn, permit)
  local task = core.start(run_handler, self, conn)
  task:on_done(function() finish(self, task, conn, permit) end)
end

--- A failure to accept is told and waited out: the next one may come about.
local function accept(self)
  while true do
    local ok, result = pcall(await, self.server:accept())
    if ok then return result end
    if has_ended(result) then error(result, 0) end
    core.background(self.on_error or core.report, result)
    await(core.sleep(RETRY))
  end
end

--- The next connection, left in `self`: what is accepted while this is cancelled is not lost.
local function take_next(self)
  self.permit = self.permits and await(self.permits:acquire())
  self.conn = accept(self)
end

--- Accepts until it is cancelled or the server is closed; then open connections have their grace.
--- They are behind a shield, so that only the accepting ends at once.
local function serve_until(self, token)
  local ok, err
  core.scope({ shield = true, name = "serve" }, function(scope)
    repeat
      ok, err = pcall(core.with_token, token, take_next, self)
      local conn = self.conn
      self.conn = nil
      if conn then start_handler(self, conn, self.permit) end
    until not ok
    await(self.server:close())
    if self.on_stop then self.on_stop() end
    scope:set_timeout(self.grace)
  end)
  if not has_ended(err) then error(err, 0) end
end

--- Options of `listen` that are wrong are the fault of who called `serve`.
local function listen(opts, self)
  local ok, result = pcall(M.listen, opts)
  if ok then return await(result) end
  self.refused = tostring(result):match("bad argument #1 to '[%w.]*listen' %((.*)%)$")
  error(result, 0)
end

local function serve(opts, self)
  local server <close> = opts.server or listen(opts, self)
  self.server = server
  if opts.on_listen then opts.on_listen(server) end
  core.scope(function(scope) serve_until(self, scope.token) end)
  core.checkpoint()
end

local function check_function(opts, name)
  local fn = opts[name]
  if fn == nil or check.is_callable(fn) then return fn end
  core.argument_error("serve", 1, ("option '%s': function expected, got %s"):format(
    name, core.type_name(fn)))
end

function M.serve(opts, handler)
  check.table(opts, "serve", 1)
  check.callable(handler, "serve", 2)
  local limit = check.limit(opts, "serve", 1)
  local grace = opts.grace == nil and 5 or opts.grace
  check.seconds(grace, "option 'grace'", "serve", 1)
  local handshake_timeout = opts.handshake_timeout == nil and 10 or opts.handshake_timeout
  check.seconds(handshake_timeout, "option 'handshake_timeout'", "serve", 1)
  check_function(opts, "on_listen")
  local self = {
    handler = handler,
    grace = grace,
    handshake_timeout = handshake_timeout,
    on_error = check_function(opts, "on_error"),
    on_stop = check_function(opts, "on_stop"),
    permits = limit < math.huge and semaphore.semaphore(limit) or nil,
  }
  local task = core.start(serve, opts, self)
  if self.refused and task:error() then core.argument_error("serve", 1, self.refused) end
  return task
end

return M
