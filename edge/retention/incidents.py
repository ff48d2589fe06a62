"""Segments that are destroyed after an incident: what follows the recorder's intent, in the write order `shred`.

Keys overwritten here and read back; the same at central's keeper, once central has heard of the segment; the payload
unlinked; one commit that names no key any more. Every step may be repeated, and what central cannot do now waits.
"""

from __future__ import annotations

from functools import partial

import structlog

from edge.errors import CallwardenError
from edge.failpoints import hit
from edge.model.entities import RecordingRow, SegmentRow
from edge.retention.means import Means

log = structlog.get_logger("retention")


class Incidents:
    """Makes segments go for good."""

    def __init__(self, means: Means) -> None:
        self._means = means

    async def once(self) -> None:
        """All that is unfinished. Raises CallwardenError vault.*, sync.*, journal.* of the last that failed."""
        failed: CallwardenError | None = None
        for row in await self._means.journal.shredding():
            try:
                await self._finish(row)
            except CallwardenError as error:
                failed = error
        if failed is not None:
            raise failed

    async def _finish(self, row: SegmentRow) -> None:
        means, slot = self._means, row.header.slot
        await means.slots.shred([slot])
        if means.keeper is not None:
            # What is on its way to central may carry the key: the keeper is asked when it has arrived.
            if not await means.journal.segment_reported(row.segment_id):
                return
            await means.keeper.shred_keys(row.recording_id, [row.header.key_id.hex()])
        hit("shred.keeper_answered")
        # Of a compacted one that was not renamed yet, or is right now: under the staged name first, or it slips through.
        for name in dict.fromkeys((RecordingRow.payload_of(row), row.segment_id)):
            await means.in_worker(partial(means.vault.unlink_segment, row.recording_id, name))
        hit("shred.unlinked")
        await means.journal.finish_shred(row.segment_id)
        hit("shred.finished")
        await means.slots.release([slot])
        log.info("a segment was removed after an incident", recording=row.recording_id, segment=row.number)
