--- The files that the benches of files work on: made before their first round, removed after their
--- last one, also when the driver is interrupted.
local M = {}

local FILES <const>, SIZE <const>, MIB <const> = 10000, 4096, 1 << 20
local ROOM <const> = 3072 -- MiB of memory and of disk that must be free for a file of 1 GiB

local function first_line(command)
  local pipe <close> = assert(io.popen(command))
  return pipe:read("l")
end

local function quoted(text)
  return "'" .. text:gsub("'", "'\\''") .. "'"
end

local function write(path, content, times)
  local file <close> = assert(io.open(path, "wb"))
  for _ = 1, times do assert(file:write(content)) end
end

local function new_folder(parent)
  local path = first_line("mktemp -d " .. quoted(parent .. "/neap-bench.XXXXXX"))
  return assert(path, "there is no folder for the files")
end

--- In memory, where there is such a folder: elsewhere a new file costs what the journal costs.
local function memory_folder()
  local shared = "/dev/shm"
  return os.execute("test -w " .. shared) and shared or os.getenv("TMPDIR") or "/tmp"
end

--- On disk: what is measured is how a cached file is read.
local function disk_folder()
  return os.getenv("TMPDIR") or "/tmp"
end

local function has_room(folder)
  local disk = first_line("df -Pk " .. quoted(folder) .. " | tail -n 1 | awk '{print $4}'")
  local memory = first_line("awk '/^MemAvailable/ {print $2}' /proc/meminfo 2>/dev/null")
  return (tonumber(disk) or 0) >= ROOM * 1024 and (tonumber(memory) or 0) >= ROOM * 1024
end

local kinds = {}

--- 10 000 small files.
function kinds.small(folder)
  local content = ("x"):rep(SIZE)
  for i = 0, FILES - 1 do write(("%s/%05d"):format(folder, i), content, 1) end
  return FILES * SIZE
end

--- One big file.
function kinds.big(folder)
  local mib = has_room(folder) and 1024 or 256
  if mib < 1024 then print(("  there is no room for 1 GiB: %d MiB are read"):format(mib)) end
  write(folder .. "/big", ("x"):rep(MIB), mib)
  return mib * MIB
end

--- Room for 10 000 small files; emptied before each program.
function kinds.empty()
  return FILES * SIZE
end

local Data = {}
Data.__index = Data

function Data:__close()
  os.execute("rm -rf " .. quoted(self.folder))
end

--- The files of a kind; to be closed. Its `shell` begins a command line: it sets FOLDER and BYTES.
function M.make(kind)
  local folder = new_folder(kind == "empty" and memory_folder() or disk_folder())
  local self = setmetatable({ folder = folder }, Data)
  local ok, bytes = pcall(kinds[kind], folder)
  if not ok then
    self:__close()
    error(bytes, 0)
  end
  self.shell = ("FOLDER=%s; BYTES=%d; "):format(quoted(folder), bytes)
  if kind == "empty" then self.shell = self.shell .. 'rm -rf "$FOLDER"; mkdir "$FOLDER"; ' end
  os.execute("sync -f " .. quoted(folder)) -- what is written back later disturbs the programs
  return self
end

return M
