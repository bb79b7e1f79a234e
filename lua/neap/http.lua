--- neap.http: requests and servers. Each part stands on a library of its own.
local lazy = require "neap.lazy"

---@class neap.http
local M = {}

return lazy.names(M, "neap.http", {
  serve = "neap.http_server",
  files = "neap.http_files",
  client = "neap.http_client",
  request = "neap.http_client",
  get = "neap.http_client",
  head = "neap.http_client",
  post = "neap.http_client",
  put = "neap.http_client",
  patch = "neap.http_client",
  delete = "neap.http_client",
  options = "neap.http_client",
  retry = "neap.http_client",
})
