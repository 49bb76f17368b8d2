#!/usr/bin/env bash
# run.sh [ROUNDS]: measure lfs-image beside what else makes an ext4 image of a tarball, and write the table into
# benches/README.md. Needs some 20 GB in the cache folder (LFS_IMAGE_CACHE puts it elsewhere).
# shellcheck source=scripts/lib.sh
. "$(dirname "$0")/../scripts/lib.sh"
cd "$(dirname "$0")/.."

bench=$CACHE/bench
mkdir -p "$bench"

cargo build --release --locked -p lfs-image-cli --no-default-features --features zstd-c >&2
target=$(cargo metadata --format-version 1 --no-deps | sed -n 's/.*"target_directory":"\([^"]*\)".*/\1/p')
tools=(--tool "lfs-image=$target/release/lfs-image")

# The peers stay away where they can't be had; their columns then, too.
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

python3 benches/measure.py --rounds "${1:-5}" --inputs "$bench" --report benches/README.md "${tools[@]}"
