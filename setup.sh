#!/bin/sh
# Makes the virtual environment and installs the project into it.
#
#   sh setup.sh                      into .venv, with the development tools
#   PYTHON=python3.12 VENV=.venv-312 EXTRAS=dev,gpu sh setup.sh
#
# Works with any pip, and without its cache. Chainer 7.8.1 is published as a
# source archive only, and its setup script needs pkg_resources, which current
# setuptools no longer has; pip would build it with the newest one. So a
# setuptools that still has it goes in first, and nothing is built in
# isolation. An interrupted run is taken up again by the next one.
set -eu
cd "$(dirname "$0")"

VENV=${VENV:-.venv}
EXTRAS=${EXTRAS:-dev}
STAMP=$VENV/.installed
export PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_USER=0

fail() {
    echo "setup.sh: $*" >&2
    exit 1
}

version() {
    "$1" --version 2>/dev/null || echo "no program"
}

fits() {
    "$1" -c 'import sys
sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 12))' 2>/dev/null
}

find_python() {
    for candidate in python3 python3.11 python3.12 python3.10 python; do
        if fits "$candidate"; then
            echo "$candidate"
            return
        fi
    done
}

if [ -n "${PYTHON:-}" ]; then
    fits "$PYTHON" || fail "Python 3.10, 3.11 or 3.12 is needed, and" \
        "PYTHON=$PYTHON is $(version "$PYTHON"). NumPy 1.26," \
        "which Chainer needs, has no wheels for other releases."
else
    PYTHON=$(find_python)
    [ -n "$PYTHON" ] || fail "found no Python 3.10, 3.11 or 3.12 (python3" \
        "is $(version python3)). Install one, or name it:" \
        "make test PYTHON=/path/to/python3.11"
fi

rm -f "$STAMP"
P=$VENV/bin/python
if ! "$P" -m pip --version >/dev/null 2>&1; then
    echo "Making $VENV with $(version "$PYTHON")"
    "$PYTHON" -m venv --clear "$VENV" || fail "could not make a virtual" \
        "environment. On Debian and Ubuntu: apt install python3-venv"
fi
fits "$P" || fail "$VENV has $(version "$P"); Python 3.10," \
    "3.11 or 3.12 is needed: remove $VENV (make clean) and start again."

install() {
    "$P" -m pip install -q -c constraints.txt "$@"
}

echo "Installing into $VENV (about a minute)"
install setuptools wheel numpy
install --no-build-isolation chainer
install --no-build-isolation -e ".[$EXTRAS]"
"$P" -c 'import chainer_wm' || fail "what is in $VENV does not import:" \
    "remove it (make clean) and start again."
touch "$STAMP"
echo "Installed: $(version "$P"), extras $EXTRAS"
