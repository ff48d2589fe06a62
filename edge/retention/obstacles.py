"""What stands in the way of an erasure, whoever wants it: a hold, or a duty to keep. One answer for all who ask."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from edge.model.entities import RecordingRow
from edge.model.kept import KeptRecording
from edge.retention.holding import Holding
from edge.retention.schedule import Facts, obstacle
from edge.retention.sight import Sight
from edge.retention.terms import TermsBook


class Obstacles:
    """Reads the facts and asks `edge.retention.schedule.obstacle`. Raises CallwardenError journal.*, vault.*."""

    def __init__(self, sight: Sight, holding: Holding, terms: TermsBook) -> None:
        self._sight = sight
        self._holding = holding
        self._terms = terms

    async def of_recording(self, recording: RecordingRow) -> str | None:
        """Why it must not go now, in a sentence; None when it may."""
        await self._holding.cover([recording.call_id])
        holds = await self._sight.journal.holds_on(recording.recording_id, recording.call_id)
        row = await self._sight.journal.kept_recording(recording.recording_id)
        return await self._judge(row, holds)

    async def of_call(self, call_id: str) -> str | None:
        """Why nothing of a call may be erased or made anonymous now: a hold on it, on a person on it or on any recording of
        it, or a recording that must be kept; None when it may."""
        await self._holding.cover([call_id])
        kept = (await self._sight.journal.holds_on_calls([call_id])).get(call_id, ())
        holds = [one.removeprefix("under hold: ") for one in kept if one.startswith("under hold: ")]
        if holds:
            return await self._judge(None, holds)
        call = await self._sight.journal.call(call_id)
        for recording_id in call.recordings if call is not None else ():
            row = await self._sight.journal.kept_recording(recording_id)
            if row is not None and (why := await self._judge(row, ())) is not None:
                return why
        return None

    async def _judge(self, row: KeptRecording | None, holds: Sequence[str]) -> str | None:
        sentence = (f"under hold: {'; '.join(holds)}",) if holds else ()
        if row is None:
            return obstacle(Facts("recordings", None, holds=sentence), self._sight.clock.wall())
        standing = await self._terms.standing(row.policy_id)
        facts = Facts(
            "recordings",
            datetime.fromisoformat(row.ended_at or row.started_at),
            outcome=row.outcome,
            purposes=row.purposes,
            recorded=await self._terms.recorded(row.policy_id, row.policy_version),
            # A duty of today holds whether or not somebody approved what else changed with it.
            today=self._sight.terms_of(row.policy_id) or standing.today,
            house=self._sight.house(),
            holds=sentence,
        )
        return obstacle(facts, self._sight.clock.wall())
