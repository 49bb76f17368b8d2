#!/usr/bin/env bash
# get-coldsnap.sh: builds coldsnap, the uploader of EBS snapshots that others use, and prints where it is. Needed by one test and by the
# benchmark of `push`, and by nothing else: it stands on aws-sdk-ec2, which takes a quarter of an hour and eight gigabytes of memory to
# build even without optimisation. So CI doesn't ask for it; set LFS_IMAGE_COLDSNAP=1 to have its test fail where it is missing.
# shellcheck source=scripts/lib.sh
. "$(dirname "$0")/lib.sh"

VERSION=0.12.0
ROOT=$CACHE/coldsnap

build() {
    [ ! -x "$ROOT/bin/coldsnap" ] || return 0
    # What is slow in it isn't in that crate.
    CARGO_TARGET_DIR=$ROOT/target nice -n 19 cargo install coldsnap --version "$VERSION" --locked --root "$ROOT" -j1 \
        --config 'profile.release.package.aws-sdk-ec2.opt-level=0' \
        --config 'profile.release.debug=0' --config 'profile.release.lto=false' >&2
    rm -rf "$ROOT/target"
}

with_lock coldsnap build
printf '%s\n' "$ROOT/bin/coldsnap"
