# Runs as the guest's first process on the image under test, after a line that sets `phase`: wears its root filesystem out.
# The words it says are waited for by wear.rs.
set -eu
PATH=/usr/sbin:/usr/bin:/sbin:/bin
export PATH
trap 'echo "WEAR-FAILED in line ${LINENO:-?} of $phase"; echo o >/proc/sysrq-trigger; sleep 60' EXIT

mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t tmpfs tmpfs /run
mkdir -p /dev/shm
mount -t tmpfs tmpfs /dev/shm
echo "0 0 0 0" >/proc/sys/kernel/printk
device=/dev/$(sed -n 's/^DEVNAME=//p' "/sys/dev/block/$(mountpoint -d /)/uevent")
mkdir -p /wear
cd /wear

# Random writes of all lengths, read back and compared by their checksums.
writes() {
    fio --thread --directory=/wear --name="$1" --size="$2" --numjobs=2 --rw=randwrite --bsrange=512-64k --fallocate=none \
        --verify=crc32c --do_verify=1 --verify_fatal=1 --fsync=50 --end_fsync=1 --unlink=1 --output=/run/fio >/dev/null ||
        { tail -n 20 /run/fio; return 1; }
}
# The recorded day of an office's file server: files made, written, renamed and removed in many directories.
office() {
    mkdir -p "/wear/office-$1"
    dbench -c /usr/share/dbench/client.txt -D "/wear/office-$1" -t "$1" 4 >/run/dbench 2>&1 || { tail -n 20 /run/dbench; return 1; }
    grep -E '^Throughput' /run/dbench
    rm -r "/wear/office-$1"
}

case $phase in
stress)
    writes stress 12m
    office 8
    ;;
fill)
    mkdir fill
    i=0
    while dd if=/dev/zero of="fill/$i" bs=1M count=48 2>/run/error; do i=$((i + 1)); done
    grep -q 'No space left' /run/error
    truncate -s -256K fill/0
    # The last blocks go to small files, and those to a directory that has to grow.
    while echo "$i" 2>/run/error >"fill/a name long enough to fill a block of the directory soon, number $i"; do
        i=$((i + 1))
    done
    sync
    df -k / | tail -n 1
    mkdir full 2>/run/error && { i=0; while mkdir "full/$i" 2>/run/error; do i=$((i + 1)); done; }
    grep -q 'No space left' /run/error
    echo "WEAR-FULL after $i"
    # Holes everywhere, and then writes into them.
    find fill -type f -name '*[02468]' -delete
    writes holes 8m
    rm -rf fill full
    writes emptied 8m
    ;;
grow)
    before=$(df --output=size -k / | tail -n 1)
    office 8 &
    office=$!
    sleep 2
    resize2fs "$device"
    wait "$office"
    writes grown 12m
    after=$(df --output=size -k / | tail -n 1)
    echo "WEAR-GROWN $before KiB to $after KiB"
    [ "$after" -gt $((before * 2)) ]
    # Beyond where the filesystem ended.
    dd if=/dev/zero of=large bs=1M count=900 2>/dev/null
    ;;
cut)
    mkdir -p known
    for i in 1 2 3 4 5 6 7 8; do head -c $((i * 77777)) /dev/urandom >"known/$i"; done
    ln -f known/1 known-too
    sha256sum known/* known-too >known.sums
    sync
    while :; do writes endless 12m; done &
    while :; do office 3; done &
    sleep 2
    echo WEAR-RUNNING
    wait
    ;;
replay)
    # What was synced before the cut is there.
    sha256sum --quiet -c known.sums
    office 3
    ;;
esac

sync
trap - EXIT
cd /
mount -o remount,ro / 2>/dev/null || echo "(the root stays writable)"
echo WEAR-DONE
echo o >/proc/sysrq-trigger
sleep 60
