"""The waveform of a segment: one peak per 100 ms and channel, small enough to draw a call without its audio. Pure.

It says when somebody spoke and how loudly, so it is sealed as the audio is: under a key made from the segment's file key.
Who can open the segment can open its waveform, and when the segment's key is destroyed, so is this (docs/spec/waveform.md).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from formats import canonical
from formats.errors import SealError
from formats.pcm import STORED, expand

TYPE: Final = "callwarden-waveform/v1"
#: Peaks a second and channel.
PER_SECOND: Final = 10
#: The highest peak: |sample| / 256, rounded down.
TOP: Final = 127
NONCE: Final = 12
_HEAD: Final = struct.Struct(">4sBBI")
_MAGIC: Final = b"CWW1"
_INFO: Final = b"callwarden/waveform/v1"
#: A segment lasts 15 minutes at most: 9000 peaks of two channels, and what a clock's rounding adds.
MAX_BYTES: Final = 20_000


@lru_cache(maxsize=3)
def _levels(codec: str) -> bytes:
    """A translation table: the byte that decides (of linear samples the high one) to its peak."""
    if STORED[codec] == 2:
        return bytes(high if high < 128 else 255 - high for high in range(256))
    return bytes(high if high < 128 else 255 - high for high in expand(codec, bytes(range(256)))[1::2])


@dataclass(frozen=True, slots=True)
class Peaks:
    """The peaks of a segment as far as it goes. `values`: whole tenths of a second, channels interleaved; `rest`: captured
    bytes behind them. Frozen: what was sealed but not committed is not in the next try."""

    codec: str
    rate: int
    channels: int
    values: bytes = b""
    rest: bytes = b""

    def fed(self, data: bytes) -> Peaks:
        """With the captured bytes that come next."""
        data = self.rest + data if self.rest else data
        step = self.rate // PER_SECOND
        whole = len(data) // (step * self._frame)
        end = whole * step * self._frame
        return Peaks(self.codec, self.rate, self.channels, self.values + self._of(data[:end], whole, step), data[end:])

    def all(self) -> bytes:
        """Every peak, that of the last part of a tenth of a second included."""
        step = len(self.rest) // self._frame
        return self.values + (self._of(self.rest[: step * self._frame], 1, step) if step else b"")

    @property
    def loudest(self) -> tuple[int, ...]:
        """The highest peak of each channel; none of a segment without a sample."""
        every = self.all()
        return tuple(max(every[channel :: self.channels]) for channel in range(self.channels)) if every else ()

    @property
    def _frame(self) -> int:
        return STORED[self.codec] * self.channels

    def _of(self, data: bytes, count: int, step: int) -> bytes:
        width, table = STORED[self.codec], _levels(self.codec)
        out = bytearray(count * self.channels)
        for channel in range(self.channels):
            levels = data[channel * width + width - 1 :: self._frame].translate(table)
            out[channel :: self.channels] = bytes(max(levels[n * step : (n + 1) * step]) for n in range(count))
        return bytes(out)


@dataclass(frozen=True, slots=True)
class Waveform:
    """What a reader gets: `values` of `channels`, interleaved, `PER_SECOND` a second, each 0 to TOP."""

    channels: int
    values: bytes

    def side(self, channel: int) -> tuple[int, ...]:
        """The peaks of one channel."""
        return tuple(self.values[channel :: self.channels])


def seal(peaks: Peaks, *, suite: str, file_key: bytes, nonce: bytes, recording_id: str, segment_id: str) -> bytes:
    """Nonce (12 random bytes), then the AEAD of the suite's own cipher. Raises ValueError on a nonce of another length."""
    if len(nonce) != NONCE:
        raise ValueError("a nonce is 12 bytes")
    plain = _HEAD.pack(_MAGIC, peaks.channels, PER_SECOND, len(peaks.all())) + peaks.all()
    return nonce + _cipher(suite, file_key).encrypt(nonce, plain, _bound_to(recording_id, segment_id))


def unseal(sealed: bytes, *, suite: str, file_key: bytes, recording_id: str, segment_id: str) -> Waveform:
    """Raises SealError `vault.waveform` where it belongs to another segment or key, or is malformed."""
    wrong = SealError("vault.waveform", "the waveform does not open: it belongs elsewhere, or was altered")
    if len(sealed) > MAX_BYTES:
        raise wrong
    try:
        plain = _cipher(suite, file_key).decrypt(sealed[:NONCE], sealed[NONCE:], _bound_to(recording_id, segment_id))
    except (InvalidTag, ValueError) as error:
        raise wrong from error
    if len(plain) < _HEAD.size:
        raise wrong
    magic, channels, per_second, count = _HEAD.unpack_from(plain)
    values = plain[_HEAD.size :]
    right = magic == _MAGIC and per_second == PER_SECOND and channels in (1, 2) and count == len(values)
    if not right or count % channels or (values and max(values) > TOP):
        raise wrong
    return Waveform(channels, values)


def _cipher(suite: str, file_key: bytes) -> AESGCM | ChaCha20Poly1305:
    key = HKDF(algorithm=SHA256(), length=32, salt=None, info=_INFO).derive(file_key)
    return AESGCM(key) if suite == "aes256gcm" else ChaCha20Poly1305(key)


def _bound_to(recording_id: str, segment_id: str) -> bytes:
    return canonical.dumps({"recording_id": recording_id, "segment_id": segment_id, "type": TYPE})
