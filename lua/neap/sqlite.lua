--- neap.sqlite: databases of SQLite. What is in it is loaded when it is first asked for: most
--- programs need none of it.
local M = {}

local names = { open = true, blob = true, null = true, library_version = true }

local function load_name(self, name)
  if not names[name] then return nil end
  local value = require("neap.sqlite_database")[name]
  self[name] = value
  return value
end

--- `pairs` shows all of it.
local function load_all(self)
  for name in pairs(names) do local _ = self[name] end
  return next, self, nil
end

return setmetatable(M, { __index = load_name, __pairs = load_all })
