#!/usr/bin/env bash
# get-boto3.sh: AWS's client for Python and moto, a server that others test their clients with, in a folder of their own; prints that
# folder's python. boto3 drives tests/support/aws-judge, so that the server which judges our uploads is known to judge others alike.
# moto judges nothing, but a push to it must not fall over.
# shellcheck source=scripts/lib.sh
. "$(dirname "$0")/lib.sh"

# All of them, so that the same ones come in a year. pip asks whatever index the machine is set up for.
WANTED=(
    boto3==1.44.5 botocore==1.44.5 s3transfer==0.19.3 jmespath==1.1.0
    python-dateutil==2.9.0.post0 six==1.17.0 urllib3==2.8.0
    moto==5.2.5 Flask==3.1.3 flask-cors==6.0.5 Werkzeug==3.1.9 Jinja2==3.1.6 MarkupSafe==3.0.4 itsdangerous==2.2.0
    click==8.5.1 blinker==1.9.0 requests==2.34.2 charset-normalizer==3.5.2 idna==3.20 certifi==2026.10.19.post1
    responses==0.26.3 xmltodict==1.0.4 PyYAML==6.0.4 cryptography==50.0.2 cffi==2.1.1 pycparser==3.12
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
