-- WebSockets for specs: frames by hand, and WebSockets whose other end is a plain connection.
-- Limits of time are infinite unless they are the point: virtual time jumps while bytes are under
-- way.
local assert = require "luassert"
local h = require "spec.helper"
local neap = require "neap"
local core = require "neap.core"
local web = require "spec.http_wire"
local wires = require "spec.wires"

local await = neap.await

local M = {}

local OPCODES = { continuation = 0, text = 1, binary = 2, close = 8, ping = 9, pong = 10 }
local NAMES = {}
for name, opcode in pairs(OPCODES) do NAMES[opcode] = name end

local MASK = "\x12\xff\x80\x01"

local function masked(payload, mask)
  local bytes = {}
  for i = 1, #payload do
    bytes[i] = string.char(payload:byte(i) ~ mask:byte((i - 1) % 4 + 1))
  end
  return table.concat(bytes)
end

local function length_of(n)
  if n < 126 then return n, "" end
  if n < 65536 then return 126, (">I2"):pack(n) end
  return 127, (">I8"):pack(n)
end

--- A frame; opts.mask: as from a client, opts.more: not the last fragment.
function M.frame(name, payload, opts)
  opts = opts or {}
  payload = payload or ""
  local length, extra = length_of(#payload)
  local first = OPCODES[name] | (opts.more and 0 or 0x80)
  if not opts.mask then return string.char(first, length) .. extra .. payload end
  return string.char(first, length | 0x80) .. extra .. MASK .. masked(payload, MASK)
end

--- The payload of a close frame.
function M.code(code, reason) return (">I2"):pack(code) .. (reason or "") end

--- Reads one frame: its name and payload, unmasked unless it is long; and whether it was masked.
function M.read_frame(conn)
  local head = await(conn:read_exactly(2))
  local first, second = head:byte(1, 2)
  local n = second & 0x7f
  if n == 126 then n = (">I2"):unpack(await(conn:read_exactly(2))) end
  if n == 127 then n = (">I8"):unpack(await(conn:read_exactly(8))) end
  local is_masked = second & 0x80 ~= 0
  local mask = is_masked and await(conn:read_exactly(4))
  if n > 100000 then mask = nil end -- in Lua it takes seconds
  local payload = await(conn:read_exactly(n))
  assert.equal(0x80, first & 0xf0)
  return NAMES[first & 0x0f], mask and masked(payload, mask) or payload, is_masked
end

--- Asserts that the next frame is a close with that code, whatever its reason.
function M.expect_close(conn, code)
  local name, payload = M.read_frame(conn)
  assert.same({ "close", code }, { name, ((">I2"):unpack(payload)) })
end

--- The same options without limits of time.
local function endless(opts)
  local all = { close_timeout = math.huge, timeout = math.huge }
  for name, value in pairs(opts or {}) do all[name] = value end
  return all
end

M.endless = endless

--- A function for `it`: fn(ws, peer, t) with a WebSocket of that side and its plain other end.
function M.with_peer(is_server, fn, opts)
  return wires.with_pair("TCP", function(conn, peer, t)
    local all = endless(opts)
    all.server = is_server
    fn(core.websocket(conn, all), peer, t, conn)
  end)
end

--- A frame as the plain other end of that side sends it.
function M.for_side(is_server)
  return function(name, payload, opts)
    return M.frame(name, payload, { mask = is_server, more = opts and opts.more })
  end
end

--- Serves WebSockets: handler(ws, req) for each.
function M.serve(handler, opts, serve_opts)
  return web.serve(function(req)
    local ws <close> = await(neap.websocket.accept(req, endless(opts)))
    if ws then handler(ws, req) end
  end, serve_opts)
end

function M.url(server, target)
  local host, port = server:address()
  return ("ws://%s:%d%s"):format(host, port, target or "/")
end

--- Connects to a server of ours.
function M.connect(server, opts)
  return await(neap.websocket.connect(M.url(server), endless(opts)))
end

--- A function for `it`: fn(ws, t) with a client of a server with that handler.
function M.with_server(handler, fn, opts)
  return h.scoped(function(t)
    local task, server = M.serve(handler, opts and opts.server)
    do
      local ws <close> = M.connect(server, opts and opts.client)
      fn(ws, t)
    end
    web.stop(task)
  end)
end

--- Sends back what comes.
function M.echo(ws)
  for message, kind in ws do
    await(kind == "text" and ws:send(message) or ws:send_binary(message))
  end
end

--- Lets what was written arrive.
M.settle = wires.settle

return M
