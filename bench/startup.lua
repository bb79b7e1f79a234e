--- Starts an interpreter with a program, again and again: milliseconds for each. The arguments are
--- its command line.
local common = require "bench.common"
local neap = require "neap"

local TIMES = 30

local words = {}
for i = 1, #arg do words[i] = "'" .. arg[i]:gsub("'", "'\\''") .. "'" end
local command = table.concat(words, " ")
local loop = ("i=0; while [ $i -lt %d ]; do %s || exit 1; i=$((i + 1)); done")
  :format(TIMES, command)

assert(os.execute(command), "it does not start")
local start = neap.now()
assert(os.execute(loop), "it does not start")
common.report("start_ms", (neap.now() - start) / TIMES * 1000)
