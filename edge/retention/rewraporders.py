"""Central's orders to give stored segments further headers, which were made where an identity is and came with the order.

The order is `executing` before the first, and each goes by the write order `rewrap`: a repeat finds the statement on file
and changes nothing. Nothing is revoked by it (docs/spec/rewrap.md).
"""

from __future__ import annotations

from typing import Any

from edge.errors import CallwardenError
from edge.failpoints import hit
from edge.model.entities import OrderRow, ReceiptRow
from edge.retention.means import Means
from edge.retention.receipts import Receipts
from formats.orders import RewrapContent, VerifiedOrder, content_as


class RewrapOrders:
    """Hands each header to whoever writes keys."""

    def __init__(self, means: Means, receipts: Receipts) -> None:
        self._means = means
        self._receipts = receipts

    async def answer(self, row: OrderRow, order: VerifiedOrder) -> ReceiptRow:
        """The deed and its receipt. Raises CallwardenError for what is to be tried again."""
        claims, rewrap = order.claims, self._means.rewrap
        if rewrap is None:
            raise CallwardenError("command.unsupported", "nobody here takes headers", retryable=True)
        await self._means.journal.begin_order(row.jti)
        hit("rewrap.begun")
        told: list[dict[str, Any]] = []
        result, reason = "done", None
        for one in content_as(claims.content, RewrapContent).headers:
            try:
                did = await rewrap(claims.target.id, one.segment, {"statement": one.statement, "header": one.header})
            except CallwardenError as error:
                if error.code.partition(".")[0] not in ("auth", "command", "usage", "not_found"):
                    raise
                gone = error.code.startswith("not_found.")
                result, reason = (
                    ("not_found" if gone else f"refused:{error.code}"),
                    f"segment {one.segment}: {error.message}",
                )
                break
            told.append({"segment": one.segment, "version": did["version"], "did": did["did"]})
        evidence = {"segments": told, "ordered_by": sorted(key.kid for key in order.signers)}
        return await self._receipts.of_order(
            row,
            result,
            at=self._means.clock.wall_text(),
            reason=reason,
            recording_id=claims.target.id,
            evidence=evidence,
        )
