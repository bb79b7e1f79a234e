--- neap.http: what a request is answered with. The fields are set in C; `body` is a string, or
--- what a
--- streamed one is read from.
local core = require "neap.core"
local headers = require "neap.http_headers"
local json = require "neap.json"

local await = core.await

---@class neap.http.Response
---@field status integer
---@field url string of the last redirect
---@field version string "1.0", "1.1", "2", "3"
---@field headers neap.http.Headers
---@field reason string what follows the status, "" if nothing does
---@field ok boolean whether the status is from 200 to 299
local Response = {}
local methods = {}
Response.__name = "neap.http.Response"
Response.__metatable = false

-- What is made when it is asked for.

local fields = {}

function fields.headers(self)
  local parsed = headers.parse(self.head:match("^[^\n]*\n(.*)$") or "")
  rawset(self, "headers", parsed)
  return parsed
end

function fields.reason(self)
  return self.head:match("^%S+ +%d+ +([^\r\n]*)") or ""
end

function fields.version(self)
  return self.head:match("^HTTP/(%S+)") or ""
end

function fields.ok(self)
  return self.status >= 200 and self.status < 300
end

function Response:__index(name)
  local method = methods[name]
  if method then return method end
  local make = fields[name]
  return make and make(self)
end

-- The body.

--- What the reading methods read: a body that has arrived is made readable when first needed.
local function source(self)
  local body = self.body
  if type(body) ~= "string" then return body end
  local reader = rawget(self, "reader")
  if not reader then
    reader = require "neap.http_client_driver".text(body)
    rawset(self, "reader", reader)
  end
  return reader
end

--- The whole body. Of a streamed response `await(res:read_all())` gives it.
---@return string
function methods:text()
  local body = self.body
  if type(body) == "string" then return body end
  core.misuse("the body is streamed: text() has none at hand; await read_all()")
end

--- The value that the body describes. Raises EINVAL where it is no JSON, ENOTSUP without lua-cjson.
---@return any
function methods:json()
  return json.decode(self:text(), { url = self.url })
end

--- What there is, n bytes at most; nil at the end.
---@param n? integer
---@return neap.Task
---@nodiscard
function methods:read(n) return source(self):read(n) end

---@param n integer
---@return neap.Task
---@nodiscard
function methods:read_exactly(n) return source(self):read_exactly(n) end

---@param delimiter string
---@param max? integer
---@return neap.Task
---@nodiscard
function methods:read_until(delimiter, max) return source(self):read_until(delimiter, max) end

---@param max? integer
---@return neap.Task
---@nodiscard
function methods:read_line(max) return source(self):read_line(max) end

--- All that has not been read.
---@param max? integer bytes, default 64 MiB; ETOOLARGE when there are more
---@return neap.Task
---@nodiscard
function methods:read_all(max) return source(self):read_all(max) end

--- An iterator over the lines.
---@param max? integer
---@return fun(): string?
function methods:lines(max) return source(self):lines(max) end

function Response:__call()
  return source(self)()
end

-- Files.

local function write_all(body, file)
  local size = 0
  for chunk in body do
    await(file:write(chunk))
    size = size + #chunk
  end
  await(file:close())
  return size
end

--- Under a name of its own until it is complete.
local function save_stream(body, path)
  local part = ("%s.%08x.part"):format(path, math.random(0) & 0xffffffff)
  local file <close> = await(core.fs.open(part, "wx"))
  local is_done = false
  local _ <close> = setmetatable({}, { __close = function()
    if not is_done then core.shield(function() await(core.fs.remove(part)) end) end
  end })
  local size = write_all(body, file)
  await(core.fs.rename(part, path))
  is_done = true
  return size
end

local save = core.async(function(self, path)
  local body = self.body
  if type(body) ~= "string" then return save_stream(body, path) end
  await(core.fs.write_file(path, body, { atomic = true }))
  return #body
end)

--- Writes the body to a file, which is there when it is complete, or as it was before.
---@param path string
---@return neap.Task # of the number of bytes
---@nodiscard
function methods:save(path)
  require "neap.check".path(path, "save", 1)
  return save(self, path)
end

-- Ends.

--- Itself; raises EHTTP where the status is 400 or more.
---@return neap.http.Response
function methods:check()
  if self.status < 400 then return self end
  local reason = self.reason
  local err = core.error("EHTTP", ("status %d%s"):format(self.status,
    reason ~= "" and " " .. reason or ""), { url = self.url, status = self.status,
      response = self })
  if type(self.body) ~= "string" then self:close() end
  error(err, 0)
end

--- Ends a streamed response: what was not read is not wanted any more, and the connection of a
--- body that
--- has not arrived is closed. Harmless when repeated, or where the body is at hand.
---@return neap.Task
function methods:close()
  local upload = rawget(self, "upload")
  if upload then upload:cancel("the response was closed") end
  if type(self.body) ~= "string" then self.body:close() end
  return core.completed()
end

function Response:__close()
  self:close()
end

function Response:__tostring()
  return ("neap.http.Response %d %s"):format(self.status, self.url)
end

return { Response = Response }
