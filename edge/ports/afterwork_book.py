"""The journal's part in what is done with a closed segment."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from edge.model.entities import Compacted, SegmentRow


class AfterworkBook(Protocol):
    """Rows of closed segments that learn something more."""

    async def set_loudest(self, segment_id: str, loudest: Sequence[int]) -> bool:
        """The highest peak of each channel (`formats.waveform`); false when the segment was removed meanwhile."""
        ...

    async def compact_segment(self, made: Compacted) -> int | None:
        """In one commit the segment is what `made` says, its new header counts and the old one names no key; audit
        `segment.compacted`, outbox `segment.closed`. Returns the old slot, which no row names any more (`Slots.release`
        follows), or None when nothing was changed because the segment or recording goes."""
        ...

    async def compacted(self, segment_id: str) -> bool:
        """Its files lie under its own name now; false when the segment was removed meanwhile."""
        ...

    async def staged_segments(self) -> Sequence[SegmentRow]:
        """Segments of recordings that are over, but not erased, whose files still lie under another name."""
        ...
