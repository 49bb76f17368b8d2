#!/usr/bin/env bash
# get-archives.sh: print a folder with the archives that other programs test themselves with, fetched once into the cache:
# libarchive's and GNU tar's (Debian's source packages), Go's and Python's (packages). `tests/image/world.rs` reads them; what becomes of
# each is in fixtures/world.txt. Those of Rust's tar are in fixtures/world/tar-rs.
# shellcheck source=scripts/lib.sh
. "$(dirname "$0")/lib.sh"

fetch() {
    local dir=$1 work
    [ ! -e "$dir/.done" ] || return 0
    private_apt bookworm amd64
    # The sources beside the packages.
    sed -n 's/^deb /deb-src /p' "$CACHE/apt/bookworm-amd64/sources.list" >"$CACHE/apt/bookworm-amd64/src.list"
    work=$(mktemp -d "$CACHE/archives.XXXXXX")
    # shellcheck disable=SC2064  # the name is known now
    trap "rm -rf '$work'" EXIT
    (
        cd "$work"
        apt-get -q download golang-1.19-src libpython3.11-testsuite >&2
        # Lists of their own, so that nobody else's apt waits for them.
        options=(-o "Dir::Etc::SourceList=$CACHE/apt/bookworm-amd64/src.list" -o "Dir::State::lists=$work/lists" -o Acquire::IndexTargets::deb-src::Sources::KeepCompressed=true)
        mkdir -p lists/partial
        apt-get -q "${options[@]}" update >&2
        apt-get -q "${options[@]}" --download-only --tar-only source libarchive tar >&2
    )
    for deb in "$work"/*.deb; do dpkg-deb -x "$deb" "$work/unpacked"; done
    for source in "$work"/*.orig.tar.*; do tar -xf "$source" -C "$work/unpacked"; done
    rm -rf "$dir"
    python3 "$(dirname "$0")/world-archives.py" "$work/unpacked" "$dir"
    touch "$dir/.done"
}

dir=$CACHE/archives
with_lock archives fetch "$dir" >&2
printf '%s\n' "$dir"
