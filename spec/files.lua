-- What the specs of neap.fs share: a temporary directory for each `it`, and what is expected of
-- errors.
local assert = require "luassert"
local h = require "spec.helper"
local support = require "spec.support"
local lfs = require "lfs"
local core = require "neap.core"
local neap = require "neap"

local await = neap.await

local M = {}

--- The directory of this `it`; M.make in before_each, M.remove in after_each.
function M.make() M.directory = support.temp_dir() end
function M.remove() support.remove_tree(M.directory) end

--- A path in it.
function M.at(name) return M.directory .. "/" .. name end

--- A file with this content; its path.
function M.given(name, content)
  support.spit(M.at(name), content or "")
  return M.at(name)
end

--- A directory; its path.
function M.given_directory(name)
  assert.is_truthy(lfs.mkdir(M.at(name)))
  return M.at(name)
end

--- A symbolic link; its path.
function M.given_link(target, name)
  assert.is_truthy(lfs.link(target, M.at(name), true))
  return M.at(name)
end

function M.slurp(name) return support.slurp(M.at(name)) end

--- What is there, links not followed: "file", "directory", "link", ... or nil.
function M.kind(name) return lfs.symlinkattributes(M.at(name), "mode") end

--- The names in the directory, or one below it, sorted.
function M.names(name)
  local names = {}
  for found in lfs.dir(name and M.at(name) or M.directory) do
    if found ~= "." and found ~= ".." then names[#names + 1] = found end
  end
  table.sort(names)
  return names
end

--- Asserts that await(task) raises an error with this code, system call and paths, in one line of
--- text; returns it.
function M.fails(code, syscall, path, dest, task)
  local err = h.raises(code, await, task)
  assert.equal(syscall, err.syscall)
  assert.equal(path, err.path)
  assert.equal(dest, err.dest)
  local text = tostring(err)
  assert.is_truthy(text:find(path, 1, true), text)
  local both = dest and ("'%s' -> '%s'"):format(path, dest)
  if both then assert.is_truthy(text:find(both, 1, true), text) end
  assert.is_nil(text:find("\n", 1, true))
  return err
end

--- Waits until work in the thread pool that was let go has come to its end. No other operation may
--- be pending.
function M.drain_pool()
  repeat await(neap.fs.list(M.directory)) until core.stats().operations == 0
end

return M
