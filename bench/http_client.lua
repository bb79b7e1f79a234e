-- GETs of a small body, so many at a time: requests a second. Arguments: number of requests, how
-- many at a time, port.
local neap = require "neap"

local await, http = neap.await, neap.http
local requests, at_once, port = tonumber(arg[1]), tonumber(arg[2]), arg[3]
local url = "http://127.0.0.1:" .. port .. "/static"
local left, bytes = requests, 0

local function ask()
  while left > 0 do
    left = left - 1
    local text = await(http.get(url)):text()
    bytes = bytes + #text
  end
end

neap.run(function()
  local begin = neap.now()
  neap.group(function(group)
    for _ = 1, at_once do group:spawn(ask) end
  end)
  print(("requests %.1f"):format(requests / (neap.now() - begin)))
end)
assert(bytes == 13 * requests)
