#!/usr/bin/env bash
# push.sh [ROUNDS]: measure `lfs-image push` beside coldsnap, against the checking server of the tests, and write the table into
# benches/README.md. Needs some 15 GB in the cache folder (LFS_IMAGE_CACHE puts it elsewhere), and once, for coldsnap, a quarter of an
# hour and 8 GB of memory.
# shellcheck source=scripts/lib.sh
. "$(dirname "$0")/../scripts/lib.sh"
cd "$(dirname "$0")/.."

bench=$CACHE/bench-push
mkdir -p "$bench"

cargo build --release --locked -p lfs-image-cli -p aws-judge >&2
target=$(cargo metadata --format-version 1 --no-deps | sed -n 's/.*"target_directory":"\([^"]*\)".*/\1/p')
lfs_image=$target/release/lfs-image
coldsnap=$(scripts/get-coldsnap.sh)

# A disk of 8 GiB with a Debian on it, and one that is full of what can't be compressed.
if [ ! -e "$bench/root.tar" ]; then
    scripts/make-rootfs.sh "$bench/root.tar"
fi
if [ ! -e "$bench/full.img" ]; then
    say "making a disk that is full"
    python3 benches/push.py --fill "$bench/full.tar"
    "$lfs_image" -q raw --boot none --size 4G "$bench/full.tar" "$bench/full.img" >&2
    rm "$bench/full.tar"
fi
rm -f "$bench/empty.img"
"$lfs_image" -q raw --target none --size 8G "$bench/root.tar" "$bench/empty.img" >&2

# An authority and a server of its own, for TLS.
if [ ! -e "$bench/server.pem" ]; then
    request=(openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 3650)
    "${request[@]}" -subj /CN=authority -addext basicConstraints=critical,CA:TRUE \
        -keyout "$bench/authority.key" -out "$bench/authority.pem" 2>/dev/null
    "${request[@]}" -subj /CN=server -CA "$bench/authority.pem" -CAkey "$bench/authority.key" \
        -addext basicConstraints=CA:FALSE -addext subjectAltName=IP:127.0.0.1 \
        -keyout "$bench/server.key" -out "$bench/server.pem" 2>/dev/null
fi

python3 benches/push.py --rounds "${1:-3}" --inputs "$bench" --report benches/README.md \
    --judge "$target/release/aws-judge" --lfs-image "$lfs_image" --coldsnap "$coldsnap"
