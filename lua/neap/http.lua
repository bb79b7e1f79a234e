--- neap.http: the parts are loaded when they are first used, with the libraries that they need.
local M = {}

-- Name -> the module that has it.
local places = {
  serve = "neap.http_server",
  files = "neap.http_files",
}

local function load_part(_, name)
  local place = places[name]
  if not place then return nil end
  M[name] = require(place)[name]
  return M[name]
end

--- Who looks at all of it loads all of it.
local function load_all()
  for name in pairs(places) do load_part(M, name) end
  return next, M, nil
end

return setmetatable(M, { __name = "neap.http", __index = load_part, __pairs = load_all })
