#!/bin/sh
# Fetches what the boot tests start from into a cache directory:
#
#   tests/support/get-boot-files.sh DIR
#
#   DIR/bookworm/{amd64,arm64}/usr/lib/grub/…               GRUB 2.06 (i386-pc, x86_64-efi, arm64-efi)
#   DIR/trixie/{amd64,arm64}/usr/lib/grub/…                 GRUB 2.12
#   DIR/{bookworm,trixie}/{amd64,arm64}/usr/lib/systemd/boot/efi/…   the stubs of systemd 252 and 257
#   DIR/bookworm/{amd64,arm64}/boot/vmlinuz-…               Debian's cloud kernel (NVMe and ext4 built in)
#   DIR/bookworm/{amd64,arm64}/lib/modules/…                its virtio modules, for an initramfs
#   DIR/bookworm/{amd64,arm64}/bin/busybox                  a static userland
#
# Runs on a Debian that knows a Debian mirror; needs no root and changes nothing outside DIR: apt works here with
# its own lists, cache and status file. What is there already isn't fetched again.
set -eu

[ $# -eq 1 ] || { echo "usage: $0 DIR" >&2; exit 2; }
mkdir -p "$1"
dir=$(cd "$1" && pwd)

# The mirror that this machine already uses.
mirror=$(apt-get indextargets --format '$(SITE)' 'Created-By: Packages' 'Origin: Debian' 'Component: main' 2>/dev/null |
    grep -v security | head -n 1 || true)
[ -n "$mirror" ] || { echo "error: apt knows no Debian mirror here (run apt-get update first)" >&2; exit 1; }

# An apt of its own: one suite, one architecture.
apt_dir() {
    suite=$1 arch=$2
    apt=$dir/.apt/$suite-$arch
    mkdir -p "$apt/lists/partial" "$apt/archives/partial" "$apt/etc/sources.list.d" "$apt/etc/preferences.d"
    : >"$apt/status"
    echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror $suite main" >"$apt/etc/sources.list"
    cat >"$apt/apt.conf" <<CONF
APT::Architecture "$arch";
APT::Architectures { "$arch"; };
APT::Sandbox::User "";
Acquire::Languages "none";
Acquire::IndexTargets::deb::DEP-11::DefaultEnabled "false";
Dir::State "$apt";
Dir::State::lists "$apt/lists";
Dir::State::status "$apt/status";
Dir::Cache "$apt";
Dir::Cache::archives "$apt/archives";
Dir::Etc::sourcelist "$apt/etc/sources.list";
Dir::Etc::sourceparts "$apt/etc/sources.list.d";
Dir::Etc::preferencesparts "$apt/etc/preferences.d";
CONF
    # The directories of apt.conf.d stay the machine's: a proxy may be set there.
    export APT_CONFIG="$apt/apt.conf"
}

# The package that a metapackage stands for: linux-image-cloud-amd64 -> linux-image-6.1.0-40-cloud-amd64.
behind() {
    apt-cache depends --no-recommends --no-suggests "$1" | sed -n 's/^ *Depends: \(linux-image-[0-9][^ ]*\)$/\1/p' | head -n 1
}

# Unpacks the named packages of the current apt below DIR/SUITE/ARCH, only the paths that tests use.
unpack() {
    for package in "$@"; do
        into=$dir/$suite/$arch
        done=$into/.have-$package
        [ -e "$done" ] && continue
        mkdir -p "$into"
        echo "fetching $package ($suite, $arch)" >&2
        (cd "$apt/archives" && rm -f ./*.deb && apt-get -q download "$package" >&2)
        dpkg-deb --fsys-tarfile "$apt"/archives/*.deb |
            tar -x -C "$into" --wildcards --no-same-owner './usr/lib/grub/*' './usr/lib/systemd/boot/efi/*' \
                './boot/vmlinuz-*' '*/bin/busybox' '*/drivers/virtio/*' '*/drivers/block/virtio_blk.ko*' \
                '*/net/core/failover.ko*' 2>/dev/null || true # no package has all of them
        rm -f "$apt"/archives/*.deb
        : >"$done"
    done
}

# A metapackage's kernel, under the metapackage's mark, so that an update of it isn't fetched every time.
unpack_kernel() {
    [ -e "$dir/$suite/$arch/.have-$1" ] && return
    kernel=$(behind "$1")
    [ -n "$kernel" ] || { echo "$1 ($suite, $arch) names no kernel package" >&2; exit 1; }
    unpack "$kernel"
    : >"$dir/$suite/$arch/.have-$1"
}

complete() {
    for package in "$@"; do
        [ -e "$dir/$suite/$arch/.have-$package" ] || return 1
    done
}

for suite in bookworm trixie; do
    for arch in amd64 arm64; do
        case $arch in
            amd64) packages='grub-pc-bin grub-efi-amd64-bin systemd-boot-efi' ;;
            arm64) packages='grub-efi-arm64-bin systemd-boot-efi' ;;
        esac
        kernel=
        if [ $suite = bookworm ]; then
            packages="$packages busybox-static"
            kernel=linux-image-cloud-$arch
        fi
        # shellcheck disable=SC2086
        complete $packages $kernel && continue
        apt_dir $suite $arch
        apt-get -q update >&2
        # shellcheck disable=SC2086
        unpack $packages
        [ -z "$kernel" ] || unpack_kernel "$kernel"
    done
done
rm -rf "$dir/.apt"

# Packages can move their files: say so here rather than in a test.
for file in bookworm/amd64/usr/lib/grub/i386-pc/kernel.img bookworm/amd64/usr/lib/grub/x86_64-efi/kernel.img \
    trixie/amd64/usr/lib/grub/i386-pc/kernel.img trixie/amd64/usr/lib/grub/x86_64-efi/kernel.img \
    bookworm/arm64/usr/lib/grub/arm64-efi/kernel.img trixie/arm64/usr/lib/grub/arm64-efi/kernel.img \
    bookworm/amd64/usr/lib/systemd/boot/efi/linuxx64.efi.stub trixie/amd64/usr/lib/systemd/boot/efi/linuxx64.efi.stub \
    bookworm/arm64/usr/lib/systemd/boot/efi/linuxaa64.efi.stub trixie/arm64/usr/lib/systemd/boot/efi/linuxaa64.efi.stub \
    bookworm/amd64/bin/busybox bookworm/arm64/bin/busybox; do
    [ -s "$dir/$file" ] || { echo "missing: $dir/$file" >&2; exit 1; }
done
for arch in amd64 arm64; do
    ls "$dir/bookworm/$arch"/boot/vmlinuz-* >/dev/null || { echo "no kernel for $arch" >&2; exit 1; }
done
echo "$dir"
