"""A child process that encodes one segment: `python -m edge.recorder.encode FORM RATE CHANNELS`, PCM on standard input.

Encoders are foreign code with a memory of their own: it runs here, with bounds, behind every sealer, and what crashes here
costs a compaction and no recording. Nothing is written but standard output: one line of JSON (`frames`, `sha256` of the
samples taken; `heard_frames`, `heard_sha256` of what its own output decodes to; `bytes`, `encoded_sha256` of the file that
follows; or `error`), then the encoded file.

Needs soundfile (the extra `compact`).
"""

from __future__ import annotations

import hashlib
import importlib
import io
import json
import os
import resource
import sys
from typing import IO, Any, Final

#: Form to libsndfile's container and codec.
FORMS: Final = {"flac": ("FLAC", "PCM_16"), "opus": ("OGG", "OPUS")}
#: Bounds of this process: address space (15 minutes of two channels at 16 kHz are 58 MB), processor time in seconds.
MEMORY: Final = 1 << 30
PROCESSOR_S: Final = 120
#: Everybody else goes first.
NICE: Final = 10
_PIECE: Final = 1 << 16


def main() -> int:
    """Exit 0 also when the answer is an error."""
    for limit, most in (
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_CPU, PROCESSOR_S),
        (resource.RLIMIT_AS, MEMORY),
    ):
        resource.setrlimit(limit, (most, most))
    os.nice(NICE)
    form, rate, channels = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    try:
        facts, encoded = _encode(sys.stdin.buffer, form, rate, channels)
    except ImportError as error:
        facts, encoded = {"error": f"{error.name} is not installed"}, b""
    sys.stdout.buffer.write(json.dumps(facts).encode() + b"\n")
    sys.stdout.buffer.write(encoded)
    sys.stdout.buffer.flush()
    return 0


def _encode(source: IO[bytes], form: str, rate: int, channels: int) -> tuple[dict[str, Any], bytes | memoryview]:
    sound: Any = importlib.import_module("soundfile")
    container, codec = FORMS[form]
    frame, file, taken, frames = 2 * channels, io.BytesIO(), hashlib.sha256(), 0
    try:
        with sound.SoundFile(file, "w", samplerate=rate, channels=channels, format=container, subtype=codec) as out:
            rest = b""
            while piece := source.read(_PIECE):
                piece = rest + piece
                whole = len(piece) // frame * frame
                piece, rest = piece[:whole], piece[whole:]  # half a frame at the end is nobody's
                taken.update(piece)
                frames += whole // frame
                out.buffer_write(piece, dtype="int16")
        heard, heard_frames = hashlib.sha256(), 0
        file.seek(0)
        with sound.SoundFile(file) as back:
            while block := bytes(back.buffer_read(_PIECE, dtype="int16")):
                heard.update(block)
                heard_frames += len(block) // frame
    except (sound.LibsndfileError, RuntimeError, ValueError, MemoryError) as error:
        return {"error": f"it cannot be encoded: {error}"}, b""
    encoded = file.getbuffer()
    facts = {
        "frames": frames, "sha256": taken.hexdigest(), "heard_frames": heard_frames, "heard_sha256": heard.hexdigest(),
        "bytes": len(encoded), "encoded_sha256": hashlib.sha256(encoded).hexdigest(),
    }  # fmt: skip
    return facts, encoded


if __name__ == "__main__":
    sys.exit(main())
