"""Segments that were compacted: one whole FLAC or Ogg Opus file, back to samples. It was verified as ours before."""

from __future__ import annotations

import importlib
import io
from collections.abc import Iterator
from typing import Any, Final

from callwarden.reading.bundle import Opened, Row
from edge.errors import CallwardenError

#: Samples given on at a time.
_FRAMES: Final = 1 << 16


def decoded(opened: Opened, segment: Row, pieces: Iterator[bytes]) -> Iterator[bytes]:
    """16-bit PCM, exactly as many frames as the segment has. Raises environment.studio, vault.codec, vault.differs."""
    try:
        soundfile: Any = importlib.import_module("soundfile")
    except ImportError as error:
        raise CallwardenError(
            "environment.studio",
            f"the recording was compacted to {segment['encoding']}, and the package soundfile is not installed",
            hint="install callwarden[studio]; or export --raw-age, and decode what age gives",
            where=opened.recording_id,
        ) from error
    file = io.BytesIO(b"".join(pieces))
    left, frame = segment["frames"], 2 * opened.bundle["channels"]
    try:
        with soundfile.SoundFile(file) as sound:
            if (sound.samplerate, sound.channels) != (opened.bundle["rate"], opened.bundle["channels"]):
                raise opened.differs(f"segment {segment['number']}: it was encoded in another format")
            while left > 0 and (block := bytes(sound.buffer_read(min(_FRAMES, left), dtype="int16"))):
                left -= len(block) // frame
                yield block
    except (soundfile.SoundFileError, RuntimeError) as error:
        raise CallwardenError(
            "vault.codec", f"segment {segment['number']} cannot be decoded: {error}", where=opened.recording_id
        ) from error
    if left:
        raise opened.differs(f"segment {segment['number']}: {left} frames are missing")
