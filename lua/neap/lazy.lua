--- What is loaded when it is first asked for: most programs need little of it.
local core = require "neap.core"

local M = {}

--- Gives a module table names that are loaded so: `parts` maps a name to the module that has it as
--- a field, `modules` to the module that it is. `pairs` shows all of them.
---@param self table
---@param class string for its metatable
---@param parts table<string, string>
---@param modules? table<string, string>
---@return table self
function M.names(self, class, parts, modules)
  modules = modules or {}

  local function load_name(_, name)
    local value
    if parts[name] then
      value = require(parts[name])[name]
    elseif modules[name] then
      value = require(modules[name])
    end
    self[name] = value
    return value
  end

  local function load_all()
    for name in pairs(parts) do load_name(self, name) end
    for name in pairs(modules) do load_name(self, name) end
    return next, self, nil
  end

  return setmetatable(self, { __name = class, __index = load_name, __pairs = load_all })
end

--- The C module that stands on a library, or an error that says which library is missing.
---@param name string of the driver
---@param message string what to install where it was not built
---@return table
function M.driver(name, message)
  local module = "neap." .. name .. "_driver"
  local ok, driver = pcall(require, module)
  if ok then return driver end
  local reason = tostring(driver)
  local is_absent = reason:find("module '" .. module .. "' not found", 1, true)
  error(core.error("ENOTSUP", is_absent and message or reason, { driver = name }), 0)
end

return M
