#!/bin/sh
# Runs the tests under a sanitizer: Tools/sanitize.sh [address|thread|all] [arguments of swift test]
#
# address  AddressSanitizer, and LeakSanitizer at the end of each process
# thread   ThreadSanitizer; Mutex is told to it (Sources/HindsightCore/SanitizedMutex.swift)
#
# A report fails the run, but for those of Tools/sanitize-*.supp, which give the reasons. Each has a
# build directory of its own. Exit code 2: wrong usage.
set -eu
usage() { sed -n '/^#!/d; /^#/!q; s/^# \{0,1\}//p' "$0"; }
root=$(CDPATH= cd -- "$(dirname -- "$0")/.." && pwd)
which=${1:-all}
[ $# -eq 0 ] || shift
case "$which" in
address | thread | all) ;;
-h | --help) usage && exit 0 ;;
*)
    usage >&2
    exit 2
    ;;
esac

run() {
    sanitizer=$1 flag=$2
    shift 2
    scratch="$root/.build/sanitize-$sanitizer"
    # Optimized, code accesses memory that the Swift runtime has handed from thread to thread, by a
    # continuation or by counting references, in which it isn't instrumented: reports of no race.
    unset HINDSIGHT_TEST_OPTIMIZED
    if [ "$sanitizer" = address ]; then export HINDSIGHT_TEST_OPTIMIZED=1; fi
    reports="$scratch/report"
    rm -f "$reports".*
    # Said outright: within `run … || …`, set -e doesn't end it.
    swift build --build-tests --package-path "$root" --scratch-path "$scratch" \
        --sanitize="$sanitizer" -Xswiftc "$flag" || { echo "$sanitizer: NOT built"; return 1; }
    # The tests start processes of their own: what those report goes to files, too, and counts.
    export ASAN_OPTIONS="detect_leaks=1:log_path=$reports"
    export LSAN_OPTIONS="use_unaligned=1:print_suppressions=0"
    LSAN_OPTIONS="$LSAN_OPTIONS:suppressions=$root/Tools/sanitize-address.supp"
    export TSAN_OPTIONS="halt_on_error=0:exitcode=66:log_path=$reports"
    TSAN_OPTIONS="$TSAN_OPTIONS:suppressions=$root/Tools/sanitize-thread.supp"
    status=0
    # One test after the other: all at once, ten times slower, would pass their time limits.
    swift test --skip-build --no-parallel --package-path "$root" --scratch-path "$scratch" \
        --sanitize="$sanitizer" -Xswiftc "$flag" "$@" || status=$?
    for report in "$reports".*; do
        [ -e "$report" ] || continue
        cat "$report" >&2
        status=1
    done
    if [ "$status" -eq 0 ]; then echo "$sanitizer: clean"; else echo "$sanitizer: NOT clean"; fi
    return "$status"
}

"$root/Tools/prepare.sh"
case "$which" in
address) run address -DHINDSIGHT_ASAN "$@" ;;
thread) run thread -DHINDSIGHT_TSAN "$@" ;;
all)
    failed=0
    run address -DHINDSIGHT_ASAN "$@" || failed=1
    run thread -DHINDSIGHT_TSAN "$@" || failed=1
    exit "$failed"
    ;;
esac
