"""Receipts as this edge signs them: answers to orders, and words about erasures that nobody ordered."""

from __future__ import annotations

import secrets
from typing import Any

import msgspec

from edge.model.entities import OrderRow, ReceiptRow
from edge.retention.means import Means
from formats.orders import Ground, ReceiptClaims, order_sha256, sign_receipt


class Receipts:
    """Numbers and signs them; the journal stores them with what they report."""

    def __init__(self, means: Means) -> None:
        self._means = means

    async def of_order(self, row: OrderRow, result: str, *, at: str, **facts: Any) -> ReceiptRow:
        """The next answer to an order; `facts` are further claims."""
        return await self._sign(row.jti, order_sha256(row.jws), result, at, facts)

    async def of_ground(self, ground: Ground, result: str, *, at: str, **facts: Any) -> ReceiptRow:
        """The next word about an erasure that stands on `ground`."""
        evidence = {**facts.pop("evidence", {}), "ground": msgspec.to_builtins(ground)}
        facts.update(recording_id=ground.recording_id, evidence=evidence)
        return await self._sign(ground.jti, ground.sha256, result, at, facts)

    async def _sign(self, jti: str, answers: str, result: str, at: str, facts: dict[str, Any]) -> ReceiptRow:
        receipt_id = secrets.token_hex(16)
        n = len(await self._means.journal.receipts_of(jti))
        claims = ReceiptClaims(
            receipt_id=receipt_id,
            jti=jti,
            n=n,
            result=result,
            edge_id=self._means.edge_id,
            at=at,
            order_sha256=answers,
            **facts,
        )
        return ReceiptRow(receipt_id, jti, n, result, sign_receipt(claims, self._means.key), None)
