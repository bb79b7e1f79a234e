-- Functions that cross to another thread: here they go to the same state, by the same copy.
local h = require "spec.helper"
local core = require "neap.core"
local neap = require "neap"

local transfer = core.transfer

local function refused(text, ...)
  local ok, err = pcall(transfer, ...)
  assert.is_false(ok)
  assert.equal(text, err)
end

local FIX = "a C function cannot cross to another thread; require the module inside the function"

local function upvalue(f, name)
  for i = 1, math.huge do
    local found, value = debug.getupvalue(f, i)
    if found == name then return value end
    assert(found, "no upvalue " .. name)
  end
end

describe("transfer of functions", function()
  it("[S166] copies them, with their upvalues", h.plain(function()
    local n, list, text = 1, { 1, 2 }, "text"
    local function f(x) return x + n, list, text end
    local copy = transfer(f)
    assert.is_false(copy == f)
    assert.same({ 11, { 1, 2 }, "text" }, { copy(10) })
    n, list, text = 2, {}, ""
    assert.same({ 11, { 1, 2 }, "text" }, { copy(10) })
    assert.is_nil(transfer(function() end)())
    local vararg = transfer(function(...) return ... end)
    assert.same({ n = 4, 1, nil, 3, nil }, table.pack(vararg(1, nil, 3, nil)))
  end))

  it("[S166] copies upvalues of nil, false and floats", h.plain(function()
    local a, b, c, d = nil, false, -0.0, math.mininteger
    local copy = transfer(function() return a, b, c, d end)
    local w, x, y, z = copy()
    assert.is_nil(w)
    assert.is_false(x)
    assert.equal("-0.0", tostring(y))
    assert.equal(math.mininteger, z)
  end))

  it("[S166] gives them the globals as _ENV", h.plain(function()
    local copy = transfer(function() return _ENV, print end)
    local env, p = copy()
    assert.is_true(env == _G and p == print)
    local function sandboxed()
      local _ENV = { x = 1 }
      return function() return _ENV end
    end
    assert.is_true(transfer(sandboxed())() == _G)
    local globals = _G
    assert.is_true(transfer(function() return globals end)() == _G)
  end))

  it("keeps recursion", h.plain(function()
    local function fib(n) return n < 2 and n or fib(n - 1) + fib(n - 2) end
    local copy = transfer(fib)
    assert.equal(55, copy(10))
    assert.is_true(upvalue(copy, "fib") == copy)
    local even
    local function odd(n) return n ~= 0 and even(n - 1) end
    function even(n) return n == 0 or odd(n - 1) end
    local copied_even, copied_odd = transfer(even, odd)
    assert.is_true(copied_even(10) and not copied_odd(10))
    assert.is_true(upvalue(copied_even, "odd") == copied_odd)
  end))

  it("keeps upvalues shared, between functions and within tables", h.plain(function()
    local n = 0
    local counter = { add = function(i) n = n + i end, get = function() return n end }
    local copy = transfer({ deep = { counter } }).deep[1]
    copy.add(3)
    assert.equal(3, copy.get())
    assert.equal(0, n)
    local other = transfer(copy)
    other.add(1)
    assert.same({ 4, 3 }, { other.get(), copy.get() })
  end))

  it("keeps functions shared, and apart", h.plain(function()
    local function make(x) return function() return x end end
    local one, two = make(1), make(2)
    local a, b, c = transfer(one, two, one)
    assert.is_true(a == c and a ~= b)
    assert.same({ 1, 2 }, { a(), b() })
    local many = {}
    for i = 1, 300 do many[i] = make(i) end
    for i, f in ipairs(transfer(many)) do assert.equal(i, f()) end
  end))

  it("keeps what is open, and what is a local of a coroutine", h.plain(function()
    local thread = coroutine.wrap(function()
      local open = 1
      local f = function() return open end
      coroutine.yield(f)
      open = 2
      coroutine.yield(f)
    end)
    local copy = transfer(thread())
    assert.equal(2, thread()())
    assert.equal(1, copy())
  end))

  it("keeps names and lines, for tracebacks", h.plain(function()
    local line = h.line() + 1
    local function f() error("broken") end
    local _, err = pcall(transfer(f))
    assert.is_truthy(err:find("transfer_function_spec.lua:" .. line .. ": broken", 1, true))
    assert.equal(line, debug.getinfo(transfer(f), "S").linedefined)
  end))

  it("copies functions of stripped code, whose upvalues have no name", h.plain(function()
    local n = 0
    local f = load(string.dump(function() return n, print end, true), "=stripped", "b")
    debug.setupvalue(f, 1, 5)
    debug.setupvalue(f, 2, _G)
    local five, p = transfer(f)()
    assert.is_true(five == 5 and p == print)
  end))

  it("[S166] takes 255 upvalues", h.plain(function()
    local function names(prefix, separator)
      local list = {}
      for i = 1, 127 do list[i] = prefix .. i end
      return table.concat(list, separator)
    end
    local source = ("local %s = ... return function(...) local %s = ... return function() "
      .. "return _ENV and %s + %s end end"):format(names("v", ", "), names("w", ", "),
      names("v", " + "), names("w", " + "))
    local numbers = {}
    for i = 1, 127 do numbers[i] = i end
    local f = assert(load(source))(table.unpack(numbers))(table.unpack(numbers))
    assert.equal(255, debug.getinfo(f, "u").nups)
    assert.equal(127 * 128, f())
    assert.equal(127 * 128, transfer(f)())
  end))
end)

describe("transfer refuses in functions", function()
  it("[S166] what cannot cross, with the way through the upvalues", h.plain(function()
    local thread = coroutine.create(print)
    refused("argument 1 upvalue 'thread': a coroutine cannot cross to another thread",
      function() return thread end)
    local config = { on_done = { 1, thread } }
    refused("argument 1 upvalue 'config'.on_done[2]: a coroutine cannot cross to another thread",
      function() return config end)
    local function inner() return config end
    refused("argument 2.f upvalue 'inner' upvalue 'config'.on_done[2]: "
      .. "a coroutine cannot cross to another thread", 1, { f = function() return inner end })
    refused("(a key of argument 1) upvalue 'thread': a coroutine cannot cross to another thread",
      { [function() return thread end] = 1 })
  end))

  it("[S166] C functions and modules of them, and says what to do", h.plain(function()
    local format, module = string.format, { pack = table.pack }
    refused("argument 1 upvalue 'format': " .. FIX, function() return format end)
    refused("argument 1 upvalue 'module'.pack: " .. FIX, function() return module end)
    refused("argument 1.x upvalue 'module'.pack: " .. FIX, { x = function() return module end })
    local await = neap.await
    refused("argument 1 upvalue 'await': " .. FIX, function() return await end)
  end))
end)

describe("the code of functions", function()
  it("is kept for a bounded number of functions", h.plain(function()
    local function use(from, to)
      for i = from, to do
        local f = load("local text = ('" .. i .. "'):rep(200) return text")
        assert(transfer(f)():find(i, 1, true))
      end
    end
    use(1, 600)
    collectgarbage()
    collectgarbage()
    local before = collectgarbage("count")
    use(601, 3000)
    use(1, 10) -- given up, and dumped again
    collectgarbage()
    collectgarbage()
    assert.is_true(collectgarbage("count") < before + 512) -- of 2 400 functions of 1 KB
  end))
end)

describe("failing allocations in transfer of functions", function()
  it("raise, or the copy is right", h.plain(function()
    local number = 0
    h.each_failure(function()
      number = number + 1
      local count, list = 0, { 1 }
      local f = load("local x, y = ... return function() return x, y end --" .. number)
      f = f(number, list)
      local function add() count = count + 1 return count end
      local function get() return count end
      local a, copy, b = transfer(add, f, get)
      assert(a() == 1 and b() == 1 and copy() == number and select(2, copy())[1] == 1)
    end)
  end))
end)
