--- neap.http: the body of a request, from what the options say: a string, or a function that gives
--- it piece by piece.
local check = require "neap.check"
local core = require "neap.core"
local json = require "neap.json"

local await = core.await

local M = {}

local function refuse(what, option, expected, value)
  core.argument_error(what, 2, ("option '%s': %s expected, got %s"):format(
    option, expected, core.type_name(value)))
end

-- Words of URLs.

local function escape_byte(byte) return ("%%%02X"):format(byte:byte()) end

--- As in a query, or a form: spaces are "+".
local function escape(text)
  return (text:gsub("[^%w%-._~ ]", escape_byte):gsub(" ", "+"))
end

local SCALARS = { string = true, number = true, boolean = true }

--- The names of fields, without the places of a list.
local function sorted_names(fields)
  local names = {}
  for name in pairs(fields) do
    if math.type(name) ~= "integer" then names[#names + 1] = name end
  end
  table.sort(names, function(a, b) return tostring(a) < tostring(b) end)
  return names
end

local function add_pair(pairs_, name, value, what, option)
  if not SCALARS[type(value)] then
    refuse(what, option, ("a string, a number or a boolean as '%s'"):format(tostring(name)), value)
  end
  pairs_[#pairs_ + 1] = escape(tostring(name)) .. "=" .. escape(tostring(value))
end

--- A string as it is; { name = value or list of values }, sorted; or a list of { name, value }, in
--- order.
function M.encode_pairs(fields, what, option)
  if type(fields) == "string" then return fields end
  if type(fields) ~= "table" then refuse(what, option, "a table or a string", fields) end
  local encoded = {}
  for _, entry in ipairs(fields) do
    if type(entry) ~= "table" then refuse(what, option, "a list of {name, value}", entry) end
    add_pair(encoded, entry[1], entry[2], what, option)
  end
  if #encoded > 0 then return table.concat(encoded, "&") end
  for _, name in ipairs(sorted_names(fields)) do
    local value = fields[name]
    for _, each in ipairs(type(value) == "table" and value or { value }) do
      add_pair(encoded, name, each, what, option)
    end
  end
  return table.concat(encoded, "&")
end

-- Multipart.

local function quote(text)
  return '"' .. text:gsub('["\r\n]', escape_byte) .. '"'
end

local function part_head(part, boundary)
  local lines = { "--" .. boundary, "Content-Disposition: form-data; name=" .. quote(part.name) }
  if part.filename then lines[2] = lines[2] .. "; filename=" .. quote(part.filename) end
  local kind = part.type or part.filename and "application/octet-stream"
  if kind then lines[3] = "Content-Type: " .. kind end
  return table.concat(lines, "\r\n") .. "\r\n\r\n"
end

--- { name =, data = string or function, path =, filename =, type = }, checked.
local function new_part(name, given, what)
  local part = type(given) == "table" and given or { data = given }
  name = part.name or name
  if type(name) ~= "string" then refuse(what, "multipart", "the name of a part", name) end
  local data, path = part.data, part.path
  if type(data) == "number" then data = tostring(data) end
  if path ~= nil then
    check.path(path, what, 2, "option 'multipart': ")
  elseif type(data) ~= "string" and not check.is_callable(data) then
    refuse(what, "multipart", ("a string, a function or a path as '%s'"):format(name), data)
  end
  if part.type ~= nil and (type(part.type) ~= "string" or part.type:find("[\r\n\0]")) then
    refuse(what, "multipart", "a media type", part.type)
  end
  return { name = name, data = data, path = path, type = part.type,
    filename = part.filename or path and path:match("[^/]*$") }
end

local function parts_of(fields, what)
  if type(fields) ~= "table" then refuse(what, "multipart", "a table", fields) end
  local parts = {}
  for i, given in ipairs(fields) do parts[i] = new_part(nil, given, what) end
  for _, name in ipairs(sorted_names(fields)) do parts[#parts + 1] = new_part(name, fields[name],
    what) end
  return parts
end

local function new_boundary()
  return ("neap-%016x%016x"):format(math.random(0), math.random(0))
end

--- A function that gives all of a part's data, piece by piece; files are opened when their turn
--- has come.
local function pieces_of(part)
  if check.is_callable(part.data) then return part.data end
  local file
  return function()
    file = file or await(core.fs.open(part.path))
    local chunk = await(file:read())
    if not chunk then await(file:close()) end
    return chunk
  end
end

--- Strings, and functions between them, as one function.
local function concatenate(items)
  local i = 1
  return function()
    while items[i] do
      local item = items[i]
      local piece = type(item) == "string" and item or nil
      if not piece then piece = M.next_piece(item) end
      if type(item) == "string" or piece == nil then i = i + 1 end
      if piece ~= nil and piece ~= "" then return piece end
    end
  end
end

local function multipart(fields, what)
  local boundary = new_boundary()
  local items, is_text = {}, true
  for _, part in ipairs(parts_of(fields, what)) do
    items[#items + 1] = part_head(part, boundary)
    local is_string = type(part.data) == "string"
    items[#items + 1] = is_string and part.data or pieces_of(part)
    items[#items + 1] = "\r\n"
    is_text = is_text and is_string
  end
  items[#items + 1] = "--" .. boundary .. "--\r\n"
  local kind = "multipart/form-data; boundary=" .. boundary
  if is_text then return table.concat(items), kind end
  return concatenate(items), kind
end

-- All kinds.

--- What a source gives next: it may be an async function.
function M.next_piece(source)
  local piece = source()
  if piece ~= nil and core.type_name(piece) == "neap.Task" then piece = await(piece) end
  if piece ~= nil and type(piece) ~= "string" then
    error(core.error("EINVAL", "the body of a request is made of strings; its function gave a "
      .. core.type_name(piece)), 0)
  end
  return piece
end

local FORM = "application/x-www-form-urlencoded"

local makers = {
  form = function(value, what) return M.encode_pairs(value, what, "form"), FORM end,
  json = function(value) return json.encode(value), "application/json" end,
  multipart = multipart,
  body = function(value, what)
    if type(value) == "string" or check.is_callable(value) then return value end
    refuse(what, "body", "a string or a function", value)
  end,
}

--- The body that the options ask for, nil if none, and its media type, nil if that is not known.
function M.make(opts, what)
  local found
  for name in pairs(makers) do
    if opts[name] ~= nil then
      if found then
        core.argument_error(what, 2,
          "only one of the options 'body', 'form', 'json', 'multipart' expected")
      end
      found = name
    end
  end
  if found then return makers[found](opts[found], what) end
end

return M
