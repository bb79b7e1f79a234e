--- JSON, by lua-cjson where that is installed.
local core = require "neap.core"

local M = {}

local function codec()
  local ok, cjson = pcall(require, "cjson")
  if ok then return cjson end
  error(core.error("ENOTSUP",
    "JSON needs the module cjson, which is not installed (Debian: lua-cjson)", { cause = cjson }),
      0)
end

--- The text of a value; raises EINVAL for one that JSON has no words for.
function M.encode(value)
  local ok, text = pcall(codec().encode, value)
  if ok then return text end
  error(core.error("EINVAL", "not to be written as JSON: " .. tostring(text)), 0)
end

--- The value of a text; raises EINVAL, with `fields`, where it is no JSON.
function M.decode(text, fields)
  local ok, value = pcall(codec().decode, text)
  if ok then return value end
  error(core.error("EINVAL", "no JSON: " .. tostring(value), fields), 0)
end

return M
