-- A chat: chat.lua [PORT], then `nc localhost PORT` once for each who takes part.
-- Each client has two tasks, one that reads its lines and one that sends what the others say.
local neap = require "neap"
local await = neap.await

local outboxes = {} -- a channel for each client: lines that are to be sent to it

local function broadcast(sender, line)
  for client, outbox in pairs(outboxes) do
    if client ~= sender then outbox:try_send(line) end
  end
end

local function send_all(conn, outbox)
  for line in outbox do await(conn:write(line, "\n")) end
end

--- While one is here. A client that does not read loses old lines, and holds up nobody.
local function take_part(group, conn, name)
  local outbox = neap.channel(100, { full = "drop_oldest" })
  outboxes[conn] = outbox
  broadcast(conn, name .. " is here")
  local _ <close> = neap.defer(function()
    outboxes[conn] = nil
    broadcast(conn, name .. " has left")
    outbox:close() -- ends send_all
  end)
  group:spawn(send_all, conn, outbox)
  for line in conn:lines(1000) do broadcast(conn, name .. ": " .. line) end
end

local function chat(conn)
  await(conn:write("Your name?\n"))
  local name = await(conn:read_line(100))
  if name then neap.group(take_part, conn, name) end
end

neap.main(function(port)
  await(neap.net.serve({
    host = "*",
    port = math.tointeger(port or 0),
    grace = 0,
    on_listen = function(server)
      io.stderr:write("listening on port ", select(2, server:address()), "\n")
    end,
    on_error = function(err) io.stderr:write(tostring(err), "\n") end,
  }, chat))
end, ...)
