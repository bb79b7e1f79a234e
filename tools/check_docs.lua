-- check_docs.lua FILE...: the code in documents is true. Blocks marked ```lua have to compile;
-- ```lua run have to run as well, each in an interpreter of its own; ```c build have to compile;
-- ```c run to run; ```c build NAME is a module for the Lua blocks below it in its file.
-- ./dev says how to compile C: NEAP_DOCS_CC and NEAP_DOCS_LIBS.

local function read_lines(path)
  local lines = {}
  for line in io.lines(path) do
    lines[#lines + 1] = line
  end
  return lines
end

-- Blocks { mark = "lua" or "lua run", line = number of their first line, text = ... }.
local function blocks_of(path)
  local blocks, block = {}, nil
  for number, line in ipairs(read_lines(path)) do
    if block and line:match("^%s*```%s*$") then
      blocks[#blocks + 1], block = block, nil
    elseif block then
      block[#block + 1] = line
    elseif line:match("^%s*```") then
      block = { mark = line:match("```%s*(.-)%s*$"), line = number + 1 }
    end
  end
  return blocks
end

local function quoted(text)
  return "'" .. text:gsub("'", "'\\''") .. "'"
end

local function write(path, text)
  local file = assert(io.open(path, "w"))
  file:write(text)
  file:close()
end

-- Runs COMMAND; returns what it has printed, if it fails.
local function problem_of(command)
  local output = assert(io.popen("(" .. command .. ") 2>&1 </dev/null"))
  local text = output:read("a")
  return not output:close() and (text:gsub("%s+$", "")) or nil
end

local scratch = os.tmpname()
os.remove(scratch)

local function run_lua(source)
  local interpreter = arg[-1] or "lua5.4"
  write(scratch .. "/block.lua", source)
  return problem_of(('LUA_CPATH="%s/?.so;$LUA_CPATH" timeout 60 %s %s/block.lua'):format(
    scratch, quoted(interpreter), scratch))
end

local function check_lua(path, block)
  local source = ("\n"):rep(block.line - 1) .. table.concat(block, "\n")
  local _, problem = load(source, "@" .. path, "t")
  if not problem and block.mark == "lua run" then problem = run_lua(source) end
  return problem
end

-- Compiles; then it is linked to a program, which runs, or to a module.
local function check_c(path, block)
  local source, object = scratch .. "/block.c", scratch .. "/block.o"
  write(source, ('#line %d "%s"\n%s\n'):format(block.line, path, table.concat(block, "\n")))
  local problem = problem_of(("$NEAP_DOCS_CC -fPIC -c %s -o %s"):format(source, object))
  local module = block.mark:match("^c build (%w+)$")
  if problem or block.mark == "c build" then return problem end
  local target = module and ("-shared -o %s/%s.so"):format(scratch, module)
    or ("-o %s/program"):format(scratch)
  problem = problem_of(("$NEAP_DOCS_CC %s %s $NEAP_DOCS_LIBS"):format(object, target))
  return problem or (not module and problem_of(("timeout 60 %s/program"):format(scratch))) or nil
end

local function checker_of(mark)
  if mark == "lua" or mark == "lua run" then return check_lua end
  if mark == "c run" or mark:find("^c build") then return check_c end
end

-- Modules are there for the rest of their file.
local function check_file(path, count)
  assert(os.execute("rm -rf " .. scratch .. " && mkdir " .. scratch))
  for _, block in ipairs(blocks_of(path)) do
    local check = checker_of(block.mark)
    local problem = check and check(path, block)
    if check then count.checked = count.checked + 1 end
    if problem then
      count.wrong = count.wrong + 1
      io.stderr:write(("%s:%d: %s\n"):format(path, block.line, problem))
    end
  end
end

local count = { checked = 0, wrong = 0 }
for _, path in ipairs(arg) do check_file(path, count) end
os.execute("rm -rf " .. scratch)
local summary = "docs: %d blocks of Lua and C in %d files, %d wrong"
print(summary:format(count.checked, #arg, count.wrong))
os.exit(count.wrong == 0)
