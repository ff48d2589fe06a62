"""Sends stored receipts until central has them. Nothing is sent before its commit; a repeat is harmless."""

from __future__ import annotations

from edge.errors import CallwardenError
from edge.failpoints import hit
from edge.ports import Clock, Journal
from edge.sync.uplink import Uplink

#: Receipts in one request; each is a few KiB.
PAGE = 50


class ReceiptSender:
    """One pass over what waits; the service decides when."""

    def __init__(self, uplink: Uplink, journal: Journal, clock: Clock) -> None:
        self._uplink = uplink
        self._journal = journal
        self._clock = clock
        self._refused: set[str] = set()

    async def send(self) -> int:
        """Send and acknowledge; how many central has now. Raises CallwardenError sync.* when it cannot be reached.

        A receipt that central refuses stays on file, raises one alarm and does not hold up the others.
        """
        waiting = [r for r in await self._journal.receipts_to_send() if r.receipt_id not in self._refused][:PAGE]
        if not waiting:
            return 0
        body = {
            "receipts": [
                {"receipt_id": r.receipt_id, "jti": r.jti, "n": r.n, "result": r.result, "jws": r.jws} for r in waiting
            ]
        }
        answer = await self._uplink.post(self._uplink.edge_path("receipts"), body)
        hit("sync.receipts_sent")
        results = answer.get("results")
        if not isinstance(results, dict):
            raise CallwardenError("sync.answer", "central's answer names no results", where="receipts", retryable=True)
        done = 0
        for receipt in waiting:
            status = str(results.get(receipt.receipt_id, ""))
            if status in ("accepted", "duplicate"):
                await self._journal.acknowledge_receipt(receipt.receipt_id, self._clock.wall_text())
                hit("sync.receipt_acknowledged")
                done += 1
            elif status.startswith("rejected"):
                self._refused.add(receipt.receipt_id)
                await self._journal.alarm("sync.receipt_refused", f"central: {status}", where=receipt.receipt_id)
        return done
