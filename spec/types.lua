--- What lua/neap/types says: classes, with the names of their functions and fields.
local PATH = "lua/neap/types/neap.lua"

local M = {}

local function read_classes()
  local classes, variables = {}, {}
  local latest
  for line in io.lines(PATH) do
    local class, parent = line:match("^%-%-%-@class ([%w_.]+):?%s*([%w_.]*)")
    local field = line:match("^%-%-%-@field ([%w_]+)")
    local variable = line:match("^local ([%w_]+) = {}$")
    local owner, name = line:match("^function ([%w_]+)[.:]([%w_]+)%(")
    if class then
      latest = { names = {}, fields = {}, parent = parent ~= "" and parent or nil }
      classes[class] = latest
    elseif field then
      latest.fields[field] = true
    elseif variable then
      variables[variable] = latest
    elseif owner then
      assert(variables[owner], "no class for " .. line).names[name] = true
    end
  end
  return classes
end

--- By class: { names =, fields =, parent = }, sets and the parent's name.
M.classes = read_classes()

--- The functions of a class, with those that it inherits.
function M.names_of(class)
  local description = assert(M.classes[class], class .. " has no type")
  local names = {}
  while description do
    for name in pairs(description.names) do names[name] = true end
    description = M.classes[description.parent]
  end
  return names
end

return M
