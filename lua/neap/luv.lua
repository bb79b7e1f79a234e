--- neap.luv: luv, and code written for it, on neap's loop.
local core = require "neap.core"
local luv_form = require "neap.luv_form"

local M = {}

--- The module luv, which shares neap's loop from the first call on.
---@return table uv
function M.luv()
  local ok, uv = pcall(require, "luv")
  if not ok then
    error(core.error("ENOTSUP", "luv is not installed (Debian: lua-luv; LuaRocks: luv)",
      { cause = uv }), 0)
  end
  core.join_luv(uv)
  luv_form.share(uv)
  return uv
end

return M
