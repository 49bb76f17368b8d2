#!/usr/bin/env python3
"""Write an initial RAM disk (a cpio archive) that brings the drivers of virtio disks; needs no root.

    tiny_initrd.py OUT --busybox FILE --modules FOLDER

It loads the modules that it finds below FOLDER, prints TINY-INITRD-UP, looks for the partition that `root=PARTUUID=` of the
kernel's command line names (with eyes of its own: the kernel's are closed while there is a RAM disk), mounts it and goes on
there.
"""

import argparse
import os

# In the order in which they need each other.
MODULES = "virtio virtio_ring virtio_pci_legacy_dev virtio_pci_modern_dev virtio_pci virtio_blk".split()

INIT = r"""#!/bin/busybox sh
b=/bin/busybox
$b mount -t devtmpfs dev /dev
$b mount -t proc proc /proc
$b mount -t sysfs sys /sys
for module in %(modules)s; do $b insmod /$module.ko; done
echo TINY-INITRD-UP
root=
for word in $($b cat /proc/cmdline); do
    case $word in root=PARTUUID=*) root=${word#root=PARTUUID=} ;; esac
done

# Bytes of a disk ($1) in hexadecimal: where ($2), how many ($3), as what ($4).
hex() { echo $($b od -An -v -t "$4" -j "$2" -N "$3" "/dev/$1") | $b tr -d ' '; }

# The number of the partition of a disk ($1) that root= names, in either kind of table.
find_on() {
    for number in 1 2 3 4; do
        at=$((1024 + 128 * (number - 1) + 16))
        guid=$(hex "$1" $at 4 x4)-$(hex "$1" $((at + 4)) 2 x2)-$(hex "$1" $((at + 6)) 2 x2)
        guid=$guid-$(hex "$1" $((at + 8)) 2 x1)-$(hex "$1" $((at + 10)) 6 x1)
        for id in "$(hex "$1" 440 4 x4)-0$number" "$guid"; do
            [ "$id" != "$root" ] || { echo "$number"; return; }
        done
    done
}

tries=0
while [ $tries -lt 50 ]; do
    for disk in /sys/block/vd* /sys/block/nvme*n*; do
        [ -e "$disk/dev" ] || continue
        disk=${disk##*/}
        number=$(find_on "$disk")
        case $disk in nvme*) partition=/dev/${disk}p$number ;; *) partition=/dev/$disk$number ;; esac
        if [ -n "$number" ] && $b mount -t ext4 -o ro "$partition" /new; then
            exec $b switch_root /new /sbin/init
        fi
    done
    tries=$((tries + 1))
    $b sleep 0.1
done
echo "TINY-INITRD: no root $root on any of" /sys/block/*
exec $b sh
"""


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out")
    parser.add_argument("--busybox", required=True)
    parser.add_argument("--modules", required=True)
    options = parser.parse_args()
    found = {
        name[: -len(".ko")]: os.path.join(folder, name)
        for folder, _, names in os.walk(options.modules)
        for name in names
        if name.endswith(".ko")
    }
    modules = [name for name in MODULES if name in found]
    archive = bytearray()
    for name in ("bin", "dev", "proc", "sys", "new"):
        put(archive, name, 0o040755)
    put(archive, "dev/console", 0o020600, device=(5, 1))
    put(archive, "init", 0o100755, (INIT % {"modules": " ".join(modules)}).encode())
    put(archive, "bin/busybox", 0o100755, read(options.busybox))
    for name in modules:
        put(archive, name + ".ko", 0o100644, read(found[name]))
    put(archive, "TRAILER!!!", 0)
    with open(options.out, "wb") as file:
        file.write(archive)


def put(archive, name, mode, content=b"", device=(0, 0)):
    """An entry of the format `newc`: see cpio(5)."""
    encoded = name.encode() + b"\0"
    # Magic; inode, mode, owner, group, links, time, size, device of the file and of a node, length of name, checksum.
    fields = (len(archive) + 1, mode, 0, 0, 1, 0, len(content), 0, 0, *device, len(encoded), 0)
    archive += b"070701" + b"".join(b"%08x" % field for field in fields) + encoded
    archive += bytes(-len(archive) % 4) + content
    archive += bytes(-len(archive) % 4)


def read(path):
    with open(path, "rb") as file:
        return file.read()


if __name__ == "__main__":
    main()
