-- docs/reference/luv.md has a row for each of luv's functions, and what a row names is there.
local h = require "spec.helper"
local neap = require "neap"
local types = require "spec.types"

local PAGE = "docs/reference/luv.md"

-- Of luv 1.44.2: what `for name in pairs(require "luv")` gives for the families of the page.
local NAMES = "spec/luv_names.txt"

--- Rows { luv =, neap =, remark = } of the page's tables.
local function read_rows()
  local rows = {}
  for line in io.lines(PAGE) do
    local luv, name, remark = line:match("^| `([%w_]+)` |(.-)|(.-)|$")
    if luv then rows[#rows + 1] = { luv = luv, neap = name, remark = remark } end
  end
  return rows
end

local function read_names()
  local names = {}
  for line in io.lines(NAMES) do names[line] = true end
  return names
end

--- Whether `neap.fs.open` or `File:read` is there. Methods are looked up in the types; that those
--- are true is the matter of exports_spec.lua.
local function exists(name)
  local class, method = name:match("^(%u%w*):([%w_]+)$")
  if class then
    return types.classes["neap." .. class] ~= nil and types.names_of("neap." .. class)[method]
  end
  local value = { neap = neap }
  for part in name:gmatch("[%w_]+") do value = type(value) == "table" and value[part] or nil end
  return value ~= nil
end

local function fail_with(problems)
  if #problems > 0 then error(table.concat(problems, "\n"), 0) end
end

describe("the table of luv's functions", function()
  it("has a row for each, and one only", h.plain(function()
    local missing, problems = read_names(), {}
    for _, row in ipairs(read_rows()) do
      if not missing[row.luv] then
        problems[#problems + 1] = row.luv .. " has two rows, or is none of luv's names"
      end
      missing[row.luv] = nil
    end
    for name in pairs(missing) do problems[#problems + 1] = name .. " has no row" end
    fail_with(problems)
  end))

  it("names what neap has", h.plain(function()
    local problems = {}
    for _, row in ipairs(read_rows()) do
      for name in row.neap:gmatch("`([^`]+)`") do
        if not exists(name) then
          problems[#problems + 1] = row.luv .. ": neap has no " .. name
        end
      end
    end
    fail_with(problems)
  end))

  it("says why where neap has nothing", h.plain(function()
    for _, row in ipairs(read_rows()) do
      local says = row.neap:find("`") or row.remark:find("%a")
      assert(says, row.luv .. " has neither a name nor a reason")
    end
  end))
end)
