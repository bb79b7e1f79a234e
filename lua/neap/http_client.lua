--- neap.http: the client. libcurl's part is written in C (core/drivers/http_client*.c); here are
--- the options.
local bodies = require "neap.http_body"
local check = require "neap.check"
local core = require "neap.core"
local headers = require "neap.http_headers"
local response = require "neap.http_response"
local retry = require "neap.http_retry"

local await = core.await

local function load_driver()
  local ok, driver = pcall(require, "neap.http_client_driver")
  if ok then return driver end
  local is_missing = tostring(driver):find("module 'neap.http_client_driver' not found", 1, true)
  if not is_missing then error(driver, 0) end
  error("neap.http: the client was not built, since libcurl was not found "
    .. "(Debian: libcurl4-openssl-dev)", 0)
end

local native = load_driver()
native.set_response(response.Response)

local M = { retry = retry.retry }

-- Options: of connections and the like, which are told to libcurl once; of a client; of a request.

local SETTINGS = { proxy = true, no_proxy = true, ca_file = true, ca_path = true, cert = true,
  key = true,
  key_password = true, auth = true, unix_socket = true, resolve = true, http = true,
  max_redirects = true, verify = true, compression = true, connect_timeout = true,
    idle_timeout = true }
local CLIENT = { base_url = true, user_agent = true, max_connections = true,
  max_host_connections = true, cookies = true }
local REQUEST = { method = true, url = true, query = true, body = true, form = true, json = true,
  multipart = true, length = true }
local SHARED = { headers = true, stream = true, max_body = true, retry = true }

-- What libcurl sends by itself costs more than the same line when it is given it.
local ENCODINGS = native.features().encodings
local ACCEPT_ENCODING = ENCODINGS ~= "" and { "Accept-Encoding", { ENCODINGS } } or nil
local USER_AGENT = "neap/" .. core.version

--- What is sent where nobody says something else.
local function default_headers(opts)
  local map = { ["user-agent"] = { "User-Agent", { opts.user_agent or USER_AGENT } } }
  if opts.compression ~= false then map["accept-encoding"] = ACCEPT_ENCODING end
  return map
end

local PROXIES = { "http_proxy", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY" }

--- Where the environment names no proxy libcurl need not look for one at each request.
local function has_proxy()
  for _, name in ipairs(PROXIES) do
    if os.getenv(name) then return true end
  end
  return false
end

local function check_names(opts, what, index, own)
  check.table(opts, what, index)
  for name in pairs(opts) do
    if not (SETTINGS[name] or SHARED[name] or own[name]) then
      local hint = name == "timeout"
        and ": use neap.timeout around it, 'connect_timeout' or 'idle_timeout'"
      core.argument_error(what, index, ("there is no option '%s'%s"):format(tostring(name), hint
        or ""))
    end
  end
end

local function refuse(what, index, option, expected, value)
  core.argument_error(what, index, ("option '%s': %s expected, got %s"):format(
    option, expected, core.type_name(value)))
end

--- { ["host:port"] = address } as libcurl's lines.
local function resolve_lines(map, what, index)
  if map == nil then return nil end
  if type(map) ~= "table" then refuse(what, index, "resolve", "a table", map) end
  local lines = {}
  for name, address in pairs(map) do
    if type(name) ~= "string" or not name:find("^[^:]+:%d+$") or type(address) ~= "string" then
      refuse(what, index, "resolve", '["host:port"] = "address"', address)
    end
    lines[#lines + 1] = name .. ":" .. address
  end
  return lines
end

local function credentials(auth, what, index)
  if auth == nil then return nil, nil end
  if type(auth) ~= "table" or type(auth[1]) ~= "string" or type(auth[2]) ~= "string" then
    refuse(what, index, "auth", "{user, password}", auth)
  end
  return auth[1], auth[2]
end

--- What is wrong in the eyes of C is the fault of whoever called `what`.
local function native_call(what, index, fn, ...)
  local ok, result = pcall(fn, ...)
  if ok then return result end
  local message = tostring(result):match("bad argument #%d+ to '[%w_.?]*' %((.*)%)$")
  if message then core.argument_error(what, index, message) end
  error(result, 0)
end

--- The settings that the options of a client and of a request say together; `lines`: default
--- headers.
local function new_settings(opts, lines, what, index)
  local all = { headers = lines }
  for name in pairs(SETTINGS) do all[name] = opts[name] end
  if all.proxy == false or (all.proxy == nil and not has_proxy()) then all.proxy = "" end
  all.resolve = resolve_lines(opts.resolve, what, index)
  all.user, all.password = credentials(opts.auth, what, index)
  return native_call(what, index, native.settings, all)
end

-- A request: from its options to what C is told.

local function overlay(base, opts)
  local merged = {}
  for name in pairs(SETTINGS) do
    merged[name] = opts[name]
    if merged[name] == nil then merged[name] = base[name] end
  end
  return merged
end

local function has_settings(opts)
  for name in pairs(opts) do
    if SETTINGS[name] then return true end
  end
  return false
end

local function settings_of(self, opts, what)
  if not has_settings(opts) then return nil end
  return new_settings(overlay(self.opts, opts), self.lines, what, 2)
end

local function either(opts, base, name)
  local value = opts[name]
  if value == nil then return base[name] end
  return value
end

local function check_boolean(value, option, what, index)
  if value ~= nil and type(value) ~= "boolean" then refuse(what, index, option, "a boolean",
    value) end
  return value
end

local function check_size(value, option, what, index)
  if value == nil then return nil end
  local size = math.type(value) == "integer" and value or nil
  if value == math.huge then size = math.maxinteger end
  if not size or size < 0 then refuse(what, index, option, "an integer of 0 or more", value) end
  return size
end

local function full_url(self, url, what, index)
  if type(url) ~= "string" then
    core.argument_error(what, index, "string expected, got " .. core.type_name(url))
  elseif url:find("\0", 1, true) then
    core.argument_error(what, index, "the URL contains a NUL byte")
  end
  if url:find("^%a[%w+.-]*://") then return url end
  local base = self.opts.base_url
  if not base then core.argument_error(what, index, "an absolute URL expected, got '" .. url
    .. "'") end
  if url == "" then return base end
  return base:gsub("/*$", "", 1) .. "/" .. url:gsub("^/+", "", 1)
end

local function with_query(url, query, what)
  if query == nil then return url end
  local text = bodies.encode_pairs(query, what, "query")
  local before, fragment = url:match("^([^#]*)(.*)$")
  if text == "" then return url end
  return before .. (before:find("?", 1, true) and "&" or "?") .. text .. fragment
end

local METHODS_WITH_BODY = { POST = true, PUT = true, PATCH = true }

--- libcurl gives a body a type of its own unless it is told another one, or none.
local function add_type(map, kind)
  if map["content-type"] == nil then map["content-type"] = { "Content-Type", kind and { kind } } end
end

local function header_lines(self, opts, body, kind, what)
  if opts.headers == nil and opts.compression == nil and not body then return nil end
  local map = {}
  for name, entry in pairs(self.headers) do map[name] = entry end
  if opts.compression == false then map["accept-encoding"] = nil end
  if opts.compression then map["accept-encoding"] = ACCEPT_ENCODING end
  headers.merge(map, opts.headers, what, 2)
  if body then add_type(map, kind) end
  return headers.lines(map)
end

--- All that C is told, in its order, and what of the options is for us.
local function plan_request(self, what, method, url, opts)
  local body, kind = bodies.make(opts, what)
  if body and (method == "HEAD" or method == "TRACE") then
    core.argument_error(what, 2, "a request of this method has no body")
  end
  if not body and METHODS_WITH_BODY[method] then body = "" end
  return {
    method = method,
    url = with_query(url, opts.query, what),
    lines = header_lines(self, opts, body, kind, what),
    body = body,
    settings = settings_of(self, opts, what),
    stream = check_boolean(either(opts, self.opts, "stream"), "stream", what, 2),
    max_body = check_size(either(opts, self.opts, "max_body"), "max_body", what, 2),
    length = check_size(opts.length, "length", what, 2),
    policy = self.policy,
  }
end

local function start(self, plan)
  local body = plan.body
  if body and type(body) ~= "string" then body = true end
  return native.request(self.pool, plan.method, plan.url, plan.lines, body, plan.settings,
    plan.stream,
    plan.max_body, plan.length)
end

-- A body that is sent piece by piece, by a task of its own.

local function feed_all(request, source)
  for piece in bodies.next_piece, source do await(native.send(request, piece)) end
  await(native.send(request))
end

--- The error of the body is that of the request, or of the reading of its response.
local function feed(self, request, source)
  local ok, err = core.pcall(feed_all, request, source)
  if ok or err.code == "ECLOSED" then return end -- the response did not wait for all of it
  self.error = err
  if self.response then self.response.body:abort("the request's body failed: " .. tostring(err)) end
  request:cancel("the body of the request failed")
end

local function finish_upload(self, request)
  local ok, result = core.pcall(await, request)
  if self.error then error(self.error, 0) end
  if not ok then error(result, 0) end
  if type(result.body) == "string" then return result end
  self.response = result
  rawset(result, "upload", self.feeder)
  return result
end

local upload = core.async(function(client, plan)
  local self = {}
  local request = start(client, plan)
  self.feeder = core.background(feed, self, request, plan.body)
  local _ <close> = setmetatable({}, { __close = function()
    if not self.response then self.feeder:cancel("the request has ended") end
  end})
  return finish_upload(self, request)
end)

local function send(self, plan)
  local body = plan.body
  if body and type(body) ~= "string" then return upload(self, plan) end
  return start(self, plan)
end

local function is_retried(plan)
  local policy, body = plan.policy, plan.body
  return policy and policy.methods[plan.method] and (not body or type(body) == "string")
end

local function request(self, what, method, url, opts)
  url = full_url(self, url, what, what == "request" and 2 or 1)
  if opts == nil then
    if self.is_plain and method == "GET" then return native.request(self.pool, method, url) end
    opts = {}
  end
  check_names(opts, what, 2, REQUEST)
  local plan = plan_request(self, what, method, url, opts)
  if opts.retry ~= nil then plan.policy = opts.retry and retry.policy(opts.retry, what, 2) end
  if not is_retried(plan) then return send(self, plan) end
  return retry.run(plan.policy, function() return await(send(self, plan)) end)
end

-- Clients.

---@class neap.http.Client
local Client = {}
local methods = {}
Client.__index = methods
Client.__name = "neap.http.Client"
Client.__metatable = false

local TOKEN = "^[%w!#$%%&'*+%-.^_`|~]+$"

local MAX_METHOD = 31

--- request(method, url, opts?) or request{ method =, url =, ... }
local function request_any(self, method, url, opts)
  if type(method) == "table" then
    opts = method
    method, url = opts.method or "GET", opts.url
  end
  if type(method) ~= "string" or not method:find(TOKEN) or #method > MAX_METHOD then
    core.argument_error("request", 1, "the name of a method expected")
  end
  return request(self, "request", method:upper(), url, opts)
end

methods.request = request_any

for _, name in ipairs{ "get", "head", "post", "put", "patch", "delete", "options" } do
  local method = name:upper()
  methods[name] = function(self, url, opts) return request(self, name, method, url, opts) end
end

--- The cookies as lines, for `cookies` of a client.
---@return string[]
---@nodiscard
function methods:cookies()
  return self.pool:cookies()
end

--- Adds a cookie: such a line, or a header "Set-Cookie: ...".
---@param line string
function methods:set_cookie(line)
  check.path(line, "set_cookie", 1)
  self.pool:set_cookie(line)
end

function methods:clear_cookies()
  self.pool:set_cookie("ALL")
end

--- Closes its connections: requests under way fail with ECLOSED. Harmless when repeated.
---@return neap.Task
function methods:close()
  self.pool:close()
  return core.completed()
end

Client.__close = methods.close

function Client:__tostring()
  return "neap.http.Client" .. (self.pool:is_closed() and ": closed" or "")
end

local function new_pool(settings, opts, is_standing)
  local pool = native_call("client", 1, native.pool, settings, {
    max_connections = opts.max_connections,
    max_host_connections = opts.max_host_connections,
    cookies = opts.cookies and true,
    standing = is_standing,
  })
  if type(opts.cookies) == "table" then
    for _, line in ipairs(opts.cookies) do pool:set_cookie(line) end
  end
  return pool
end

local function check_client(opts)
  check_names(opts, "client", 1, CLIENT)
  local base, cookies = opts.base_url, opts.cookies
  if base ~= nil and (type(base) ~= "string" or not base:find("^%a[%w+.-]*://")) then
    refuse("client", 1, "base_url", "an absolute URL", base)
  end
  if cookies ~= nil and type(cookies) ~= "boolean" and type(cookies) ~= "table" then
    refuse("client", 1, "cookies", "a boolean or a list of lines", cookies)
  end
  if opts.user_agent ~= nil and (type(opts.user_agent) ~= "string"
    or opts.user_agent:find("[\r\n\0]")) then
    refuse("client", 1, "user_agent", "a string of one line", opts.user_agent)
  end
  check_boolean(opts.stream, "stream", "client", 1)
  check_size(opts.max_body, "max_body", "client", 1)
end

local function new_client(opts, is_standing)
  local map = headers.merge(default_headers(opts), opts.headers, "client", 1)
  local lines = headers.lines(map)
  local policy = opts.retry and retry.policy(opts.retry, "client", 1) or nil
  return setmetatable({
    opts = opts,
    headers = map,
    lines = lines,
    policy = policy,
    is_plain = not (policy or opts.stream or opts.max_body),
    pool = new_pool(new_settings(opts, lines, "client", 1), opts, is_standing),
  }, Client)
end

--- A client with connections and defaults of its own.
---@param opts? neap.http.ClientOptions
---@return neap.http.Client
---@nodiscard
function M.client(opts)
  if opts == nil then opts = {} end
  check_client(opts)
  local copy = {}
  for name, value in pairs(opts) do copy[name] = value end
  return new_client(copy)
end

-- The client of those who have none: it ends with the Lua state.

local shared
local function default()
  shared = shared or new_client({}, true)
  return shared
end

for _, name in ipairs{ "get", "head", "post", "put", "patch", "delete", "options" } do
  local method = name:upper()
  M[name] = function(url, opts) return request(default(), name, method, url, opts) end
end

function M.request(method, url, opts)
  return request_any(default(), method, url, opts)
end

return M
