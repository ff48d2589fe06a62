"""The journal's rows about orders that cover many calls. Durability as in `edge.ports.journal`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

from edge.model.entities import ReceiptRow
from edge.model.finds import Find, Match


class FindBook(Protocol):
    """What an order about a person or a policy found (docs/spec/erasure.md), and copies that were given out."""

    async def take_order(self, jti: str, jws: str, at: str, slot: int | None) -> bool:
        """Store an order that was carried by hand (state `received`); audit `order.received`. `slot`: where the opening of
        its person lies, already synced. False when the order is known: then the slot is named by no row."""
        ...

    async def opening_slot(self, jti: str) -> int | None:
        """Where the opening of an order's person lies; None for none, or once it is wiped."""
        ...

    async def calls_of_person(
        self, e164: str, digest: str | None, same: Callable[[str], bool], as_of: str
    ) -> Sequence[str]:
        """Calls that began by `as_of` and in which the number takes part, oldest first: by its E.164 form, by its HMAC
        (`digest`) where only that is left, or where `same` says so of what was heard. Anonymous calls have no number."""
        ...

    async def calls_of_policy(self, policy_id: str, as_of: str) -> Sequence[str]:
        """Calls under a policy that began by `as_of` and are not anonymous, oldest first."""
        ...

    async def matches(self, call_ids: Sequence[str]) -> Sequence[Match]: ...

    async def begin_many(
        self, jti: str, call_ids: Sequence[str], *, at: str, shred_at: str, due_at: str, receipt: ReceiptRow
    ) -> None:
        """Order `executing` until `due_at`, calls restricted, receipt; audit `order.begun`, `call.restricted` of each. One
        commit; repeats do nothing."""
        ...

    async def add_finds(
        self, jti: str, call_ids: Sequence[str], *, at: str, shred_at: str, receipt: ReceiptRow
    ) -> None:
        """Further calls, restricted, with a receipt that says so. One commit; repeats do nothing."""
        ...

    async def finds(self, jti: str) -> Sequence[Find]: ...
    async def find_waits(self, jti: str, call_id: str, why: str, receipt: ReceiptRow) -> None:
        """A find that something holds, and the receipt that says so. One commit."""
        ...

    async def find_done(self, jti: str, call_id: str) -> None:
        """The call becomes anonymous and the find `done`. One commit. Raises journal.conflict while it has audio."""
        ...

    async def end_many(self, receipts: Sequence[ReceiptRow]) -> Sequence[int]:
        """Last words: each order `answered`, its opening named by no row any more, what still waits left alone; audit
        `order.answered`. One commit. Returns the slots to release."""
        ...

    async def forget_person(self, digest: str) -> int:
        """Delete what is remembered of a number; audit `answers.erased`. Returns how many answers."""
        ...

    async def restricted_by(self, recording_id: str) -> str | None:
        """The order that waits to destroy this recording, None for none."""
        ...

    async def share_of(self, call_ids: Sequence[str], since: str) -> tuple[int, int, int]:
        """(recordings with audio of these calls; recordings ordered to go since then: erased or restricted; recordings
        there were)."""
        ...

    async def note_locate(self, at: str, since: str, limit: int) -> bool:
        """Count a search for a person. False, and nothing is counted, when there were `limit` since then."""
        ...

    async def note_exported(self, recording_id: str, form: str, purpose: str) -> None:
        """A copy was made outside the vault."""
        ...

    async def exports_of(self, recording_id: str) -> Sequence[dict[str, Any]]:
        """at form purpose of each copy, oldest first."""
        ...

    async def not_exported(self, call_ids: Sequence[str]) -> int:
        """How many recordings with audio of these calls no copy was made of."""
        ...
