-- A driver that is not of the neap in this Lua state; for check.sh: refused.lua MESSAGE.
local message = ...
local loads = message:find("before", 1, true) or require "neap"
local ok, err = pcall(require, "neap.sqlite_driver")
assert(loads and not ok and err:find(message, 1, true), err)
