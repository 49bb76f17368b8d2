#!/usr/bin/env bash
# get-kernel.sh [amd64|arm64]: print a folder with Debian's cloud kernel (vmlinuz, config) and a static busybox for the
# architecture, fetched once into the cache. The kernel has ext4 and NVMe built in: it boots a disk with no initramfs.
# shellcheck source=scripts/lib.sh
. "$(dirname "$0")/lib.sh"

fetch() {
    local arch=$1 dir=$2 work kernel
    [ ! -e "$dir/vmlinuz" ] || return 0
    private_apt bookworm "$arch"
    kernel=$(apt-cache depends "linux-image-cloud-$arch" | sed -n 's/.*Depends: \(linux-image-[0-9].*\)$/\1/p' | head -n 1)
    [ -n "$kernel" ] || die "the mirror has no linux-image-cloud-$arch"
    work=$(mktemp -d "$CACHE/kernel.XXXXXX")
    # shellcheck disable=SC2064  # the name is known now
    trap "rm -rf '$work'" EXIT
    (cd "$work" && apt-get -q download "$kernel" busybox-static >&2)
    for deb in "$work"/*.deb; do dpkg-deb -x "$deb" "$work/unpacked"; done
    mkdir -p "$work/kit"
    cp "$work"/unpacked/boot/vmlinuz-* "$work/kit/vmlinuz"
    cp "$work"/unpacked/boot/config-* "$work/kit/config"
    cp "$work/unpacked/bin/busybox" "$work/kit/busybox"
    mkdir -p "$(dirname "$dir")"
    rm -rf "$dir"
    mv "$work/kit" "$dir"
    say "fetched $kernel for $arch"
}

arch=${1:-amd64}
case $arch in amd64 | arm64) ;; *) die "no kernel for '$arch': amd64 or arm64" ;; esac
dir=$CACHE/kernel/$arch
with_lock "kernel-$arch" fetch "$arch" "$dir" >&2
printf '%s\n' "$dir"
