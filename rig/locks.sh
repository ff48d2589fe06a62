#!/bin/sh
# Renews the locks. No index path is written into them, so they work behind any mirror.
set -eu
bin=.venv/bin
"$bin/python" -m pip install --quiet uv
lock() { "$bin/uv" pip compile --quiet --python-version 3.11 --generate-hashes --no-emit-index-url --no-emit-find-links "$@"; }
lock pyproject.toml -o locks/run.txt
lock --extra dev pyproject.toml -o locks/dev.txt
lock -c locks/dev.txt locks/oracles.in -o locks/oracles.txt
# The independent vCon reader runs on a newer Python, without its dependencies' dependencies (rig/vcon_reader.py).
"$bin/uv" pip compile --quiet --python-version 3.14 --no-deps --generate-hashes --no-emit-index-url --no-emit-find-links \
  locks/vcon-reader.in -o locks/vcon-reader.txt
