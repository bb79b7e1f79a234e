local neap = require "neap"
local host = require "host"

local await = neap.await

neap.run(function()
  -- Both are under way before the first is awaited.
  local a, b = host.add_slowly(1, 2), host.add_slowly(3, 4)
  print(await(a) + await(b))

  local ok, err = pcall(host.add_slowly, "one", 2)
  print(ok, err)
end)
