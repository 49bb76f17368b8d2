#!/usr/bin/env bash
# get-cargo-deny.sh: print the path of cargo-deny, which judges what is built in; built once into the cache.
# shellcheck source=scripts/lib.sh
. "$(dirname "$0")/lib.sh"

VERSION=0.20.2
tool=$CACHE/cargo-deny-$VERSION/bin/cargo-deny

build() {
    [ ! -x "$tool" ] || return 0
    say "building cargo-deny $VERSION (some minutes, once)"
    # Not in the target folder of the project, which others clean and which has other settings.
    CARGO_TARGET_DIR=$CACHE/cargo-deny-$VERSION/target cargo install cargo-deny --version "$VERSION" --locked --quiet \
        --root "$CACHE/cargo-deny-$VERSION" >&2
    rm -rf "$CACHE/cargo-deny-$VERSION/target"
}

with_lock cargo-deny build
printf '%s\n' "$tool"
