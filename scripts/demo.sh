#!/usr/bin/env bash
# demo.sh: a real root filesystem tarball, made into a disk image by lfs-image, booted in QEMU.
# shellcheck source=scripts/lib.sh
. "$(dirname "$0")/lib.sh"
cd "$(dirname "$0")/.."

scripts/install-judges.sh
mkdir -p demo
scripts/make-rootfs.sh demo/rootfs.tar debian-systemd
cargo build --release --locked -p lfs-image-cli
bin=$(cargo metadata --format-version 1 --no-deps | sed -n 's/.*"target_directory":"\([^"]*\)".*/\1/p')/release/lfs-image

say '$ lfs-image raw demo/rootfs.tar demo/out.img'
result=$("$bin" raw demo/rootfs.tar demo/out.img)
say "$result"
run=(qemu-system-x86_64 -accel tcg -cpu max -m 1024 -display none -no-reboot -nic none
    -drive file=demo/out.img,format=raw,if=none,id=d0 -device nvme,drive=d0,serial=d0,bootindex=1)

say 'booting it (the processor is emulated: this takes about a minute)'
log=demo/console.log
: >"$log"
"${run[@]}" -serial "file:$log" -snapshot </dev/null 2>demo/qemu.log &
qemu=$!
trap 'kill $qemu 2>/dev/null || true' EXIT
for _ in $(seq 300); do
    if grep -aq 'login:' "$log"; then break; fi
    kill -0 $qemu 2>/dev/null || break
    sleep 1
done
tail -n 15 "$log" | tr -d '\r'
grep -aq 'login:' "$log" || die "no login prompt; the console's output is in $log"
kill $qemu 2>/dev/null || true
say ''
say 'It boots. To log in yourself (root, password lfs; Ctrl-A X leaves), type:'
printf '  %q' "${run[@]}" >&2
say ' -serial mon:stdio'
say ''
say 'Then make an image of your own system:'
say "  $bin raw YOUR-ROOTFS.tar out.img"
