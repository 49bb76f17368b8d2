#!/usr/bin/env bash
# features.sh [--time]: how many crates each set of the library's features brings in; with --time also how long it takes to
# build from nothing, in seconds of one core, which other work on the machine changes little, and the memory of the largest process.
# Not with aws-sdk-ec2, which takes a quarter of an hour more and 7.5 GB: `make test-sdk` builds it.
# shellcheck source=scripts/lib.sh
. "$(dirname "$0")/lib.sh"
cd "$(dirname "$0")/.."

target=$(rustc -vV | sed -n 's/^host: //p')
for set in none default zstd-c ebs ami aws-sdk-ec2; do
    case $set in
        none) flags=(--no-default-features) ;;
        default) flags=() ;;
        *) flags=(--features "$set") ;;
    esac
    count=$(cargo tree -p lfs-image "${flags[@]}" -e normal,build --target "$target" --prefix none --locked | sed 's/ (.*//' | sort -u | wc -l)
    printf '%-11s %4d crates' "$set" "$count"
    if [ "${1:-}" = --time ] && [ $set != aws-sdk-ec2 ]; then
        work=$(mktemp -d -p "${TMPDIR:-/var/tmp}")
        CARGO_TARGET_DIR=$work /usr/bin/time -f '%U %S %M' -o "$work/time" cargo build -q -p lfs-image "${flags[@]}" --locked
        awk '{ printf "  %4d s  %5d MiB", $1 + $2, $3 / 1024 }' "$work/time"
        rm -rf "$work"
    fi
    echo
done
