#!/bin/sh
# Makes the SSH host keys that are missing: at the first boot, all of them. Written by lfs-image.
PATH=/usr/sbin:/usr/bin:/sbin:/bin:/usr/local/bin
export PATH
for key in /etc/ssh/ssh_host_*_key; do
    [ ! -s "$key" ] || exit 0
done
exec ssh-keygen -A
