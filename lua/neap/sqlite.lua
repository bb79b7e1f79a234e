--- neap.sqlite: databases of SQLite.
local lazy = require "neap.lazy"

return lazy.names({}, "neap.sqlite", {
  open = "neap.sqlite_database",
  blob = "neap.sqlite_database",
  null = "neap.sqlite_database",
  library_version = "neap.sqlite_database",
})
