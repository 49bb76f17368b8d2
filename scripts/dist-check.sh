#!/usr/bin/env bash
# dist-check.sh [--small]: makes the distribution twice, from two directories and with nothing built before, and compares; then unpacks
# it as who gets it would, and compares its checksums.
# shellcheck source=scripts/lib.sh
. "$(dirname "$0")/lib.sh"
cd "$(dirname "$0")/.."

work=$(mktemp -d -p "${TMPDIR:-/var/tmp}")
trap 'rm -rf "$work"' EXIT
epoch=$(git log -1 --format=%ct)
for place in one another/and/longer; do
    mkdir -p "$work/$place"
    git archive HEAD | tar -x -C "$work/$place"
    (
        unset CARGO_TARGET_DIR
        SOURCE_DATE_EPOCH=$epoch "$work/$place/scripts/dist.sh" "$@" "$work/$place/dist" >/dev/null
    )
    # The room is needed.
    rm -rf "$work/$place/target"
done
diff -r "$work/one/dist" "$work/another/and/longer/dist" || die "the two differ"
cd "$work/one/dist"
sha256sum -c --quiet ./*.sha256
mkdir "$work/unpacked"
tar -xzf ./*.tar.gz -C "$work/unpacked"
(cd "$work/unpacked"/* && sha256sum -c --quiet SHA256SUMS)
# Every file is in the list, but the list.
listed=$(cd "$work/unpacked"/* && cut -c67- SHA256SUMS | LC_ALL=C sort)
packed=$(cd "$work/unpacked"/* && find . -type f ! -name SHA256SUMS | LC_ALL=C sort)
[ "$listed" = "$packed" ] || die "SHA256SUMS lists other files than there are"
cat ./*.sha256
say "twice the same"
