#!/usr/bin/env bash
# dist.sh [--small] [OUT]: one static program, its completions and manual pages in a tarball, with checksums.
#
# --small leaves out AWS and the C library of zstd. OUT is a directory, `dist` without it. The same source and the same toolchain
# give the same bytes, wherever they lie: scripts/dist-check.sh shows it. What is packed was run before, in an empty directory.
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
built=$target_dir/$target/dist/lfs-image

version=$("$built" -V | cut -d' ' -f2)
base=$name-$version-$(uname -m)-linux
rm -rf "${out:?}/$base" "$out/$base.tar.gz" "$out/$base.tar.gz.sha256"
mkdir -p "$out/$base"/{completions,man}
# ARCHITECTURE.md is there because the pages link to it.
cp "$built" README.md ARCHITECTURE.md CHANGELOG.md LICENSE-MIT LICENSE-APACHE "$out/$base/"
cp -r docs "$out/$base/"
bin=$out/$base/lfs-image
scripts/chroot-check.sh "$bin" >/dev/null
# By the names that shells look for.
for file in bash:lfs-image.bash zsh:_lfs-image fish:lfs-image.fish elvish:lfs-image.elv powershell:_lfs-image.ps1; do
    "$bin" completions "${file%%:*}" >"$out/$base/completions/${file#*:}"
done
"$bin" man "$out/$base/man"

# What pages link to beside them, is there.
(
    cd "$out/$base"
    find . -name '*.md' | while read -r page; do
        { grep -oE '\]\([^)#]+|^\[[^]]+\]: [^ #]+' "$page" || true; } | sed -E 's/^\]\(//; s/^\[[^]]+\]: //' | while read -r link; do
            case $link in https://* | http://*) continue ;; esac
            [ -e "$(dirname "$page")/$link" ] || die "$page links to $link, which isn't packed"
        done
    done
)

# Everything in it has the time of the last change, or of the caller.
epoch=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || echo 0)}
(cd "$out/$base" && find . -type f ! -name SHA256SUMS -print0 | LC_ALL=C sort -z | xargs -0 sha256sum >SHA256SUMS)
chmod -R u=rwX,go=rX "$out/$base"
tar -C "$out" --sort=name --mtime="@$epoch" --owner=0 --group=0 --numeric-owner --format=ustar -cf - "$base" |
    gzip -9n >"$out/$base.tar.gz"
(cd "$out" && sha256sum "$base.tar.gz" >"$base.tar.gz.sha256")
say "$out/$base.tar.gz"
cat "$out/$base.tar.gz.sha256"
