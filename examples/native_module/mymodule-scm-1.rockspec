rockspec_format = "3.0"
package = "mymodule"
version = "scm-1"
source = {
  url = "git+https://example.org/mymodule.git",
}
description = {
  summary = "C libraries that scripts of neap await",
  license = "MIT",
}
dependencies = {
  "lua >= 5.4, < 5.5",
}
-- neap's headers and libneaplua come from `cmake --install`; the rock neap has none. Where that is not
-- installed to /usr or /usr/local: CMAKE_PREFIX_PATH=... luarocks make
build = {
  type = "cmake",
  variables = {
    CMAKE_INSTALL_PREFIX = "$(PREFIX)",
    LIBDIR = "$(LIBDIR)",
  },
}
