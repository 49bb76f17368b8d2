#!/usr/bin/env python3
"""Write a root file system tarball of a few MiB that boots in seconds; needs no root.

    tiny_root.py OUT.tar --busybox FILE [--kernel FILE] [--grub FOLDER]... [--rc FILE] [--add PATH=FILE]...

busybox does everything. /sbin/init mounts what a system needs, prints TINY-ROOT-UP with what it runs on, runs /etc/rc if
there is one, and gives a shell on the console; when that ends, the machine is switched off.
"""

import argparse
import io
import os
import tarfile

APPLETS = "sh mount umount cat echo ls sync sleep poweroff reboot uname mkdir rm cp dd grep head tail wc stat touch find sha256sum df".split()

INIT = """#!/bin/sh
mount -t devtmpfs dev /dev
mount -t proc proc /proc
mount -t sysfs sys /sys
exec </dev/console >/dev/console 2>&1
while read -r source point type options rest; do
    [ "$point" != / ] || echo "TINY-ROOT-UP $source $type $options"
done </proc/mounts
if [ -d /sys/firmware/efi ]; then echo "firmware: UEFI"; else echo "firmware: BIOS"; fi
echo "command line: $(cat /proc/cmdline)"
[ ! -e /etc/rc ] || sh /etc/rc
export PS1='tiny# '
sh
sync
poweroff -f
"""


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out")
    parser.add_argument("--busybox", required=True)
    parser.add_argument("--kernel", help="goes to /boot/vmlinuz")
    parser.add_argument("--grub", action="append", default=[], metavar="FOLDER", help="a folder such as /usr/lib/grub/i386-pc; goes to /usr/lib/grub")
    parser.add_argument("--rc", help="a script that init runs before the shell")
    parser.add_argument("--add", action="append", default=[], metavar="PATH=FILE")
    options = parser.parse_args()
    with tarfile.open(options.out, "w", format=tarfile.PAX_FORMAT) as archive:
        write(archive, options)


def write(archive, options):
    def put(name, kind, mode, content=b"", **fields):
        entry = tarfile.TarInfo("./" + name)
        entry.type, entry.mode, entry.mtime, entry.size = kind, mode, 1_600_000_000, len(content)
        for field, value in fields.items():
            setattr(entry, field, value)
        archive.addfile(entry, io.BytesIO(content))

    def copy(name, path, mode):
        with open(path, "rb") as file:
            put(name, tarfile.REGTYPE, mode, file.read())

    for folder in "bin boot dev etc proc root run sbin sys tmp usr usr/lib var".split():
        put(folder, tarfile.DIRTYPE, 0o1777 if folder == "tmp" else 0o755)
    for name, major, minor in (("console", 5, 1), ("null", 1, 3), ("zero", 1, 5), ("ttyS0", 4, 64)):
        put("dev/" + name, tarfile.CHRTYPE, 0o600 if name == "console" else 0o666, devmajor=major, devminor=minor)
    copy("bin/busybox", options.busybox, 0o755)
    for applet in APPLETS:
        put("bin/" + applet, tarfile.SYMTYPE, 0o777, linkname="busybox")
    put("sbin/init", tarfile.REGTYPE, 0o755, INIT.encode())
    put("etc/hostname", tarfile.REGTYPE, 0o644, b"tiny\n")
    if options.kernel:
        copy("boot/vmlinuz", options.kernel, 0o644)
    if options.rc:
        copy("etc/rc", options.rc, 0o755)
    if options.grub:
        put("usr/lib/grub", tarfile.DIRTYPE, 0o755)
    for folder in options.grub:
        top = "usr/lib/grub/" + os.path.basename(os.path.normpath(folder))
        put(top, tarfile.DIRTYPE, 0o755)
        for name in sorted(os.listdir(folder)):
            if os.path.isfile(os.path.join(folder, name)):
                copy(f"{top}/{name}", os.path.join(folder, name), 0o644)
    for pair in options.add:
        name, _, path = pair.partition("=")
        copy(name.lstrip("/"), path, 0o644)


if __name__ == "__main__":
    main()
