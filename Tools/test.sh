#!/bin/sh
# Installs what is missing, builds everything, and passes the tests.
# Arguments go to swift test: Tools/test.sh --filter S041
#
# What the tests exercise is optimized, assertions kept: four times as fast as a plain `swift test`,
# which works, too. They take minutes: after an hour something hangs, and they are ended (code 124).
set -eu
root=$(CDPATH= cd -- "$(dirname -- "$0")/.." && pwd)
"$root/Tools/prepare.sh"
cd "$root"
export HINDSIGHT_TEST_OPTIMIZED=1
swift build --build-tests
exec timeout --foreground --signal=INT --kill-after=60 3600 swift test --skip-build "$@"
