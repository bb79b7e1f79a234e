rockspec_format = "3.0"
package = "neap"
version = "scm-1"
source = {
  url = "git+https://github.com/neap-lua/neap.git",
}
description = {
  summary = "C#'s async/await for Lua, on libuv",
  detailed = [[
Tasks written in C and awaited from Lua: scopes that own their tasks, cancellation and deadlines
that reach the native operation, errors with a traceback through every await.]],
  homepage = "https://github.com/neap-lua/neap",
  license = "MIT",
  labels = { "async", "await", "coroutine", "libuv" },
}
dependencies = {
  "lua >= 5.4, < 5.5",
}
external_dependencies = {
  LIBUV = { header = "uv.h" },
}
build = {
  type = "cmake",
  variables = {
    NEAP_ROCK = "ON",
    CMAKE_INSTALL_PREFIX = "$(PREFIX)",
    LUADIR = "$(LUADIR)",
    LIBDIR = "$(LIBDIR)",
    BINDIR = "$(BINDIR)",
    LUA_INCDIR = "$(LUA_INCDIR)",
  },
  copy_directories = {},
}
