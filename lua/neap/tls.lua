--- neap.tls: TLS for connections and servers of neap.net. The work is done by neap/tls_driver, a C
--- module that is built where OpenSSL is found and loaded when TLS is first used.
local core = require "neap.core"
local lazy = require "neap.lazy"

local M = {}

local driver, default_context

local function load_driver()
  driver = driver or lazy.driver("tls", "TLS needs OpenSSL, which this build of neap lacks:"
    .. " install OpenSSL 3 with its headers (Debian: libssl-dev) and build neap again")
  return driver
end

-- Contexts.

-- What of the options belongs to a context, and is shared by its connections.
local CONTEXT_OPTIONS = { "verify", "ca", "ca_path", "cert", "key", "password", "alpn",
  "min_version", "max_version", "client_auth", "allow_truncated", "sni" }

-- What the names of a server have in common with the server itself.
local SHARED_OPTIONS = { "verify", "ca", "ca_path", "alpn", "client_auth" }

--- Where the options came from: `where` is the name of the function and the number of the argument.
local function refuse(where, what, expected)
  core.argument_error(where.name, where.index,
    ("option '%s': %s expected"):format(what, expected))
end

local function new_context(opts, where)
  local ok, result = pcall(load_driver().context, opts)
  if ok then return result end
  if type(result) ~= "string" then error(result, 0) end
  core.argument_error(where.name, where.index, result:match("%((.*)%)$") or result)
end

--- The context of one name: its own certificate, the rest as the server has it.
local function name_context(entry, opts, where)
  if load_driver().is_context(entry) then return entry end
  if type(entry) ~= "table" or not entry.cert then
    refuse(where, "tls.sni", "tables with 'cert' and 'key' by name")
  end
  local own = { cert = entry.cert, key = entry.key, password = entry.password }
  for _, name in ipairs(SHARED_OPTIONS) do own[name] = opts[name] end
  return new_context(own, where)
end

local function add_names(context, opts, where)
  if opts.sni == nil then return end
  if type(opts.sni) ~= "table" then
    refuse(where, "tls.sni", "tables with 'cert' and 'key' by name")
  end
  for name, entry in pairs(opts.sni) do
    if type(name) ~= "string" then refuse(where, "tls.sni", "names of servers as keys") end
    driver.add_name(context, name, name_context(entry, opts, where))
  end
end

local function make_context(opts, where)
  local context = new_context(opts, where)
  add_names(context, opts, where)
  return context
end

--- With the system's roots, and nothing else: one for all.
local function get_default_context(where)
  default_context = default_context or new_context({}, where)
  return default_context
end

local function is_own(opts)
  for _, name in ipairs(CONTEXT_OPTIONS) do
    if opts[name] ~= nil then return true end
  end
  return false
end

--- The context that is meant, and the options of this connection.
local function read_options(tls, where)
  local made = load_driver()
  if made.is_context(tls) then return tls, {} end
  if tls == true then return get_default_context(where), {} end
  if type(tls) ~= "table" then
    refuse(where, "tls", "true, a table or a context of neap.tls.context")
  end
  if tls.context == nil then
    return is_own(tls) and make_context(tls, where) or get_default_context(where), tls
  end
  if not made.is_context(tls.context) then
    refuse(where, "tls.context", "what neap.tls.context gives")
  end
  if is_own(tls) then
    refuse(where, "tls.context", "no options beside it that belong to a context")
  end
  return tls.context, tls
end

local function check_text(opts, name, where)
  local value = opts[name]
  local is_text = type(value) == "string" and (name == "session" or not value:find("\0", 1, true))
  if value == nil or is_text then return value end
  refuse(where, "tls." .. name, "a string without NUL bytes")
end

---@nodiscard
function M.context(opts)
  if opts ~= nil and type(opts) ~= "table" then
    core.argument_error("context", 1, "table expected, got " .. core.type_name(opts))
  end
  return make_context(opts or {}, { name = "context", index = 1 })
end

-- Makers: a context and a role.

local function client_maker(tls, host, place, where)
  local context, opts = read_options(tls, where)
  local name = check_text(opts, "server_name", where) or host
  if not name and driver.verifies(context) then
    refuse(where, "tls.server_name", "the name that is verified, or verify = false,")
  end
  local session = check_text(opts, "session", where)
  local ok, result = pcall(driver.client, context, name, place, session)
  if ok then return result end
  if type(result) ~= "string" then error(result, 0) end
  core.argument_error(where.name, where.index, result:match("%((.*)%)$") or result)
end

local function server_maker(tls, where)
  local context = read_options(tls, where)
  if not driver.has_certificate(context) then
    refuse(where, "tls.cert", "the certificate of the server, with 'key',")
  end
  return driver.server(context)
end

--- The option 'tls' of connect and listen.
core.on_tls(function(tls, role, host, port, index)
  local where = { name = role, index = index }
  if role == "listen" then return server_maker(tls, where) end
  return client_maker(tls, host, host and ("%s:%d"):format(host, port), where)
end)

-- Methods of Conn.

local methods = {}

function methods:start_tls(opts)
  local where = { name = "start_tls", index = 1 }
  local tls = opts == nil or opts
  local is_server = type(opts) == "table" and opts.server
  local maker = is_server and server_maker(tls, where) or client_maker(tls, nil, nil, where)
  driver.start(self, maker)
  return self:handshake()
end

function methods:tls()
  return self:is_tls() and load_driver().info(self) or nil
end

function methods:tls_session()
  return self:is_tls() and load_driver().session(self) or nil
end

core.add_conn_methods(methods)

return M
