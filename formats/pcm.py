"""From a capture's bytes to 16-bit linear samples: the one decode step of every reader. Pure.

`sln…` and `raw` are the samples themselves, little endian, channels interleaved; `ulaw` and `alaw` are one byte a sample
(ITU-T G.711, 1988, tables 2a/2b and 1a/1b), expanded to 16 bits as every telephone library does.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from formats.errors import WavError

#: Bytes of one decoded sample of one channel.
WIDTH: Final = 2
#: Bytes of one stored sample of one channel, by the name Asterisk gives a headerless format.
STORED: Final = {
    **dict.fromkeys(("sln", "sln12", "sln16", "sln24", "sln32", "sln44", "sln48", "raw"), 2),
    "ulaw": 1,
    "alaw": 1,
}
#: What digital silence is, byte for byte: MixMonitor writes it while it is muted, and phones that send none send it.
SILENCE: Final = {**dict.fromkeys(STORED, 0x00), "ulaw": 0xFF, "alaw": 0xD5}


def _ulaw(code: int) -> int:
    code = ~code & 0xFF
    size = (((code & 0x0F) << 3) + 0x84) << ((code & 0x70) >> 4)
    return 0x84 - size if code & 0x80 else size - 0x84


def _alaw(code: int) -> int:
    code ^= 0x55
    size, segment = (code & 0x0F) << 4, (code & 0x70) >> 4
    size += 8 if segment == 0 else 0x108
    size <<= max(0, segment - 1)
    return size if code & 0x80 else -size


def _halves(expand: list[int]) -> tuple[bytes, bytes]:
    """Two translation tables: the low and the high byte of each code's sample."""
    words = [value & 0xFFFF for value in expand]
    return bytes(word & 0xFF for word in words), bytes(word >> 8 for word in words)


_TABLES: Final = {
    "ulaw": _halves([_ulaw(code) for code in range(256)]),
    "alaw": _halves([_alaw(code) for code in range(256)]),
}


def headerless(codec: str) -> bool:
    """Whether a byte's place in the capture says its time, so that a range of seconds is a range of bytes."""
    return codec in STORED


@dataclass(frozen=True, slots=True)
class Sound:
    """What a segment's plaintext is: `codec` by Asterisk's name, `rate` in Hz, `channels` 1 or 2.

    Raises WavError `vault.codec` where the codec is not headerless, `vault.wav` for an impossible rate or channels.
    """

    codec: str
    rate: int
    channels: int

    def __post_init__(self) -> None:
        if self.codec not in STORED:
            raise WavError("vault.codec", f"no decoder is known for {self.codec!r}")
        if self.rate <= 0 or self.channels not in (1, 2):
            raise WavError("vault.wav", f"no recording has {self.channels} channels at {self.rate} Hz")

    @property
    def frame(self) -> int:
        """Stored bytes of one sample of all channels."""
        return STORED[self.codec] * self.channels

    @property
    def decoded_frame(self) -> int:
        """Decoded bytes of the same."""
        return WIDTH * self.channels


class Decoder:
    """Decodes one segment, piece by piece, to little-endian 16-bit PCM. A frame may lie across two pieces."""

    def __init__(self, sound: Sound) -> None:
        self._sound = sound
        self._rest = b""

    def feed(self, data: bytes) -> bytes:
        """The whole frames that are there now. A half frame at the segment's end is never released: nobody has the rest."""
        data = self._rest + data if self._rest else data
        whole = len(data) - len(data) % self._sound.frame
        self._rest = data[whole:]
        return expand(self._sound.codec, data[:whole] if whole != len(data) else data)


def expand(codec: str, data: bytes) -> bytes:
    """Samples of a headerless codec as 16-bit PCM, little endian."""
    tables = _TABLES.get(codec)
    if tables is None:
        return data
    samples = bytearray(WIDTH * len(data))
    samples[0::2], samples[1::2] = data.translate(tables[0]), data.translate(tables[1])
    return bytes(samples)
