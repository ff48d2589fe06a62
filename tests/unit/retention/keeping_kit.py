"""Calls and recordings of a real policy that ended at a given time, and clocks that are set by hand."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from edge.consent.policy import Policy
from edge.consent.retention import Retention
from edge.model.entities import NewCall, NewRecording
from formats.ids import format_time
from tests.unit.retention.retention_kit import Place
from tests.unit.store import store_makers as makers

#: A day on which nothing is special.
NOON = datetime(2026, 6, 15, 12, tzinfo=UTC)


class Hands:
    """A clock that shows what it is told; `sleep` moves both hands, `jump` the wall's alone."""

    def __init__(self, at: datetime = NOON) -> None:
        self.at = at
        self.ns = 7_000_000_000

    def wall(self) -> datetime:
        return self.at

    def wall_text(self) -> str:
        return format_time(self.at)

    def mono_ns(self) -> int:
        return self.ns

    def sleep(self, span: timedelta) -> None:
        self.at += span
        self.ns += round(span.total_seconds() * 1e9)

    def jump(self, span: timedelta) -> None:
        self.at += span


def policy(**terms: object) -> Policy:
    return Policy(
        name="support", mode="opt_in", basis="consent", purposes=("quality", "evidence"),
        retention=Retention(**terms),  # type: ignore[arg-type]
    )  # fmt: skip


async def talked(
    place: Place, ended: datetime, terms: Policy, *, outcome: str = "refused", number: str = makers.NUMBER
) -> NewCall:
    """A call that was not recorded."""
    call = _call(terms, number)
    await place.journal.open_call(call)
    event = replace(makers.event(outcome, call.party_id), at_wall=format_time(ended))
    await place.journal.add_event(call.call_id, event, state="declined", outcome=outcome)
    await place.journal.end_call(call.call_id, format_time(ended))
    return call


async def kept(
    place: Place, ended: datetime | None, terms: Policy, *, purposes: tuple[str, ...] = ("quality",),
    number: str = makers.NUMBER,
) -> NewRecording:  # fmt: skip
    """A sealed recording; its call goes on where `ended` is None."""
    call = _call(terms, number)
    await place.journal.open_call(call)
    new = makers.recording(call.call_id, await place.slots.put(bytes(32)))
    await place.journal.grant(call.call_id, makers.event("given", call.party_id), new.permit_id, purposes, new)
    place.vault.create(new.recording_id, new.segment.segment_id)
    place.vault.append(new.recording_id, new.segment.segment_id, 0, b"sealed")
    for state in ("recording", "closing"):
        await place.journal.set_recording_state(new.recording_id, state)
    await place.journal.close_segment(makers.closed(new, 2))
    await place.journal.seal_recording(
        new.recording_id, ending="complete", frames=32768, ended_at=makers.AT, manifest="m.a.n"
    )
    if ended is not None:
        await place.journal.end_call(call.call_id, format_time(ended))
    return new


def _call(terms: Policy, number: str) -> NewCall:
    document = terms.document
    return makers.call(
        policy_id=terms.name, policy_document=document, policy_version=hashlib.sha256(document.encode()).hexdigest(),
        number_heard=number, number_e164=number if number.startswith("+") else None,
    )  # fmt: skip
