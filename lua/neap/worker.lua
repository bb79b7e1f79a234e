--- What runs on threads of its own.
local core = require "neap.core"

local M = {
  channel = core.thread_channel,
}

return M
