"""WAV headers for 16-bit linear PCM: written for a known length, repaired from a file's length.

The header is the 44 bytes every player reads: RIFF, `fmt ` of 16 bytes, `data` (Microsoft's "Multimedia Programming
Interface and Data Specifications 1.0", 1991). A recorder that was killed leaves sizes of 0, which libraries take for
an empty file without a word.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from formats.errors import WavError

HEADER = 44
_PCM = 1
#: RIFF sizes are 32 bits and count from byte 8.
MAX_DATA = 0xFFFFFFFF - (HEADER - 8)


def wav_header(data_bytes: int, rate: int, channels: int) -> bytes:
    """The 44 bytes in front of `data_bytes` bytes of PCM at `rate` Hz, `channels` interleaved.

    Raises WavError `vault.wav` where the length is not whole frames or passes the 4 GiB a WAV can hold.
    """
    block = 2 * channels
    if not 0 < channels <= 255 or not 0 < rate * block <= 0xFFFFFFFF:
        raise WavError("vault.wav", f"no WAV has {channels} channels at {rate} Hz")
    if data_bytes < 0 or data_bytes % block:
        raise WavError("vault.wav", "the audio does not end with a whole frame")
    if data_bytes > MAX_DATA:
        raise WavError("vault.wav", "the audio is longer than a WAV file can say (4 GiB)")
    return struct.pack(
        "<4sI4s4sIHHIIHH4sI",
        b"RIFF", data_bytes + HEADER - 8, b"WAVE",
        b"fmt ", 16, _PCM, channels, rate, rate * block, block, 16,
        b"data", data_bytes,
    )  # fmt: skip


@dataclass(frozen=True)
class WavLayout:
    """Where a PCM16 file's audio lies, in bytes, as its length says rather than its header."""

    rate: int
    channels: int
    data_at: int
    data_bytes: int


def read_layout(head: bytes, file_size: int) -> WavLayout:
    """From the first bytes of a file (4 KiB is plenty) and its length; the sizes in its header may be 0 or wrong.

    A trailing half frame is left out. Raises WavError `vault.wav` where it is not PCM16.
    """
    if head[:4] != b"RIFF" or head[8:12] != b"WAVE":
        raise WavError("vault.wav", "not a WAV file")
    at, rate, channels = 12, 0, 0
    while at + 8 <= len(head):
        name, size = head[at : at + 4], int.from_bytes(head[at + 4 : at + 8], "little")
        at += 8
        if name == b"data":
            break
        if name == b"fmt ":
            if size < 16 or at + 16 > len(head):
                raise WavError("vault.wav", "the WAV file's format is cut short")
            kind, channels, rate, _, block, bits = struct.unpack_from("<HHIIHH", head, at)
            if kind != _PCM or bits != 16 or not channels or not rate or block != 2 * channels:
                raise WavError("vault.wav", "the WAV file is not 16-bit PCM")
        at += size + size % 2
    else:
        raise WavError("vault.wav", "the WAV file has no data chunk at its start")
    if not channels:
        raise WavError("vault.wav", "the WAV file says nothing about its format")
    there = max(0, file_size - at)
    said = size if 0 < size <= there else there
    return WavLayout(rate, channels, at, said - said % (2 * channels))


def repaired_header(head: bytes, file_size: int) -> bytes:
    """A right 44-byte header to put in front of the bytes from `read_layout(...).data_at` on. Raises WavError."""
    layout = read_layout(head, file_size)
    return wav_header(layout.data_bytes, layout.rate, layout.channels)
