#!/bin/sh
# Make .venv with the versions in requirements/$1.txt, by uv where it is present, else venv + pip.
set -eu
kind=$1
python=${PYTHON:-python3}

if command -v uv >/dev/null 2>&1; then
    [ -d .venv ] || uv venv --quiet --python ">=3.11" .venv
    install() { uv pip install --quiet --python .venv/bin/python "$@"; }
else
    if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
        echo "trialsim needs Python 3.11 or newer as '$python'." >&2
        echo "Install it, or name another: make demo PYTHON=python3.12" >&2
        exit 2
    fi
    if [ ! -x .venv/bin/pip ]; then
        rm -rf .venv
        if ! "$python" -m venv .venv >/dev/null 2>&1; then
            rm -rf .venv
            echo "This Python cannot make virtual environments: its venv module is missing." >&2
            echo "On Debian or Ubuntu: apt-get install python3-venv     Then run make again." >&2
            exit 2
        fi
    fi
    install() { .venv/bin/python -m pip -qq --disable-pip-version-check install "$@"; }
fi

case $kind in
    demo) install -c requirements/demo.txt -e '.[fast,app]' ;;
    dev) install -c requirements/demo.txt -c requirements/dev.txt -e '.[fast,app,site,dask,parquet,models,dev,oracles]' ;;
esac
