--- neap.fs.walk: the entries of a tree, one directory at a time.
local check = require "neap.check"
local core = require "neap.core"

local M = {}

--- The options, checked.
local function options_of(opts)
  if opts == nil then return {} end
  check.table(opts, "walk", 2)
  for _, name in ipairs({ "filter", "on_error" }) do
    if opts[name] ~= nil and not check.is_callable(opts[name]) then
      core.argument_error("walk", 2, ("option '%s': function expected, got %s"):format(
        name, core.type_name(opts[name])))
    end
  end
  if opts.follow ~= nil and type(opts.follow) ~= "boolean" then
    core.argument_error("walk", 2, "option 'follow': a boolean expected")
  end
  local max_depth = opts.max_depth
  if max_depth ~= nil and max_depth ~= math.huge then check.integer(max_depth, 1, "walk", 2) end
  return opts
end

local function join(directory, name)
  return directory:sub(-1) == "/" and directory .. name or directory .. "/" .. name
end

--- What tells a directory from all others.
local function identity(path)
  local info = core.await(core.fs.stat(path))
  return info.dev .. ":" .. info.ino
end

--- A directory's entries. Links are not followed, but for the walk's own path.
local function read_level(path, opts, is_root)
  local list = (is_root or opts.follow) and core.fs.list or core.fs.list_directory
  return { path = path, entries = core.await(list(path)), index = 0,
    id = opts.follow and identity(path) or nil }
end

--- Puts the directory on top; what cannot be read is an error, or the business of on_error.
local function push_level(stack, path, opts)
  local ok, level = core.pcall(read_level, path, opts, #stack == 0)
  if ok then
    stack[#stack + 1] = level
  elseif opts.on_error then
    opts.on_error(level, path)
  else
    error(level, 0)
  end
end

--- The next entry of the level on top, nil at its end. Nobody keeps what was given.
local function next_entry(stack)
  local level = stack[#stack]
  local index = level.index + 1
  local entry = level.entries[index]
  if not entry then return nil end
  level.entries[index] = false
  level.index = index
  entry.path, entry.depth = join(level.path, entry.name), #stack
  return entry
end

--- What a link points to; it stays a link if that is nothing.
local function follow(entry)
  if entry.type ~= "link" then return end
  local ok, info = core.pcall(core.await, core.fs.stat(entry.path))
  if ok then entry.type = info.type end
end

--- Whether the directory is one of those that lead to it: a link that goes in circles.
local function is_circle(stack, path)
  local ok, id = core.pcall(identity, path)
  if not ok then return false end -- whoever reads it will say why
  for _, level in ipairs(stack) do
    if level.id == id then return true end
  end
  return false
end

local entries = core.stream(function(yield, path, opts)
  local filter, max_depth = opts.filter, opts.max_depth or math.huge
  local stack = {}
  push_level(stack, path, opts)
  while #stack > 0 do
    local entry = next_entry(stack)
    if not entry then
      stack[#stack] = nil
    else
      if opts.follow then follow(entry) end
      if not filter or filter(entry) then
        local is_deeper = entry.type == "directory" and entry.depth < max_depth
          and not (opts.follow and is_circle(stack, entry.path))
        local below = entry.path
        yield(entry)
        if is_deeper then push_level(stack, below, opts) end
      end
    end
  end
end)

--- The entries below a directory, parents before what is in them, sorted by name:
--- `for entry in neap.fs.walk(path) do print(entry.depth, entry.type, entry.path) end`.
---@param path string
---@param opts? neap.fs.WalkOptions
---@return neap.Stream
---@return nil
---@return nil
---@return neap.Stream closing
---@nodiscard
function M.walk(path, opts)
  check.path(path, "walk", 1)
  return entries(path, options_of(opts))
end

return M
