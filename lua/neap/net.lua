--- neap.net: TCP and Unix sockets. The operations are written in C; the types are in neap/types.
local check = require "neap.check"
local core = require "neap.core"
local semaphore = require "neap.semaphore"

local await = core.await

local M = {
  connect = core.net.connect,
  listen = core.net.listen,
}

-- How long to wait when the system cannot give a connection now: descriptors or memory are short.
local RETRY = 0.1

-- A server that ends of itself, as opposed to a connection that failed to come about.
local function has_ended(server, err)
  return server:is_closed() or core.is_cancel(err)
end

local function report(self, err, conn, task)
  if self.on_error then self.on_error(err, conn) else core.report(err, task) end
end

local function run_handler(handler, accepted)
  local conn <close> = accepted
  handler(conn)
end

--- What became of a connection: its errors are nobody else's.
local function finish(self, task, conn, permit)
  if permit then permit:release() end
  if task:status() == "failed" then report(self, task:error(), conn, task) end
end

local function start_handler(self, conn, permit)
  local task = core.start(run_handler, self.handler, conn)
  task:on_done(function() finish(self, task, conn, permit) end)
end

--- A failure to accept is told and waited out: the next one may come about.
local function accept(self)
  while true do
    local ok, result = pcall(await, self.server:accept())
    if ok then return result end
    if has_ended(self.server, result) then error(result, 0) end
    report(self, result)
    await(core.sleep(RETRY))
  end
end

local function next_connection(self)
  local permit = self.permits and await(self.permits:acquire())
  return accept(self), permit
end

--- Only the accepting is under the token: what is started outside of it goes on.
local function accept_all(self, token)
  while true do start_handler(self, core.with_token(token, next_connection, self)) end
end

--- Accepts until it is cancelled or the server is closed; then open connections have their grace.
--- They are behind a shield, so that only the accepting ends at once.
local function serve_until(self, token)
  local ok, err
  core.scope({ shield = true, name = "serve" }, function(scope)
    ok, err = pcall(accept_all, self, token)
    await(self.server:close())
    scope:set_timeout(self.grace)
  end)
  if not ok and err.code ~= "ECLOSED" and err.code ~= "ECANCELLED" then error(err, 0) end
end

local function serve(opts, self)
  local server <close> = opts.server or await(M.listen(opts))
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
  check_function(opts, "on_listen")
  return core.start(serve, opts, {
    handler = handler,
    grace = grace,
    on_error = check_function(opts, "on_error"),
    permits = limit < math.huge and semaphore.semaphore(limit) or nil,
  })
end

return M
