--- neap.fs: files. The operations are written in C; the types are in neap/types.
local M = require("neap.core").fs

M.watch = require "neap.watch"

return M
