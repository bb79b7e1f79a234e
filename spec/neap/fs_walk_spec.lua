local files = require "spec.files"
local h = require "spec.helper"
local support = require "spec.support"
local neap = require "neap"

local await, fs = neap.await, neap.fs
local at, given = files.at, files.given

--- "depth type path", the path below the directory, for each entry of a walk.
local function walked(opts, path)
  local lines = {}
  for entry in fs.walk(path or files.directory, opts) do
    assert.equal("/" .. entry.name, entry.path:sub(-#entry.name - 1))
    lines[#lines + 1] = ("%d %s %s"):format(entry.depth, entry.type,
      entry.path:sub(#files.directory + 2))
  end
  return lines
end

describe("neap.fs.walk", function()
  before_each(files.make)
  after_each(files.remove)

  local function given_tree()
    for _, name in ipairs({ "b", "b/d", "c" }) do files.given_directory(name) end
    for _, name in ipairs({ "a", "b/x", "b/d/y", "b/e", "z" }) do given(name) end
  end

  it("gives parents before what is in them, sorted", h.run(function()
    given_tree()
    assert.same({ "1 file a", "1 directory b", "2 directory b/d", "3 file b/d/y", "2 file b/e",
      "2 file b/x", "1 directory c", "1 file z" }, walked())
  end))

  it("of an empty directory gives nothing", h.run(function()
    assert.same({}, walked())
  end))

  it("takes a path with a slash at its end, and the root", h.run(function()
    given("a")
    assert.same({ "1 file a" }, walked(nil, files.directory .. "/"))
    for entry in fs.walk("/", { max_depth = 1 }) do
      assert.equal("/" .. entry.name, entry.path)
    end
  end))

  it("goes no deeper than max_depth", h.run(function()
    given_tree()
    assert.same({ "1 file a", "1 directory b", "1 directory c", "1 file z" },
      walked({ max_depth = 1 }))
    assert.equal(7, #walked({ max_depth = 2 }))
    assert.equal(8, #walked({ max_depth = math.huge }))
  end))

  it("leaves out what the filter refuses, and what is below", h.run(function()
    given_tree()
    local lines = walked({ filter = function(entry)
      await(neap.sleep(0.01)) -- it may wait
      return entry.name ~= "d" and entry.name ~= "a"
    end })
    assert.same({ "1 directory b", "2 file b/e", "2 file b/x", "1 directory c", "1 file z" }, lines)
  end))

  it("gives links as links", h.run(function()
    given_tree()
    files.given_link("b", "l")
    assert.same({ "1 directory c", "1 link l", "1 file z" },
      table.move(walked(), 7, 9, 1, {}))
  end))

  it("follows a link to its own path", h.run(function()
    files.given_directory("d")
    given("d/x")
    files.given_link("d", "l")
    assert.same({ "1 file l/x" }, walked(nil, at("l")))
  end))

  it("with follow enters links, once around a circle", h.run(function()
    files.given_directory("d")
    files.given_directory("o")
    given("o/x")
    files.given_link("../o", "d/o")
    files.given_link("..", "d/up")
    files.given_link("nowhere", "d/bad")
    assert.same({ "1 directory d", "2 link d/bad", "2 directory d/o", "3 file d/o/x",
      "2 directory d/up", "1 directory o", "2 file o/x" }, walked({ follow = true }))
  end))

  it("enters no link that has taken the place of a directory", h.run(function()
    files.given_directory("d")
    files.given_directory("other")
    given("other/x")
    local err = h.raises("ENOTDIR", function()
      for entry in fs.walk(files.directory) do
        if entry.name == "d" then
          await(fs.remove(entry.path))
          files.given_link("other", "d")
        end
      end
    end)
    assert.equal(at("d"), err.path)
  end))

  it("[S50] raises the error of what cannot be read", h.run(function()
    local err = h.raises("ENOENT", function() walked(nil, at("no")) end)
    assert.equal(at("no"), err.path)
    h.raises("ENOTDIR", function() walked(nil, given("file")) end)
  end))

  it("gives the error to on_error, and goes on", h.run(function()
    given_tree()
    local errors = {}
    local lines = {}
    for entry in fs.walk(files.directory, { on_error = function(err, path)
      errors[#errors + 1] = err.code .. " " .. path
    end }) do
      lines[#lines + 1] = entry.name
      if entry.name == "d" then support.remove_tree(entry.path) end
    end
    assert.same({ "ENOENT " .. at("b/d") }, errors)
    assert.same({ "a", "b", "d", "e", "x", "c", "z" }, lines)
  end))

  it("leaves nothing behind when the loop is left", h.run(function()
    given_tree()
    local before = support.open_descriptors()
    for entry in fs.walk(files.directory) do
      if entry.name == "d" then break end
    end
    assert.equal(before, support.open_descriptors())
  end))

  it("[C20] ends when it is cancelled", h.run(function()
    given_tree()
    local seen = 0
    local task = neap.start(function()
      for _ in fs.walk(files.directory) do seen = seen + 1 end
    end)
    task:cancel("enough")
    assert.same({ "cancelled", "enough" }, { await(neap.settle(task)) })
    assert.equal(0, seen)
    files.drain_pool()
  end))

  it("[S71] begins nothing in a cancelled scope", h.run(function()
    given_tree()
    neap.scope(function(scope)
      local walk <close> = fs.walk(files.directory)
      scope:cancel("closed")
      assert.equal("cancelled", walk:next():status())
    end)
  end))

  it("raises argument errors", h.run(function()
    h.bad_argument("walk", 1, fs.walk)
    h.bad_argument("walk", 1, fs.walk, "a\0b")
    h.bad_argument("walk", 2, fs.walk, ".", true)
    h.bad_argument("walk", 2, fs.walk, ".", { max_depth = 0 })
    h.bad_argument("walk", 2, fs.walk, ".", { filter = "*.lua" })
    h.bad_argument("walk", 2, fs.walk, ".", { on_error = 1 })
    h.bad_argument("walk", 2, fs.walk, ".", { follow = 1 })
  end))
end)
