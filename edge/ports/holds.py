"""The journal's rows about holds and restrictions. Durability as in `edge.ports.journal`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from edge.model.holds import HoldRow


class HoldBook(Protocol):
    """What must be kept, and what may not be read (docs/retention.md)."""

    async def place_hold(self, hold: HoldRow, covers: Sequence[str] = ()) -> HoldRow:
        """Store it; `covers`: calls of a person known so far. Audit `hold.placed` or `restriction.placed`. One with this id
        is returned as it is. Raises command.too_late for a recording that is erased or being erased, journal.unknown for a
        recording or call that is not there."""
        ...

    async def release_hold(self, hold_id: str, by: Sequence[str], at: str) -> HoldRow:
        """`by`: who asks, one or two. The first is noted (audit `hold.release_asked`); a second who is somebody else
        releases (audit `hold.released`). A released one is returned as it is. Raises journal.unknown,
        command.same_person."""
        ...

    async def hold(self, hold_id: str) -> HoldRow | None: ...
    async def holds(self, *, released: bool = False) -> Sequence[HoldRow]:
        """The open ones, or all; the oldest first."""
        ...

    async def holds_on(self, recording_id: str, call_id: str) -> Sequence[str]:
        """Reasons of the open holds that cover this recording, by itself, its call or a person on it (empty: none)."""
        ...

    async def restrictions_on(self, recording_id: str, call_id: str) -> Sequence[str]:
        """Reasons of the restrictions in force, likewise."""
        ...

    async def holds_on_calls(self, call_ids: Sequence[str]) -> Mapping[str, Sequence[str]]:
        """Call to the reasons of open holds and restrictions that keep anything of it, of a recording too."""
        ...

    async def person_holds(self) -> Sequence[tuple[str, str, int]]:
        """(hold_id, HMAC, calls looked at up to this seq) of the open ones about persons."""
        ...

    async def people_of(self, call_ids: Sequence[str]) -> Sequence[tuple[str, str | None, str | None, str | None]]:
        """(call_id, number heard, number in E.164, HMAC) of everybody on these calls who has any."""
        ...

    async def calls_after(self, seq: int, limit: int) -> Sequence[tuple[int, str, bool]]:
        """(seq, call_id, ended), the oldest first."""
        ...

    async def cover(self, found: Sequence[tuple[str, str]], looked: Mapping[str, int]) -> None:
        """`found`: (hold_id, call_id) pairs; `looked`: hold to the seq up to which its calls are known. Repeats do nothing."""
        ...
