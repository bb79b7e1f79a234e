--- neap.http: the headers of a message.
local core = require "neap.core"

local M = {}

-- The key of a list { { name, value }, ... } in its order, which is made when it is first looked
-- at.
local RAW, LIST = {}, {}

---@class neap.http.Headers
local Headers = {}
local methods = {}
Headers.__name = "neap.http.Headers"
Headers.__metatable = false

local function parse(text)
  local list = {}
  for line in text:gmatch("[^\r\n]+") do
    local name, value = line:match("^([^%s:][^:]-)%s*:%s*(.-)%s*$")
    local last = list[#list]
    if name then
      list[#list + 1] = { name, value }
    elseif last and line:find("^[ \t]") then -- a line that was folded
      last[2] = last[2] .. " " .. line:match("^%s*(.-)%s*$")
    end
  end
  return list
end

local function list_of(self)
  local list = rawget(self, LIST)
  if not list then
    list = parse(rawget(self, RAW))
    rawset(self, LIST, list)
  end
  return list
end

--- All values of a header, in their order; none: an empty table.
---@param name string in any case
---@return string[]
---@nodiscard
function methods:all(name)
  local values = {}
  if type(name) ~= "string" then return values end
  name = name:lower()
  for _, entry in ipairs(list_of(self)) do
    if entry[1]:lower() == name then values[#values + 1] = entry[2] end
  end
  return values
end

--- The value of a header; of one that is repeated all of them, joined by ", ".
---@param name string in any case
---@return string?
---@nodiscard
function methods:get(name)
  local values = methods.all(self, name)
  if #values > 0 then return table.concat(values, ", ") end
end

function Headers:__index(name)
  return methods[name] or methods.get(self, name)
end

function Headers:__newindex()
  core.misuse("the headers of a response are what was received: they do not change")
end

--- How many lines there are.
function Headers:__len()
  return #list_of(self)
end

--- Names as they were sent, in their order, repeated ones repeatedly.
function Headers:__pairs()
  local list, i = list_of(self), 0
  return function()
    i = i + 1
    local entry = list[i]
    if entry then return entry[1], entry[2] end
  end
end

function Headers:__tostring()
  local lines = {}
  for i, entry in ipairs(list_of(self)) do lines[i] = entry[1] .. ": " .. entry[2] end
  return table.concat(lines, "\n")
end

--- From the lines of a head.
---@return neap.http.Headers
function M.parse(text)
  return setmetatable({ [RAW] = text }, Headers)
end

-- Headers to send.

local TOKEN = "^[%w!#$%%&'*+%-.^_`|~]+$"

local function check_value(name, value, what, index)
  local kind = type(value)
  if kind == "number" then return tostring(value) end
  if kind ~= "string" then
    core.argument_error(what, index, ("header '%s': string expected, got %s"):format(
      name, core.type_name(value)))
  elseif value:find("[\r\n\0]") then
    core.argument_error(what, index,
      ("header '%s': its value has a line break or a NUL byte"):format(name))
  end
  return value
end

local function check_values(name, value, what, index)
  if type(value) ~= "table" then return { check_value(name, value, what, index) } end
  local values = {}
  for i, each in ipairs(value) do values[i] = check_value(name, each, what, index) end
  return values
end

--- Adds the headers of a user's table to `into`, by their name in lower case: { name, values }, or
--- false
--- for one that is not to be sent. They replace those that are there.
function M.merge(into, headers, what, index)
  if headers == nil then return into end
  if type(headers) ~= "table" then
    core.argument_error(what, index, "option 'headers': table expected, got "
      .. core.type_name(headers))
  end
  for name, value in pairs(headers) do
    if type(name) ~= "string" or not name:find(TOKEN) then
      core.argument_error(what, index, ("option 'headers': no name of a header: '%s'"):format(
        tostring(name)))
    end
    into[name:lower()] = { name, value ~= false and check_values(name, value, what, index) }
  end
  return into
end

--- The lines as libcurl wants them: "Name:" is none, also where libcurl would send one by itself.
function M.lines(map)
  local keys, lines = {}, {}
  for key in pairs(map) do keys[#keys + 1] = key end
  table.sort(keys)
  for _, key in ipairs(keys) do
    local name, values = map[key][1], map[key][2]
    if not values then lines[#lines + 1] = name .. ":" end
    for _, value in ipairs(values or {}) do
      lines[#lines + 1] = value:find("%S") and name .. ": " .. value or name .. ";"
    end
  end
  return lines
end

return M
