#!/bin/sh
# Grows the root filesystem's partition to the end of its disk, and the filesystem to its partition. Does nothing where
# there is nothing to gain. Written by lfs-image.
PATH=/usr/sbin:/usr/bin:/sbin:/bin
export PATH
say() { echo "lfs-image-grow: $*"; }
fail() {
    say "$*"
    exit 1
}

# Devices are called otherwise on other machines: the kernel tells by number what is mounted on /.
while read -r _ _ number _ point _; do
    if [ "$point" = / ]; then root=$number; fi
done </proc/self/mountinfo
part=$(cd -P "/sys/dev/block/$root" 2>/dev/null && pwd -P) || fail "there is no block device $root"
name=${part##*/}

if [ -r "$part/partition" ]; then
    disk=${part%/*}
    read -r partition <"$part/partition"
    read -r start <"$part/start"
    read -r size <"$part/size"
    read -r total <"$disk/size"
    room=+
    case $(sfdisk --dump "/dev/${disk##*/}" 2>/dev/null) in
    *'label: dos'*)
        # An MBR counts sectors with 32 bits. Of what is beyond, sfdisk would take the low bits, and shrink the partition.
        [ "$total" -le 4294967295 ] || total=4294967295
        room=$(((total - start) / 2048 * 2048))
        ;;
    esac
    last=yes
    for other in "$disk/${disk##*/}"*/start; do
        read -r at <"$other"
        [ "$at" -le "$start" ] || last=no
    done
    # Sectors of 512 bytes. Less than 8 MiB behind it is what alignment and the backup table take.
    if [ $last = yes ] && [ $((total - start - size)) -gt 16384 ]; then
        say "partition $partition of ${disk##*/} has $((size / 2048)) of $((total / 2048)) MiB"
        echo ", $room" | sfdisk --quiet --no-reread --no-tell-kernel -N "$partition" "/dev/${disk##*/}" ||
            fail 'sfdisk could not grow the partition'
        partx --update --nr "$partition" "/dev/${disk##*/}" || fail 'the kernel did not take the new size'
    fi
fi

read -r size <"$part/size"
state=/var/lib/lfs-image/grown
if [ -r $state ]; then read -r grown <$state; fi
if [ "${grown:-}" != "$size" ]; then
    resize2fs "/dev/$name" || fail 'resize2fs could not grow the filesystem'
    mkdir -p "${state%/*}"
    echo "$size" >$state
fi
