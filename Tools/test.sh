#!/bin/sh
# Installs what is missing, builds everything, and passes the tests.
# Arguments go to swift test: Tools/test.sh --filter S041
set -eu
root=$(CDPATH= cd -- "$(dirname -- "$0")/.." && pwd)
"$root/Tools/prepare.sh"
cd "$root"
swift build --build-tests
exec swift test --skip-build "$@"
