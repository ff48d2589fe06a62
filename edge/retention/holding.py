"""Holds and restrictions: placed and released, and which calls a person's cover.

A person is known by an HMAC of their number under this edge's key. Which calls that are is found by computing the HMACs of
the numbers on calls: of all there are when a hold is placed, of later ones by the executor's passes, and once more of a
call about which something is decided. So a call that came a moment ago is covered too.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from typing import Final

from edge.consent.numbers import comparable, e164
from edge.errors import CallwardenError
from edge.failpoints import hit
from edge.model.holds import HOLD_SCOPES, HoldRow
from edge.retention.sight import Sight

#: Calls whose numbers are computed between two looks at the loop; a HMAC costs some microseconds.
PAGE: Final = 200
#: Longest reason and label, characters.
LONGEST: Final = 500


class Holding:
    """Raises CallwardenError journal.*, vault.*, command.*, usage.*, not_found.*."""

    def __init__(self, sight: Sight) -> None:
        self._sight = sight

    async def person(self, number: str) -> str:
        """The HMAC that stands for a number in any spelling. Raises usage.number."""
        spelled = comparable(number, self._sight.country())
        if not spelled or self._sight.hasher is None:
            raise CallwardenError(
                "usage.number", "that is no telephone number", hint='for example "+420 555 100 200" or "1001"'
            )
        return (await self._sight.hasher())(spelled)

    async def place(
        self, *, kind: str, scope: str, target: str, reason: str, by: str, case: str | None = None, label: str = "",
        hold_id: str | None = None,
    ) -> HoldRow:  # fmt: skip
        """One that is in force when this returns. `target`: id of a recording or call, of a person the number in any
        spelling. Raises usage.*, not_found.recording, not_found.call, command.too_late."""
        if scope not in HOLD_SCOPES:
            raise CallwardenError("usage.scope", f"a hold is about one of: {', '.join(HOLD_SCOPES)}", where="scope")
        for name, text in (("reason", reason), ("label", label), ("case", case or "")):
            if len(text) > LONGEST or (name == "reason" and not text.strip()):
                raise CallwardenError(f"usage.{name}", f"a {name} has 1 to {LONGEST} characters", where=name)
        number = e164(label, self._sight.country()) if label else None
        if number is not None:
            raise CallwardenError("usage.label", "a label must not be a telephone number", where="label")
        meant = await self.person(target) if scope == "person" else target
        row = HoldRow(
            hold_id or secrets.token_hex(16), kind, scope, meant, reason, case, by, self._sight.clock.wall_text(), label
        )
        try:
            placed = await self._sight.journal.place_hold(row)
        except CallwardenError as error:
            if error.code != "journal.unknown":
                raise
            raise CallwardenError(f"not_found.{scope}", f"there is no such {scope}", where=target) from error
        hit("hold.placed")
        if scope == "person":
            await self.look()
        return await self._sight.journal.hold(placed.hold_id) or placed

    async def release(self, hold_id: str, by: Sequence[str]) -> HoldRow:
        """Ask for the release, or complete it. Raises not_found.hold, command.same_person."""
        try:
            row = await self._sight.journal.release_hold(hold_id, by, self._sight.clock.wall_text())
        except CallwardenError as error:
            if error.code != "journal.unknown":
                raise
            raise CallwardenError(
                "not_found.hold", "there is no such hold", where=hold_id, hint="callwarden hold list shows them"
            ) from error
        hit("hold.released")
        return row

    async def cover(self, call_ids: Sequence[str]) -> None:
        """Find out whether a person under a hold is on these calls, before something is decided about them."""
        holds = await self._sight.journal.person_holds()
        if holds:
            await self._match(holds, call_ids, None)

    async def look(self) -> None:
        """Calls that came since the last look. While one goes on somebody may join it: it is looked at again."""
        holds = await self._sight.journal.person_holds()
        if not holds:
            return
        mark = settled = min(seq for _, _, seq in holds)
        all_ended = True
        while rows := await self._sight.journal.calls_after(mark, PAGE):
            mark = rows[-1][0]
            for number, _, ended in rows:
                all_ended = all_ended and ended
                settled = number if all_ended else settled
            await self._match(holds, [call_id for _, call_id, _ in rows], settled)

    async def _match(self, holds: Sequence[tuple[str, str, int]], calls: Sequence[str], settled: int | None) -> None:
        if self._sight.hasher is None:
            return
        digest, country = await self._sight.hasher(), self._sight.country()
        found = set()
        for call_id, heard, number, known in await self._sight.journal.people_of(calls):
            spelled = {text for text in (number, comparable(heard or "", country)) if text}
            theirs = {known, *(digest(text) for text in spelled)}
            found |= {(hold_id, call_id) for hold_id, target, _ in holds if target in theirs}
        looked = {hold_id: settled for hold_id, _, seq in holds if settled is not None and settled > seq}
        if found or looked:
            await self._sight.journal.cover(sorted(found), looked)
