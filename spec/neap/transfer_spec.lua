-- Values that cross to another thread: here they go to the same state, by the same copy.
local h = require "spec.helper"
local core = require "neap.core"
local neap = require "neap"

local transfer = core.transfer

--- Asserts that transfer(...) raises this text, behind the position of the caller if there is one.
local function refused(text, ...)
  local ok, err = pcall(transfer, ...)
  assert.is_false(ok)
  assert.equal(text, err)
end

local function cannot(what, where)
  return ("%s: %s cannot cross to another thread"):format(where, what)
end

local function refused_thread(where, ...)
  refused(cannot("a coroutine", where), ...)
end

local function refused_c_function(where, ...)
  refused(cannot("a C function", where) .. "; pass a Lua function that calls it", ...)
end

--- Bits of a float, so that -0.0 and NaN can be compared.
local function bits(x)
  return string.pack("d", x)
end

describe("transfer", function()
  it("[S166] copies nil, booleans and strings with any bytes", h.plain(function()
    local bytes = {}
    for i = 0, 255 do bytes[i + 1] = string.char(i) end
    local all = table.concat(bytes)
    assert.same({ n = 4, nil, true, false, all }, table.pack(transfer(nil, true, false, all)))
    for _, length in ipairs{ 0, 1, 40, 41, 63, 64, 127, 128, 5000, 1 << 20 } do
      local s = all:rep(length // 256 + 1):sub(1, length)
      assert.is_true(s == transfer(s) and s == next(transfer({ [s] = 1 })))
    end
  end))

  it("[S166] keeps integers and floats apart", h.plain(function()
    local integers = { 0, -1, -16, -17, 111, 112, 127, 128, 255, 256 }
    for shift = 15, 63 do
      for _, near in ipairs{ -1, 0, 1 } do
        integers[#integers + 1] = (1 << shift) + near
        integers[#integers + 1] = -(1 << shift) + near
      end
    end
    for _, i in ipairs(integers) do
      local copy = transfer(i)
      assert.is_true(copy == i and math.type(copy) == "integer", tostring(i))
    end
    local inf, nan = math.huge, 0.0 / 0.0
    for _, x in ipairs{ 0.0, -0.0, 1.0, -1.5, inf, -inf, 2.0 ^ 63, 5e-324, nan, -nan } do
      local copy = transfer(x)
      assert.equal("float", math.type(copy))
      assert.equal(bits(x), bits(copy))
    end
  end))

  it("[S166] takes any number of values, nils kept", h.plain(function()
    assert.equal(0, select("#", transfer()))
    assert.equal(3, select("#", transfer(nil, nil, nil)))
    local values = { n = 250 }
    for i = 1, 250, 3 do values[i] = { i } end
    local copies = table.pack(transfer(table.unpack(values, 1, 250)))
    assert.same(values, copies)
    for i = 1, 250, 3 do assert.is_false(values[i] == copies[i]) end
  end))

  it("[S166] copies lists, records and keys of any kind", h.plain(function()
    local key = { "key" }
    local value = { 1, 2, nil, 4, [0] = "zero", [2.5] = 1, [true] = 2, [-1] = { {} },
      x = { y = "z" }, [key] = key, [math.maxinteger] = 1, [math.mininteger] = 2, [""] = 3 }
    local copy = transfer(value)
    local copied_key
    for k, v in pairs(copy) do
      if type(k) == "table" then
        assert.is_true(k == v and k ~= key)
        copied_key = k
      end
    end
    assert.same(key, copied_key)
    copy[copied_key], value[key] = nil, nil
    assert.same(value, copy)
  end))

  it("[S166] copies lists whatever their order of making", h.plain(function()
    local backwards, holes = {}, {}
    for i = 1000, 1, -1 do backwards[i] = i end
    for i = 1, 1000, 7 do holes[i] = -i end
    local sparse = {}
    for shift = 0, 62 do sparse[1 << shift] = shift end
    assert.same({ backwards, holes, sparse }, transfer({ backwards, holes, sparse }))
  end))

  it("[S166] keeps cycles and shared references, between the values too", h.plain(function()
    local shared = { 1 }
    local a = { shared = shared, again = shared }
    a.self = a
    local b = { a = a }
    a.b = b
    local copy_a, copy_b, copy_shared, again = transfer(a, b, shared, a)
    assert.is_true(copy_a ~= a and copy_a == again and copy_a.self == copy_a)
    assert.is_true(copy_a.b == copy_b and copy_b.a == copy_a)
    assert.is_true(copy_a.shared == copy_shared and copy_a.again == copy_shared)
  end))

  it("[S166] copies without metatables, and calls no metamethod", h.plain(function()
    local function never() error("a metamethod was called") end
    local meta = setmetatable({}, { __index = never })
    for _, name in ipairs{ "__index", "__newindex", "__pairs", "__len", "__eq", "__call" } do
      meta[name] = never
    end
    local copy = transfer(setmetatable({ 1, x = 2 }, meta))
    assert.is_nil(getmetatable(copy))
    assert.same({ 1, x = 2 }, copy)
  end))

  it("copies many different keys", h.plain(function()
    local records = {}
    for i = 1, 2000 do records[i] = { ["key " .. i % 700] = i, id = i, [("long"):rep(20)] = i } end
    assert.same(records, transfer(records))
  end))

  it("keeps nothing of former messages", h.plain(function()
    local function use() for i = 1, 100 do transfer({ { id = i }, { id = "id" .. i } }) end end
    local function collect() collectgarbage() collectgarbage() end
    use()
    collect()
    local before = collectgarbage("count")
    for _ = 1, 20 do use() end
    collect()
    assert.is_true(collectgarbage("count") < before + 8)
  end))
end)

-- Random graphs. Each node is in the list of nodes, which tells how the copies correspond.

local function random_scalar(random)
  local kind = random(6)
  if kind == 1 then return random(0) end
  if kind == 2 then return random() end
  if kind == 3 then return random(2) == 1 end
  if kind == 4 then return ("s"):rep(random(0, 80)) end
  return random(-200, 40000)
end

local function random_graph(seed)
  math.randomseed(seed)
  local random = math.random
  local nodes = {}
  for i = 1, random(200) do nodes[i] = {} end
  local function any()
    return random(2) == 1 and nodes[random(#nodes)] or random_scalar(random)
  end
  for _, node in ipairs(nodes) do
    for i = 1, random(0, 5) do node[i] = any() end
    for _ = 1, random(0, 5) do node[any()] = any() end
  end
  return nodes
end

local function assert_isomorphic(nodes, copies)
  local image, seen = {}, {}
  assert.equal(#nodes, #copies)
  for i, node in ipairs(nodes) do
    assert.is_nil(seen[copies[i]])
    image[node], seen[copies[i]] = copies[i], true
  end
  local function translate(x) return type(x) == "table" and image[x] or x end
  for node, copy in pairs(image) do
    local fields = 0
    for key, value in pairs(node) do
      fields = fields + 1
      local other = copy[translate(key)]
      assert.is_true(other == translate(value) and math.type(other) == math.type(value))
    end
    for _ in pairs(copy) do fields = fields - 1 end
    assert.equal(0, fields)
  end
end

describe("the graph of copies", function()
  it("[S166] is isomorphic to that of the originals", h.plain(function()
    for seed = 1, 100 do
      local nodes = random_graph(seed)
      assert_isomorphic(nodes, transfer(nodes))
    end
  end))

  it("is so while the collector works", h.plain(function()
    local mode = collectgarbage("generational")
    for seed = 1, 20 do
      local nodes = random_graph(seed)
      assert_isomorphic(nodes, transfer(nodes))
      collectgarbage("step")
    end
    collectgarbage(mode)
  end))
end)

describe("transfer refuses", function()
  it("[S166] what cannot cross, and names it and the way to it", h.plain(function()
    local thread = coroutine.create(print)
    refused_thread("argument 1", thread)
    refused_thread("argument 3", nil, {}, thread)
    refused_thread("argument 2.items[3]", 1, { items = { 1, 2, thread } })
    refused_thread('argument 1["odd key"].x', { ["odd key"] = { x = thread } })
    refused_thread("argument 1[2.5][true][-7]", { [2.5] = { [true] = { [-7] = thread } } })
    refused_thread("argument 1[a table]", { [{}] = thread })
    refused_thread('argument 1["1a"]', { ["1a"] = thread })
    refused_thread('argument 1["a?b"]', { ["a\nb"] = thread })
    refused_thread('argument 1["' .. ("k"):rep(40) .. '..."]', { [("k"):rep(99)] = thread })
    refused(cannot("a userdata (FILE*)", "argument 1.file"), { file = io.stdout })
    refused(cannot("a userdata (neap.Task)", "argument 2"), 1, neap.completed())
    refused(cannot("a userdata (neap.Channel)", "argument 1[1]"), { neap.channel() })
  end))

  it("[S166] C functions, and says what to do", h.plain(function()
    refused_c_function("argument 1", print)
    refused_c_function("argument 1.f", { f = print })
  end))

  it("[S166] keys that cannot cross", h.plain(function()
    local thread = coroutine.create(print)
    refused_thread("(a key of argument 1)", { [thread] = 1 })
    refused_thread("(a key of argument 1.x)", { x = { [thread] = 1 } })
    refused_thread("(a key of argument 1.x).y", { x = { [{ y = thread }] = 1 } })
  end))

  it("[S166] with the middle of a long way left out", h.plain(function()
    local list = { coroutine.create(print) }
    for _ = 1, 500 do list = { list } end
    refused_thread("argument 1" .. ("[1]"):rep(16) .. "..." .. ("[1]"):rep(17), list)
    list = { coroutine.create(print) }
    for _ = 1, 32 do list = { list } end
    refused_thread("argument 1" .. ("[1]"):rep(33), list)
  end))

  it("and says so at the caller's line", h.plain(function()
    local line
    local ok, err = pcall(function()
      line = h.line() + 1
      transfer(print)
    end)
    assert.is_false(ok)
    local text = "transfer_spec.lua:" .. line .. ": argument 1: a C function"
    assert.is_truthy(err:find(text, 1, true))
  end))

  it("what was refused before once more, and copies the rest", h.plain(function()
    for i = 1, 300 do
      local list = { { id = i } }
      refused_thread("argument 1[2]", { list, coroutine.create(print) })
      assert.same(list, transfer(list))
    end
  end))
end)

describe("failing allocations in transfer", function()
  it("raise, or the copy is right", h.plain(function()
    local err = neap.error("ENOENT", "no such file")
    local shared = { { 1, 2, 3 }, name = "x" }
    local var = neap.localvar(shared)
    local list = {}
    for i = 1, 50 do list[i] = { i, shared } end
    h.each_failure(function()
      local copy, n = transfer({ list, err, var, 2.5, ("x"):rep(1000) }, 1)
      assert(n == 1 and copy[1][50][2] == copy[3].default and copy[2].code == "ENOENT")
    end)
  end))

  it("raise, or what cannot cross is refused", h.plain(function()
    h.each_failure(function()
      local ok, err = pcall(transfer, { { x = { print } } })
      assert(not ok)
      if err:find("memory") then error(err, 0) end
      assert(err:find("argument 1[1].x[1]: a C function", 1, true))
    end)
  end))
end)
