-- check_docs.lua FILE...: the Lua in documents is true. Blocks marked ```lua have to compile; those
-- marked ```lua run have to run as well, each in an interpreter of its own.

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

-- Runs SOURCE apart; returns an error's text, or nil.
local function run(source)
  local path = os.tmpname()
  local file = assert(io.open(path, "w"))
  file:write(source)
  file:close()
  local interpreter = arg[-1] or "lua5.4"
  local output = assert(io.popen(("timeout 60 %s %s 2>&1 </dev/null"):format(
    quoted(interpreter), quoted(path))))
  local text = output:read("a")
  local ok = output:close()
  os.remove(path)
  return not ok and (text:gsub("%s+$", "")) or nil
end

local function check(path, block)
  local name = ("@%s:%d"):format(path, block.line)
  local source = ("\n"):rep(block.line - 1) .. table.concat(block, "\n")
  local _, problem = load(source, "@" .. path, "t")
  if not problem and block.mark == "lua run" then
    problem = run(source)
  end
  if problem then
    io.stderr:write(("%s: %s\n"):format(name:sub(2), problem))
  end
  return not problem
end

local checked, wrong = 0, 0
for _, path in ipairs(arg) do
  for _, block in ipairs(blocks_of(path)) do
    if block.mark == "lua" or block.mark == "lua run" then
      checked = checked + 1
      wrong = wrong + (check(path, block) and 0 or 1)
    end
  end
end
print(("docs: %d Lua blocks in %d files, %d wrong"):format(checked, #arg, wrong))
os.exit(wrong == 0)
