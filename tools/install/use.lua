-- What has to work however neap was linked; for check.sh: use.lua COPIES, of the shared library.
local neap = require "neap"
local await = neap.await

-- Errors name this file, wherever neap's modules come from.
local ok, err = pcall(function() neap.semaphore("no number") end)
assert(not ok and err:find("use.lua:6: bad argument #1", 1, true), err)

local function query()
  local here = require "neap"
  local db <close> = here.await(here.sqlite.open(":memory:"))
  return here.await(db:value("SELECT 7"))
end

neap.run(function()
  assert(query() == 7)
  assert(await(neap.worker.with({ loop = true }).run(query)) == 7)
end)

local maps = io.open("/proc/self/maps")
if maps then
  local copies, count = {}, 0
  for line in maps:lines() do
    local path = line:match("%S*/libneaplua%.so%S*$") or line:match("%S*/neap/core%.so$")
    if path and not copies[path] then
      copies[path], count = true, count + 1
    end
  end
  maps:close()
  assert(count == tonumber((...)), count .. " copies of the shared library")
end
