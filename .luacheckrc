std = "lua54"
max_line_length = 100
self = false
exclude_files = { "lua/neap/types", "build", "build.luarocks" }
files["spec"] = { std = "lua54+busted" }
