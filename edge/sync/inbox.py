"""Deliveries from central: long-polled, checked against the pinned store key, stored byte for byte before anything acts.

Whether an order's own signatures suffice is for its executor to say, from the same pinned keys; here only the envelope
is judged: is it central's, for this edge, in time, under which number.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from edge.failpoints import hit
from edge.ports import Clock, Journal, Slots
from edge.sync.elsewhere import Elsewhere
from edge.sync.uplink import Uplink
from formats import canonical
from formats.errors import FormatError
from formats.ids import is_id
from formats.jws import verify_compact
from formats.keyset import KeySet
from formats.orders import DELIVERY_TYP, DeliveryClaims, OrderClaims, Person, read_order, verify_delivery
from formats.orders.claims import decode

#: How long central may hold a poll, and how much longer we wait for its answer, seconds.
WAIT_S = 25
GRACE_S = 15
#: Calls put into the outbox in one commit when everything is told again.
TOLD_AGAIN = 50


class Inbox:
    """One long-poll at a time. `delivered` is called after new orders were stored."""

    def __init__(
        self,
        uplink: Uplink,
        journal: Journal,
        slots: Slots,
        trust: KeySet,
        clock: Clock,
        delivered: Callable[[], None],
        elsewhere: Elsewhere,
    ) -> None:
        self._uplink = uplink
        self._journal = journal
        self._slots = slots
        self._trust = trust
        self._clock = clock
        self._delivered = delivered
        self._elsewhere = elsewhere
        self._noted: set[tuple[int, str]] = set()
        self.stuck = False

    async def poll(self, wait_s: int = WAIT_S) -> int:
        """Ask from the last number without a gap; how many deliveries were new. Raises CallwardenError sync.*

        After it `stuck` says that there were deliveries of which none moved us on: a gap, or one that was refused.
        """
        after = await self._journal.last_delivery()
        path = self._uplink.edge_path(f"deliveries?after={after}&wait={wait_s}")
        answer = await self._uplink.get(path, timeout_s=wait_s + GRACE_S)
        if isinstance(restore := answer.get("restored"), str) and is_id(restore):
            await self._tell(restore)
        deliveries = answer.get("deliveries")
        new = 0
        for item in deliveries if isinstance(deliveries, list) else []:
            new += await self._take(item)
        if new:
            self._delivered()
        self.stuck = bool(deliveries) and await self._journal.last_delivery() == after
        return new

    async def _tell(self, restore: str) -> None:
        """Central was put back from a backup: what was erased or made anonymous here, and everything else once more.

        What was erased comes first, and central gives nothing out before `last`. Calls go by way of the outbox, since central
        may lack what it acknowledged after the backup.
        """
        if await self._journal.send_receipts_again(restore):
            await self._journal.alarm("sync.central_restored", "central was restored from a backup", where=restore)
        after = ""
        while names := await self._journal.tombstones_after(after):
            await self._elsewhere.tell(restore, names)
            hit("sync.tombstones_told")
            after = names[-1]
        after = ""
        while calls := await self._journal.anonymous_after(after):
            await self._elsewhere.tell(restore, calls=calls)
            hit("sync.tombstones_told")
            after = str(calls[-1]["call_id"])
        while await self._journal.tell_calls_again(restore, TOLD_AGAIN):
            hit("sync.calls_told_again")
        await self._elsewhere.tell(restore, last=True)

    async def _take(self, item: Any) -> bool:
        seq = item.get("seq") if isinstance(item, dict) else None
        jws = item.get("jws") if isinstance(item, dict) else None
        try:
            claims = verify_delivery(str(jws), self._trust, aud=self._uplink.edge_id, now=self._clock.wall_text())
            order = canonical.dumps(claims.order).decode() if claims.order is not None else None
            ordered = read_order(order) if order is not None else None
        except FormatError as error:
            if error.code == "command.expired":
                return await self._expired(str(jws), error)
            await self._refuse(seq, error.code, error.message)
            return False
        if claims.seq != seq:
            await self._refuse(seq, "command.sequence", "the delivery has another number than its envelope")
            return False
        return await self._store(claims, ordered, order, item.get("opening"))

    async def _store(
        self, claims: DeliveryClaims, ordered: OrderClaims | None, order: str | None, opening: object
    ) -> bool:
        hit("sync.delivery_checked")
        jti = ordered.jti if ordered is not None else None
        slot = await self._put(ordered, opening)
        at = self._clock.wall_text()
        new = await self._journal.take_delivery(claims.seq, jti, order, void=order is None, at=at, slot=slot)
        hit("sync.delivery_stored")
        if slot is not None and jti is not None and await self._journal.opening_slot(jti) != slot:
            await self._slots.release([slot])  # the order was known
        return new

    async def _put(self, ordered: OrderClaims | None, opening: object) -> int | None:
        """The number that an order is about goes into a slot, never into a row. One that does not fit is left out: the
        order is stored without it and refused by its executor."""
        if ordered is None or ordered.target.kind != "person" or opening is None:
            return None
        try:
            person = Person.of_document(opening, ordered.target.id)
        except FormatError:
            return None
        slot = await self._slots.put(person.packed())
        hit("sync.opening_synced")
        return slot

    async def _expired(self, jws: str, error: FormatError) -> bool:
        """Too late to act on, but its number is used up: it is stored as void, so that the sequence goes on."""
        verified = verify_compact(jws, self._trust, DELIVERY_TYP, "store")  # everything but the time was checked
        issued = decode(verified.payload, DeliveryClaims)
        await self._refuse(issued.seq, error.code, error.message)
        await self._journal.take_delivery(issued.seq, None, None, void=True, at=self._clock.wall_text())
        return True

    async def _refuse(self, seq: Any, code: str, message: str) -> None:
        """Audited once per number and reason: the same delivery is asked for again and again."""
        number = seq if isinstance(seq, int) and not isinstance(seq, bool) else 0
        if (number, code) in self._noted:
            return
        if len(self._noted) < 1000:
            self._noted.add((number, code))
        await self._journal.note_audit("delivery.refused", body={"seq": number, "code": code})
        await self._journal.alarm("sync.delivery_refused", message, where=f"delivery {number}: {code}")
