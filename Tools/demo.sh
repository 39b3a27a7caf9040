#!/bin/sh
# The main job on real input: installs what is missing, builds, runs 'hindsight demo'.
# Arguments go to the demo: Tools/demo.sh --cache /tmp/demo-cache
set -eu
root=$(CDPATH= cd -- "$(dirname -- "$0")/.." && pwd)
"$root/Tools/prepare.sh"
swift build --package-path "$root" -c release --product hindsight >&2
exec "$root/.build/release/hindsight" demo --lookups "$root/Fixtures/lookups/lookups.tsv.gz" "$@"
