# Runs as the guest's first process on the image under test: grow the root file system under the kernel, then use every
# directory that came with it. The words it says are waited for by grow.rs.
set -eu
PATH=/usr/sbin:/usr/bin:/sbin:/bin
export PATH
trap 'echo "GROW-FAILED in line ${LINENO:-?}"; echo o >/proc/sysrq-trigger; sleep 60' EXIT

mount -t proc proc /proc
mount -t sysfs sysfs /sys
echo "0 0 0 0" >/proc/sys/kernel/printk
device=/dev/$(sed -n 's/^DEVNAME=//p' "/sys/dev/block/$(mountpoint -d /)/uevent")

size() { df --output=size -k / | tail -n 1 | tr -d ' '; }
before=$(size)
resize2fs "$device"
echo "GROW-RESIZED $before KiB to $(size) KiB"

# Four new names in every directory, two of them gone again; many directories have an index by then.
all() { find / -xdev -type d ! -path /proc ! -path /sys ! -path /dev; }
all >/run/directories 2>/dev/null || all >/tmp/directories
list=/run/directories
[ -s "$list" ] || list=/tmp/directories
count=0
while read -r directory; do
    for name in grow-a grow-b a-rather-longer-name-that-takes-its-room-in-a-block-of-the-directory grow-x; do
        echo "$directory" >"$directory/$name"
    done
    rm "$directory/grow-a" "$directory/grow-x"
    count=$((count + 4))
done <"$list"

# One directory with thousands, and names that were there before.
busiest=/usr/bin
i=0
while [ $i -lt 3000 ]; do
    : >"$busiest/file-number-$i"
    i=$((i + 1))
done
i=0
while [ $i -lt 3000 ]; do
    rm "$busiest/file-number-$i"
    i=$((i + 2))
done
rm -r /usr/share/zoneinfo /usr/share/doc /usr/share/perl5 2>/dev/null || true
mkdir /grown
cp -a /etc /grown/etc
mv /grown/etc/hosts /grown/moved
ln /etc/hostname /grown/hostname
# Large enough to reach the groups that weren't there before.
dd if=/dev/zero of=/grown/large bs=1M count=200 2>/dev/null
echo more >>/etc/hostname
sync
echo "GROW-USED $((count + 3000)) files"
rm "$list"
trap - EXIT
sync
mount -o remount,ro / 2>/dev/null || echo "(the root stays writable)"
echo "GROW-DONE"
echo o >/proc/sysrq-trigger
sleep 60
