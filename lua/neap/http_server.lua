--- neap.http.serve: HTTP/1.1 over neap.net.serve. Parsing and answering are written in C.
local check = require "neap.check"
local core = require "neap.core"
local json = require "neap.json"
local net = require "neap.net"

local await = core.await

--- The driver, or an error that tells what is missing.
local function load_driver()
  local ok, driver = pcall(require, "neap.http_server_driver")
  if ok then return driver end
  error("neap.http.serve is not built in: install llhttp (Debian's package node-llhttp) and build"
    .. " neap again\n" .. tostring(driver), 0)
end

local driver = load_driver()

local M = { driver = driver }

-- Requests.

local Request = driver.request_methods

--- The rest of the body as a string.
function Request:text(max) return self:read_all(max) end

local function read_json(self, max) return json.decode(await(self:read_all(max))) end

--- The rest of the body, which is JSON, as a value.
function Request:json(max) return core.start(read_json, self, max) end

-- Connections with TLS by their key, which is theirs as long as there is the Conn.
local secure = setmetatable({}, { __mode = "v" })

--- As conn:tls(); nil without TLS.
function Request:tls()
  local conn = secure[driver.key(self)]
  return conn and conn:tls()
end

-- Responses.

local Response = driver.response_methods

local function set_type(res, kind)
  if not res:header("Content-Type") then res:header("Content-Type", kind) end
end

--- res:json(value), res:json(status, value)
function Response:json(...)
  local status, value = self.status or 200, (...)
  if select("#", ...) > 1 then status, value = ... end
  local text = json.encode(value)
  set_type(self, "application/json")
  self:send(status, text)
end

function Response:redirect(location, status)
  if type(location) ~= "string" or location:find("%c") then
    core.argument_error("redirect", 1, "a location expected: a string without control characters")
  end
  self:header("Location", location)
  self:send(status or 302)
end

function Response:file(path, opts)
  return require("neap.http_files").send(self, path, opts)
end

-- What a handler has returned and C does not know: a status alone, tables, Tasks, headers.

local function is_status(x) return math.type(x) == "integer" and x >= 200 and x <= 599 end

local function set_headers(res, headers)
  for name, value in pairs(headers) do
    if type(value) == "table" then
      res:header(name, nil)
      for _, one in ipairs(value) do res:add_header(name, one) end
    else
      res:header(name, tostring(value))
    end
  end
end

local function is_task(x) return core.type_name(x) == "neap.Task" end

local function refuse(what)
  error(core.error("EMISUSE", "the handler has returned what is no response: " .. what
    .. "; it returns a status from 200 to 599, a body (a string, or a table for JSON), headers"), 0)
end

local respond

local function respond_with(res, status, body, headers)
  if headers ~= nil then
    check.table(headers, "handler", 3)
    set_headers(res, headers)
  end
  if type(body) == "table" then
    res:json(status or res.status or 200, body)
  elseif type(body) == "string" or type(body) == "number" then
    res:send(status or res.status or 200, tostring(body))
  elseif body == nil then
    res:send(status, headers == nil and driver.reason(status) or "")
  else
    refuse("a body of type " .. core.type_name(body))
  end
end

function respond(res, first, ...)
  if res.is_sent then return end
  if is_task(first) then return respond(res, await(first)) end
  if is_status(first) then return respond_with(res, first, ...) end
  if math.type(first) == "integer" then refuse("the status " .. first) end
  if first ~= nil then return respond_with(res, nil, first, ...) end
end

-- Serving.

local function check_handler(opts, handler)
  if handler == nil then handler = opts.handler end
  if check.is_callable(handler) then return handler end
  core.argument_error("serve", 1, "option 'handler': function expected, got "
    .. core.type_name(handler))
end

--- The protocol is told to those who ask; and it has lengths, so that who just leaves cuts nothing.
local function tls_options(tls)
  if type(tls) ~= "table" or tls.context ~= nil then return tls end
  local all = { alpn = { "http/1.1", "http/1.0" }, allow_truncated = true }
  for name, value in pairs(tls) do all[name] = value end
  return all
end

--- `opts` with the address where there is none, and what the connections need.
local function listen_options(opts, server)
  local all = {}
  for name, value in pairs(opts) do all[name] = value end
  all.tls = tls_options(opts.tls)
  if not opts.path then all.host = opts.host or "127.0.0.1" end
  all.on_stop = function()
    server:stop()
    if opts.on_stop then opts.on_stop() end
  end
  return all
end

--- Errors of handlers; those of connections come from neap.net.serve.
local function failure(on_error)
  return function(err, task, req)
    if on_error then on_error(err, req) else core.report(err, task) end
  end
end

--- Options that are wrong are the fault of who called `serve`.
local function new_server(opts, handler)
  local ok, server = pcall(driver.server, opts, handler, respond, failure(opts.on_error))
  if ok then return server end
  core.argument_error("serve", 1,
    tostring(server):match("bad argument #1 to '[%w.?]*' %((.*)%)$") or tostring(server))
end

---@async
function M.serve(opts, handler)
  check.table(opts, "serve", 1)
  handler = check_handler(opts, handler)
  local server = new_server(opts, handler)
  local function handle(conn)
    if conn:is_tls() then secure[driver.key(conn)] = conn end
    await(driver.serve(conn, server))
  end
  return net.serve(listen_options(opts, server), handle)
end

return M
