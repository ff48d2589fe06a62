"""Where the sound of a foreign WAV file lies, whatever is wrong with its header. Pure: the file is a function.

RIFF and `fmt ` as in Microsoft's "Multimedia Programming Interface and Data Specifications 1.0" (1991), the format
tags and WAVE_FORMAT_EXTENSIBLE as in RFC 2361 and Microsoft's mmreg.h (A-law 6, mu-law 7, GSM 6.10 "WAV49" 0x31). A
recorder that was killed leaves sizes of 0 or of long ago, a full disk leaves less sound than was announced. The sound
itself is never changed: what comes out of here is a run of bytes of the file.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from formats.errors import WavError

#: (offset, most bytes) -> bytes, fewer only at the file's end.
ReadAt = Callable[[int, int], bytes]

_PCM: Final = 1
_ALAW: Final = 6
_ULAW: Final = 7
_EXTENSIBLE: Final = 0xFFFE
#: Formats that are known by name and not read.
_OTHERS: Final = {0x31: "GSM 6.10 (WAV49)", 3: "floating point", 2: "MS ADPCM", 0x11: "IMA ADPCM", 0x55: "MP3"}
#: The last 14 bytes of an extensible format's GUID; the first two are the format tag (mmreg.h, KSDATAFORMAT_SUBTYPE).
_GUID: Final = bytes.fromhex("000000001000800000aa00389b71")
#: Asterisk's names of headerless linear audio by rate, Hz (16-bit little-endian).
LINEAR: Final = {
    8000: "sln", 12000: "sln12", 16000: "sln16", 24000: "sln24", 32000: "sln32", 44100: "sln44", 48000: "sln48",
}  # fmt: skip
#: Most chunks that are looked at: a file of nothing but tiny chunks is no recording.
MOST_CHUNKS: Final = 1000
#: What a recorder writes that does not know the length yet.
_UNKNOWN: Final = (0, 0xFFFFFFFF)


@dataclass(frozen=True, slots=True)
class Sound:
    """A run of whole frames. codec: Asterisk's name; rate: Hz; data_at, data_bytes: where it lies, bytes.

    repaired: what the header said wrong, in words of this module: `data_size` (0 or unknown), `cut_short` (less there
    than announced), `riff_size`, `half_frame` (bytes of an unfinished frame at the end, left out), `chunks_after` (a
    LIST or the like behind the sound, left out). tail: bytes behind the announced sound that are no chunk: perhaps
    junk, perhaps sound that a stale header does not count.
    """

    codec: str
    rate: int
    channels: int
    data_at: int
    data_bytes: int
    repaired: tuple[str, ...] = ()
    tail: int = 0

    @property
    def frame_bytes(self) -> int:
        """Bytes of one sample of all channels."""
        return (1 if self.codec in ("ulaw", "alaw") else 2) * self.channels

    @property
    def ms(self) -> int:
        """How long it plays."""
        return self.data_bytes // self.frame_bytes * 1000 // self.rate


def scan(read: ReadAt, size: int) -> Sound:
    """The sound of a file of `size` bytes.

    Raises WavError: `adopt.not_wav`, `adopt.format` (a format that is not read, named), `adopt.damaged` (no format or no
    data to be found), `adopt.empty` (a sound file without a sound).
    """
    head = read(0, 12)
    if head[:4] != b"RIFF" or head[8:12] != b"WAVE":
        raise WavError("adopt.not_wav", "it is not a WAV file")
    at, form = 12, None
    for _ in range(MOST_CHUNKS):
        chunk = read(at, 8)
        if len(chunk) < 8:
            raise WavError("adopt.damaged", "it has no data chunk: the header is cut off")
        name, length = chunk[:4], int.from_bytes(chunk[4:], "little")
        at += 8
        if name == b"data":
            if form is None:
                raise WavError("adopt.damaged", "its data come before its format")
            return _sound(read, size, at, length, form, riff=int.from_bytes(head[4:8], "little"))
        if name == b"fmt ":
            form = _format(read(at, min(length, 40)))
        at += length + length % 2
    raise WavError("adopt.damaged", "it has no data chunk among its first thousand")


def _format(body: bytes) -> tuple[str, int, int]:
    """(codec, rate, channels)."""
    if len(body) < 16:
        raise WavError("adopt.damaged", "its format is cut short")
    tag, channels, rate, _, block, bits = struct.unpack_from("<HHIIHH", body)
    if tag == _EXTENSIBLE:
        if len(body) < 40 or body[26:40] != _GUID:
            raise WavError("adopt.format", "its extensible format is none that is known")
        tag = int.from_bytes(body[24:26], "little")
    if channels not in (1, 2):
        raise WavError("adopt.format", f"it has {channels} channels; one or two are taken")
    if tag == _PCM and bits == 16 and block == 2 * channels:
        if rate not in LINEAR:
            raise WavError("adopt.format", f"{rate} Hz is no rate of Asterisk's")
        return LINEAR[rate], rate, channels
    if tag in (_ULAW, _ALAW) and bits == 8 and block == channels:
        if rate not in (8000, 16000):
            raise WavError("adopt.format", f"{rate} Hz; companded sound is taken at 8000 and 16000 Hz")
        return ("ulaw" if tag == _ULAW else "alaw"), rate, channels
    what = _OTHERS.get(tag, f"format {tag}" if tag != _PCM else f"PCM of {bits} bits")
    raise WavError("adopt.format", f"it holds {what}; PCM of 16 bits, mu-law and A-law are taken")


def _sound(read: ReadAt, size: int, at: int, said: int, form: tuple[str, int, int], *, riff: int) -> Sound:
    codec, rate, channels = form
    there, repaired, tail = max(0, size - at), [], 0
    length = there
    if said == 0 and there and _only_chunks(read, at, size):
        length = 0
    elif said in _UNKNOWN:
        repaired.append("data_size")
    elif said > there:
        repaired.append("cut_short")
    else:
        length = said
        after = at + said + said % 2
        if after < size:
            if _only_chunks(read, after, size):
                repaired.append("chunks_after")
            else:
                tail = size - (at + said)
    if riff != size - 8 and not tail:
        repaired.append("riff_size")
    frame = (1 if codec in ("ulaw", "alaw") else 2) * channels
    if length % frame:
        repaired.append("half_frame")
        length -= length % frame
    if not length:
        raise WavError("adopt.empty", "it holds no sound")
    return Sound(codec, rate, channels, at, length, tuple(repaired), tail)


def _only_chunks(read: ReadAt, at: int, size: int) -> bool:
    """Whether the rest of the file is whole chunks with printable names."""
    for _ in range(MOST_CHUNKS):
        chunk = read(at, 8)
        if len(chunk) < 8 or not all(32 <= byte < 127 for byte in chunk[:4]):
            return False
        length = int.from_bytes(chunk[4:], "little")
        at += 8 + length
        if at > size:
            return False
        if at + length % 2 >= size:
            return True
        at += length % 2
    return False
