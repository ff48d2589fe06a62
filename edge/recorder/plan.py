"""Which bytes of a capture become which chunks: the arithmetic of sealing, pure.

The suite says what a last chunk looks like. In `age1` it may be whole and must not be empty, so a chunk is sealed as not
last only when at least one byte after it exists (C2SP age, "Payload"). In `aes256gcm` it is shorter than a whole one, so a
whole chunk is never the last, and an empty one ends a segment whose bytes end at a chunk's end. After its last chunk a
segment takes no more bytes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from formats.suites import Suite

#: A segment lasts 15 minutes at most, so that one lost resume key or one damaged payload costs no more than that.
SEGMENT_SECONDS: Final = 15 * 60


@dataclass(frozen=True, slots=True)
class Slice:
    """Plaintext bytes [offset, offset + length) of the spool file, to be sealed as chunk `index`."""

    index: int
    offset: int
    length: int
    last: bool


@dataclass(frozen=True, slots=True)
class Plan:
    """The slices of one tick. `rotate`: the segment is full, its last slice ends it, and bytes of the next are there."""

    slices: tuple[Slice, ...]
    rotate: bool = False


def segment_chunks(byte_rate: int, chunk: int) -> int:
    """How many chunks of `chunk` bytes a segment of `byte_rate` bytes per second may have (at least one)."""
    return max(1, SEGMENT_SECONDS * byte_rate // chunk)


def plan(suite: Suite, *, spool_offset: int, chunks: int, size: int, closing: bool, limit: int) -> Plan:
    """What to seal now of a segment of `suite` that began at `spool_offset` and has `chunks` whole chunks sealed.

    `size` is the spool file's length; `closing` says that nobody writes to it any more; `limit` is `segment_chunks`.
    With `closing` the last slice carries the last flag unless the segment has to rotate first (then call again with
    the next segment). An empty capture gives no slices. Raises ValueError when the spool is shorter than what is sealed.
    """
    whole = suite.chunk
    start = spool_offset + chunks * whole
    left = size - start
    if left < 0:
        raise ValueError(f"the spool file has {size} bytes but {start} were sealed from it")
    slices: list[Slice] = []
    index = chunks
    while left > whole or (left == whole and suite.short_last):
        if index == limit - 1 and not suite.short_last:
            slices.append(Slice(index, start, whole, True))
            return Plan(tuple(slices), rotate=True)
        if index == limit:
            break
        slices.append(Slice(index, start, whole, False))
        index, start, left = index + 1, start + whole, left - whole
    if index == limit and left > 0:
        slices.append(Slice(index, start, 0, True))
        return Plan(tuple(slices), rotate=True)
    if closing and (left > 0 or (index > 0 and suite.short_last)):
        slices.append(Slice(index, start, left, True))
    return Plan(tuple(slices))
