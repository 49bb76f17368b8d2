#!/usr/bin/env bash
# public-api.sh [--bless]: lists all that is public in the library, with all features, and says how it differs from
# lfs-image/public-api.txt; --bless writes it there. What a line there loses or changes, breaks somebody.
# shellcheck source=scripts/lib.sh
. "$(dirname "$0")/lib.sh"
cd "$(dirname "$0")/.."

listing=lfs-image/public-api.txt
target=${CARGO_TARGET_DIR:-$PWD/target}
wrapper=$target/rustdoc-json
mkdir -p "$target"
# rustdoc alone is asked for what isn't stable: everything that is built stays as it was.
printf '#!/bin/sh\nRUSTC_BOOTSTRAP=1 exec rustdoc "$@"\n' >"$wrapper.new"
chmod +x "$wrapper.new"
cmp -s "$wrapper.new" "$wrapper" || mv "$wrapper.new" "$wrapper"
RUSTDOC=$wrapper RUSTDOCFLAGS='-Zunstable-options --output-format=json' \
    cargo doc -q --workspace --no-deps --locked
found=$(python3 scripts/public-api.py "$target/doc/lfs_image.json")
if [ "${1:-}" = --bless ]; then
    printf '%s\n' "$found" >"$listing"
else
    diff -u "$listing" - <<<"$found" || die "the public API changed: CHANGELOG.md says how, then scripts/public-api.sh --bless"
fi
