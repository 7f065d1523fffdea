#!/bin/sh
# Makes a virtual environment: make_venv.sh PYTHON FOLDER
# Debian keeps the venv module in a package of its own; where it is missing and we may install it, we do.
set -eu
python=$1
folder=$2

if ! command -v "$python" >/dev/null; then
    echo "make: $python was not found. Install Python 3.11 or later, or name one: make PYTHON=/path/to/python" >&2
    exit 1
fi
if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
    echo "make: $python is $("$python" --version); hotserve needs Python 3.11 or later: make PYTHON=python3.12" >&2
    exit 1
fi
if "$python" -c 'import ensurepip, venv' 2>/dev/null; then
    exec "$python" -m venv "$folder"
fi
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    apt-get update -qq && apt-get install -y -qq python3-venv
    exec "$python" -m venv "$folder"
fi
echo "make: $python cannot make virtual environments. On Debian: sudo apt-get install python3-venv" >&2
exit 1
