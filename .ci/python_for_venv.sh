#!/usr/bin/env bash
# Makes the virtual environment in $1. Debian splits `venv` off Python: brings it where it may.
set -euo pipefail
venv=$1
python=${PYTHON:-python3}

"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || {
    echo "partgate needs Python 3.11 or newer; '$python' is not. Set PYTHON to one." >&2
    exit 1
}
if ! "$python" -c 'import ensurepip' 2>/dev/null; then
    echo "Python's venv module is missing; installing python3-venv ..." >&2
    as_root=$([ "$(id -u)" = 0 ] || echo sudo)
    { $as_root apt-get update -qq && $as_root apt-get install -y -qq --no-install-recommends python3-venv; } \
        >/dev/null || { echo "Could not. Run: apt-get install python3-venv" >&2; exit 1; }
fi
[ -x "$venv/bin/pip" ] || "$python" -m venv --clear "$venv"
