"""Erasures that come by themselves: after a withdrawal (`stop_and_erase`) or a reported incident, once the call is over, and
when the time of the audio is over.

A hold or a minimum retention that covers the recording is said once, in a receipt `deferred`, and waited for. When it is
gone the recording goes, in the write order `erase`, with a receipt `done`. Both stand on a ground instead of an order.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import structlog

from edge.failpoints import hit
from edge.model.entities import ReceiptRow, RecordingRow
from edge.model.live import DueErasure
from edge.retention.erasure import Destroyed, Eraser
from edge.retention.means import Means
from edge.retention.receipts import Receipts
from formats.orders import Ground
from formats.orders.ground import Cause

log = structlog.get_logger("retention")
_CAUSES: Final[Mapping[str, Cause]] = {"incident": "incident", "retention": "retention"}


class DueErasures:
    """Carries out what is due, and finishes what has an intent and no order."""

    def __init__(self, means: Means, eraser: Eraser, receipts: Receipts) -> None:
        self._means = means
        self._eraser = eraser
        self._receipts = receipts

    async def obstacle(self, recording_id: str) -> str | None:
        """Why it must not go now, in a sentence; None when it may, or is gone."""
        recording = await self._means.journal.recording(recording_id)
        return None if recording is None else await self._eraser.obstacle(recording)

    async def carry_out(self, due: DueErasure) -> None:
        """One that is due. Raises CallwardenError: it is tried again."""
        recording = await self._means.journal.recording(due.recording_id)
        if recording is None or recording.state in ("erasing", "erased"):
            return  # an order was faster, or an intent that is finished anyway
        if (why := await self._eraser.obstacle(recording)) is not None:
            await self._defer(due, recording, why)
            return
        await self._eraser.intend([recording], None, due.cause)
        await self.finish(recording)

    async def finish(self, recording: RecordingRow) -> None:
        """What has an intent and no order: the ground says why. Without one (nobody waits for a receipt) it goes too."""
        due = await self._means.journal.due_of(recording.recording_id)
        if due is None:
            await self._eraser.erase(recording.recording_id, cause="command", jti=None, sign=_nobody)
            return
        ground = ground_of_due(due, recording)

        async def sign(gone: Destroyed) -> ReceiptRow:
            why = {"why": due.why} if due.why else {}
            claims = gone.claims(await self._means.head(), due_at=due.due_at, **why)
            return await self._receipts.of_ground(ground, "done", **claims)

        await self._eraser.erase(recording.recording_id, cause=due.cause, jti=ground.jti, sign=sign)

    async def _defer(self, due: DueErasure, recording: RecordingRow, why: str) -> None:
        filed = await self._means.journal.due_of(due.recording_id)
        if filed is not None and filed.waits_for == why:
            return
        receipt = await self._receipts.of_ground(
            ground_of_due(due, recording), "deferred", at=self._means.clock.wall_text(), reason=why
        )
        await self._means.journal.defer_due(due.recording_id, why, receipt)
        hit("due.deferred")
        log.info("a due erasure waits", recording=due.recording_id, why=why)


def ground_of_due(due: DueErasure, recording: RecordingRow) -> Ground:
    """What the receipts about it stand on."""
    cause: Cause = _CAUSES.get(due.cause, "withdrawal")
    return Ground(cause=cause, call_id=recording.call_id, recording_id=recording.recording_id, event_seq=due.event_seq)


async def _nobody(_: Destroyed) -> None:
    return None
