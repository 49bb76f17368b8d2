#!/usr/bin/env bash
# run.sh: measure lfs-image beside what else does the work, and write the table into benches/README.md.
# run.sh OPTION...: options for measure.py; with --only and a row's name, that row is measured and printed.
#
# Needs some 60 GB in the cache folder (LFS_IMAGE_CACHE puts it elsewhere), and a quarter of an hour; the first time another one, to
# build the programs and make the inputs. TAR2EXT4 may name a build of hcsshim's tar2ext4, which nobody packages; without it
# and without one in PATH, it is absent from the table.
# shellcheck source=scripts/lib.sh
. "$(dirname "$0")/../scripts/lib.sh"
cd "$(dirname "$0")/.."

bench=$CACHE/bench
mkdir -p "$bench/bin"
target=$(cargo metadata --format-version 1 --no-deps --locked | sed -n 's/.*"target_directory":"\([^"]*\)".*/\1/p')

# The program under another name, so that the next build doesn't replace it.
build() {
    local name=$1 program=$2
    shift 2
    cargo build --release --locked "$@" >&2
    cp "$target/release/$program" "$bench/bin/$name"
    tools+=(--tool "$name=$bench/bin/$name")
}
tools=()
build lfs-image lfs-image -p lfs-image-cli --no-default-features --features zstd-c
if [ $# = 0 ] || [[ " $* " == *" push"* ]]; then
    build push lfs-image -p lfs-image-cli
    build discard-server discard-server -p lfs-image-bench
    build bare-client bare-client -p lfs-image-bench
fi

# The peers stay away where they can't be had; their lines say so then.
if CARGO_TARGET_DIR=$bench/peers cargo build --release --locked --manifest-path benches/peers/mkext4/Cargo.toml >&2; then
    tools+=(--tool "mkext4=$bench/peers/release/mkext4-peer")
fi

# mke2fs reads tarballs since 1.47.1, which Debian has since trixie. It runs with its own C library, from a folder.
get_mke2fs() {
    local dir=$1 work
    [ ! -x "$dir/mke2fs" ] || return 0
    work=$(mktemp -d "$bench/mke2fs.XXXXXX")
    (
        private_apt trixie "$(dpkg --print-architecture)"
        apt-get -q -y --no-install-recommends --download-only -o Dir::Cache::archives="$work" \
            install e2fsprogs libarchive13t64 >&2
    )
    for deb in "$work"/*.deb; do dpkg-deb -x "$deb" "$work/root"; done
    cat >"$work/root/mke2fs" <<'END'
#!/bin/sh
here=$(dirname "$0")
export MKE2FS_CONFIG="$here/etc/mke2fs.conf"
exec "$here"/usr/lib*/ld-linux-*.so.* --library-path "$(echo "$here"/usr/lib/*-linux-gnu)" "$here/usr/sbin/mke2fs" "$@"
END
    chmod +x "$work/root/mke2fs"
    rm -rf "$dir"
    mv "$work/root" "$dir"
    rm -rf "$work"
}
if (get_mke2fs "$bench/mke2fs") && "$bench/mke2fs/mke2fs" -V >&2; then
    tools+=(--tool "mke2fs=$bench/mke2fs/mke2fs")
fi
if tar2ext4=$(command -v "${TAR2EXT4:-tar2ext4}"); then
    tools+=(--tool "tar2ext4=$tar2ext4")
fi

# A kernel lets a program write on at the speed of memory until a fifth of it waits for the disk: less than the largest outputs
# here. It is the programs that are measured, so root's measurements let more wait. They put the limits back.
if [ "$(id -u)" = 0 ] && [ "$(cat /proc/sys/vm/dirty{,_background}_bytes | sort -u)" = 0 ]; then
    limits=(/proc/sys/vm/dirty_ratio /proc/sys/vm/dirty_background_ratio)
    before=("$(cat "${limits[0]}")" "$(cat "${limits[1]}")")
    # shellcheck disable=SC2064  # the values are known now
    trap "echo ${before[0]} >${limits[0]}; echo ${before[1]} >${limits[1]}" EXIT
    { echo 80 >"${limits[0]}" && echo 60 >"${limits[1]}"; } || say "the kernel's limits for unwritten data stay as they are"
fi

if [ $# = 0 ]; then set -- --report benches/README.md; fi
python3 benches/measure.py --cache "$bench" "${tools[@]}" "$@"
