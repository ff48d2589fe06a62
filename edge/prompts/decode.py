"""A child process that decodes one foreign audio file: `python -m edge.prompts.decode <FILE`.

The file is whatever somebody brought, and decoders have bugs: it is read here, in a process that can write no file
and has bounded memory and time, never in the command or the daemon. Standard output: one line of JSON (`rate`,
`channels`, `clipped`, or `{"error": [code, message]}`), then signed 16-bit little-endian PCM, 8 kHz, mono.

Needs the extra `studio` (numpy, soundfile, soxr).
"""

from __future__ import annotations

import importlib
import json
import os
import resource
import sys
from typing import Any, Final

RATE: Final = 8000
#: What a recording of one prompt may be: longer, wider or faster is not one.
LONGEST_S: Final = 120
MOST_CHANNELS: Final = 8
RATES: Final = (8000, 192_000)
#: Bounds of this process: address space (numpy maps a lot it never touches), processor time in seconds.
MEMORY: Final = 3 * 1024**3
PROCESSOR_S: Final = 60
#: A sample is at the rail from here on, of full scale.
RAIL: Final = 0.9995
#: Head room left for the resampler's filter, which overshoots: -6 dB.
HEAD_ROOM: Final = 0.5


def main() -> int:
    """Decode standard input; exit 0 also when the answer is an error."""
    resource.setrlimit(resource.RLIMIT_CPU, (PROCESSOR_S, PROCESSOR_S))
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    try:
        header, pcm = _decode()
    except ImportError as e:
        header, pcm = {"error": ["environment.studio", f"{e.name} is not installed"]}, b""
    sys.stdout.buffer.write(json.dumps(header).encode() + b"\n" + pcm)
    sys.stdout.buffer.flush()
    return 0


def _decode() -> tuple[dict[str, Any], bytes]:
    np: Any = importlib.import_module("numpy")
    soundfile: Any = importlib.import_module("soundfile")
    soxr: Any = importlib.import_module("soxr")

    try:
        with soundfile.SoundFile(os.dup(0)) as sound:
            rate, channels = sound.samplerate, sound.channels
            if problem := _unfit(rate, channels, sound.frames):
                return {"error": ["prompt.format", problem]}, b""
            data = sound.read(frames=LONGEST_S * rate + 1, dtype="float32", always_2d=True)
    except (soundfile.LibsndfileError, RuntimeError, ValueError, MemoryError) as e:
        return {"error": ["prompt.format", f"it cannot be decoded: {e}"]}, b""
    if len(data) > LONGEST_S * rate:
        return {"error": ["prompt.length", f"it is longer than {LONGEST_S} s"]}, b""
    if not len(data):
        return {"error": ["prompt.empty", "the file holds no audio"]}, b""
    if not np.isfinite(data).all():
        return {"error": ["prompt.damaged", "it holds samples that are no numbers"]}, b""
    rail = np.abs(data) >= RAIL
    clipped = int((rail[1:] & rail[:-1]).sum())
    mono = data.mean(axis=1)
    slow = soxr.resample(mono, rate, RATE, quality="VHQ") * HEAD_ROOM
    pcm = np.clip(np.rint(slow * 32767), -32768, 32767).astype("<i2").tobytes()
    return {"rate": rate, "channels": channels, "clipped": clipped}, pcm


def _unfit(rate: int, channels: int, frames: int) -> str:
    if not RATES[0] <= rate <= RATES[1]:
        return f"{rate} Hz; {RATES[0]} to {RATES[1]} Hz is taken"
    if channels > MOST_CHANNELS:
        return f"{channels} channels; at most {MOST_CHANNELS} are taken"
    if frames > LONGEST_S * rate:
        return f"it is {frames / rate:.0f} s long; a prompt is at most {LONGEST_S} s before it is trimmed"
    return ""


if __name__ == "__main__":
    raise SystemExit(main())
