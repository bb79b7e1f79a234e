--- neap.stdio: the standard streams of this process. Written in C; the types are in neap/types.
local core = require "neap.core"

local NAMES = { stdin = true, stdout = true, stderr = true }

--- Each is opened when it is first used, and kept.
local function open(self, name)
  if not NAMES[name] then return nil end
  local stream = core.stdio.open(name)
  rawset(self, name, stream)
  return stream
end

return setmetatable({ is_tty = core.stdio.is_tty }, { __index = open })
