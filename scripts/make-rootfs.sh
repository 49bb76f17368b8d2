#!/usr/bin/env bash
# make-rootfs.sh OUT.tar [VARIANT]: a real root filesystem tarball, made by mmdebstrap from Debian 12's packages.
#
# VARIANT is a folder of scripts/rootfs/: debian-systemd (the default) or lfs-sysv. The login is root, the password lfs.
# The tarball and the packages are kept in the cache folder; a second call links or copies what is there.
# shellcheck source=scripts/lib.sh
. "$(dirname "$0")/lib.sh"

SUITE=bookworm
# Later times are set back to this one: the release day of Debian 12.
export SOURCE_DATE_EPOCH=1686355200

main() {
    [ $# -ge 1 ] || die "usage: make-rootfs.sh OUT.tar [VARIANT]"
    local out=$1 variant=${2:-debian-systemd}
    local here cached
    here=$(cd "$(dirname "$0")" && pwd)
    [ -d "$here/rootfs/$variant" ] || die "no variant '$variant' (there are: $(ls "$here/rootfs" | tr '\n' ' '))"
    command -v mmdebstrap >/dev/null || die "mmdebstrap is missing (scripts/install-judges.sh installs it)"

    cached=$CACHE/rootfs/$variant-$(digest "$here/make-rootfs.sh" "$here/rootfs/$variant"/*).tar
    with_lock "rootfs-$variant" build "$here/rootfs/$variant" "$cached"
    mkdir -p "$(dirname "$out")"
    rm -f "$out"
    ln "$cached" "$out" 2>/dev/null || cp "$cached" "$out"
}

build() {
    local variant=$1 cached=$2 debs=$CACHE/debs sources packages kind started
    [ ! -e "$cached" ] || return 0
    started=$(date +%s)
    mkdir -p "$debs" "$(dirname "$cached")"
    sources=$(mktemp)
    # shellcheck disable=SC2064  # the name is known now
    trap "rm -f '$sources' '$cached.part'" EXIT
    debian_sources "$SUITE" >"$sources"
    # Where apt knows no Debian mirror, mmdebstrap's own default is asked.
    [ -s "$sources" ] || { rm "$sources"; sources=; }

    kind=$(sed -n 's/^variant //p' "$variant/packages")
    packages=$(grep -v -e '^#' -e '^variant ' "$variant/packages" | paste -sd,)
    say "making $(basename "$variant") from Debian $SUITE packages (a few minutes the first time)"
    # shellcheck disable=SC2016  # $1 is for the hook's shell
    mmdebstrap --quiet --format=tar --variant="$kind" --include="$packages" \
        --aptopt='Acquire::Retries "3"' --aptopt='Acquire::Languages "none"' \
        --dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/locale/*' \
        --skip=download/empty --skip=essential/unlink \
        --setup-hook='mkdir -p "$1"/var/cache/apt/archives' \
        --setup-hook="sync-in '$debs' /var/cache/apt/archives" \
        --customize-hook="sync-out /var/cache/apt/archives '$debs'" \
        --customize-hook="$variant/customize" \
        "$SUITE" "$cached.part" ${sources:+"$sources"} >&2
    mv "$cached.part" "$cached"
    say "made $(basename "$cached"): $(du -m "$cached" | cut -f1) MiB in $(($(date +%s) - started)) s"
}

main "$@"
