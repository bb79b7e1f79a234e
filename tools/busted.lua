-- Runs busted's command line under the interpreter that runs this file (Debian's `busted` starts
-- whatever `lua` is). With NEAP_RESULTS=FILE, appends a line for each spec to FILE: `ok TITLE`, or
-- `not ok TITLE: why`; while a spec runs, `# TITLE`, so that a crash has a name; at the end
-- `1..COUNT`. A pending spec is a promise not kept: it counts as failed.

local default_handler = "busted.outputHandlers.plainTerminal"
local handler_name = "neap_results"

local function first_line(message)
  return (tostring(message):match("[^\n]*"))
end

local function open_results()
  local path = os.getenv("NEAP_RESULTS")
  if not path then
    return nil
  end
  local results = assert(io.open(path, "a"))
  results:setvbuf("no")
  return results
end

local function record(handler, busted, results)
  local count = 0

  local function title(element)
    return (handler.getFullName(element):gsub("\n", " "))
  end

  local function write(...)
    results:write(table.concat({ ... }), "\n")
    return nil, true
  end

  busted.subscribe({ "test", "start" }, function(element)
    return write("# ", title(element))
  end)
  busted.subscribe({ "test", "end" }, function(element, _, status)
    count = count + 1
    if status == "success" then
      return write("ok ", title(element))
    end
    return write("not ok ", title(element), ": ", status)
  end)
  -- Failures inside a spec are counted at its end; this is for files and for setup and teardown.
  local function outside(element, _, message)
    if element.descriptor ~= "it" then
      return write("not ok ", title(element), ": ", first_line(message))
    end
    return nil, true
  end
  busted.subscribe({ "error" }, outside)
  busted.subscribe({ "failure" }, outside)
  busted.subscribe({ "exit" }, function()
    return write("1..", count)
  end)
end

package.preload["busted.outputHandlers." .. handler_name] = function()
  return function(options)
    local busted = require("busted")
    local handler = require(default_handler)(options)
    local results = open_results()
    if results then
      record(handler, busted, results)
    end
    return handler
  end
end

local is_terminal = require("term").isatty(io.stdout)
if is_terminal then
  default_handler = "busted.outputHandlers.utfTerminal"
end

require("busted.runner")({ standalone = false, output = handler_name })
