"""Central's orders about what must be kept and what may not be read: hold, restrict, release.

A hold by an order has the order's own number: a repeat after a kill finds it, and a release names it. One store's key
places, because keeping is the safe side; bulk is alarmed. A release takes two people, who signed the order.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any, Final

import structlog

from edge.errors import CallwardenError
from edge.model.entities import OrderRow, ReceiptRow
from edge.model.holds import HoldRow
from edge.retention.holding import Holding
from edge.retention.means import Means
from edge.retention.people import People
from edge.retention.receipts import Receipts
from formats.ids import format_time
from formats.orders import VerifiedOrder

log = structlog.get_logger("retention")

#: Commands of this kind.
COMMANDS: Final = frozenset({"hold", "restrict", "release"})
#: Holds and restrictions by order within an hour from which on it is alarmed: somebody may be blocking erasure.
BULK: Final = 20


class HoldOrders:
    """Carries them out; each is one commit, and its receipt another."""

    def __init__(self, means: Means, holding: Holding, receipts: Receipts, people: People) -> None:
        self._means = means
        self._holding = holding
        self._receipts = receipts
        self._people = people

    async def carry_out(self, row: OrderRow, order: VerifiedOrder) -> None:
        """The deed, then its receipt, which wipes the person from the order. Raises CallwardenError for what is to be tried
        again."""
        receipt = await self._answer(row, order)
        await self._means.slots.release(await self._means.journal.end_many([receipt]))
        log.info("order answered", order=row.jti, result=receipt.result)

    async def _answer(self, row: OrderRow, order: VerifiedOrder) -> ReceiptRow:
        try:
            if order.claims.cmd == "release":
                return await self._release(row, order)
            return await self._place(row, order)
        except CallwardenError as error:
            if error.retryable or error.code.partition(".")[0] in ("journal", "vault"):
                raise
            if error.code.startswith("not_found."):
                return await self._receipt(row, "not_found", reason=error.message)
            return await self._receipt(row, f"refused:{error.code}", reason=error.message)

    async def _place(self, row: OrderRow, order: VerifiedOrder) -> ReceiptRow:
        claims = order.claims
        held = await self._means.journal.hold(row.jti)
        if held is None:
            held = await self._holding.place(
                kind="restriction" if claims.cmd == "restrict" else "hold",
                scope=claims.target.kind,
                target=await self._target(row, order),
                reason=claims.reason,
                case=claims.case_ref,
                by=f"key:{order.signers[0].kid}",
                hold_id=row.jti,
            )
            await self._look_for_bulk()
        return await self._done(row, order, held)

    async def _target(self, row: OrderRow, order: VerifiedOrder) -> str:
        target = order.claims.target
        if target.kind != "person":
            return target.id
        person = await self._people.of_order(row, target)
        if person is None:
            raise CallwardenError("command.person", "the number that the order is about did not come with it")
        return person.number

    async def _release(self, row: OrderRow, order: VerifiedOrder) -> ReceiptRow:
        target = order.claims.target
        if target.kind != "hold":
            raise CallwardenError("command.unsupported", f"a {target.kind} cannot be released, a hold can")
        held = await self._means.journal.hold(target.id)
        if held is not None and not held.open:
            return await self._receipt(row, "already")
        held = await self._holding.release(target.id, [f"key:{one.kid}" for one in order.signers])
        return await self._done(row, order, held)

    async def _done(self, row: OrderRow, order: VerifiedOrder, held: HoldRow) -> ReceiptRow:
        evidence: dict[str, Any] = {
            "hold": held.hold_id,
            "kind": held.kind,
            "scope": held.scope,
            "ordered_by": sorted(one.kid for one in order.signers),
        }
        if held.scope == "person":
            evidence["calls"] = held.calls
        recording = held.target if held.scope == "recording" else None
        return await self._receipt(row, "done", recording_id=recording, evidence=evidence)

    async def _look_for_bulk(self) -> None:
        since = format_time(self._means.clock.wall() - timedelta(hours=1))
        recent = [one for one in await self._means.journal.holds() if one.placed_at >= since]
        if sum(one.placed_by.startswith("key:") for one in recent) == BULK:
            await self._means.journal.alarm(
                "retention.bulk_holds",
                f"{BULK} holds and restrictions were ordered within an hour; fix: ask who signed them, `callwarden hold list`",
            )

    async def _receipt(self, row: OrderRow, result: str, **facts: Any) -> ReceiptRow:
        return await self._receipts.of_order(row, result, at=self._means.clock.wall_text(), **facts)
