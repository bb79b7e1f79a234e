--- What both sides of a WebSocket handshake share: fields of a head, options of the WebSocket.
local core = require "neap.core"

local M = {}

--- Characters of a token (RFC 9110, 5.6.2).
local TOKEN = "^[%w!#$%%&'*+%-.^_`|~]+$"

--- An argument that is wrong: `where` is the name of the function and the number of the argument.
function M.refuse(where, what, expected)
  core.argument_error(where.name, where.index, ("option '%s': %s expected"):format(what, expected))
end

--- The options of the object itself, for core.websocket.
function M.read_options(opts, is_server, where)
  local own = {
    server = is_server,
    max_message = opts.max_message,
    ping = opts.ping,
    ping_timeout = opts.ping_timeout,
    close_timeout = opts.close_timeout,
  }
  local ok, err = pcall(core.websocket_options, own)
  if ok then return own end
  core.argument_error(where.name, where.index, tostring(err):match("%((.*)%)$") or tostring(err))
end

--- `opts.protocols`: a list of subprotocols.
function M.read_protocols(opts, where)
  local protocols = opts.protocols
  if protocols == nil then return {} end
  if type(protocols) ~= "table" then M.refuse(where, "protocols", "a list of words") end
  for _, name in ipairs(protocols) do
    if type(name) ~= "string" or not name:find(TOKEN) then
      M.refuse(where, "protocols", "a list of words")
    end
  end
  return protocols
end

local function is_value(x)
  local is_text = type(x) == "string" or type(x) == "number"
  return is_text and not tostring(x):find("[\0-\8\10-\31\127]")
end

local function add_field(lines, name, value, where)
  if not is_value(value) then
    M.refuse(where, "headers", "values without line breaks or control characters")
  end
  lines[#lines + 1] = ("%s: %s\r\n"):format(name, value)
end

--- The lines of `opts.headers`; `own` are names in lower case that the handshake has itself.
function M.read_headers(opts, own, where)
  local headers, lines = opts.headers, {}
  if headers == nil then return "" end
  if type(headers) ~= "table" then M.refuse(where, "headers", "a table of names and values") end
  for name, value in pairs(headers) do
    local is_name = type(name) == "string" and name:find(TOKEN)
    if not is_name or own[name:lower()] then
      M.refuse(where, "headers", "names of fields that the handshake does not set itself")
    end
    for _, one in ipairs(type(value) == "table" and value or { value }) do
      add_field(lines, name, one, where)
    end
  end
  table.sort(lines)
  return table.concat(lines)
end

--- The words of a list that is separated by commas.
function M.words(list)
  return (list or ""):gmatch("[^,%s]+")
end

--- Whether a list has the word, in letters of any case.
function M.has_word(list, word)
  for one in M.words(list) do
    if one:lower() == word then return true end
  end
  return false
end

function M.contains(list, value)
  for _, one in ipairs(list) do
    if one == value then return true end
  end
  return false
end

return M
