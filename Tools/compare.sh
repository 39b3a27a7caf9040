#!/bin/sh
# Measures Hindsight beside LevelDB, LMDB, SQLite, Redis, diskcache, cachetools and a locked C++ LRU on
# this machine, all on the same streams, and prints one table with ratios.
#   Tools/compare.sh [PLOT.svg] [ROUNDS] [SECONDS]    ./comparison.svg, 3 and 1 unless given
# SECONDS is how long a slow figure is measured. Rounds are interleaved; the table has their medians.
# Installs what is missing from Debian and, into a folder of its own, from PyPI. Everything made is
# under ${TMPDIR:-/tmp}/hindsight-compare; Redis runs there as a private server.
set -eu
root=$(CDPATH= cd -- "$(dirname -- "$0")/.." && pwd)
plot=${1:-comparison.svg} rounds=${2:-3} seconds=${3:-1}
work=${TMPDIR:-/tmp}/hindsight-compare
mkdir -p "$work/run"

sudo=""
[ "$(id -u)" = 0 ] || sudo=sudo
policy=""
allow_services() {
    [ -z "$policy" ] || $sudo rm -f "$policy"
    policy=""
}
trap 'allow_services; rm -rf "$work/run" "$work/streams/"*.part' EXIT
# Not every shell runs what EXIT has trapped when a signal ends it.
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM

"$root/Tools/prepare.sh"
missing=""
for package in g++ libleveldb-dev liblmdb-dev libhiredis-dev redis-server python3 python3-venv; do
    dpkg -s "$package" >/dev/null 2>&1 || missing="$missing $package"
done
if [ -n "$missing" ]; then
    echo "installing:$missing" >&2
    $sudo apt-get update -qq >&2
    # Redis is needed as a program, not as a service: keep Debian from starting one.
    if [ ! -e /usr/sbin/policy-rc.d ]; then
        policy=/usr/sbin/policy-rc.d
        printf '#!/bin/sh\nexit 101\n' | $sudo tee "$policy" >/dev/null
        $sudo chmod +x "$policy"
    fi
    $sudo env DEBIAN_FRONTEND=noninteractive \
        apt-get install -y -qq --no-install-recommends $missing >&2
    allow_services
fi
python="$work/venv/bin/python"
"$python" -c "import cachetools, diskcache" 2>/dev/null || {
    rm -rf "$work/venv"
    python3 -m venv "$work/venv" >&2 && "$work/venv/bin/pip" install -q cachetools diskcache >&2
} || echo "no figures of cachetools and diskcache: they can't be installed" >&2

swift build --package-path "$root" -c release --product hindsight >&2
g++ -O2 -std=c++17 -pthread -Wall -o "$work/native" "$root/Tools/compare/native.cpp" \
    -lleveldb -llmdb -lsqlite3 -lhiredis
[ -s "$work/streams/hits100k.tsv" ] ||
    python3 "$root/Tools/compare/streams.py" "$work/streams"

# Adds a peer's rows to those of all. One that fails has none in this round: the others go on.
measure() {
    peer=$1
    shift
    if "$@" >"$work/run/rows.tsv"; then
        cat "$work/run/rows.tsv" >>"$work/rows.tsv"
    else
        echo "no figures of $peer in this round" >&2
    fi
}

: >"$work/rows.tsv"
round=1
while [ "$round" -le "$rounds" ]; do
    echo "round $round of $rounds, load $(cut -d ' ' -f 1 /proc/loadavg)" >&2
    for peer in lru leveldb lmdb sqlite redis; do
        measure "$peer" "$work/native" "$work/streams" "$work/run" "$seconds" "$peer"
    done
    for peer in diskcache cachetools; do
        measure "$peer" "$python" "$root/Tools/compare/python_peers.py" \
            "$work/streams" "$work/run" "$seconds" "$peer"
    done
    PEERS_RUN="$work/run" "$root/.build/release/hindsight" bench --peer-rows --budget "$seconds" \
        --input "$work/streams/sets.tsv" >>"$work/rows.tsv"
    round=$((round + 1))
done
python3 "$root/Tools/compare/table.py" "$work/rows.tsv" "$plot"
echo "the plot is in $plot; all rows are in $work/rows.tsv" >&2
