#!/usr/bin/env bash
# get-boto3.sh: AWS's client for Python, in a folder of its own; prints that folder's python. It drives tests/support/aws-judge, so
# that the server which judges our uploads is known to judge others alike.
# shellcheck source=scripts/lib.sh
. "$(dirname "$0")/lib.sh"

# All of them, so that the same ones come in a year. pip asks whatever index the machine is set up for.
WANTED=(
    boto3==1.44.5 botocore==1.44.5 s3transfer==0.19.3 jmespath==1.1.0
    python-dateutil==2.9.0.post0 six==1.17.0 urllib3==2.8.0
)
VENV=$CACHE/venv

make_venv() {
    [ "$(cat "$VENV/wanted" 2>/dev/null)" != "${WANTED[*]}" ] || return 0
    rm -rf "$VENV"
    python3 -m venv "$VENV" >&2 || die "python3 has no venv (on Debian: apt-get install python3-venv)"
    "$VENV/bin/pip" --quiet install --no-deps "${WANTED[@]}" </dev/null >&2
    printf '%s' "${WANTED[*]}" >"$VENV/wanted"
}

with_lock venv make_venv
printf '%s\n' "$VENV/bin/python"
