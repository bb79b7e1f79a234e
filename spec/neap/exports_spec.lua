-- What is exported, what lua/neap/types says and what docs/reference describes are the same.
local h = require "spec.helper"
local lfs = require "lfs"
local support = require "spec.support"
local types = require "spec.types"
local web = require "spec.http_wire"
local neap = require "neap"
local compat_socket = require "neap.compat.socket"
local compat_ssl = require "neap.compat.ssl"
local core = require "neap.core"
local testing = require "neap.testing"

local await = neap.await

local REFERENCE = "docs/reference/"

-- Sets of names.

local function add(set, name)
  set[name] = true
  return set
end

local function sorted(set)
  local names = {}
  for name in pairs(set) do names[#names + 1] = name end
  table.sort(names)
  return names
end

--- Asserts that both have the same names; the message lists what only one of them has.
local function same_names(what, a, a_names, b, b_names)
  local problems = {}
  local function missing(where, names, others)
    for _, name in ipairs(sorted(others)) do
      if not names[name] then problems[#problems + 1] = name .. " is not in " .. where end
    end
  end
  missing(a, a_names, b_names)
  missing(b, b_names, a_names)
  if #problems > 0 then error(what .. ":\n  " .. table.concat(problems, "\n  "), 0) end
end

local classes, typed = types.classes, types.names_of

-- The reference, by page: its sections { title =, level =, lines = }, without code.

local function read_page(name)
  local sections = {}
  local is_code = false
  for line in io.lines(REFERENCE .. name .. ".md") do
    if line:match("^```") then is_code = not is_code end
    local marks, title = line:match("^(#+) (.*)$")
    if title and not is_code then
      sections[#sections + 1] = { title = title, level = #marks, lines = {} }
    elseif #sections > 0 and not is_code then
      table.insert(sections[#sections].lines, line)
    end
  end
  return sections
end

local pages = {}
for file in lfs.dir(REFERENCE) do
  local name = file:match("^([%w_-]+)%.md$")
  if name then pages[name] = read_page(name) end
end

--- The names behind PREFIX ("neap.", "neap.fs.") in headings; one heading may have several.
local function documented(prefix)
  local names = {}
  local pattern = "%f[%w_.]" .. prefix:gsub("%.", "%%.") .. "([%w_]+)%f[^%w_.]"
  for _, sections in pairs(pages) do
    for _, section in ipairs(sections) do
      for name in section.title:gmatch(pattern) do
        if section.level == 2 then add(names, name) end
      end
    end
  end
  return names
end

--- The methods that the first cells of a section's tables name: `task:status()`, `:status()`.
local function methods_of_section(page, title)
  local names = {}
  for _, section in ipairs(assert(pages[page], "no page " .. page)) do
    if section.title:sub(1, #title) == title then
      for _, line in ipairs(section.lines) do
        for name in (line:match("^| ([^|]*) |") or ""):gmatch("`[%w_]*:([%w_]+)%(") do
          add(names, name)
        end
      end
    end
  end
  return names
end

--- The methods that have headings of their own: `## clock:now()`.
local function methods_of_headings(page, variable)
  local names = {}
  for _, section in ipairs(pages[page]) do
    local name = section.title:match("^" .. variable .. ":([%w_]+)%(")
    if name then add(names, name) end
  end
  return names
end

local function union(...)
  local names = {}
  for _, set in ipairs{...} do
    for name in pairs(set) do add(names, name) end
  end
  return names
end

-- What is exported.

local function functions_of(module)
  local names = {}
  for name, value in pairs(module) do
    if type(value) == "function" then add(names, name) end
  end
  return names
end

-- Methods that siblings call and users do not.
local internal = { ["neap.Ticker"] = { passed = true } }

--- The table of an object's methods: its metatable's __index, or an upvalue of that function.
local function method_table(object)
  local index = (debug.getmetatable(object) or {}).__index
  if type(index) ~= "function" then return index or {} end
  for i = 1, math.huge do
    local name, value = debug.getupvalue(index, i)
    if not name then return {} end
    if type(value) == "table" and (name == "" or name:find("method")) then return value end
  end
end

local function methods_of(object, class)
  local names = functions_of(method_table(object))
  for name in pairs(internal[class] or {}) do names[name] = nil end
  return names
end

-- One object of each class, and where its methods are described.

local function open_file()
  local path = os.tmpname()
  local file = await(neap.fs.open(path))
  os.remove(path)
  return file, file
end

local function connect()
  local server = await(neap.net.listen("127.0.0.1", 0))
  local conn = await(neap.net.connect(server:address()))
  local accepted <close> = await(server:accept()) -- luacheck: ignore 211
  return conn, server, conn
end

--- What a handler has got; its methods can still be looked at.
local function handled(which)
  return function()
    local object
    local task, server = web.serve(function(...) object = select(which, ...) end)
    web.ask(server, web.get("/"))
    web.stop(task)
    return object
  end
end

local function open_websocket()
  local conn, server = connect()
  return core.websocket(conn, {}), server
end

local function open_database()
  local db = await(neap.sqlite.open(":memory:"))
  return db, db
end

local function begin()
  local db <close> = await(neap.sqlite.open(":memory:"))
  return db:transaction(function(tx) return tx end)
end

local function rows()
  local db <close> = await(neap.sqlite.open(":memory:"))
  return (db:rows("SELECT 1"))
end

local objects = {
  WebSocket = { "websocket", "WebSocket", open_websocket },
  ["http.ServerRequest"] = { "http-server", "Request", handled(1) },
  ["http.ServerResponse"] = { "http-server", "Response", handled(2) },
  Database = { "sqlite", "Database", open_database },
  Transaction = { "sqlite", "Transaction", begin },
  Rows = { "sqlite", "Rows", rows },
  Task = { "tasks", "Task", function() return neap.completed() end },
  Completion = { "tasks", "neap.completion", function() return neap.completion() end },
  Scope = { "scopes", "Scope", function() return neap.deadline(1) end },
  Group = { "scopes", "Scope", function() return neap.group() end },
  Ticker = { "time", "neap.every", function() return neap.every(1) end },
  Clock = { "testing-clock", nil, function() return neap.test_clock() end, variable = "clock" },
  File = { "fs", "File", open_file },
  TempDir = { "fs", "TempDir", function() return await(neap.fs.temp_dir()) end },
  Conn = { "net", "Conn", connect },
  Process = { "process", "Process", function() return await(neap.process.spawn{ "true" }) end },
  Server = { "net", "Server", function() return await(neap.net.listen("127.0.0.1", 0)) end },
  Watcher = { "watch", "Watcher", function() return await(neap.fs.watch("spec")) end },
  ["compat.Tcp"] = { "compat-socket", "Tcp", function() return compat_socket.tcp() end },
  ["compat.Datagrams"] = { "compat-socket", "Datagrams", function()
    return compat_socket.udp()
  end },
  Udp = { "udp", "Udp", function() return await(neap.net.udp()) end },
  Signals = { "signal", "Signals", function() return (neap.signal.on("SIGUSR1")) end },
  Buffer = { "buffer", "Buffer", function() return neap.buffer(1) end },
  Channel = { "channel", "Channel", function() return neap.channel() end },
  ThreadChannel = { "thread-channel", "ThreadChannel", function()
    return neap.worker.channel()
  end },
  Pool = { "worker", "Pool", function() return neap.worker.pool(1) end },
  Counters = { "worker", "neap.worker.counters", function() return neap.worker.counters(1) end },
  Semaphore = { "sync", "Semaphore", function() return neap.semaphore(1) end },
  Permit = { "sync", "Permit", function() return await(neap.semaphore(1):acquire()) end },
  Mutex = { "sync", "Mutex", function() return neap.mutex() end },
  Guard = { "sync", "Guard", function() return await(neap.mutex():lock()) end },
  Event = { "sync", "Event", function() return neap.event() end },
  Condition = { "sync", "Condition", function() return neap.condition(neap.mutex()) end },
  Stream = { "stream", "Stream", function() return (neap.stream(print)()) end },
  LocalVar = { "localvar", "LocalVar", function() return neap.localvar() end },
  Canceller = { "token", "Canceller", function() return neap.canceller() end },
  Token = { "token", "Token", function() return neap.canceller().token end },
  Registration = { "token", "Registration", function()
    return neap.canceller().token:register(print)
  end },
}

--- Closes what make() returned, as far as it is closable.
local function close_all(first, ...)
  if first == nil then return end
  if (debug.getmetatable(first) or {}).__close then
    local _ <close> = first
  end
  close_all(...)
end

--- Here is no terminal: terminal_spec.lua looks at this class. Others are only within workers:
--- parallel_spec.lua and cores_spec.lua. compat/ssl_spec.lua has its own.
local elsewhere = {
  Tty = true,
  ParallelLoop = true,
  CoreStats = true,
  Cores = true,
  ["compat.Secure"] = true,
}

local function described(object)
  local page, title = object[1], object[2]
  if object.variable then return methods_of_headings(page, object.variable) end
  return methods_of_section(page, title)
end

--- Modules that are required by themselves.
local apart = {
  testing = testing,
  ["compat.socket"] = compat_socket,
  ["compat.socket.dns"] = compat_socket.dns,
  ["compat.ssl"] = compat_ssl,
}

--- Those, and the modules in neap.
local modules = {
  fs = neap.fs,
  net = neap.net,
  dns = neap.dns,
  signal = neap.signal,
  process = neap.process,
  stdio = neap.stdio,
  tls = neap.tls,
  http = neap.http,
  websocket = neap.websocket,
  sqlite = neap.sqlite,
  parallel = neap.parallel,
  worker = neap.worker,
}
for name, module in pairs(apart) do modules[name] = module end

describe("exports", function()
  it("of neap have a type each, and the other way round", h.plain(function()
    local exported = union(functions_of(neap), { version = true }, modules)
    for name in pairs(apart) do exported[name] = nil end
    for name in pairs(neap) do assert(exported[name], name .. " is exported, and no function") end
    same_names("neap", "exports", exported, "types", union(typed("neap"), classes.neap.fields))
  end))

  it("of neap have a heading each in the reference", h.plain(function()
    local exported = union(functions_of(neap), { version = true })
    same_names("neap", "exports", exported, "reference", documented("neap."))
  end))

  for _, name in ipairs(sorted(modules)) do
    local module = modules[name]
    it("of neap." .. name .. " have a type and a heading each", h.plain(function()
      local prefix = name == "testing" and "testing." or "neap." .. name .. "."
      same_names(name, "exports", functions_of(module), "types", typed("neap." .. name))
      same_names(name, "exports", functions_of(module), "reference", documented(prefix))
    end))
  end

  for _, name in ipairs(sorted(objects)) do
    local class, object = "neap." .. name, objects[name]
    it("of " .. class .. " have a type and a place in the reference each", h.run(function()
      local made = table.pack(object[3]())
      local exported = methods_of(made[1], class)
      if name == "Scope" then exported.spawn = nil end -- one metatable; only groups spawn
      local expected = typed(class)
      for method in pairs(expected) do
        assert(type(made[1][method]) == "function", class .. " has no method " .. method)
      end
      close_all(table.unpack(made, 1, made.n))
      local text = described(object)
      if name == "Scope" then text.spawn = nil end
      same_names(class, "exports", exported, "types", expected)
      same_names(class, "types", expected, "reference", text)
    end))
  end

  it("of each class with functions are looked at here", h.plain(function()
    for class, description in pairs(classes) do
      local name = class:match("^neap%.([%w.]+)$")
      if next(description.names) and class ~= "neap" then
        assert(modules[name] or objects[name] or elsewhere[name], class .. " is not compared")
      end
    end
  end))

  it("have types with fields that the reference names", h.plain(function()
    local text = {}
    for name in pairs(pages) do text[#text + 1] = support.slurp(REFERENCE .. name .. ".md") end
    local all = table.concat(text)
    for class, description in pairs(classes) do
      for field in pairs(description.fields) do
        assert(all:find("%f[%w_]" .. field .. "%f[^%w_]"), class .. "." .. field .. " is nowhere")
      end
    end
  end))
end)
