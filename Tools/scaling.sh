#!/bin/sh
# Measures how Hindsight's costs grow on this machine, and the pauses of its memory tier, and writes
# a page about it with a plot: .build/scaling/Scaling.md.
#   Tools/scaling.sh [--update] [MOST_ENTRIES] [SECONDS_OF_PAUSES]     1000000 and 20 unless given
#   Tools/scaling.sh --help
# --update writes the documentation's page instead: Sources/Hindsight/Hindsight.docc/Scaling.md.
# 10000000 entries need about 8 GiB of memory. Everything else should be quiet: the page says what
# the load was. Exit code 2: wrong usage.
set -eu
refuse() {
    echo "scaling: $*; Tools/scaling.sh --help says what it takes" >&2
    exit 2
}
case "${1:-}" in
--update) ;;
-h | --help)
    sed -n '/^#!/d; /^#/!q; s/^# \{0,1\}//p' "$0"
    exit 0
    ;;
-*) refuse "unknown option $1" ;;
esac
root=$(CDPATH= cd -- "$(dirname -- "$0")/.." && pwd)
page="$root/.build/scaling"
[ "${1:-}" != --update ] || { page="$root/Sources/Hindsight/Hindsight.docc" && shift; }
most=${1:-1000000}
seconds=${2:-20}
[ $# -le 2 ] || refuse "more than MOST_ENTRIES and SECONDS_OF_PAUSES"
case "$most" in
"" | *[!0-9]* | 0*) refuse "MOST_ENTRIES must be a number from 1 on, not '$most'" ;;
esac
case "$seconds" in
*[!0-9.]* | *.*.*) refuse "SECONDS_OF_PAUSES must be a number, not '$seconds'" ;;
*[1-9]*) ;;
*) refuse "SECONDS_OF_PAUSES must be above 0, not '$seconds'" ;;
esac
"$root/Tools/prepare.sh"
command -v python3 >/dev/null 2>&1 || {
    echo "python3 is missing: apt-get install python3" >&2
    exit 1
}
swift build --package-path "$root" -c release --product hindsight >&2
program="$root/.build/release/hindsight"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
# Not every shell runs what EXIT has trapped when a signal ends it.
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM
export PEERS_RUN="$work" # where the caches lie
load=$(cut -d ' ' -f 1 /proc/loadavg)
"$program" bench --scaling --entries "$most" --peer-rows >"$work/scaling.tsv"
sync # what that has left to be written is no part of what comes now
pauses=$((most < 1000000 ? most : 1000000))
"$program" bench --pauses --entries "$pauses" --seconds "$seconds" --peer-rows >"$work/pauses.tsv"
python3 "$root/Tools/plots/scaling.py" "$work/scaling.tsv" "$work/pauses.tsv" "$pauses" "$load" \
    "$page" "$most" "$seconds"
echo "written: $page/Scaling.md"
