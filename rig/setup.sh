#!/bin/sh
# Makes the virtual environment: rig/setup.sh PYTHON VENV. Repeats are cheap; an interrupted run is begun again.
set -eu
python=$1
venv=$2
say() { printf '%s\n' "setup: $*"; }
if [ -z "$python" ] || ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
  say "Python 3.11 or newer is missing: install python3.11 and python3.11-venv"
  exit 8
fi
if ! "$python" -c 'import ensurepip' 2>/dev/null; then
  version=$("$python" -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])')
  if [ "$(id -u)" = 0 ]; then
    say "installing $version"
    apt-get -qq update
    DEBIAN_FRONTEND=noninteractive apt-get -qq install -y "$version" >/dev/null
  else
    say "missing: $version (as root: apt-get install $version)"
    exit 8
  fi
fi
[ -x "$venv/bin/python" ] && "$venv/bin/python" -c '' 2>/dev/null || { say "making $venv"; rm -rf "$venv"; "$python" -m venv "$venv"; }
say "installing the locked packages (hashes are checked)"
"$venv/bin/python" -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps \
  -r locks/dev.txt -r locks/oracles.txt
"$venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
