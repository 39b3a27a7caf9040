#!/bin/sh
# Makes sure that what a build needs is there: Swift, and Debian's SQLite and zlib headers.
# Run by the other scripts; changes nothing where nothing is missing.
set -eu

command -v swift >/dev/null 2>&1 || {
    echo "swift is not on the PATH: install Swift 6.2 or later (https://swift.org/install)" >&2
    exit 1
}
command -v dpkg >/dev/null 2>&1 || {
    echo "no Debian: SQLite's and zlib's headers are needed, and not looked for" >&2
    exit 0
}
missing=""
for package in libsqlite3-dev zlib1g-dev; do
    dpkg -s "$package" >/dev/null 2>&1 || missing="$missing $package"
done
[ -n "$missing" ] || exit 0

sudo=""
if [ "$(id -u)" != 0 ]; then
    command -v sudo >/dev/null 2>&1 || {
        echo "missing:$missing; install them as root: apt-get install -y$missing" >&2
        exit 1
    }
    sudo="sudo"
fi
echo "installing:$missing" >&2
export DEBIAN_FRONTEND=noninteractive
# The package lists may be missing or out of date: fetch them where the first try fails.
$sudo apt-get install -y -qq $missing >&2 || {
    $sudo apt-get update -qq >&2
    $sudo apt-get install -y -qq $missing >&2
}
