--- Arguments of the functions that are written in Lua: errors at the line of their caller.
local core = require "neap.core"

local M = {}

function M.is_callable(x)
  return type(x) == "function" or core.metafield(x, "__call") ~= nil
end

--- Each check is called by the checked function itself: `name` is what its user calls it.

function M.callable(x, name, index)
  if M.is_callable(x) then return end
  core.argument_error(name, index, "function expected, got " .. core.type_name(x))
end

--- A function that can run on another thread.
function M.lua_function(x, name, index)
  if type(x) == "function" then return end
  core.argument_error(name, index, "function expected, got " .. core.type_name(x))
end

function M.table(x, name, index)
  if type(x) == "table" then return end
  core.argument_error(name, index, "table expected, got " .. core.type_name(x))
end

--- A string without NUL bytes. `what`: what stands before the message, or nil.
function M.path(x, name, index, what)
  if type(x) ~= "string" then
    core.argument_error(name, index, (what or "") .. "string expected, got " .. core.type_name(x))
  elseif x:find("\0", 1, true) then
    core.argument_error(name, index, (what or "") .. "the string contains a NUL byte")
  end
end

--- Permissions: an integer, "644" or "rw-r--r--".
function M.file_mode(x, name, index, what)
  local text = type(x) == "string" and x or math.type(x) == "integer" and ("%o"):format(x) or ""
  if text:find("^[0-7][0-7]?[0-7]?[0-7]?$") then return end
  if text:find("^[r-][w-][x-][r-][w-][x-][r-][w-][x-]$") then return end
  core.argument_error(name, index, (what or "")
    .. 'a file mode (an integer, "644" or "rw-r--r--") expected')
end

--- An integer of at least `least`; floats with an integer value count.
function M.integer(x, least, name, index)
  local n = math.tointeger(x)
  if n and type(x) == "number" and n >= least then return n end
  core.argument_error(name, index, ("an integer of %d or more expected, got %s"):format(
    least, type(x) == "number" and tostring(x) or core.type_name(x)))
end

--- `opts.limit`, checked; math.huge when there is none.
function M.limit(opts, name, index)
  if opts == nil then return math.huge end
  M.table(opts, name, index)
  local limit = opts.limit
  if limit == nil or limit == math.huge then return math.huge end
  local n = type(limit) == "number" and math.tointeger(limit)
  if n and n >= 1 then return n end
  core.argument_error(name, index, "option 'limit' must be an integer of 1 or more")
end

--- A duration in seconds, 0 or more. `what` names it in the message.
function M.seconds(x, what, name, index)
  if type(x) == "number" and x >= 0 then return end
  core.argument_error(name, index, what .. " must be a duration in seconds, 0 or more")
end

--- A finite period in seconds, more than 0.
function M.period(x, name, index)
  if type(x) == "number" and x > 0 and x < math.huge then return end
  core.argument_error(name, index, "a finite period of more than 0 seconds expected, got "
    .. (type(x) == "number" and tostring(x) or core.type_name(x)))
end

return M
