--- neap.http: the parts are loaded when they are first used, with the libraries that they need.
local M = {}

-- Name -> the module that has it.
local places = {
  serve = "neap.http_server",
  files = "neap.http_files",
}

return setmetatable(M, {
  __index = function(_, name)
    local place = places[name]
    if not place then return nil end
    M[name] = require(place)[name]
    return M[name]
  end,
})
