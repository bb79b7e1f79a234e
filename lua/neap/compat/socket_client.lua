--- Clients: connecting, sending, receiving.
local core = require "neap.core"
local inboxes = require "neap.compat.socket_inbox"
local net = require "neap.net"
local objects = require "neap.compat.socket_object"
local options = require "neap.compat.socket_options"
local waiting = require "neap.compat.socket_wait"

local Socket = objects.methods
local check_task, wait = waiting.check_task, waiting.wait
local class_of, is_path = objects.class_of, objects.is_path

-- Connecting.

local function connect_options(self)
  local place = self.bound
  return {
    family = self.family,
    nodelay = self.options["tcp-nodelay"],
    local_host = place and place.host,
    local_port = place and place.port,
  }
end

local function begin_connect(self, host, port)
  if self.server then self.server:close() end
  self.server = nil
  if is_path(self) then return net.connect{ path = host } end
  return net.connect(host, port, connect_options(self))
end

--- The connection that came about, or not.
local function end_connect(self)
  local ok, result = waiting.outcome(self.connecting)
  self.connecting = nil
  if not ok then
    self.error = result
    return nil, result
  end
  self.conn, self.inbox = result, inboxes.new(result)
  if not is_path(self) then
    self.family = objects.family_of((result:address()))
    options.apply(options.stream, self.options, result)
  end
  return 1
end

--- Whether one is under way; one whose scope has ended is not.
local function is_connecting(self)
  if self.connecting and self.connecting:status() == "cancelled" then self.connecting = nil end
  return self.connecting ~= nil
end

--- As a second connect(2).
local function ask_connect(self)
  if wait(self.connecting, 0) then return end_connect(self) end
  return nil, "Operation already in progress"
end

--- A socket that was closed may begin anew.
local function reopen(self)
  self.conn, self.inbox, self.server, self.bound = nil, nil, nil, nil
  self.ends, self.is_deaf, self.closed = nil, nil, nil
end

function Socket:connect(host, port)
  check_task("connect")
  host = waiting.check_string(host, "connect", 1)
  if is_connecting(self) then return ask_connect(self) end
  if self.closed then reopen(self) end
  if self.conn then return nil, "already connected" end
  local number, why = nil, nil
  if not is_path(self) then number, why = waiting.read_port(port, "connect", 2) end
  if why then return nil, why end
  self.class, self.host = class_of(self, "{client}"), host
  self.connecting = begin_connect(self, host, number)
  if wait(self.connecting, waiting.time_left(self.limits, core.now())) then
    return end_connect(self)
  end
  waiting.ignore(self.connecting)
  return nil, "timeout"
end

--- For what needs a connection: waits for one under way. True, or nil and the text.
local function be_connected(self, left)
  if self.conn then return true end
  if not is_connecting(self) then return nil, "closed" end
  if not wait(self.connecting, left()) then return nil, "timeout" end
  return end_connect(self)
end

-- Sending and receiving.

--- A function that gives the seconds which are left to a wait of this call.
local function count_down(self)
  local start = core.now()
  return function() return waiting.time_left(self.limits, start) end
end

--- The range as string.sub has it, but from 1 on.
local function range(size, i, j)
  i, j = math.tointeger(tonumber(i or 1)), math.tointeger(tonumber(j or -1))
  if not i then core.argument_error("send", 2, "integer expected") end
  if not j then core.argument_error("send", 3, "integer expected") end
  if i < 0 then i = size + i + 1 end
  if j < 0 then j = size + j + 1 end
  return math.max(i, 1), math.min(j, size)
end

--- How much of a write that was given up has left, or leaves still.
local function written_by(err)
  return type(err) == "table" and math.tointeger(err.written) or 0
end

--- Writes, and counts what has left: that number, and why it was not all.
local function write(self, data, left)
  local writing = self.conn:write(data)
  local ok, result, err
  if not wait(writing, left()) then
    writing:cancel("the time is over")
    result = "timeout"
    if writing:status() == "done" then return #data end
    err = select(2, pcall(writing.result, writing))
  else
    ok, result, err = waiting.outcome(writing)
  end
  if ok then return #data end
  return written_by(err), result
end

--- Of an empty range, too: it is sent when what was sent before is with the system.
function Socket:send(data, i, j)
  check_task("send")
  waiting.check_class(self, class_of(self, "{client}"), "send")
  data = waiting.check_string(data, "send", 1)
  i, j = range(#data, i, j)
  local left = count_down(self)
  local ok, why = be_connected(self, left)
  if not ok then return nil, why, i - 1 end
  if self.ends then return nil, "closed", i - 1 end
  local count, reason = write(self, data:sub(i, j), left)
  self.sent = self.sent + count
  if reason then return nil, reason, i - 1 + count end
  return i - 1 + count
end

--- "l", "a" or a number.
local function read_pattern(pattern)
  if pattern == nil then return "l" end
  local n = tonumber(pattern)
  if n then
    if n >= 0 then return math.floor(n) end
  elseif type(pattern) == "string" then
    local letter = pattern:match("^%*?([la])")
    if letter then return letter end
  end
  core.argument_error("receive", 1, "invalid receive pattern")
end

local function with_prefix(prefix, data, why, partial)
  if data then return prefix .. data end
  return nil, why, prefix .. partial
end

function Socket:receive(pattern, prefix)
  check_task("receive")
  waiting.check_class(self, class_of(self, "{client}"), "receive")
  pattern = read_pattern(pattern)
  prefix = prefix == nil and "" or waiting.check_string(prefix, "receive", 2)
  if type(pattern) == "number" and #prefix > 0 then
    if #prefix >= pattern then return prefix end
    pattern = pattern - #prefix
  end
  local left = count_down(self)
  local ok, why = be_connected(self, left)
  if not ok then return nil, why, prefix end
  if self.is_deaf and self.inbox.size == 0 then return nil, "closed", prefix end
  return with_prefix(prefix, self.inbox:receive(pattern, left))
end

--- Neither direction waits: what was sent goes first.
function Socket:shutdown(mode)
  waiting.check_class(self, class_of(self, "{client}"), "shutdown")
  mode = mode or "both"
  if mode ~= "both" and mode ~= "send" and mode ~= "receive" then
    core.argument_error("shutdown", 1, ("invalid option '%s'"):format(tostring(mode)))
  end
  if mode ~= "send" then self.is_deaf = true end
  if mode ~= "receive" and self.conn and not self.ends then
    self.ends = true
    waiting.ignore(self.conn:shutdown())
  end
  return 1
end

Socket.setpeername = Socket.connect
