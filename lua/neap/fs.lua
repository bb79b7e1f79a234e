--- neap.fs: files. What is one operation is written in C; here is what is composed of several.
local core = require "neap.core"
local temporary = require "neap.temporary"
local walk = require "neap.walk"
local watch = require "neap.watch"

local fs = core.fs

---@class neap.fs
return {
  -- whole files
  read_file = fs.read_file,
  write_file = fs.write_file,
  append_file = fs.append_file,
  copy_file = fs.copy_file,
  open = fs.open,

  -- trees
  list = fs.list,
  walk = walk.walk,
  watch = watch,
  mkdir = fs.mkdir,
  remove = fs.remove,

  -- paths
  rename = fs.rename,
  link = fs.link,
  symlink = fs.symlink,
  readlink = fs.readlink,
  realpath = fs.realpath,
  stat = fs.stat,
  lstat = fs.lstat,
  statfs = fs.statfs,
  access = fs.access,
  chmod = fs.chmod,
  chown = fs.chown,
  utime = fs.utime,
  truncate = fs.truncate,

  -- temporary
  mkdtemp = temporary.mkdtemp,
  temp_file = temporary.temp_file,
  temp_dir = temporary.temp_dir,
}
