local h = require "spec.helper"
local lfs = require "lfs"
local support = require "spec.support"
local neap = require "neap"
local core = require "neap.core"

local await, watch = neap.await, neap.fs.watch
local spit = support.spit

--- A function for `it` that gets an empty directory, which is removed afterwards.
local function in_directory(fn)
  return h.run(function(t)
    local path = support.temp_dir()
    local _ <close> = support.closing(function() support.remove_tree(path) end)
    fn(path, t)
  end)
end

--- The events until nothing comes any more: "rename a", each once, in the order of their first.
local function events_of(watcher)
  local list, seen = {}, {}
  while neap.try_for(1, function()
    local event = await(watcher:next())
    local text = event.overflow and "overflow" or event.type .. " " .. event.name
    if not seen[text] then list[#list + 1] = text end
    seen[text] = true
  end) do end
  return list
end

local function is_among(list, text)
  for _, other in ipairs(list) do
    if other == text then return true end
  end
  return false
end

local function assert_among(list, ...)
  for _, text in ipairs{...} do
    assert(is_among(list, text), text .. " is not in: " .. table.concat(list, ", "))
  end
end

describe("neap.fs.watch", function()
  it("tells what is made, changed, renamed and removed in a directory", in_directory(function(path)
    local watcher <close> = await(watch(path))
    spit(path .. "/a", "1")
    assert.same({ "rename a", "change a" }, events_of(watcher))
    spit(path .. "/a", "2")
    assert.same({ "change a" }, events_of(watcher))
    os.rename(path .. "/a", path .. "/b")
    assert.same({ "rename a", "rename b" }, events_of(watcher))
    os.remove(path .. "/b")
    assert.same({ "rename b" }, events_of(watcher))
  end))

  it("gives an event with name, path and type", in_directory(function(path)
    local watcher <close> = await(watch(path .. "///"))
    assert.equal("neap.Watcher '" .. path .. "'", tostring(watcher))
    local task = watcher:next()
    assert.equal("pending", task:status())
    spit(path .. "/a", "")
    assert.same({ name = "a", path = path .. "/a", type = "rename" }, await(task))
  end))

  it("tells of a single file, also that it is removed", in_directory(function(path)
    spit(path .. "/a", "1")
    local watcher <close> = await(watch(path .. "/a"))
    spit(path .. "/b", "1")
    spit(path .. "/a", "2")
    local event = await(watcher:next())
    assert.same({ name = "a", path = path .. "/a", type = "change" }, event)
    events_of(watcher)
    os.remove(path .. "/a")
    assert_among(events_of(watcher), "rename a")
  end))

  it("tells of the directory itself as '.'", in_directory(function(path)
    local dir = path .. "/dir"
    lfs.mkdir(dir)
    local watcher <close> = await(watch(dir))
    os.execute("chmod 700 '" .. dir .. "'")
    local event = await(watcher:next())
    assert.same({ ".", dir }, { event.name, event.path })
    lfs.rmdir(dir)
    assert.same({ "rename ." }, events_of(watcher))
  end))

  it("tells a file of the directory's name from the directory", in_directory(function(path)
    local dir = path .. "/same"
    lfs.mkdir(dir)
    local watcher <close> = await(watch(dir))
    spit(dir .. "/same", "")
    assert.same({ "rename same" }, events_of(watcher))
    spit(dir .. "/same", "1")
    assert.same({ "change same" }, events_of(watcher))
    os.remove(dir .. "/same")
    assert.same({ "rename same" }, events_of(watcher))
  end))

  it("does not look below the directory unless it is recursive", in_directory(function(path)
    lfs.mkdir(path .. "/sub")
    local watcher <close> = await(watch(path, { recursive = false }))
    spit(path .. "/sub/a", "1")
    assert.same({}, events_of(watcher))
  end))

  it("[S50] fails with ENOENT and the path for what is not there", in_directory(function(path)
    local err = h.raises("ENOENT", await, watch(path .. "/none"))
    assert.equal(path .. "/none", err.path)
    assert.equal("stat", err.syscall)
    assert.equal(0, core.stats().handles)
  end))

  it("raises an argument error for bad arguments", h.run(function()
    h.bad_argument("watch", 1, watch)
    h.bad_argument("watch", 1, watch, "a\0b")
    h.bad_argument("watch", 2, watch, "spec", true)
    h.bad_argument("watch", 2, watch, "spec", { recursive = "yes" })
  end))

  it("takes names that are no UTF-8", in_directory(function(path)
    local dir = path .. "/\xff\xfe"
    lfs.mkdir(dir)
    local watcher <close> = await(watch(dir))
    spit(dir .. "/\xc3", "")
    assert.equal(dir .. "/\xc3", await(watcher:next()).path)
  end))

  it("[S71] starts nothing in a cancelled scope", in_directory(function(path)
    neap.scope(function(scope)
      scope:cancel("closed")
      assert.equal("cancelled", watch(path):status())
    end)
    assert.equal(0, core.stats().handles)
  end))

  it("[C13] that is cancelled leaves nothing behind", in_directory(function(path)
    for i = 1, 20 do lfs.mkdir(path .. "/" .. i) end
    for _ = 1, 10 do
      local task = watch(path, { recursive = true })
      assert.is_true(task:cancel("enough"))
      h.raises("ECANCELLED", await, task)
    end
    assert.equal(0, core.stats().handles)
  end))

  it("that is done and that nobody takes leaves nothing behind", in_directory(function(path)
    await(neap.settle(watch(path)))
    collectgarbage()
    collectgarbage()
    assert.equal(0, core.stats().handles)
  end))

  it("leaves nothing behind when there is no memory", in_directory(function(path)
    lfs.mkdir(path .. "/sub")
    h.each_failure(function()
      local watcher <close> = await(watch(path, { recursive = true }))
      spit(path .. "/sub/a", "1")
      await(watcher:next())
    end)
  end))
end)

describe("a recursive watch", function()
  it("tells of what is below directories that were there", in_directory(function(path)
    lfs.mkdir(path .. "/sub")
    lfs.mkdir(path .. "/sub/deep")
    local watcher <close> = await(watch(path, { recursive = true }))
    spit(path .. "/sub/deep/a", "1")
    local event = await(watcher:next())
    assert.same({ name = "sub/deep/a", path = path .. "/sub/deep/a", type = "rename" }, event)
    assert_among(events_of(watcher), "change sub/deep/a")
  end))

  it("tells of what is in a directory that is made later", in_directory(function(path)
    local watcher <close> = await(watch(path, { recursive = true }))
    lfs.mkdir(path .. "/new")
    lfs.mkdir(path .. "/new/deep")
    spit(path .. "/new/deep/a", "1")
    assert_among(events_of(watcher), "rename new", "rename new/deep", "rename new/deep/a")
    spit(path .. "/new/deep/a", "2")
    assert.same({ "change new/deep/a" }, events_of(watcher))
  end))

  it("follows a directory that is renamed", in_directory(function(path)
    lfs.mkdir(path .. "/old")
    spit(path .. "/old/a", "1")
    local watcher <close> = await(watch(path, { recursive = true }))
    os.rename(path .. "/old", path .. "/new")
    assert_among(events_of(watcher), "rename old", "rename new", "rename new/a")
    spit(path .. "/new/a", "2")
    assert.same({ "change new/a" }, events_of(watcher))
  end))

  it("knows a directory again that is removed and made anew", in_directory(function(path)
    lfs.mkdir(path .. "/sub")
    local watcher <close> = await(watch(path, { recursive = true }))
    lfs.rmdir(path .. "/sub")
    assert.same({ "rename sub" }, events_of(watcher))
    lfs.mkdir(path .. "/sub")
    assert.same({ "rename sub" }, events_of(watcher))
    spit(path .. "/sub/a", "")
    assert.same({ "rename sub/a" }, events_of(watcher))
  end))

  it("tells of changed attributes of a directory once", in_directory(function(path)
    lfs.mkdir(path .. "/sub")
    spit(path .. "/sub/a", "1")
    local watcher <close> = await(watch(path, { recursive = true }))
    os.execute("chmod 700 '" .. path .. "/sub'")
    assert.same({ "rename sub" }, events_of(watcher))
  end))

  it("does not follow symbolic links", in_directory(function(path)
    lfs.mkdir(path .. "/a")
    lfs.link(path, path .. "/a/up", true)
    local watcher <close> = await(watch(path .. "/a", { recursive = true }))
    lfs.link(path, path .. "/a/later", true)
    assert.same({ "rename later" }, events_of(watcher))
    spit(path .. "/b", "1")
    assert.same({}, events_of(watcher))
  end))

  it("of a file is a watch of the file", in_directory(function(path)
    spit(path .. "/a", "1")
    local watcher <close> = await(watch(path .. "/a", { recursive = true }))
    spit(path .. "/a", "2")
    assert.equal(path .. "/a", await(watcher:next()).path)
  end))

  it("watches hundreds of directories", in_directory(function(path)
    for i = 1, 300 do lfs.mkdir(path .. "/" .. i) end
    local watcher <close> = await(watch(path, { recursive = true }))
    for i = 1, 300 do spit(path .. "/" .. i .. "/f", "") end
    local list = events_of(watcher)
    for i = 1, 300 do assert_among(list, "rename " .. i .. "/f") end
  end))

  it("finds directories again after it has lost events", in_directory(function(path)
    local watcher <close> = await(watch(path, { recursive = true }))
    for i = 1, 1500 do spit(path .. "/" .. i, "") end
    lfs.mkdir(path .. "/sub")
    assert_among(events_of(watcher), "overflow")
    spit(path .. "/sub/a", "")
    assert.same({ "rename sub/a" }, events_of(watcher))
  end))
end)

describe("Watcher:next", function()
  it("gives so many events, then tells that the others were lost", in_directory(function(path)
    local watcher <close> = await(watch(path))
    for i = 1, 1500 do spit(path .. "/" .. i, "") end
    local count = 0
    for event in watcher do
      if event.overflow then break end
      count = count + 1
      assert.equal("rename", event.type)
    end
    assert.is_true(count >= 1024 and count <= 1025, count)
    spit(path .. "/later", "")
    assert.same({ "rename later" }, events_of(watcher))
  end))

  it("gives what is equal to the one before once", in_directory(function(path)
    spit(path .. "/a", "")
    local watcher <close> = await(watch(path))
    local file <close> = assert(io.open(path .. "/a", "w"))
    for i = 1, 10 do file:write(i):flush() end
    local count = 0
    while neap.try_for(1, function() await(watcher:next()) end) do count = count + 1 end
    assert.is_true(count == 1 or count == 2, count)
  end))

  it("raises EMISUSE while another one waits", in_directory(function(path)
    local watcher <close> = await(watch(path))
    local task = watcher:next()
    h.misuse(function() return watcher:next() end)
    spit(path .. "/a", "")
    assert.equal("a", await(task).name)
  end))

  it("[C6] that is cancelled has taken no event", in_directory(function(path)
    local watcher <close> = await(watch(path))
    local task = watcher:next()
    spit(path .. "/a", "")
    assert.is_true(task:cancel("enough"))
    h.raises("ECANCELLED", await, task)
    assert.same({ "rename a" }, events_of(watcher))
  end))

  it("[C3] is cancelled with its task", in_directory(function(path)
    local watcher <close> = await(watch(path))
    local task = neap.start(function() return await(watcher:next()) end)
    task:cancel("enough")
    assert.same({ "cancelled", "enough" }, { await(neap.settle(task)) })
  end))

  it("[S8] keeps its event when it is cancelled after completion", in_directory(function(path)
    local watcher <close> = await(watch(path))
    spit(path .. "/a", "")
    local task = watcher:next()
    await(neap.settle(task))
    assert.is_false(task:cancel("late"))
    assert.equal("a", await(task).name)
  end))

  it("[S71] takes nothing in a cancelled scope", in_directory(function(path)
    local watcher <close> = await(watch(path))
    spit(path .. "/a", "")
    neap.scope(function(scope)
      scope:cancel("closed")
      assert.equal("cancelled", watcher:next():status())
    end)
    assert.same({ "rename a" }, events_of(watcher))
  end))

  it("gives nil when it is closed meanwhile, and from then on", in_directory(function(path, t)
    local watcher = await(watch(path))
    local task = neap.start(function()
      for event in watcher do t:note(event.name) end
      t:note("end")
    end)
    await(neap.yield())
    await(watcher:close())
    await(task)
    assert.equal("end", t:logged())
    assert.is_nil(await(watcher:next()))
    assert.is_truthy(tostring(watcher):find(": closed$"))
  end))

  it("gives nil where events were left when it was closed", in_directory(function(path)
    local watcher = await(watch(path))
    spit(path .. "/a", "")
    spit(path .. "/b", "")
    await(watcher:next())
    watcher:close()
    assert.is_nil(await(watcher:next()))
  end))

  it("keeps its watcher, which nobody else holds", in_directory(function(path)
    local task = await(watch(path)):next()
    collectgarbage()
    collectgarbage()
    spit(path .. "/a", "")
    assert.equal("a", await(task).name)
    collectgarbage()
    assert.equal(0, core.stats().handles)
  end))
end)

describe("a watcher", function()
  it("[S225] may be closed again and again, also in a cancelled scope", in_directory(function(path)
    local watcher = await(watch(path, { recursive = true }))
    lfs.mkdir(path .. "/sub")
    neap.scope(function(scope)
      scope:cancel("closed")
      assert.equal("cancelled", watcher:close():status())
    end)
    local first, second = watcher:close(), watcher:close()
    await(second)
    await(first)
    assert.equal(0, core.stats().handles)
  end))

  it("that nobody holds is closed when it is collected", in_directory(function(path)
    await(watch(path))
    collectgarbage()
    collectgarbage()
    assert.equal(0, core.stats().handles)
  end))

  it("may be closed while it looks at what is new", in_directory(function(path)
    for i = 1, 10 do
      local watcher = await(watch(path, { recursive = true }))
      lfs.mkdir(path .. "/" .. i)
      lfs.mkdir(path .. "/" .. i .. "/sub")
      await(watcher:next())
      await(watcher:close())
    end
    assert.equal(0, core.stats().handles)
  end))

  it("that nobody waits on does not keep a run from its end; one may be open at the end", function()
    local output, how, code = h.process([[
      local neap = require "neap"
      neap.run(function()
        watcher = neap.await(neap.fs.watch("spec", { recursive = true }))
        other = neap.await(neap.fs.watch("spec"))
      end)
      task = other:next()
      opening = neap.fs.watch("spec", { recursive = true })
      print("ended")
      os.exit(true, true)
    ]])
    assert.same({ "ended\n", "exit", 0 }, { output, how, code })
  end)
end)
