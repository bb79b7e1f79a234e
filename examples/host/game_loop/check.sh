# For tools/install/check.sh: sh check.sh PROGRAM
set -eu
program=$1
script=$(cd "$(dirname "$0")" && pwd)/game.lua

# expect TEXT OPTION...
expect() {
  wanted=$1
  shift
  found=$("$program" "$script" "$@")
  [ "$found" = "$wanted" ] || { printf 'with %s:\n%s\n' "$*" "$found" && exit 1; }
}

story="hero: frame 91; sloth: late, 1.00; bomb: 3 ticks; guard: 12 rounds, home"
expect "$story
180 frames, 180 of them run" --frames 600 --fast
expect "$story
180 frames, 124 of them run" --frames 600 --fast --skip
expect "cut short after 20 frames" --frames 20
