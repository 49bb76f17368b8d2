#!/usr/bin/env bash
# fresh-user.sh [--rustup] [--user NAME] [COMMAND]: whether a new user gets by with what README.md asks for. By hand, as root.
#
# Makes an account (lfs-fresh) that has sudo and Rust and nothing else, clones what is committed there, runs COMMAND in the clone
# (`make demo && make test`, an hour or two), and removes the account again. Rust is the one that is run here, read-only; with
# --rustup the account installs its own. An account that is there already is not touched.
# shellcheck source=scripts/lib.sh
. "$(dirname "$0")/lib.sh"
cd "$(dirname "$0")/.."

rustup= user=lfs-fresh command='make demo && make test'
usage='usage: fresh-user.sh [--rustup] [--user NAME] [COMMAND]'
while [ $# -gt 0 ]; do
    case $1 in
        --rustup) rustup=1 ;;
        --user) user=${2:?"$usage"} && shift ;;
        -*) die "$usage" ;;
        *) [ $# -eq 1 ] || die "$usage"; command=$1 ;;
    esac
    shift
done
[ "$(id -u)" = 0 ] || die "this makes an account and removes it, which takes root"
[[ $user =~ ^[a-z][a-z0-9-]*$ ]] || die "$user: an account's name is made of a-z, 0-9 and -"
home=/home/$user rights=/etc/sudoers.d/$user
for program in git sudo visudo useradd userdel runuser unshare rustc; do
    command -v "$program" >/dev/null || die "$program is missing"
done
if getent passwd "$user" >/dev/null || getent group "$user" >/dev/null; then die "the account $user is there already"; fi
for path in "$home" "$rights"; do [ ! -e "$path" ] || die "$path is there already"; done

# Only what this run made is removed.
remove() {
    rm -f "$rights"
    pkill -KILL -u "$user" || true
    while pgrep -u "$user" >/dev/null; do sleep 0.1; done
    ! grep -qF " $home/" /proc/self/mounts || die "something is mounted below $home: $user stays"
    userdel --remove "$user" 2>/dev/null || die "userdel doesn't remove $user"
    say "$user is gone"
}
useradd --create-home --home-dir "$home" --shell /bin/bash "$user"
trap remove EXIT
trap 'exit 130' INT TERM
printf '%s ALL=(ALL) NOPASSWD: ALL\n' "$user" >"$rights.new"
chmod 0440 "$rights.new"
visudo -cqf "$rights.new" || { rm -f "$rights.new"; die "sudo doesn't take $rights"; }
mv "$rights.new" "$rights"

git clone -q --no-hardlinks . "$home/lfs-image"
mkdir "$home/rust"
chown -R "$user:" "$home/lfs-image"
if [ -n "$rustup" ]; then
    runuser -l "$user" -c 'curl -fsS https://sh.rustup.rs | sh -s -- -y -q --profile minimal'
    bin=$home/.cargo/bin toolchain=
else
    bin=$home/rust/bin toolchain=$(rustc --print sysroot)
fi
say "$user runs: $command"
# The mount is seen by what runs in here, and gone with it: nothing that removes the home can reach the toolchain.
# shellcheck disable=SC2016  # the dollars are the inner shell's
unshare --mount bash -euc '
    if [ -n "$1" ]; then
        mount --bind "$1" "$2/rust"
        mount -o remount,bind,ro "$2/rust"
    fi
    exec runuser -l "$3" -c "$4"
' bash "$toolchain" "$home" "$user" "export PATH=$bin:\$PATH && cd lfs-image && time { $command; }" </dev/null
say "$user got by"
