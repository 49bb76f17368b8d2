#!/usr/bin/env bash
# chroot-check.sh PROGRAM: runs a program of ours where there is nothing else: no libraries, no shell, no /proc, no /dev.
# shellcheck source=scripts/lib.sh
. "$(dirname "$0")/lib.sh"

[ $# -eq 1 ] || die "usage: chroot-check.sh PROGRAM"
# As a test does without its judges: loud, and an error where CI is set.
skip() {
    [ -z "${CI:-}" ] || die "it can't be tried: $*"
    say "SKIPPED: $program was not tried alone: $*"
    exit 0
}
program=$1
for judge in zstd e2fsck; do
    command -v "$judge" >/dev/null || skip "$judge is not installed (scripts/install-judges.sh installs it)"
done
[ "$(id -u)" = 0 ] || unshare --user --map-root-user true 2>/dev/null || skip "it takes root, or user namespaces"
root=$(mktemp -d -p "${TMPDIR:-/var/tmp}")
trap 'rm -rf "$root"' EXIT
cp "$program" "$root/lfs-image"
mkdir "$root/tmp"
archive=$(dirname "$0")/../fixtures/tar/gnu-posix.tar
cp "$archive" "$root/rootfs.tar"
zstd -q "$archive" -o "$root/rootfs.tar.zst"

inside() {
    if [ "$(id -u)" = 0 ]; then chroot "$root" "$@"; else unshare --user --map-root-user chroot "$root" "$@"; fi
}
inside /lfs-image --version
for form in tar tar.zst; do
    inside /lfs-image -q raw --boot none --size 64M --digest "/rootfs.$form" "/$form.img"
    e2fsck -fn "$root/$form.img?offset=$((2 << 20))" >/dev/null 2>&1 || die "e2fsck complains about $form.img"
done
cmp "$root/tar.img" "$root/tar.zst.img"
inside /lfs-image -q diff --boot none --size 64M /rootfs.tar /tar.img
say "it runs in an empty directory"
