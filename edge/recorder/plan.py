"""Which bytes of a capture become which chunks: the arithmetic of sealing, pure.

A chunk is sealed as not last only when at least one byte after it exists, because an empty last chunk is refused by
every age implementation (C2SP age, "Payload"). After its last chunk a segment takes no more bytes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

#: Plaintext bytes of a whole chunk (C2SP age v1).
CHUNK: Final = 65536
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
    """The slices of one tick. `rotate`: the segment is full and its next whole chunk must be its last."""

    slices: tuple[Slice, ...]
    rotate: bool = False


def segment_chunks(byte_rate: int) -> int:
    """How many chunks a segment of `byte_rate` bytes per second may have (at least one)."""
    return max(1, SEGMENT_SECONDS * byte_rate // CHUNK)


def plan(*, spool_offset: int, chunks: int, size: int, closing: bool, limit: int) -> Plan:
    """What to seal now of a segment that began at `spool_offset` and has `chunks` whole chunks sealed.

    `size` is the spool file's length; `closing` says that nobody writes to it any more; `limit` is `segment_chunks`.
    With `closing` the last slice carries the last flag unless the segment has to rotate first (then call again with
    the next segment). An empty capture gives no slices. Raises ValueError when the spool is shorter than what is sealed.
    """
    start = spool_offset + chunks * CHUNK
    left = size - start
    if left < 0:
        raise ValueError(f"the spool file has {size} bytes but {start} were sealed from it")
    slices: list[Slice] = []
    index = chunks
    while left > CHUNK:
        if index == limit - 1:
            slices.append(Slice(index, start, CHUNK, True))
            return Plan(tuple(slices), rotate=True)
        slices.append(Slice(index, start, CHUNK, False))
        index, start, left = index + 1, start + CHUNK, left - CHUNK
    if closing and left > 0:
        slices.append(Slice(index, start, left, True))
    return Plan(tuple(slices))
