"""Central's orders about a call that is going on: withdraw, pause, resume.

Write order: the order `executing` (journal), the deed (whose own rows come first, see `edge.calls`), its answer. A kill
before the answer leaves an order that was begun. Withdrawing is done again, which changes nothing. A pause or a resume
is not: somebody may have acted since, and resuming what an agent paused in between would record card data. It is
answered as `refused:command.interrupted`, and central can look and order again.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from edge.errors import CallwardenError
from edge.failpoints import hit
from edge.model.entities import OrderRow, ReceiptRow
from edge.model.live import Actor
from edge.retention.means import Means
from edge.retention.receipts import Receipts
from formats.ids import is_id
from formats.orders import Target, VerifiedOrder

#: Commands about live calls.
COMMANDS: Final = frozenset({"withdraw", "pause", "resume"})
#: What of a deed's answer goes into the receipt: words and ids.
_TOLD: Final = ("call", "did", "recording")


class LiveOrders:
    """Carries them out through the calls stage."""

    def __init__(self, means: Means, receipts: Receipts) -> None:
        self._means = means
        self._receipts = receipts

    async def answer(self, row: OrderRow, order: VerifiedOrder) -> ReceiptRow:
        """The deed, and the receipt to store. Raises CallwardenError for a withdrawal that is to be tried again."""
        cmd = order.claims.cmd
        if row.state == "executing" and cmd != "withdraw":
            return await self._refused(row, "command.interrupted", "the daemon ended while it was carried out")
        call_id = await self._call_of(order.claims.target)
        if call_id is None:
            return await self._receipt(row, "not_found")
        await self._means.journal.begin_order(row.jti)
        hit("order.begun")
        try:
            told = await self._do(order, call_id)
        except CallwardenError as error:
            if error.code == "calls.not_found":
                return await self._receipt(row, "not_found", reason=error.message)
            if error.retryable and cmd == "withdraw":
                raise
            return await self._refused(row, error.code, error.message)
        hit("order.carried_out")
        recording = told.get("recording")
        return await self._receipt(
            row,
            "done",
            reason=str(told.get("says", "")) or None,
            recording_id=recording if isinstance(recording, str) and is_id(recording) else None,
            evidence={
                **{name: str(told[name]) for name in _TOLD if told.get(name)},
                "ordered_by": sorted(one.kid for one in order.signers),
            },
        )

    async def _do(self, order: VerifiedOrder, call_id: str) -> Mapping[str, Any]:
        live = self._means.live
        if live is None:
            raise CallwardenError("command.unsupported", "nobody here carries out orders about live calls")
        by = Actor("central", order.signers[0].owner if order.signers else "")
        match order.claims.cmd:
            case "withdraw":
                # The order's own reason is free text, and evidence keeps what it is told: the order can be looked up.
                return await live.withdraw(call_id, by, f"order/{order.claims.jti}")
            case "pause":
                return await live.pause(call_id, by)
            case _:
                return await live.resume(call_id, by)

    async def _call_of(self, target: Target) -> str | None:
        if target.kind == "call":
            return target.id if await self._means.journal.call(target.id) is not None else None
        recording = await self._means.journal.recording(target.id) if target.kind == "recording" else None
        return recording.call_id if recording is not None else None

    async def _refused(self, row: OrderRow, code: str, why: str) -> ReceiptRow:
        return await self._receipt(row, f"refused:{code}", reason=why)

    async def _receipt(self, row: OrderRow, result: str, **facts: Any) -> ReceiptRow:
        return await self._receipts.of_order(row, result, at=self._means.clock.wall_text(), **facts)
