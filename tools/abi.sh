#!/bin/sh
# Checks what the libraries and drivers below a folder, an installed prefix or a build, define for others:
# tools/abi.sh FOLDER. Prints FILE: NAME for each name that is not neap's to take; fails if there is one, or
# a kind of library is missing. The names: docs/architecture.md.
set -eu

folder=${1:?usage: tools/abi.sh FOLDER}
words='[a-z0-9][a-z0-9_]*'
broken=0

defined_in() {
  case $1 in
    *.a) nm -g --defined-only "$1" 2>/dev/null ;;
    *.dylib) nm -gU "$1" ;;
    *) nm -D --defined-only "$1" ;;
  esac | awk 'NF == 3 { print $3 }' | if [ "$(uname)" = Darwin ]; then sed 's/^_//'; else cat; fi
}

# only PATTERN NAME...: the files of these names, which may have * in them, define what matches PATTERN.
# What gcc marks objects with for its link-time optimization does not count.
only() {
  pattern=$1
  shift
  seen=0
  for name in "$@"; do
    for file in $(find "$folder" -type f -name "$name" -not -path '*/CMakeFiles/*' | sort); do
      seen=1
      [ -n "$(defined_in "$file")" ] || { echo "${file#"$folder"/}: nothing" && broken=1; }
      for symbol in $(defined_in "$file" | grep -vE "^(__gnu_lto_.*|$pattern)$" | sort -u); do
        echo "${file#"$folder"/}: $symbol"
        broken=1
      done
    done
  done
  [ "$seen" -eq 1 ] || { echo "$folder: no $1" && broken=1; }
}

only "neap_$words" 'libneap.so.*' 'libneap.*.dylib'
only "(neap_|neap__|neapL_|neapL__|luaopen_neap_)$words" 'libneaplua.so.*' 'libneaplua.*.dylib'
only "luaopen_neap_${words}_driver" '*_driver.so'
only "(neap_|neap__)$words" 'libneap.a'
only "(neap_|neap__|neapL_|neapL__|luaopen_neap_)$words" 'libneaplua.a' 'libneaplua_*.a'
exit "$broken"
