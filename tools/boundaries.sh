#!/bin/sh
# Checks the layers (docs/architecture.md): tools/boundaries.sh BUILD, from the root of the checkout.
# Each check prints what breaks its rule as FILE:LINE: TEXT; the script fails if any printed something.
#
# The checks are called by name, at the end; what stands in single quotes is awk's.
# shellcheck disable=SC2016,SC2317
set -eu

build=${1:?usage: tools/boundaries.sh BUILD}
[ -e "$build/libneap.a" ] || { echo "boundaries: no $build/libneap.a" && exit 1; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

core_files() {
  find core -name '*.[ch]' -not -path 'core/test/*' -not -path 'core/fuzz/*' | sort
}

shipped_files() {
  core_files
  find bindings -name '*.[ch]' -not -path 'bindings/test/*' | sort
}

shipped_sources() {
  shipped_files | grep '\.c$' || true
}

lua_files() {
  find lua -name '*.lua' | sort
}

# Reads names of files, prints FILE:LINE: TEXT for each line of them: string literals emptied, comments
# left out but for `/* allowed: REASON */`.
without_comments() {
  xargs awk '
    FNR == 1 { inside = 0 }
    {
      out = ""
      rest = $0
      allowed = match(rest, /\/\* allowed: [^*]+\*\//) ? substr(rest, RSTART, RLENGTH) : ""
      if (!inside && rest !~ /^[ \t]*#[ \t]*include/) gsub(/"([^"\\]|\\.)*"/, "\"\"", rest)
      while (rest != "") {
        if (inside) {
          at = index(rest, "*/")
          if (!at) break
          rest = substr(rest, at + 2)
          inside = 0
        } else {
          at = match(rest, /\/\*|\/\//)
          if (!at) { out = out rest; break }
          out = out substr(rest, 1, at - 1)
          if (substr(rest, at, 2) == "//") break
          rest = substr(rest, at + 2)
          inside = 1
        }
      }
      print FILENAME ":" FNR ": " out allowed
    }' /dev/null
}

# --- C -------------------------------------------------------------------------------------------

core_names_no_lua() {
  core_files | without_comments |
    grep -E '(^|[^A-Za-z0-9_])(lua_|luaL_|neapL_)[A-Za-z0-9_]*' || true
}

nothing_prints_or_exits() {
  words='exit|_exit|_Exit|quick_exit|abort|printf|vprintf|fprintf|vfprintf|puts|fputs|putchar|perror'
  shipped_files | without_comments |
    grep -E "(^|[^A-Za-z0-9_.>])($words)[ ]*\(" | grep -v '/\* allowed: ' || true
}

# nm's type letters do not tell .data.rel.ro (const tables of pointers) from .data: its sections do.
core_has_no_writable_data() {
  nm -f sysv "$build/libneap.a" |
    awk -F'|' '$7 ~ /^[.](data|bss|tdata|tbss)/ && $7 !~ /^[.]data[.]rel[.]ro/ || $7 ~ /COM/ {
      gsub(/ /, "", $1); print "libneap.a: writable: " $1 " in " $7 }'
}

core_wants_no_lua() {
  nm -u "$build/libneap.a" | awk '$2 ~ /^lua/ { print "libneap.a: undefined: " $2 }'
}

# Edges `includer included` between headers, as paths; an include is looked up as the compiler does.
header_edges() {
  shipped_files | grep '\.h$' | while read -r file; do
    sed -n 's/^#[ ]*include[ ]*"\([^"]*\)".*/\1/p' "$file" | while read -r name; do
      for folder in "$(dirname "$file")" core bindings; do
        [ -e "$folder/$name" ] || continue
        realpath --relative-to=. "$file" "$folder/$name" | paste -s -d ' ' -
        break
      done
    done
  done
}

headers_form_no_cycle() {
  header_edges | cycles "include cycle"
}

own_header_comes_first() {
  shipped_sources | while read -r file; do
    own=$(basename "$file" .c).h
    [ -e "$(dirname "$file")/$own" ] || continue
    first=$(sed -n 's/^#[ ]*include[ ]*["<]\([^">]*\)[">].*/\1/p' "$file" | head -n 1)
    [ "$(basename "$first")" = "$own" ] || echo "$file: includes $first before $own"
  done
}

# --- Lua -----------------------------------------------------------------------------------------

# Reads Lua, prints LINE:MODULE for each require (and pcall(require, ...)); comments do not count.
required_modules() {
  sed 's/--.*//' | grep -noE "(^|[^A-Za-z0-9_.:])require[ (,]*[\"'][^\"']*[\"']" |
    sed -E "s/^([0-9]+):.*[\"']([^\"']*)[\"']$/\1:\2/"
}

lua_requires() {
  lua_files | while read -r file; do
    required_modules <"$file" | sed "s|^|$file:|"
  done
}

# The testing helpers hand bodies to busted, where it runs; JSON is lua-cjson's, where that is installed, and
# neap.luv gives luv.
lua_requires_siblings_only() {
  lua_requires | grep -vE ':neap(\.[a-z0-9_.]+)?$' |
    grep -vE '^lua/neap/(testing\.lua:[0-9]+:busted|json\.lua:[0-9]+:cjson|luv\.lua:[0-9]+:luv)$' || true
}

# Edges `requirer required` at load time: a require in an indented line, or after `function` in its
# line, is evaluated later.
lua_edges() {
  lua_files | while read -r file; do
    module=$(printf '%s' "${file#lua/}" | sed -e 's|\.lua$||' -e 's|/init$||' -e 's|/|.|g')
    grep -E '^[^ ]' "$file" | grep -v 'function' | required_modules | sed "s/.*:/$module /"
  done
}

lua_forms_no_cycle() {
  lua_edges | cycles "require cycle"
}

# cycles NAME: read edges, print those that tsort finds on a cycle.
cycles() {
  cat >"$work/edges"
  awk -v name="$1" '$1 == $2 { print name ": " $1 " with itself" }' "$work/edges"
  tsort "$work/edges" 2>&1 >/dev/null | sed -e 's/^tsort: //' -e "s|$work/edges|$1|"
}

# --- all -----------------------------------------------------------------------------------------

broken=0
for rule in core_names_no_lua nothing_prints_or_exits core_has_no_writable_data core_wants_no_lua \
  headers_form_no_cycle own_header_comes_first \
  lua_requires_siblings_only lua_forms_no_cycle; do
  "$rule" >"$work/found"
  [ -s "$work/found" ] || continue
  echo "boundaries: $rule"
  sed 's/^/  /' "$work/found"
  broken=1
done
exit "$broken"
