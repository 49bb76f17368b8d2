#!/usr/bin/env bash
# dist.sh [--small] [OUT]: one static program, its completions and manual pages in a tarball, with checksums.
#
# --small leaves out AWS and the C library of zstd. OUT is a directory, `dist` without it. The same source and the same toolchain
# give the same bytes, wherever they lie: scripts/dist-check.sh shows it.
# shellcheck source=scripts/lib.sh
. "$(dirname "$0")/lib.sh"
cd "$(dirname "$0")/.."
root=$PWD

features=() name=lfs-image out=
for arg in "$@"; do
    case $arg in
        --small) features=(--no-default-features) name=lfs-image-small ;;
        -*) die "usage: dist.sh [--small] [OUT]" ;;
        *) out=$arg ;;
    esac
done
mkdir -p "${out:=dist}"
out=$(cd "$out" && pwd)

# The GNU C library, linked in: no other target has to be installed.
target=$(uname -m)-unknown-linux-gnu
target_dir=${CARGO_TARGET_DIR:-$root/target}
cargo_home=${CARGO_HOME:-$HOME/.cargo}
sysroot=$(rustc --print sysroot)
# No path of this machine goes into the program.
maps=("$root=/lfs-image" "$target_dir=/target" "$cargo_home=/cargo" "$sysroot=/rust")
flags=(-Ctarget-feature=+crt-static)
for map in "${maps[@]}"; do
    flags+=("--remap-path-prefix=$map")
    CFLAGS="${CFLAGS:-} -ffile-prefix-map=$map"
done
export CFLAGS
CARGO_ENCODED_RUSTFLAGS=$(printf '%s\x1f' "${flags[@]}")
export CARGO_ENCODED_RUSTFLAGS=${CARGO_ENCODED_RUSTFLAGS%$'\x1f'}
cargo build --locked --profile dist --target "$target" -p lfs-image-cli "${features[@]}"
bin=$target_dir/$target/dist/lfs-image

version=$("$bin" -V | cut -d' ' -f2)
base=$name-$version-$(uname -m)-linux
rm -rf "${out:?}/$base" "$out/$base.tar.gz" "$out/$base.tar.gz.sha256"
mkdir -p "$out/$base"/{completions,man}
cp "$bin" README.md CHANGELOG.md LICENSE-MIT LICENSE-APACHE "$out/$base/"
cp -r docs "$out/$base/"
for shell in bash zsh fish elvish powershell; do
    "$bin" completions "$shell" >"$out/$base/completions/lfs-image.$shell"
done
"$bin" man "$out/$base/man"

# Everything in it has the time of the last change, or of the caller.
epoch=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || echo 0)}
chmod -R u=rwX,go=rX "$out/$base"
tar -C "$out" --sort=name --mtime="@$epoch" --owner=0 --group=0 --numeric-owner --format=ustar -cf - "$base" |
    gzip -9n >"$out/$base.tar.gz"
(cd "$out" && sha256sum "$base.tar.gz" >"$base.tar.gz.sha256")
(cd "$out/$base" && find . -type f | sort | xargs sha256sum >SHA256SUMS)
say "$out/$base.tar.gz"
cat "$out/$base.tar.gz.sha256"
