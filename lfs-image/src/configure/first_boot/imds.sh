#!/bin/bash
# Asks EC2's instance metadata service, once for each instance, for what @what@. Bash alone does it: it
# speaks HTTP through /dev/tcp. Written by lfs-image.
PATH=/usr/sbin:/usr/bin:/sbin:/bin
LC_ALL=C
authorized_keys=@authorized_keys@
with_key=@with_key@
with_user_data=@with_user_data@
state=/var/lib/lfs-image
host=169.254.169.254

say() { echo "lfs-image-imds: $*"; }

# request METHOD PATH HEADER: the answer goes to $body. 1: there was none, or not all of it. 2: it wasn't 200, but $code.
request() {
    body= code=
    { exchange "$@"; } 3<>"/dev/tcp/$host/80" || return 1
    [[ $code == 200 ]] || return 2
}
exchange() {
    local line length=
    printf '%s %s HTTP/1.1\r\nHost: %s\r\n%s\r\nContent-Length: 0\r\nConnection: close\r\n\r\n' "$1" "$2" "$host" "$3" >&3 ||
        return 1
    read -r -t 10 -u 3 _ code _ || return 1
    while IFS= read -r -t 10 -u 3 line && line=${line%$'\r'} && [[ -n $line ]]; do
        if [[ ${line,,} =~ ^content-length:[[:space:]]*([0-9]+) ]]; then length=${BASH_REMATCH[1]}; fi
    done
    if [[ $length == 0 ]]; then
        return 0
    elif [[ -n $length ]]; then
        IFS= read -r -t 30 -N "$length" -u 3 body || return 1
    else
        IFS= read -r -t 30 -d '' -u 3 body
        return 0
    fi
}
get() { request GET "/latest/$1" "X-aws-ec2-metadata-token: $token"; }

# The network may take a while to come up.
until request PUT /latest/api/token 'X-aws-ec2-metadata-token-ttl-seconds: 300' 2>/dev/null; do
    if ((SECONDS > 120)); then
        say "no answer from the instance metadata service at $host${code:+ but $code}: is this EC2?"
        exit 1
    fi
    sleep 2
done
token=$body

get meta-data/instance-id || { say "no instance-id: $code"; exit 1; }
instance=$body
if [[ -r $state/instance && $(<"$state/instance") == "$instance" ]]; then
    exit 0
fi

if [[ $with_key == yes ]]; then
    if get meta-data/public-keys/0/openssh-key; then
        key=${body%%$'\n'*}
        if [[ ! $key =~ ^(ssh-|ecdsa-|sk-)[^[:space:]]+' '[A-Za-z0-9+/=]+ ]]; then
            say 'the launch key is none that sshd knows'
            exit 1
        fi
        if [[ ! -r $authorized_keys || $'\n'$(<"$authorized_keys")$'\n' != *$'\n'"$key"$'\n'* ]]; then
            printf '%s\n' "$key" >>"$authorized_keys" || exit 1
            say "instance $instance: its launch key was put into $authorized_keys"
        fi
    elif [[ $code == 404 ]]; then
        say "instance $instance was launched without a key"
    else
        say "no launch key: $code"
        exit 1
    fi
fi

# A script is run once, even if it reboots the machine.
script=
if [[ $with_user_data == yes ]]; then
    # bash drops zeros, so what is no text comes short.
    if get user-data || [[ $code == 200 && -n $body && $body != '#!'* ]]; then
        script=$body
    elif [[ $code != 404 ]]; then
        say "no user data: $code"
        exit 1
    fi
fi
printf '%s\n' "$instance" >"$state/instance" || exit 1

if [[ $script == '#!'* ]]; then
    (umask 077 && printf '%s' "$script" >"$state/user-data") && chmod 0700 "$state/user-data" || exit 1
    say "instance $instance: running the script in its user data"
    exec "$state/user-data"
elif [[ -n $script ]]; then
    say "instance $instance: its user data is no script, which begins with #!"
fi
