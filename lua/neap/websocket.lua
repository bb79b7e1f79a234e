--- neap.websocket: each side is loaded when it is first used; that of servers needs the library of
--- the HTTP server.
local M = {}

-- Name -> the module that has it.
local places = {
  connect = "neap.websocket_client",
  accept = "neap.websocket_server",
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

return setmetatable(M, { __name = "neap.websocket", __index = load_part, __pairs = load_all })
