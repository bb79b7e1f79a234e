-- Sends messages to a WebSocket server and looks at what comes back: ws_send.lua URL
local neap = require "neap"
local await = neap.await

neap.main(function(url)
  local ws <close> = await(neap.websocket.connect(url, { protocols = { "echo" } }))
  assert(ws:protocol() == "echo")
  for _, n in ipairs{ 0, 1, 125, 126, 65535, 65536, 1000000 } do
    local text = ("ä"):rep(n // 2) .. ("x"):rep(n % 2)
    local sending = ws:send(text)
    local got, kind = await(ws:recv())
    await(sending)
    assert(got == text and kind == "text", n)
  end
  await(ws:send_binary("\xff\0\xfe"))
  local got, kind = await(ws:recv())
  assert(got == "\xff\0\xfe" and kind == "binary")
  assert(await(ws:ping()) >= 0)
  local code, reason = await(ws:close(4000, "done"))
  assert(code == 4000, code)
  print("closed", code, reason)
end, ...)
