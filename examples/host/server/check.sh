# For tools/install/check.sh: sh check.sh PROGRAM
set -eu
script=$(cd "$(dirname "$0")" && pwd)/server.lua
[ "$("$1" "$script" --threads 3 --test 200)" = "200 of 200 answers are right" ]
# A script that cannot be run ends it, too.
if "$1" "$script.none" --threads 2 --test 1 2>/dev/null; then exit 1; fi
