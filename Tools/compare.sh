#!/bin/sh
# Measures Hindsight beside RocksDB, LevelDB, LMDB, SQLite, Redis, Caffeine, diskcache, cachetools and a
# locked C++ LRU on this machine, all on the same streams, and prints one table with ratios.
#   Tools/compare.sh [PLOT.svg] [ROUNDS] [SECONDS]    ./comparison.svg, 3 and 1 unless given
#   Tools/compare.sh --help
# SECONDS is how long a slow figure is measured, from its stream's beginning. Rounds are interleaved; the
# table has their medians.
# Installs what is missing from Debian and, into a folder of its own, from PyPI; a peer that can't be
# had is left out. Everything made is under ${TMPDIR:-/tmp}/hindsight-compare; Redis runs there as a
# private server. Two runs at a time are refused. Exit code 2: wrong usage.
set -eu
usage() { sed -n '/^#!/d; /^#/!q; s/^# \{0,1\}//p' "$0"; }
refuse() {
    echo "compare: $*; Tools/compare.sh --help says what it takes" >&2
    exit 2
}
for argument in "$@"; do
    case "$argument" in
    -h | --help) usage && exit 0 ;;
    -*) refuse "unknown option $argument" ;;
    esac
done
[ $# -le 3 ] || refuse "more than PLOT.svg, ROUNDS and SECONDS"
plot=${1:-comparison.svg} rounds=${2:-3} seconds=${3:-1}
case "$rounds" in
"" | *[!0-9]* | 0*) refuse "ROUNDS must be a number from 1 on, not '$rounds'" ;;
esac
case "$seconds" in
*[!0-9.]* | *.*.*) refuse "SECONDS must be a number, not '$seconds'" ;;
*[1-9]*) ;;
*) refuse "SECONDS must be above 0, not '$seconds'" ;;
esac
folder=$(dirname -- "$plot")
[ -d "$folder" ] && [ -w "$folder" ] || refuse "PLOT.svg: $folder is no folder that can be written"
root=$(CDPATH= cd -- "$(dirname -- "$0")/.." && pwd)
work=${TMPDIR:-/tmp}/hindsight-compare
# Streams are made again when what makes them has changed.
sum=$(cksum <"$root/Tools/compare/streams.py")
streams="$work/streams-${sum%% *}"
# A folder that somebody else has put there isn't used: programs are run from it.
mkdir -m 700 "$work" 2>/dev/null || { [ -d "$work" ] && [ ! -L "$work" ] && [ -O "$work" ]; } || {
    echo "compare: $work can't be made, or isn't yours" >&2
    exit 1
}
exec 9>"$work/lock"
flock -n 9 || {
    echo "compare: another run is at work in $work" >&2
    exit 1
}
mkdir -p "$work/run" "$work/classes"

sudo=""
[ "$(id -u)" = 0 ] || sudo=sudo
policy=""
allow_services() {
    [ -z "$policy" ] || $sudo rm -f "$policy"
    policy=""
}
trap 'allow_services; rm -rf "$work/run" "$streams/"*.part' EXIT
# Not every shell runs what EXIT has trapped when a signal ends it.
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM

"$root/Tools/prepare.sh"
missing=""
for package in g++ python3 python3-venv librocksdb-dev libleveldb-dev liblmdb-dev libhiredis-dev \
    redis-server libcaffeine-java; do
    dpkg -s "$package" >/dev/null 2>&1 || missing="$missing $package"
done
command -v javac >/dev/null 2>&1 || missing="$missing default-jdk-headless"
apt_install() {
    $sudo env DEBIAN_FRONTEND=noninteractive \
        apt-get install -y -qq --no-install-recommends "$@" >&2
}
if [ -n "$missing" ]; then
    echo "installing:$missing" >&2
    $sudo apt-get update -qq >&2 || true
    # Redis is needed as a program, not as a service: keep Debian from starting one.
    if [ ! -e /usr/sbin/policy-rc.d ]; then
        policy=/usr/sbin/policy-rc.d
        printf '#!/bin/sh\nexit 101\n' | $sudo tee "$policy" >/dev/null
        $sudo chmod +x "$policy"
    fi
    # All at once, or else each that can be had.
    apt_install $missing || for package in $missing; do
        apt_install "$package" || echo "$package can't be installed" >&2
    done
    allow_services
fi

swift build --package-path "$root" -c release --product hindsight >&2

# Builds a peer from a source, with the flags that it needs, and notes it as one that is there.
peers="" python_peers="" java_peers=""
build() {
    peer=$1 source=$2
    shift 2
    if g++ -O2 -std=c++17 -pthread -Wall -o "$work/$peer" "$root/Tools/compare/$source" "$@"; then
        peers="$peers $peer"
    else
        echo "no figures of $peer: it can't be built" >&2
    fi
}
build lru lru.cpp
build leveldb leveldb.cpp -lleveldb
build rocksdb leveldb.cpp -DROCKSDB -lrocksdb
build lmdb lmdb.cpp -llmdb
build sqlite sqlite.cpp -lsqlite3
build redis redis.cpp -lhiredis

python="$work/venv/bin/python"
if "$python" -c "import cachetools, diskcache" 2>/dev/null || {
    rm -rf "$work/venv"
    python3 -m venv "$work/venv" >&2 && "$work/venv/bin/pip" install -q cachetools diskcache >&2
}; then
    python_peers="diskcache cachetools"
else
    echo "no figures of diskcache and cachetools: they can't be installed" >&2
fi

classes="$work/classes:/usr/share/java/caffeine.jar"
if javac -cp "$classes" -d "$work/classes" "$root/Tools/compare/CaffeinePeer.java"; then
    java_peers="caffeine caffeine-ttl"
else
    echo "no figures of caffeine: it can't be built" >&2
fi

for old in "$work"/streams*; do [ "$old" = "$streams" ] || rm -rf "$old"; done
[ -s "$streams/hits100k.tsv" ] || python3 "$root/Tools/compare/streams.py" "$streams"

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
    for peer in $peers; do
        measure "$peer" "$work/$peer" "$streams" "$work/run" "$seconds"
    done
    for peer in $java_peers; do
        measure "$peer" java -cp "$classes" CaffeinePeer \
            "$streams" "$work/run" "$seconds" "$peer"
    done
    for peer in $python_peers; do
        measure "$peer" "$python" "$root/Tools/compare/python_peers.py" \
            "$streams" "$work/run" "$seconds" "$peer"
    done
    PEERS_RUN="$work/run" "$root/.build/release/hindsight" bench --peer-rows --budget "$seconds" \
        --input "$streams/sets.tsv" >>"$work/rows.tsv"
    round=$((round + 1))
done
python3 "$root/Tools/compare/table.py" "$work/rows.tsv" "$plot"
echo "the plot is in $plot; all rows are in $work/rows.tsv" >&2
