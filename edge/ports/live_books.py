"""The journal's rows about live calls, remembered answers and text notices. Durability as in `edge.ports.journal`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from edge.model.entities import ConsentEvent, ReceiptRow
from edge.model.live import Actor, AnswerRow, DueErasure, NewParty, NoticeCall, NoticeRow, PartyRow, PauseRow


class LiveBook(Protocol):
    """Parties, pauses, flags, withdrawal."""

    async def add_party(self, party: NewParty) -> None:
        """Party and leg; audit `party.joined`. A channel that is already a leg of this call only becomes present again."""
        ...

    async def set_standing(self, party_id: str, standing: str) -> None:
        """After this party answered; audit. A further party that is `refused` keeps no number: it goes in the same commit."""
        ...

    async def leg_left(self, channel_uid: str, at: str) -> None:
        """No audit; unknown legs do nothing."""
        ...

    async def parties(self, call_id: str) -> Sequence[PartyRow]: ...

    async def open_pause(self, pause: PauseRow) -> PauseRow:
        """Audit `pause.opened`. While one of the same call and reason is open that one is returned, unchanged. A call that
        has ended gets none: the pause comes back closed and nothing is stored."""
        ...

    async def close_pause(self, pause_id: str, at: str, by: Actor) -> None:
        """Audit `pause.closed`. Repeats do nothing."""
        ...

    async def open_pauses(self) -> Sequence[PauseRow]:
        """Of calls that have not ended."""
        ...

    async def pauses(self, call_id: str) -> Sequence[PauseRow]: ...

    async def set_muted(self, recording_id: str, muted: bool) -> None:
        """capture.muted, and the recording `paused` or `recording`; audit `recording.paused` / `recording.resumed`."""
        ...

    async def withdraw(
        self, call_id: str, event: ConsentEvent, outcome: str, due: Sequence[DueErasure], *, forget: str | None
    ) -> int:
        """One commit: event, the call's outcome, its permits revoked, erasures due, remembered answers of the HMAC
        `forget` revoked; audit, outbox `consent.recorded`. Where `due` has any, a recording of the call that it lacks
        (it began meanwhile) is due as its first. Returns the event's seq."""
        ...

    async def revoked_at(self, call_id: str) -> str | None:
        """When a permit of this call was revoked last, None for never."""
        ...

    async def flag(self, recording_id: str, flag: str, detail: str = "") -> None:
        """One of live.FLAGS; audit `recording.flagged`; repeats do nothing."""
        ...

    async def flags(self, recording_id: str) -> Sequence[tuple[str, str]]: ...

    async def add_due(self, due: DueErasure) -> None: ...
    async def due_erasures(self, now: str) -> Sequence[DueErasure]:
        """Due by `now`, of calls that have ended, and of recordings that are not erased."""
        ...

    async def defer_due(self, recording_id: str, why: str, receipt: ReceiptRow) -> None:
        """What stands in the way (`waits_for`) and the receipt that says so; audit `erasure.deferred`. One commit."""
        ...

    async def due_of(self, recording_id: str) -> DueErasure | None:
        """Of any time and state."""
        ...


class MemoryBook(Protocol):
    """What numbers answered before. Numbers appear only as HMACs."""

    async def memory_slot(self) -> int | None:
        """The slot that holds the key of the HMACs, None before the first one."""
        ...

    async def set_memory_slot(self, slot: int) -> None: ...
    async def remember(self, answers: Sequence[AnswerRow]) -> None:
        """The newest answer of a number, purpose and policy replaces the older one."""
        ...

    async def recall(self, number_hmac: str, policy_id: str) -> Sequence[AnswerRow]:
        """Not revoked, any age."""
        ...

    async def forget(self, number_hmac: str, at: str) -> int:
        """Revoke all answers of a number; returns how many."""
        ...

    async def forget_expired(self, now: str) -> int:
        """Delete rows whose time has passed."""
        ...


class NoticeBook(Protocol):
    """Text messages that are owed."""

    async def unjudged(self, when: str, since: str) -> Sequence[NoticeCall]:
        """Calls whose policy wants a text message at `when` and that have no row for it: permitted ones (`start`), and
        those that ended since."""
        ...

    async def owe_notice(self, notice: NoticeRow) -> bool:
        """False when this call already has one for this moment. Audit `notice.owed`, or `notice.dropped` for a row that
        is made as dropped: the call was judged, and gets none."""
        ...

    async def notices_waiting(self, now: str) -> Sequence[NoticeRow]: ...
    async def notices_made(self, since: str, number_hmac: str | None = None) -> int:
        """How many were sent, are waiting or were tried in vain since then, of one number or of all."""
        ...

    async def notice_done(self, notice_id: str, state: str, at: str, why: str = "") -> None:
        """`sent` or `dropped`: the number is wiped; audit `notice.sent` / `notice.dropped`."""
        ...

    async def notice_failed(self, notice_id: str, due_at: str, why: str) -> None:
        """One more attempt is counted, the next is due then."""
        ...

    async def notices(self, call_id: str) -> Sequence[NoticeRow]: ...
