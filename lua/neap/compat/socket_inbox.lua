--- What a connection has received and nobody has taken yet, and the patterns of `receive`. Nothing
--- is taken before a call returns it: a cancelled call loses nothing.
local core = require "neap.core"
local waiting = require "neap.compat.socket_wait"

local M = {}

local CHUNK = 65536

local Inbox = {}
local metatable = { __index = Inbox, __name = "neap.compat.Inbox" }

--- `parts` are strings, of which the bytes from `first` on count; `reading` is a read whose result
--- was not taken yet, that of a select or of a cancelled call.
function M.new(conn)
  return setmetatable({ conn = conn, parts = {}, first = 1, size = 0, received = 0 }, metatable)
end

local function add(self, chunk)
  self.parts[#self.parts + 1] = chunk
  self.size = self.size + #chunk
end

--- The first n bytes.
local function take(self, n)
  if n == 0 then return "" end
  if #self.parts > 1 then self.parts = { table.concat(self.parts) } end
  local data = self.parts[1]:sub(self.first, self.first + n - 1)
  self.first = self.first + n
  self.size = self.size - n
  self.received = self.received + n
  if self.size == 0 then self.parts, self.first = {}, 1 end
  return data
end

--- A read under way, for select; nil where there is something already.
function Inbox:watch()
  if self.size > 0 then return nil end
  if self.is_waiting then
    core.misuse("two reads at once on one socket: let the first one end before the next")
  end
  self.reading = self.reading or self.conn:read(CHUNK)
  return self.reading
end

--- A read that did not end is over; one that did keeps what it has.
function Inbox:unwatch()
  local reading = self.reading
  if not reading then return end
  reading:cancel("nobody waits any more")
  if reading:status() == "cancelled" then
    self.reading = nil
  else
    reading:error() -- is observed: the next receive tells it
  end
end

local function wait_for_more(self, reading, seconds)
  self.is_waiting = true
  local ok, has_come = pcall(waiting.wait, reading, seconds)
  self.is_waiting = false
  if ok and has_come then return end
  self:unwatch()
  if not ok then error(has_come, 0) end
  if not self.reading then return "timeout" end
end

--- Waits for a further chunk; nil, or the text of what came instead.
local function receive_more(self, seconds)
  if self.is_waiting then
    core.misuse("two receives at once on one socket: let the first one end before the next")
  end
  self.reading = self.reading or self.conn:read(CHUNK)
  local why = wait_for_more(self, self.reading, seconds)
  if why then return why end
  local ok, chunk = waiting.outcome(self.reading)
  self.reading = nil
  if not ok then return chunk end
  if chunk == nil then return "closed" end
  add(self, chunk)
end

-- Patterns: each returns the data, or nil, why and what came.

local function receive_bytes(self, n, left)
  local why
  while self.size < n or self.size == 0 do -- LuaSocket waits for something even where n is 0
    why = receive_more(self, left())
    if why then break end
  end
  local data = take(self, math.min(n, self.size))
  if why then return nil, why, data end
  return data
end

--- Where the line in the parts from `from` on ends: the number of bytes with its end.
local function find_line(self, from, before)
  for i = from, #self.parts do
    local start = i == 1 and self.first or 1
    local at = self.parts[i]:find("\n", start, true)
    if at then return before + at - start + 1 end
    before = before + #self.parts[i] - start + 1
  end
end

local function without_returns(line)
  return (line:gsub("\r", ""))
end

local function receive_line(self, left)
  local length = find_line(self, 1, 0)
  while not length do
    local looked_at = self.size
    local why = receive_more(self, left())
    if why then return nil, why, without_returns(take(self, self.size)) end
    length = find_line(self, #self.parts, looked_at)
  end
  return without_returns(take(self, length):sub(1, -2))
end

local function receive_all(self, left)
  local why
  repeat why = receive_more(self, left()) until why
  local data = take(self, self.size)
  if why == "closed" and #data > 0 then return data end
  return nil, why, data
end

--- `pattern`: "l", "a" or a number of bytes; `left`() gives the seconds that a wait may take.
function Inbox:receive(pattern, left)
  if pattern == "l" then return receive_line(self, left) end
  if pattern == "a" then return receive_all(self, left) end
  return receive_bytes(self, pattern, left)
end

return M
