-- Connections for specs: both ends of one, over TCP and over a Unix socket; what can be read;
-- writing in pieces, and random numbers.
local support = require "spec.support"
local h = require "spec.helper"
local neap = require "neap"

local await, net = neap.await, neap.net

local M = {}

--- The names of the kinds of wires.
M.kinds = { "TCP", "a Unix socket" }

--- An abstract name that nobody else has.
local names = 0
function M.name()
  names = names + 1
  return ("@neap-spec-%p-%d"):format(M, names)
end

--- A server of that kind.
function M.listen(kind)
  if kind == "TCP" then return await(net.listen("127.0.0.1", 0)) end
  return await(net.listen{ path = M.name() })
end

--- A connection to a server.
function M.connect(server)
  local host, port = server:address()
  if port then return await(net.connect(host, port)) end
  return await(net.connect{ path = host })
end

--- Both ends of a new connection.
function M.pair(kind)
  local server <close> = M.listen(kind)
  local accepting = server:accept()
  local conn = M.connect(server)
  return conn, await(accepting)
end

--- Closes them at the end of the block.
function M.closes(...)
  local objects = { ... }
  return support.closing(function()
    for _, object in ipairs(objects) do await(object:close()) end
  end)
end

--- A function for `it`: fn(conn, peer, t) gets both ends, which are closed afterwards.
function M.with_pair(kind, fn)
  return h.run(function(t)
    local conn, peer = M.pair(kind)
    local _ <close> = M.closes(conn, peer)
    fn(conn, peer, t)
  end)
end

--- Lets what was written arrive.
function M.settle()
  await(neap.sleep(0.001))
end

--- Writes pieces, each of which arrives before the next is written.
function M.write_pieces(conn, ...)
  for _, piece in ipairs{ ... } do
    await(conn:write(piece))
    M.settle()
  end
end

--- Reads until n bytes have come or the end; what came.
function M.read_bytes(conn, n)
  local chunks, count = {}, 0
  while count < n do
    local chunk = await(conn:read(math.min(n - count, 65536)))
    if not chunk then break end
    chunks[#chunks + 1] = chunk
    count = count + #chunk
  end
  return table.concat(chunks)
end

-- What can be read: sockets, a file, and a pipe with a name, which the thread pool reads.

M.sources = { "TCP", "a Unix socket", "a file", "a named pipe" }

local function with_socket(kind, pieces, fn, t)
  local conn, peer = M.pair(kind)
  local _ <close> = M.closes(conn, peer)
  local writer = neap.start(function()
    M.write_pieces(peer, table.unpack(pieces))
    await(peer:shutdown())
  end)
  fn(conn, t)
  writer:cancel("the spec has ended")
end

local function with_file(pieces, fn, t)
  local path = os.tmpname()
  local _ <close> = support.closing(function() os.remove(path) end)
  support.spit(path, table.concat(pieces))
  local file <close> = await(neap.fs.open(path))
  fn(file, t)
end

--- Content of up to 64 KiB.
local function with_fifo(pieces, fn, t)
  local path = os.tmpname()
  os.remove(path)
  assert(os.execute("mkfifo " .. path))
  local _ <close> = support.closing(function() os.remove(path) end)
  local writer <close> = assert(io.open(path, "r+"))
  local file <close> = await(neap.fs.open(path))
  writer:write(table.concat(pieces))
  writer:close()
  fn(file, t)
end

--- A function for `it`: fn(object, t) gets a readable object with that content and then its end;
--- over a socket each piece arrives by itself.
function M.with_content(kind, pieces, fn)
  return h.run(function(t)
    if kind == "a file" then return with_file(pieces, fn, t) end
    if kind == "a named pipe" then return with_fifo(pieces, fn, t) end
    with_socket(kind, pieces, fn, t)
  end)
end

--- A generator of integers from 1 to n, the same in each run.
function M.new_random(seed)
  local state = seed * 2654435761 % 4294967296
  return function(n)
    for _ = 1, 2 do state = (state * 1664525 + 1013904223) % 4294967296 end
    return (state >> 8) % n + 1
  end
end

return M
