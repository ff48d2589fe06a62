"""A person as this edge knows them: by a number that an order brought, in a slot, for as long as the order needs it."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from datetime import timedelta
from typing import Any, Final

import msgspec
import structlog

from edge.consent.numbers import same
from edge.errors import CallwardenError
from edge.failpoints import hit
from edge.model.entities import OrderRow
from edge.retention.means import Means
from edge.retention.receipts import Receipts
from formats.errors import FormatError
from formats.ids import format_time
from formats.orders import OrderClaims, Person, Target

log = structlog.get_logger("retention")

#: Searches for a person in an hour: each tells who called, and a stolen key must not try a telephone book.
LOCATES_PER_HOUR: Final = 30
#: Matches that one answer lists.
MOST_MATCHES: Final = 500


class People:
    """Finds a person's calls, in any spelling of the number."""

    def __init__(self, means: Means, receipts: Receipts) -> None:
        self._means = means
        self._receipts = receipts

    async def of_order(self, row: OrderRow, target: Target) -> Person | None:
        """The opening of an order's person, None where it has none, or one of somebody else. Raises CallwardenError
        vault.io: it is tried again."""
        if target.kind != "person" or (slot := await self._means.journal.opening_slot(row.jti)) is None:
            return None
        try:
            return Person.of_document(Person.unpacked(await self._means.slots.read(slot)).document(), target.id)
        except FormatError:
            return None
        except CallwardenError as error:
            if error.code == "vault.slot_shredded":
                return None
            raise

    async def calls(self, person: Person, as_of: str) -> Sequence[str]:
        """Ids of the calls the number takes part in, oldest first."""
        country = self._means.country()
        digest = await self._digest(person)
        return await self._means.journal.calls_of_person(
            person.number, digest, lambda heard: same(heard, person.number, country), as_of
        )

    async def forget(self, person: Person) -> None:
        """Delete what is remembered of the number."""
        if (digest := await self._digest(person)) is not None:
            await self._means.journal.forget_person(digest)

    async def _digest(self, person: Person) -> str | None:
        return None if self._means.digest is None else await self._means.digest(person.number)

    async def scrub(self) -> None:
        """Old pages of the journal go out of its WAL. What fails is done by the next erasure or start."""
        try:
            await self._means.journal.read_gate()
        except CallwardenError as error:
            log.info("the journal's old pages go later", code=error.code, why=error.message)

    async def search(self, person: Person, as_of: str, located: str) -> dict[str, Any]:
        """What a person review looks at: `matches` (oldest first, no number) and how many `more` there are; audited as
        `person.located` under the id `located`. Raises CallwardenError command.rate."""
        now = self._means.clock.wall()
        since = format_time(now - timedelta(hours=1))
        if not await self._means.journal.note_locate(format_time(now), since, LOCATES_PER_HOUR):
            raise CallwardenError(
                "command.rate",
                f"there were {LOCATES_PER_HOUR} searches for people within the hour",
                hint="try again later",
            )
        found = await self.calls(person, as_of)
        await self._means.journal.note_audit("person.located", body={"located": located, "matches": len(found)})
        matches = await self._means.journal.matches(found[:MOST_MATCHES])
        return {
            "located": located,
            "matches": [msgspec.to_builtins(one) for one in matches],
            "more": len(found) - len(matches),
        }

    async def search_here(self, number: str, as_of: str) -> dict[str, Any]:
        """As `search`, for whoever stands at this edge's door. `number`: E.164."""
        try:
            person = Person(secrets.token_bytes(16), number)
        except FormatError as error:
            raise CallwardenError(error.code, error.message, where="number") from error
        return await self.search(person, as_of, secrets.token_hex(16))

    async def locate(self, row: OrderRow, claims: OrderClaims) -> None:
        """Answer an order to find a person; the person is wiped from it at once."""
        person = await self.of_order(row, claims.target)
        facts: dict[str, Any] = {}
        why: str | None = None
        if person is None:
            result, why = "refused:command.person", "the number that the order is about did not come with it"
        else:
            try:
                facts["evidence"] = await self.search(person, claims.as_of, claims.jti)
                result = "done" if facts["evidence"]["matches"] else "not_found"
            except CallwardenError as error:
                if error.code != "command.rate":
                    raise
                result, why = f"refused:{error.code}", error.message
        at = self._means.clock.wall_text()
        receipt = await self._receipts.of_order(row, result, at=at, reason=why, **facts)
        slots = await self._means.journal.end_many([receipt])
        hit("locate.answered")
        await self._means.slots.release(slots)
