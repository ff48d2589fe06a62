"""What is kept, in pages, each with its moment: read from the journal, judged by `edge.retention.schedule`."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from datetime import datetime

from edge.consent.retention import Retention
from edge.model.kept import KeptCall, KeptRecording
from edge.retention.approval import Terms, approved_then
from edge.retention.holding import Holding
from edge.retention.schedule import Due, Facts, Kind, cannot_be_due_after, due
from edge.retention.sight import Sight
from edge.retention.terms import Standing, TermsBook
from formats.ids import format_time


class Kept:
    """Walks over what there is of one policy version. Raises CallwardenError journal.*, vault.*."""

    def __init__(self, sight: Sight, holding: Holding, terms: TermsBook) -> None:
        self._sight = sight
        self._holding = holding
        self._terms = terms

    async def recordings(
        self, policy_id: str, version: str, standing: Standing, now: datetime, *, all_of_them: bool = False
    ) -> AsyncIterator[Sequence[tuple[KeptRecording, Due]]]:
        """Pages of recordings that may be due at `now`, or of all there are."""
        recorded = await self._terms.recorded(policy_id, version)
        approved = _Approved(recorded, standing, policy_id)
        before = self._before("recordings", recorded, standing, now, all_of_them)
        after: tuple[str, int] | None = ("", 0)
        while after is not None:
            rows, after = await self._sight.journal.kept_recordings(policy_id, version, before=before, after=after)
            facts = [(row, _of_recording(row, recorded, standing, approved)) for row in rows]
            judged = [(row, due(fact)) for row, fact in facts]
            over = {row.recording_id for row, one in judged if one.at is not None and one.at <= now}
            await self._holding.cover([row.call_id for row in rows if row.recording_id in over])
            page = []
            for row, one in judged:
                held = await self._held(row) if row.recording_id in over else ()
                page.append((row, Due(one.at, one.why, held) if held else one))
            yield page

    async def _held(self, row: KeptRecording) -> tuple[str, ...]:
        journal = self._sight.journal
        holds = await journal.holds_on(row.recording_id, row.call_id)
        limits = await journal.restrictions_on(row.recording_id, row.call_id)
        return (*(f"under hold: {one}" for one in holds), *(f"restricted: {one}" for one in limits))

    async def calls(
        self, policy_id: str, version: str, standing: Standing, now: datetime, kinds: Sequence[Kind], *,
        all_of_them: bool = False,
    ) -> AsyncIterator[Sequence[tuple[KeptCall, Kind, Due]]]:  # fmt: skip
        """Pages of what calls consist of besides audio, of these classes."""
        recorded = await self._terms.recorded(policy_id, version)
        approved = _Approved(recorded, standing, policy_id)
        before = max(self._before(kind, recorded, standing, now, all_of_them) for kind in kinds)
        after: tuple[str, int] | None = ("", 0)
        only = kinds[0] if not all_of_them else None
        while after is not None:
            rows, after = await self._sight.journal.kept_calls(
                policy_id, version, before=before, after=after, kind=only
            )
            ids = [row.call_id for row in rows]
            await self._holding.cover(ids)
            holds = await self._sight.journal.holds_on_calls(ids)
            yield [
                (row, kind, due(_of_call(kind, row, recorded, standing, approved, tuple(holds.get(row.call_id, ())))))
                for row in rows
                for kind in kinds
                if _has(row, kind)
            ]

    @staticmethod
    def _before(kind: Kind, recorded: Retention | None, standing: Standing, now: datetime, all_of_them: bool) -> str:
        if all_of_them or recorded is None:
            return "9999"
        then = [recorded, *(one.terms.policy for one in standing.approvals if one.terms is not None)]
        facts = [Facts(kind, now, recorded=one, today=standing.today, house=standing.house) for one in then]
        return format_time(max(cannot_be_due_after(one, now) for one in facts))


def _has(row: KeptCall, kind: Kind) -> bool:
    match kind:
        case "evidence":
            return row.evidence != "expired" and not row.no
        case "refusals":
            return row.evidence != "expired" and row.no
        case "metadata":
            return row.named
        case "notices":
            return row.notices > 0
    return True


def _of_recording(row: KeptRecording, recorded: Retention | None, standing: Standing, approved: _Approved) -> Facts:
    facts = Facts(
        "recordings",
        None if row.ended_at is None else datetime.fromisoformat(row.ended_at),
        outcome=row.outcome,
        purposes=row.purposes,
        recorded=recorded,
        today=standing.today,
        house=standing.house,
    )
    return approved(facts, row.call_seq)


def _of_call(
    kind: Kind, row: KeptCall, recorded: Retention | None, standing: Standing, approved: _Approved,
    holds: tuple[str, ...],
) -> Facts:  # fmt: skip
    first = ["audio"] if row.audio and kind != "notices" else []
    if kind == "statistics" and row.evidence != "expired":
        first.append("evidence")
    if kind == "statistics" and row.copies:
        first.append("the list of its copies")
    if kind == "statistics" and row.adopted:
        first.append("the mark that its file was taken over")
    facts = Facts(
        kind,
        datetime.fromisoformat(row.ended_at),
        outcome=row.outcome,
        recorded=recorded,
        today=standing.today,
        house=standing.house,
        stands_on_it=tuple(first),
        holds=holds,
    )
    return approved(facts, row.seq)


class _Approved:
    """Says of facts whether the terms of then count as approved; `()`: for a call by its seq."""

    def __init__(self, recorded: Retention | None, standing: Standing, policy_id: str) -> None:
        self._recorded = recorded
        self._approvals = standing.approvals
        self._scope = policy_id
        self._known: dict[int, Terms | None] = {}

    def __call__(self, facts: Facts, call_seq: int) -> Facts:
        if self._recorded is None:
            return facts
        before = bisect_left(self._approvals, call_seq, key=lambda one: one.last_call)
        if before not in self._known:
            self._known[before] = approved_then(self._approvals, before, self._recorded, self._scope)
        instead = self._known[before]
        return facts if instead is None else replace(facts, unapproved=True, approved=instead.policy)
