#!/bin/sh
# Makes the SSH host keys that are missing: at the first boot, all of them. Written by lfs-image.
PATH=/usr/sbin:/usr/bin:/sbin:/bin:/usr/local/sbin:/usr/local/bin
export PATH
there_is_one() {
    for key in "$@"; do
        [ ! -s "$key" ] || return 0
    done
    return 1
}
has() { command -v "$1" >/dev/null; }

status=0
if has sshd && has ssh-keygen && ! there_is_one /etc/ssh/ssh_host_*_key; then
    ssh-keygen -A || status=1
fi
if has dropbear && has dropbearkey && ! there_is_one /etc/dropbear/dropbear_*_host_key; then
    mkdir -p /etc/dropbear
    for kind in rsa ecdsa ed25519; do
        dropbearkey -t $kind -f /etc/dropbear/dropbear_${kind}_host_key >/dev/null
    done
    # Not every dropbear knows every kind.
    there_is_one /etc/dropbear/dropbear_*_host_key || status=1
fi
exit $status
