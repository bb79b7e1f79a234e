#!/bin/sh
# Uses an installed neap as C programs do: tools/install/check.sh PREFIX, from the root of the checkout.
# PREFIX is all that it sees of neap. An example of examples/host/NAME is a main.c, and a CMakeLists.txt with
# the program NAME, which has to end well without arguments; or check.sh beside it runs it: sh check.sh NAME.
# examples/native_module is a rock, whose check.lua has to run against what it installs.
#
# The steps are called by name.
# shellcheck disable=SC2317
set -u

prefix=${1:?usage: tools/install/check.sh PREFIX}
root=$(pwd)
lua=${NEAP_LUA:-lua5.4}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
failed=
lua_pc=
for name in lua5.4 lua-5.4 lua54 lua; do
  [ -n "$lua_pc" ] || ! pkg-config --exists "$name" || lua_pc=$name
done

unset LUA_PATH LUA_CPATH LUA_PATH_5_4 LUA_CPATH_5_4 LUA_INIT LUA_INIT_5_4
PKG_CONFIG_PATH=$(find "$prefix" -type d -name pkgconfig)
export PKG_CONFIG_PATH
libdir=$(pkg-config --variable=libdir neap)
module_dir=$(dirname "$(find "$prefix" -name 'sqlite_driver.so')")
warnings="-Wall -Wextra -Werror"

# step NAME COMMAND...: go on after a failure, so that one run shows everything.
step() {
  title=$1
  shift
  # Not in a condition, where -e would be off.
  (
    set -e
    cd "$work"
    "$@"
  ) >"$work/log" 2>&1
  status=$?
  if [ "$status" -eq 0 ]; then
    echo "ok $title"
  else
    echo "not ok $title"
    sed 's/^/  /' "$work/log"
    failed="$failed
  $title"
  fi
}

# --- headers -------------------------------------------------------------------------------------

# check_headers COMPILER...
check_headers() {
  for header in "$prefix"/include/neap/*.h; do
    echo "#include <neap/$(basename "$header")>" >"$work/header.c"
    echo "int main(void) { return 0; }" >>"$work/header.c"
    # shellcheck disable=SC2046,SC2086
    "$@" $warnings -Wpedantic $(pkg-config --cflags neap "$lua_pc") -fsyntax-only "$work/header.c"
  done
}

# --- hosts ---------------------------------------------------------------------------------------

# run_host FOLDER PROGRAM
run_host() {
  if [ -e "$1/check.sh" ]; then
    timeout 60 sh "$1/check.sh" "$2"
  else
    timeout 60 "$2" </dev/null
  fi
}

# The packages that it uses: drivers first, since they are archives.
packages_of() {
  if ! grep -q 'neaplua' "$1/main.c"; then
    echo "neap$2"
    return
  fi
  sed -n 's/.*luaopen_neap_\([a-z_]*\)_driver.*/neaplua_\1/p' "$1/main.c" | sort -u
  echo "neaplua$2 $lua_pc"
}

# by_pkg_config FOLDER SUFFIX COMPILER...: of the shared library, or with the suffix -static of the archive
by_pkg_config() {
  folder=$1 suffix=$2
  shift 2
  # shellcheck disable=SC2046,SC2086
  "$@" $warnings $(pkg-config --cflags $(packages_of "$folder" "$suffix")) "$folder/main.c" -x none \
    -o "$work/program" $(pkg-config --libs $(packages_of "$folder" "$suffix")) -Wl,-rpath,"$libdir"
  run_host "$folder" "$work/program"
}

# by_cmake FOLDER COMPILER [OPTION...]: leaves it in $work/cmake.
by_cmake() {
  folder=$1 compiler=$2
  shift 2
  rm -rf "$work/cmake"
  cmake -S "$folder" -B "$work/cmake" -DCMAKE_PREFIX_PATH="$prefix" -DCMAKE_C_COMPILER="$compiler" \
    -DCMAKE_C_FLAGS="$warnings" "$@"
  cmake --build "$work/cmake"
}

host_by_cmake() {
  by_cmake "$@"
  run_host "$1" "$work/cmake/$(basename "$1")"
}

# A host is C: as C++ it may leave out initializers.
check_host() {
  host=host/$(basename "$1")
  step "$host, CMake, gcc" host_by_cmake "$1" gcc
  step "$host, CMake, clang, static" host_by_cmake "$1" clang -Dneap_USE_STATIC_LIBS=ON
  step "$host, pkg-config, clang" by_pkg_config "$1" "" clang -std=c11
  step "$host, pkg-config, gcc, static" by_pkg_config "$1" -static gcc -std=c11
  step "$host, pkg-config, g++" by_pkg_config "$1" "" \
    g++ -x c++ -std=c++17 -Wno-missing-field-initializers
}

# Where there is nothing but archives, `pkg-config --static` says what they need.
archives_alone() {
  mkdir "$work/archives"
  cp -r "$prefix/." "$work/archives"
  find "$work/archives" -name 'libneap*.so*' -exec rm {} +
  libs=$(pkg-config --define-variable=prefix="$work/archives" --static --libs neap)
  # shellcheck disable=SC2046,SC2086
  gcc -std=c11 $(pkg-config --cflags neap) "$root/examples/host/core_only/main.c" -o "$work/program" $libs
  "$work/program"
}

# --- one copy of neap -----------------------------------------------------------------------------

hosts_shared() {
  by_cmake "$root/tools/install/host" gcc
  LUA_CPATH="$module_dir/../?.so" "$work/cmake/host" "$root/tools/install/use.lua" 1
  "$work/cmake/driver_host" "$root/tools/install/use.lua" 1
}

hosts_static() {
  by_cmake "$root/tools/install/host" gcc -Dneap_USE_STATIC_LIBS=ON
  "$work/cmake/driver_host" "$root/tools/install/use.lua" 0
  LUA_CPATH="$module_dir/../?.so" "$work/cmake/host" "$root/tools/install/refused.lua" \
    "links libneaplua_sqlite.a as well"
}

scripts() {
  modules=$(dirname "$(find "$prefix" -path '*/neap/init.lua')")
  LUA_PATH="$modules/../?.lua;$modules/../?/init.lua"
  LUA_CPATH="$module_dir/../?.so"
  export LUA_PATH LUA_CPATH
  "$lua" "$root/tools/install/use.lua" 1
  "$lua" "$root/tools/install/refused.lua" 'require "neap" before "neap.sqlite_driver"'
}

# --- a native module ------------------------------------------------------------------------------

native_by_luarocks() {
  cp -r "$root/examples/native_module" "$work/rock"
  (cd "$work/rock" && CMAKE_PREFIX_PATH=$prefix NEAP_DIR=$prefix \
    luarocks --lua-version 5.4 make --tree "$work/tree" ./*.rockspec)
  LUA_PATH="$work/tree/share/lua/5.4/?.lua;$(dirname "$(find "$prefix" -path '*/neap/init.lua')")/../?.lua"
  LUA_PATH="$LUA_PATH;$(dirname "$(find "$prefix" -path '*/neap/init.lua')")/../?/init.lua"
  LUA_CPATH="$work/tree/lib/lua/5.4/?.so;$module_dir/../?.so"
  export LUA_PATH LUA_CPATH
  timeout 60 "$lua" "$root/examples/native_module/check.lua"
}

native_by_cmake() {
  by_cmake "$root/examples/native_module" clang -DCMAKE_INSTALL_PREFIX="$work/native"
  cmake --install "$work/cmake"
}

# --- names ----------------------------------------------------------------------------------------

# object NAME FILE SYMBOL: a library or archive that defines it.
object() {
  echo "int $2(void); int $2(void) { return 0; }" >"$work/object.c"
  case $1 in
    *.a) gcc -c "$work/object.c" -o "$work/object.o" && ar rcs "$work/fake/$1" "$work/object.o" ;;
    *) gcc -shared -fPIC "$work/object.c" -o "$work/fake/$1" ;;
  esac
}

fake_libraries() {
  rm -rf "$work/fake"
  mkdir "$work/fake"
  object libneap.so.0 neap_run
  object libneaplua.so.0 neapL__run
  object x_driver.so luaopen_neap_x_driver
  object libneap.a neap__run
  object libneaplua.a neapL_run
  object libneaplua_x.a luaopen_neap_x_driver
}

# violates FILE SYMBOL: tools/abi.sh names it.
violates() {
  fake_libraries
  object "$1" "$2"
  if sh "$root/tools/abi.sh" "$work/fake" >"$work/found"; then return 1; fi
  grep -qx "$1: $2" "$work/found"
}

abi_sees() {
  fake_libraries
  sh "$root/tools/abi.sh" "$work/fake"
  violates libneap.so.0 neap__run
  violates libneaplua.so.0 uv_run
  violates x_driver.so neapL__x
  violates libneap.a helper
  violates libneaplua.a lua_helper
  violates libneaplua_x.a llhttp_init
  rm "$work/fake/libneap.a"
  if sh "$root/tools/abi.sh" "$work/fake"; then return 1; fi
}

# --- all ------------------------------------------------------------------------------------------

step "the check of names sees what is wrong" abi_sees
step "names" sh "$root/tools/abi.sh" "$prefix"
step "headers, gcc" check_headers gcc -std=c11
step "headers, clang" check_headers clang -std=c11
step "headers, g++" check_headers g++ -x c++ -std=c++17
step "archives alone" archives_alone
step "hosts of the shared library" hosts_shared
step "hosts of the static library" hosts_static
step "scripts" scripts
for folder in "$root"/examples/host/*/; do check_host "${folder%/}"; done
if [ -d "$root/examples/native_module" ]; then
  step "native module, luarocks" native_by_luarocks
  step "native module, CMake" native_by_cmake
fi
[ -z "$failed" ] || { echo "install-check: FAILED:$failed" && exit 1; }
echo "install-check: ok"
