# For tools/install/check.sh: sh check.sh PROGRAM
set -eu
here=$(cd "$(dirname "$0")" && pwd)
[ "$("$1" "$here/main.lua" | head -n 1)" = 10 ]
