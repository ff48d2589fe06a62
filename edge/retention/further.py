"""Orders that erase and hold nothing: further headers, uploads, policies, pinned keys. Each may take more than one pass."""

from __future__ import annotations

from typing import Final

from edge.model.entities import OrderRow, ReceiptRow
from edge.retention.clockwatch import ClockWatch
from edge.retention.fetchorders import FetchOrders
from edge.retention.keyorders import KeyOrders
from edge.retention.means import Means
from edge.retention.policyorders import PolicyOrders
from edge.retention.receipts import Receipts
from edge.retention.rewraporders import RewrapOrders
from formats.orders import Command, VerifiedOrder

#: Commands of this kind.
COMMANDS: Final[frozenset[Command]] = frozenset({"rewrap", "fetch", "policy", "keys"})
#: Of these, what waits a day before it counts, and can be cancelled until then.
CANCELLABLE: Final[frozenset[Command]] = frozenset({"policy", "keys"})


class FurtherOrders:
    """Each command to who carries it out."""

    def __init__(self, means: Means, receipts: Receipts, clock: ClockWatch) -> None:
        self._rewrap = RewrapOrders(means, receipts)
        self._fetch = FetchOrders(means, receipts)
        self._policy = PolicyOrders(means, receipts, clock)
        self._keys = KeyOrders(means, receipts, clock)

    async def answer(self, row: OrderRow, order: VerifiedOrder) -> ReceiptRow | None:
        """The last word, to be stored; None while something of it waits. Raises CallwardenError: it is tried again."""
        match order.claims.cmd:
            case "rewrap":
                return await self._rewrap.answer(row, order)
            case "fetch":
                return await self._fetch.carry_out(row, order)
            case "policy":
                return await self._policy.carry_out(row, order)
            case _:
                return await self._keys.carry_out(row, order)

    async def cancelled(self, row: OrderRow, cmd: Command, by: str) -> ReceiptRow | None:
        """The last word of an order of CANCELLABLE that order `by` cancels; None where it counts already."""
        if cmd == "policy":
            return await self._policy.cancelled(row, by)
        return await self._keys.cancelled(row, by)
