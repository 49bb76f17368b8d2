#!/usr/bin/env bash
# install-judges.sh: install the programs that judge our images in the tests. None of them is needed to make an image.
# shellcheck source=scripts/lib.sh
. "$(dirname "$0")/lib.sh"

JUDGES=(
    # file systems and partition tables
    e2fsprogs dosfstools mtools gdisk fdisk util-linux mount dmsetup
    # machines, firmware, what boots in them
    qemu-system-x86 qemu-system-arm ovmf qemu-efi-aarch64 grub-pc-bin grub-efi-amd64-bin grub-common
    # archives and attributes
    tar libarchive-tools zstd xz-utils bzip2 gzip lz4 lzop acl attr libcap2-bin python3 python3-venv
    # root file systems
    mmdebstrap busybox-static binutils binutils-aarch64-linux-gnu ca-certificates
    # what is made into hosts, and edited
    openssh-client patch
    # what a person sees
    tmux
    # what is measured and counted with
    time valgrind
    # certificates of servers that pushes go to
    openssl
    # for the C zstd in the command
    gcc libc6-dev
)
# mmdebstrap without root maps user ids.
[ "$(id -u)" = 0 ] || JUDGES+=(uidmap)

missing() {
    local package
    for package in "${JUDGES[@]}"; do
        [ "$(dpkg-query -W -f '${Status}' "$package" 2>/dev/null)" = "install ok installed" ] || printf '%s ' "$package"
    done
}

command -v dpkg-query >/dev/null || die "this installs Debian packages; on another system, install their like: ${JUDGES[*]}"
wanted=$(missing)
if [ -n "$wanted" ]; then
    say "installing: $wanted"
    export DEBIAN_FRONTEND=noninteractive
    # A third party's source that doesn't answer is no reason to stop: what counts is whether the packages come.
    as_root apt-get -q update </dev/null >&2 || say "warning: apt-get update had errors"
    # shellcheck disable=SC2086  # a list
    as_root env DEBIAN_FRONTEND=noninteractive \
        apt-get -q -y --no-install-recommends -o Acquire::Retries=3 install $wanted </dev/null >&2
    wanted=$(missing)
    [ -z "$wanted" ] || die "apt-get did not install: $wanted"
fi
# mmdebstrap and the kernels come from the same mirror; on a machine with fresh packages and no lists, ask for them once.
if [ -z "$(debian_sources bookworm)" ] && [ -e /etc/debian_version ]; then
    as_root apt-get -q update </dev/null >&2 || say "warning: apt-get update had errors"
fi
