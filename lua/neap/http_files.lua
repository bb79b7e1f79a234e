--- Files as responses: neap.http.files and res:file.
local check = require "neap.check"
local core = require "neap.core"
local driver = require("neap.http_server").driver

local await, fs = core.await, core.fs

local M = {}

-- Bytes up to which a file is read and sent with its head, and of a piece where the socket is full.
local SMALL, PIECE = 65536, 65536

local TYPES = {
  avif = "image/avif", css = "text/css; charset=utf-8", csv = "text/csv; charset=utf-8",
  gif = "image/gif", gz = "application/gzip", htm = "text/html; charset=utf-8",
  html = "text/html; charset=utf-8", ico = "image/x-icon", jpeg = "image/jpeg", jpg = "image/jpeg",
  js = "text/javascript; charset=utf-8", json = "application/json",
  lua = "text/plain; charset=utf-8", md = "text/markdown; charset=utf-8",
  mjs = "text/javascript; charset=utf-8", mp3 = "audio/mpeg", mp4 = "video/mp4",
  pdf = "application/pdf", png = "image/png", svg = "image/svg+xml", tar = "application/x-tar",
  txt = "text/plain; charset=utf-8", wasm = "application/wasm", webm = "video/webm",
  webp = "image/webp", woff = "font/woff", woff2 = "font/woff2",
  xml = "application/xml", zip = "application/zip",
}

local function type_of(path)
  return TYPES[(path:match("%.([%w]+)$") or ""):lower()] or "application/octet-stream"
end

-- Conditions: what the client has already.

local function etag_of(stat)
  return ('"%x-%x"'):format(stat.size, math.floor(stat.mtime * 1000))
end

local function has_tag(list, tag)
  if list:match("^%s*%*%s*$") then return true end
  for one in list:gmatch('"[^"]*"') do
    if one == tag then return true end
  end
  return false
end

--- If-None-Match counts where both are there.
local function is_unchanged(req, tag, mtime)
  local tags = req:header("If-None-Match")
  if tags then return has_tag(tags, tag) end
  local since = driver.parse_date(req:header("If-Modified-Since") or "")
  return since ~= nil and mtime <= since
end

local function fails_precondition(req, tag, mtime)
  local tags = req:header("If-Match")
  if tags then return not has_tag(tags, tag) end
  local since = driver.parse_date(req:header("If-Unmodified-Since") or "")
  return since ~= nil and mtime > since
end

-- Ranges.

--- Whether the range is of the file that there is now.
local function is_in_time(req, tag, mtime)
  local condition = req:header("If-Range")
  if not condition then return true end
  if condition:sub(1, 1) == '"' then return condition == tag end
  return driver.parse_date(condition) == mtime
end

--- "bytes=first-last" -> the two; nil: all is wanted; false: there is no such part. Several
--- ranges at once
--- are answered with all of it, as is allowed.
local function range_of(req, size, tag, mtime)
  local header = req.method == "GET" and req:header("Range")
  local first, last = (header or ""):match("^%s*bytes%s*=%s*(%d*)%s*%-%s*(%d*)%s*$")
  if not first or first .. last == "" or #first > 18 or #last > 18 then return nil end
  if not is_in_time(req, tag, mtime) then return nil end
  if first == "" then
    local n = math.min(math.tointeger(last), size)
    if n == 0 then return false end
    return size - n, size - 1
  end
  first = math.tointeger(first)
  last = last == "" and size - 1 or math.min(math.tointeger(last), size - 1)
  if first >= size then return false end
  if last < first then return nil end
  return first, last
end

-- Sending.

--- What the kernel cannot do on this socket or with this file.
local function is_unable(err)
  return type(err) == "table" and (err.code == "ENOTSUP" or err.code == "ENOSYS"
    or err.code == "EINVAL" or err.code == "EMISUSE")
end

local function was_cut()
  error(core.error("EIO", "the file was cut while it was sent"), 0)
end

--- A piece by way of this process; waits until there is room in the socket for the next one.
local function send_piece(res, file, offset, left)
  local data = await(file:read_at(offset, math.min(left, PIECE)))
  if not data or data == "" then was_cut() end
  await(res:write(data))
  return #data
end

local function send_body(res, file, offset, left)
  local can_sendfile = true
  while left > 0 do
    local n = 0
    if can_sendfile then
      local ok, sent = pcall(await, driver.sendfile(file, res, offset, left))
      if not ok and not is_unable(sent) then error(sent, 0) end
      can_sendfile, n = ok, ok and sent or 0
    end
    if n == 0 then n = send_piece(res, file, offset, left) end
    offset, left = offset + n, left - n
  end
end

local function send_part(req, res, file, status, first, count)
  res.status = status
  if req.method ~= "HEAD" and count <= SMALL then
    local data = count > 0 and await(file:read_at(first, count)) or ""
    if #data < count then was_cut() end
    return res:send(status, data)
  end
  res:header("Content-Length", tostring(count))
  if req.method == "HEAD" then return res:send(status) end
  await(res:write())
  send_body(res, file, first, count)
end

local function set_head(res, path, stat, tag, opts)
  if not res:header("Content-Type") then res:header("Content-Type", opts.type or type_of(path)) end
  if not res:header("ETag") then res:header("ETag", tag) end
  res:header("Last-Modified", driver.format_date(math.floor(stat.mtime)))
  res:header("Accept-Ranges", "bytes")
  if opts.max_age then res:header("Cache-Control", ("max-age=%d"):format(opts.max_age)) end
end

local function send_open_file(req, res, file, stat, path, opts)
  local tag, mtime = etag_of(stat), math.floor(stat.mtime)
  if fails_precondition(req, tag, mtime) then return res:send(412, "Precondition Failed") end
  set_head(res, path, stat, tag, opts)
  if is_unchanged(req, tag, mtime) then
    res:header("Content-Type", nil)
    return res:send(304)
  end
  local first, last = range_of(req, stat.size, tag, mtime)
  if first == false then
    res:header("Content-Range", ("bytes */%d"):format(stat.size))
    res:header("Content-Type", nil)
    return res:send(416, "Range Not Satisfiable")
  end
  if first then
    res:header("Content-Range", ("bytes %d-%d/%d"):format(first, last, stat.size))
    return send_part(req, res, file, 206, first, last - first + 1)
  end
  send_part(req, res, file, res.status or 200, 0, stat.size)
end

--- Opening a pipe would wait for somebody at its other end.
local function open_file(path)
  local stat = await(fs.stat(path))
  if stat.type ~= "file" then return nil, stat end
  local file = await(fs.open(path))
  return file, await(file:stat())
end

local function send_file(req, res, path, opts)
  local opened, stat = open_file(path)
  if not opened then error(core.error("EINVAL", "it is no file", { path = path }), 0) end
  local file <close> = opened
  send_open_file(req, res, file, stat, path, opts)
end

--- res:file(path, opts?) -> Task
function M.send(res, path, opts)
  check.path(path, "file", 1)
  if opts ~= nil then check.table(opts, "file", 2) end
  return core.start(send_file, driver.request_of(res), res, path, opts or {})
end

-- A directory.

local function is_missing(err)
  local code = type(err) == "table" and err.code
  return code == "ENOENT" or code == "ENOTDIR" or code == "ENAMETOOLONG" or code == "ELOOP"
    or code == "EINVAL"
end

--- The path below the directory, or nil: a segment leads up, is hidden, or is none for a file
--- system.
local function relative_path(path, opts)
  if path:find("%z") or path:find("\\", 1, true) then return nil end
  local parts = {}
  for part in path:gmatch("[^/]+") do
    if part == ".." or (part:sub(1, 1) == "." and not opts.hidden) then return nil end
    if part ~= "." then parts[#parts + 1] = part end
  end
  return table.concat(parts, "/")
end

--- Where it is when links are followed; nil: outside.
local function resolve(root, relative)
  local path = relative == "" and root or root .. "/" .. relative
  local real = await(fs.realpath(path))
  local prefix = root == "/" and "/" or root .. "/"
  if real ~= root and real:sub(1, #prefix) ~= prefix then return nil end
  return real
end

--- The target with a slash behind its path.
local function with_slash(target)
  local path, query = target:gsub("^%a+://[^/?#]*", ""):match("^/*([^?#]*)(.*)$")
  return "/" .. path .. "/" .. query
end

--- `relative` is a directory: its index, at a path that ends with a slash so that links in it are
--- right.
local function serve_directory(self, req, res, relative)
  if req.path:sub(-1) ~= "/" then return res:redirect(with_slash(req.target), 308) end
  local real = self.opts.index and resolve(self.root, relative .. "/" .. self.opts.index)
  local opened, stat = nil, nil
  if real then opened, stat = open_file(real) end
  if not opened then return res:send(404, "Not Found") end
  local file <close> = opened
  send_open_file(req, res, file, stat, real, self.opts)
end

local function serve_path(self, req, res, relative)
  self.root = self.root or await(fs.realpath(self.directory))
  local real = resolve(self.root, relative)
  if not real then return res:send(404, "Not Found") end
  local opened, stat = open_file(real)
  if not opened and stat.type == "directory" then
    return serve_directory(self, req, res, relative)
  end
  if not opened or req.path:sub(-1) == "/" then return res:send(404, "Not Found") end
  local file <close> = opened
  send_open_file(req, res, file, stat, real, self.opts)
end

local function serve(self, req, res)
  if req.method ~= "GET" and req.method ~= "HEAD" then
    res:header("Allow", "GET, HEAD")
    return res:send(405, "Method Not Allowed")
  end
  local relative = relative_path(req.path, self.opts)
  if not relative then return res:send(404, "Not Found") end
  local ok, err = pcall(serve_path, self, req, res, relative)
  if ok then return end
  if res.is_sent or core.is_cancel(err) then error(err, 0) end
  if is_missing(err) then return res:send(404, "Not Found") end
  if err.code == "EACCES" or err.code == "EPERM" then return res:send(403, "Forbidden") end
  error(err, 0)
end

--- neap.http.files(directory, opts?) -> handler
function M.files(directory, opts)
  check.path(directory, "files", 1)
  if opts ~= nil then check.table(opts, "files", 2) end
  local all = { index = "index.html" }
  for name, value in pairs(opts or {}) do all[name] = value end
  local self = { directory = directory, opts = all }
  return function(req, res) return serve(self, req, res) end
end

return M
