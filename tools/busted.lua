-- Runs busted's command line under the interpreter that runs this file (Debian's `busted` starts
-- whatever `lua` is). With NEAP_RESULTS=FILE, appends a line for each spec to FILE: `ok TITLE`, or
-- `not ok TITLE: why`; while a spec runs, `# TITLE`, so that a crash has a name; at the end
-- `1..COUNT`. A pending spec is a promise not kept: it counts as failed.
--
-- With NEAP_NOISE=SEED each spec runs under what any kernel may do at any time: short counts,
-- EINTR, EAGAIN (tools/faults, which has to be preloaded: `NEAP_NOISE=3 ./dev test FILE`). The
-- outcome has to be the same. What happens is drawn from the seed and the title, so that one spec
-- alone sees the same; where the thread pool's threads compete, nearly the same.

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

-- Up to `least` bytes stay together: that a small message arrives in one piece is no promise, but
-- specs may rely on it to be readable. Smaller pieces: spec/sweep.lua.
local noise = { short = 0.3, EINTR = 0.1, EAGAIN = 0.1, least = 512 }
local noise_seed = math.tointeger(os.getenv("NEAP_NOISE"))

local function seed_of(title)
  local seed = noise_seed
  for i = 1, #title do
    seed = seed * 31 + title:byte(i)
  end
  return seed
end

--- Arms the faults for each spec; gives a function that tells how often they have struck.
local function make_noise(handler, busted)
  local faults = require("faults")
  local struck = 0
  busted.subscribe({ "test", "start" }, function(element)
    faults.clear()
    faults.random(seed_of(handler.getFullName(element)), noise)
    return nil, true
  end)
  busted.subscribe({ "test", "end" }, function()
    struck = struck + faults.count().delivered
    faults.clear()
    return nil, true
  end)
  return function() return struck end
end

local function record(handler, busted, results)
  local count = 0

  local function title(element)
    local suffix = noise_seed and " (replay: NEAP_NOISE=" .. noise_seed .. ")" or ""
    return handler.getFullName(element):gsub("\n", " ") .. suffix
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
    if noise_seed then
      local struck = make_noise(handler, busted)
      busted.subscribe({ "exit" }, function()
        if results and struck() > 0 then
          results:write("ok noise ", noise_seed, " disturbs specs\n")
        end
        return nil, true
      end, { priority = 1 })
    end
    return handler
  end
end

local is_terminal = require("term").isatty(io.stdout)
if is_terminal then
  default_handler = "busted.outputHandlers.utfTerminal"
end

require("busted.runner")({ standalone = false, output = handler_name })
