#!/usr/bin/env bash
# dist-check.sh [--small]: makes the distribution twice, from two directories and with nothing built before, and compares.
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
cat "$work"/one/dist/*.sha256
say "twice the same"
