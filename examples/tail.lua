-- Follows a log that grows, and the child process that writes it: prints each line as it comes,
-- until the child has ended or Ctrl-C is pressed.
local neap = require "neap"
local await = neap.await

local USAGE = [==[
usage: tail.lua [LOG COMMAND [ARGUMENT...]]
  LOG       a file to follow, from its end on; it is made if there is none
  COMMAND   a program that is run meanwhile, and ended with this one
Without arguments a shell appends five lines to a temporary file.]==]

local PAUSE = 0.02 -- seconds between two looks at a log that has not grown

local DEMO = 'for i in 1 2 3 4 5; do echo "line $i" >>"$0"; sleep 0.1; done'

--- Hands on what is in the file and what comes, line by line, as long as `is_growing` says so.
local function follow(file, is_growing, on_line)
  local rest = ""
  while true do
    local was_growing = is_growing() -- asked first: what came before the end is read
    local chunk = await(file:read())
    if chunk then
      rest = rest .. chunk
      for line in rest:gmatch("([^\n]*)\n") do on_line(line) end
      rest = rest:match("[^\n]*$")
    elseif was_growing then
      await(neap.sleep(PAUSE))
    else
      if rest ~= "" then on_line(rest) end
      return
    end
  end
end

local function tail(path, command)
  local file <close> = await(neap.fs.open(path, "a+"))
  await(file:seek("end"))
  command.stdin, command.stdout, command.stderr = "null", "inherit", "inherit"
  command.group = true -- all that it has started ends with it
  local child <close> = await(neap.process.spawn(command))
  local ended = child:wait()
  follow(file, function() return not ended:is_done() end,
    function(line) await(neap.stdio.stdout:write(line, "\n")) end)
  local code, signal = await(ended)
  await(neap.stdio.stderr:write(("%s: %s\n"):format(command[1], signal or "exit code " .. code)))
  return code
end

local function tail_demo()
  local dir <close> = await(neap.fs.temp_dir())
  local path = dir.path .. "/log"
  return tail(path, { "/bin/sh", "-c", DEMO, path })
end

neap.main(function(path, ...)
  if not path then return tail_demo() end
  if select("#", ...) == 0 then
    await(neap.stdio.stderr:write(USAGE, "\n"))
    return 2
  end
  return tail(path, { ... })
end, ...)
