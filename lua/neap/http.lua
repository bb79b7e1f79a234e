--- neap.http: each part is loaded when it is first asked for: most programs need none of them, and
--- each stands on a library of its own.

---@class neap.http
local M = {}

-- What is in which module.
local homes = {
  serve = "neap.http_server",
  files = "neap.http_files",
  client = "neap.http_client",
  request = "neap.http_client",
  get = "neap.http_client",
  head = "neap.http_client",
  post = "neap.http_client",
  put = "neap.http_client",
  patch = "neap.http_client",
  delete = "neap.http_client",
  options = "neap.http_client",
  retry = "neap.http_client",
}

local function load_name(self, name)
  local home = homes[name]
  if not home then return nil end
  local value = require(home)[name]
  self[name] = value
  return value
end

--- `pairs` shows all of it.
local function load_all(self)
  for name in pairs(homes) do local _ = self[name] end
  return next, self, nil
end

return setmetatable(M, { __name = "neap.http", __index = load_name, __pairs = load_all })
