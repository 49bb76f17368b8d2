#!/usr/bin/env bash
# supply.sh [all]: what is built in, and from what it can be built. What can't be asked here is said so.
#
#   the least Rust: no dependency asks for a newer one than Cargo.toml says; with `all` that Rust builds it, if it is to be had
#   the least versions of dependencies that Cargo.toml allows: they fit together; with `all` they build
#   cargo package: each crate is whole without the files around it; with `all` the packages build
#   cargo-deny: licences, sources, banned crates; with `all` published advisories
# shellcheck source=scripts/lib.sh
. "$(dirname "$0")/lib.sh"
cd "$(dirname "$0")/.."
all=${1:-}
export CARGO_TERM_COLOR=never
work=$(mktemp -d /var/tmp/lfs-image-supply.XXXXXX)
trap 'rm -rf "$work"' EXIT
skipped() { say "SKIPPED: $*"; }
# The built dependencies of these are kept; those of the workspace have other versions and settings.
target=${CARGO_TARGET_DIR:-$PWD/target}/supply

least=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' Cargo.toml)
cargo metadata --format-version 1 --all-features --locked | python3 -c '
import json, sys
least = tuple(map(int, sys.argv[1].split(".")))
newer = {p["name"]: p["rust_version"] for p in json.load(sys.stdin)["packages"]
         if p["rust_version"] and tuple(map(int, p["rust_version"].split(".")))[:2] > least}
sys.exit(f"these need a newer Rust than {sys.argv[1]}: {newer}" if newer else 0)' "$least"
say "no dependency needs a newer Rust than $least"
if [ -n "$all" ]; then
    if cargo "+$least" --version >/dev/null 2>&1 || timeout 300 rustup toolchain install "$least" --profile minimal >/dev/null 2>&1; then
        CARGO_TARGET_DIR=$target cargo "+$least" check --workspace --locked
    else
        skipped "there is no Rust $least here; clippy's incompatible_msrv has looked at the standard library's newer parts alone"
    fi
fi

git ls-files -z --cached --others --exclude-standard | tar -c --null -T - | tar -x -C "$work"
# A release of the compiler does what a nightly does here if it is told so.
if (cd "$work" && RUSTC_BOOTSTRAP=1 cargo update -Z direct-minimal-versions --quiet) 2>"$work/update"; then
    say "the least versions of dependencies fit together"
elif grep -qE 'download|resolve host|timed out|connect|network|offline' "$work/update"; then
    skipped "the registry can't be reached: $(tail -n 1 "$work/update")"
    all=
else
    cat "$work/update" >&2
    exit 1
fi
if [ -n "$all" ]; then
    (cd "$work" && CARGO_TARGET_DIR=$target cargo check --quiet --locked -p lfs-image-cli)
    say "the least versions of dependencies build"
fi

# Their tests stay behind, and that is said on each package.
CARGO_TARGET_DIR=$target cargo package --workspace --allow-dirty --locked --no-verify --quiet
mkdir "$work/packages"
for crate in "$target"/package/lfs-image*.crate; do tar -xzf "$crate" -C "$work/packages"; done
for package in "$work"/packages/*; do
    for needed in Cargo.toml README.md src; do
        [ -s "$package/$needed" ] || die "$(basename "$package") has no $needed"
    done
    ! grep -rlE '(include_str|include_bytes|include)!\("\.\./\.\./\.\./' "$package/src" || die "$(basename "$package") reads files that aren't in it"
done
say "the crates can be packed"
if [ -n "$all" ]; then
    cat >"$work/packages/Cargo.toml" <<END
[workspace]
resolver = "3"
members = ["lfs-image-[0-9]*", "lfs-image-cli-*"]
[patch.crates-io]
lfs-image = { path = "$(cd "$work/packages" && echo lfs-image-[0-9]*)" }
END
    cp Cargo.lock "$work/packages/"
    (cd "$work/packages" && CARGO_TARGET_DIR=$target cargo check --quiet -p lfs-image-cli)
    say "the packages build by themselves"
fi

deny=$(scripts/get-cargo-deny.sh)
"$deny" -L error --all-features --locked --config .deny.toml check bans licenses sources
if [ -n "$all" ]; then
    if timeout 120 "$deny" --locked fetch db >"$work/fetch" 2>&1; then
        "$deny" -L error --offline --all-features --locked --config .deny.toml check advisories
    else
        skipped "the database of advisories can't be fetched: $(tail -n 1 "$work/fetch")"
    fi
fi
