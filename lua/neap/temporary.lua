--- neap.fs: temporary files and directories.
local check = require "neap.check"
local core = require "neap.core"

local M = {}

--- What a new name begins with: in `dir`, else where the prefix says, else in TMPDIR or /tmp.
local function full_prefix(prefix, dir)
  prefix = prefix or "neap-"
  if dir then return dir:gsub("/*$", "/", 1) .. prefix end
  if prefix:find("/", 1, true) then return prefix end
  local place = os.getenv("TMPDIR")
  return (place and place ~= "" and place or "/tmp"):gsub("/*$", "/", 1) .. prefix
end

--- The prefix from checked options.
local function prefix_of(opts, name)
  if opts == nil then return full_prefix() end
  check.table(opts, name, 1)
  local prefix, dir = opts.prefix, opts.dir
  if prefix ~= nil then check.path(prefix, name, 1, "option 'prefix': ") end
  if dir ~= nil then check.path(dir, name, 1, "option 'dir': ") end
  return full_prefix(prefix, dir)
end

--- Makes a directory with a new name (mode 0700) in TMPDIR or /tmp, or where a prefix with a slash
--- says: a Task of its path.
---@param prefix? string
---@return neap.Task
---@nodiscard
function M.mkdtemp(prefix)
  if prefix ~= nil then check.path(prefix, "mkdtemp", 1) end
  return core.fs.mkdtemp(full_prefix(prefix))
end

--- What was just made, unless whoever wanted it was cancelled meanwhile: then it is undone.
local function keep(made, undo)
  if core.is_cancelling() then
    core.shield(undo, made)
    core.checkpoint()
  end
  return made
end

-- Files that are removed at the end.

local FILE_MODE = "600"
local MAX_TRIES = 100

local function close(file) core.await(file:close()) end

--- A file that nobody has made before; with a new name where somebody has.
local new_file = core.async(function(prefix, mode)
  local opts = { mode = mode, unlink_at_close = true }
  for try = 1, MAX_TRIES do
    local path = ("%s%016x"):format(prefix, math.random(0))
    local ok, file = core.pcall(core.await, core.fs.open(path, "w+x", opts))
    if ok then return keep(file, close) end
    if file.code ~= "EEXIST" or try == MAX_TRIES then error(file, 0) end
  end
end)

--- Makes a file that is removed when it is closed, open for reading and writing: a Task of a File.
---@param opts? { prefix: string?, dir: string?, mode: (integer | string)? } mode: default "600"
---@return neap.Task
---@nodiscard
function M.temp_file(opts)
  local prefix = prefix_of(opts, "temp_file")
  local mode = opts and opts.mode
  if mode ~= nil then check.file_mode(mode, "temp_file", 1, "option 'mode': ") end
  return new_file(prefix, mode or FILE_MODE)
end

-- Directories that are removed at the end.

---@class neap.TempDir
local TempDir = {}
local methods = {}
TempDir.__index = methods
TempDir.__name = "neap.TempDir"
TempDir.__metatable = false

local function remove(path)
  core.await(core.fs.remove(path, { recursive = true, missing_ok = true }))
end

--- Removes it with all that is in it: a Task. In a cancelled scope, too, and whether or not the
--- Task is awaited. Harmless when repeated.
---@return neap.Task
function methods:close()
  local closing = self.closing
  if not closing or closing:status() == "failed" then
    closing = core.background(core.shield, remove, self.path)
    self.closing = closing
  end
  return closing
end

function TempDir:__close()
  core.shield(core.await, self:close())
end

function TempDir:__tostring()
  return ("neap.TempDir '%s'%s"):format(self.path, self.closing and ": closed" or "")
end

local new_directory = core.async(function(prefix)
  local path = keep(core.await(core.fs.mkdtemp(prefix)), remove)
  return setmetatable({ path = path }, TempDir)
end)

--- Makes a directory that is removed when it is closed: a Task of a TempDir, whose path is .path.
---@param opts? { prefix: string?, dir: string? }
---@return neap.Task
---@nodiscard
function M.temp_dir(opts)
  return new_directory(prefix_of(opts, "temp_dir"))
end

return M
