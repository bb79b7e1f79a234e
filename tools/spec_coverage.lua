-- spec_coverage.lua FILE [RANGES]: lists the numbered assertions of FILE that no test names.
--
-- FILE holds lines `27. given / when -> then` under `###` headings, or nothing but a list of ranges
-- (`1-86,95-114`). A test names an assertion in its title, `[S27]` or `[S27, S28]`; for C, in a
-- comment above the test. With RANGES only those numbers count. Fails if one is missing.

local places = { "spec", "core/test", "bindings/test" }

local function parse_ranges(text)
  local numbers = {}
  for range in text:gmatch("[^,%s]+") do
    local first, last = range:match("^(%d+)%-?(%d*)$")
    if not first then
      error("not a list of ranges: " .. text, 0)
    end
    for number = tonumber(first), tonumber(last) or tonumber(first) do
      numbers[number] = true
    end
  end
  return numbers
end

local function read_file(path)
  local file = assert(io.open(path))
  local text = file:read("a")
  file:close()
  return text
end

-- Numbers of assertions, each with its first words.
local function parse_assertions(text)
  local assertions, inside = {}, false
  for line in text:gmatch("[^\n]*") do
    if line:match("^#") then
      inside = line:match("^### ") ~= nil
    end
    local number, words = line:match("^(%d+)%. (.*)")
    if inside and number then
      assertions[tonumber(number)] = words
    end
  end
  return assertions
end

local function assertions_of(path)
  local text = read_file(path)
  if text:match("\n### ") or text:match("^### ") then
    return parse_assertions(text)
  end
  local assertions = {}
  for number in pairs(parse_ranges((text:gsub("#[^\n]*", "")))) do
    assertions[number] = ""
  end
  return assertions
end

local function test_files()
  local list = assert(io.popen("find " .. table.concat(places, " ")
    .. " \\( -name '*_spec.lua' -o -name 'test_*.c' \\) 2>/dev/null"))
  local files = {}
  for path in list:lines() do
    files[#files + 1] = path
  end
  list:close()
  return files
end

-- In Lua, only what stands in a string: a comment tests nothing.
local function titles(path, line)
  if path:match("%.lua$") then
    return line:match("[\"'].*")
  end
  return line
end

local function collect_named(path, named)
  for line in io.lines(path) do
    for list in (titles(path, line) or ""):gmatch("%[(S%d[S%d, ]*)%]") do
      for number in list:gmatch("S(%d+)") do
        named[tonumber(number)] = true
      end
    end
  end
end

local function sorted_keys(set)
  local keys = {}
  for key in pairs(set) do
    keys[#keys + 1] = key
  end
  table.sort(keys)
  return keys
end

local function main(path, ranges)
  local assertions, named = assertions_of(path), {}
  local wanted = ranges and parse_ranges(ranges) or assertions
  for _, file in ipairs(test_files()) do
    collect_named(file, named)
  end
  local missing = 0
  for _, number in ipairs(sorted_keys(assertions)) do
    if wanted[number] and not named[number] then
      missing = missing + 1
      print(("no spec names S%d  %s"):format(number, assertions[number]))
    end
  end
  return missing == 0
end

if not arg[1] then
  io.stderr:write("usage: spec_coverage.lua FILE [RANGES]\n")
  os.exit(2)
end
os.exit(main(arg[1], arg[2]))
