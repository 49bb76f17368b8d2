# Shared by the scripts beside it: source it, don't run it.
# shellcheck shell=bash

set -euo pipefail

# Everything that is fetched or built once and used again lives here; deleting it costs time, nothing else.
CACHE=${LFS_IMAGE_CACHE:-${XDG_CACHE_HOME:-${HOME:?}/.cache}/lfs-image}

# Judges live in sbin, which a user's PATH on Debian leaves out.
PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin
export PATH

say() { printf '%s\n' "$*" >&2; }
die() { say "error: $*"; exit 1; }

as_root() {
    if [ "$(id -u)" = 0 ]; then "$@"; else sudo -n "$@" || sudo "$@"; fi
}

# digest FILE...: one short name for the contents of all of them.
digest() { cat -- "$@" | sha256sum | cut -c1-16; }

# with_lock NAME COMMAND...: two runs at once must not build the same thing twice, nor half of it each.
with_lock() {
    local name=$1
    shift
    mkdir -p "$CACHE/locks"
    (
        flock 9
        "$@"
    ) 9>"$CACHE/locks/$name"
}

# debian_sources SUITE [OPTION]: sources.list lines for Debian SUITE with the mirrors that this machine's apt uses.
# Prints nothing where apt knows no Debian mirror (another distribution). OPTION goes into the brackets: arch=arm64.
debian_sources() {
    local suite=$1 option=${2:-} keyring=/usr/share/keyrings/debian-archive-keyring.gpg
    [ ! -e "$keyring" ] || option="signed-by=$keyring${option:+ $option}"
    # shellcheck disable=SC2016  # the dollars are apt's
    apt-get indextargets --format '$(CREATED_BY)|$(ORIGIN)|$(REPO_URI)|$(CODENAME)|$(COMPONENT)' |
        awk -F'|' -v suite="$suite" -v option="$option" '
            $1 != "Packages" || $2 != "Debian" || $5 != "main" { next }
            { pocket = $4; sub(/^[^-]*/, "", pocket) }
            pocket !~ /^(-updates|-security|)$/ { next }
            { line = "deb [" option "] " $3 " " suite pocket " main" }
            !seen[line]++ { print line }'
}

# private_apt SUITE ARCH: sets APT_CONFIG to an apt of its own that knows SUITE for ARCH, and touches nothing of the
# machine's. Then `apt-get download`, `apt-cache` and friends see that suite.
private_apt() {
    local suite=$1 arch=$2 dir=$CACHE/apt/$1-$2
    mkdir -p "$dir"/{lists/partial,cache/archives/partial,etc}
    debian_sources "$suite" "arch=$arch" >"$dir/sources.list"
    [ -s "$dir/sources.list" ] || die "this machine's apt knows no Debian mirror (run apt-get update first)"
    : >"$dir/status"
    cat >"$dir/apt.conf" <<CONF
Dir::State "$dir";
Dir::State::status "$dir/status";
Dir::State::lists "$dir/lists";
Dir::Cache "$dir/cache";
Dir::Etc::SourceList "$dir/sources.list";
Dir::Etc::SourceParts "/dev/null";
Dir::Etc::Preferences "/dev/null";
Dir::Etc::PreferencesParts "/dev/null";
APT::Architecture "$arch";
APT::Architectures { "$arch"; };
APT::Sandbox::User "";
Acquire::Languages "none";
Acquire::IndexTargets::deb::DEP-11::DefaultEnabled "false";
Acquire::Retries "3";
CONF
    export APT_CONFIG=$dir/apt.conf
    # The lists of a day ago still name packages that the mirror has; the ones of a month ago may not.
    if [ -z "$(find "$dir/updated" -mtime -1 2>/dev/null)" ]; then
        apt-get -q update >&2
        touch "$dir/updated"
    fi
}
