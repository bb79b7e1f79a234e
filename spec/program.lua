-- Lua programs as children, whose standard streams a spec can choose.
local h = require "spec.helper"
local neap = require "neap"

local M = {}

local PREFIX = [[
  local neap = require "neap"
  local await, stdio = neap.await, neap.stdio
  io.stdout:setvbuf("no")
  local function blocks(fd)
    for line in io.lines("/proc/self/fdinfo/" .. fd) do
      local flags = line:match("^flags:%s*(%d+)")
      if flags then return tonumber(flags, 8) & 2048 == 0 end
    end
  end
]]

--- The command of a program; `opts` are those of the process.
function M.command(source, opts)
  local command = { h.interpreter(), "-e", PREFIX .. source }
  for name, value in pairs(opts or {}) do command[name] = value end
  command.env = { LUA_PATH_5_4 = package.path, LUA_CPATH_5_4 = package.cpath, NEAP_DEBUG = false }
  return command
end

--- Runs it; gives what it wrote, and requires that it has written no errors.
function M.run(source, opts)
  local result = neap.await(neap.process.run(M.command(source, opts)))
  if result.code ~= 0 or (result.stderr or "") ~= "" then
    error(("exit code %d, %s"):format(result.code, result.stderr), 2)
  end
  return result.stdout
end

return M
