"""Orders to upload the ciphertext of a recording or of a call: rows that say what is wanted, served by whoever uploads.

Write order: the rows that wait, the order `executing` and a receipt `deferred`, in one commit; the upload, elsewhere, which
says what became of each recording (`media_served`); the last receipt. A kill between leaves rows that wait, or an answer
that is still to be given: both are taken up by the next pass.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any, Final

from edge.failpoints import hit
from edge.model.entities import OrderRow, ReceiptRow, RecordingRow
from edge.retention.means import Means
from edge.retention.receipts import Receipts
from formats.ids import format_time
from formats.orders import VerifiedOrder

#: Recordings that central may ask for in an hour: a stolen store key must not empty a vault unseen.
FETCHES_PER_HOUR: Final = 60


class FetchOrders:
    """Takes them and answers them; uploads nothing itself."""

    def __init__(self, means: Means, receipts: Receipts) -> None:
        self._means = means
        self._receipts = receipts

    async def carry_out(self, row: OrderRow, order: VerifiedOrder) -> ReceiptRow | None:
        """The last word, or None while something of it waits."""
        if row.state != "executing":
            return await self._begin(row, order)
        wanted = await self._means.journal.wanted_media(row.jti)
        for one in wanted:
            if one.result == "" and (why := await self._refusal(one.recording_id)) is not None:
                await self._means.journal.media_served(row.jti, one.recording_id, why[0], {})
        wanted = await self._means.journal.wanted_media(row.jti)
        if not wanted:  # their rows have had their time
            return await self._receipt(row, "not_found")
        if any(one.result == "" for one in wanted):
            return None
        told = {one.recording_id: {"result": one.result, **one.evidence} for one in wanted}
        failed = [one.result for one in wanted if one.result != "done"]
        return await self._receipt(
            row, f"refused:{failed[0]}" if failed else "done", {"media": told, "ordered_by": _by(order)}
        )

    async def _begin(self, row: OrderRow, order: VerifiedOrder) -> ReceiptRow | None:
        journal, target = self._means.journal, order.claims.target
        if self._means.uploads is None or target.kind not in ("recording", "call"):
            return await self._receipt(
                row, "refused:command.unsupported", reason=f"nobody here uploads a {target.kind}"
            )
        call = await journal.call(target.id) if target.kind == "call" else None
        names = (target.id,) if target.kind == "recording" else (call.recordings if call is not None else ())
        known = [one for one in names if await journal.recording(one) is not None]
        if not known:
            return await self._receipt(row, "not_found")
        for one in known:
            if (why := await self._refusal(one)) is not None:
                return await self._receipt(row, f"refused:{why[0]}", reason=why[1])
        now = self._means.clock.wall()
        before = await journal.wanted_since(format_time(now - timedelta(hours=1)))
        if before + len(known) > FETCHES_PER_HOUR:
            await journal.alarm(
                "retention.bulk_fetch",
                f"more than {FETCHES_PER_HOUR} recordings were asked for within an hour; fix: ask who orders them at central",
            )
            says = f"more than {FETCHES_PER_HOUR} recordings were asked for within the hour; order it again later"
            return await self._receipt(row, "refused:command.rate", reason=says)
        receipt = await self._receipt(
            row, "deferred", {"wanted": known}, "the ciphertext is uploaded as soon as it can be"
        )
        await journal.want_media(row.jti, known, format_time(now), receipt)
        hit("fetch.wanted")
        self._means.uploads()
        return None

    async def _refusal(self, recording_id: str) -> tuple[str, str] | None:
        """Why nobody may have it now (code, words)."""
        journal = self._means.journal
        row = await journal.recording(recording_id)
        if row is None or row.state != "sealed":
            return "command.state", f"the recording is {_state(row)}: only what is sealed is uploaded"
        if await journal.restricted_by(recording_id) or await journal.restrictions_on(recording_id, row.call_id):
            return "command.restricted", "the recording is restricted"
        return None

    async def _receipt(
        self, row: OrderRow, result: str, evidence: dict[str, Any] | None = None, reason: str | None = None
    ) -> ReceiptRow:
        at = self._means.clock.wall_text()
        return await self._receipts.of_order(row, result, at=at, reason=reason, evidence=evidence or {})


def _by(order: VerifiedOrder) -> list[str]:
    return sorted(one.kid for one in order.signers)


def _state(row: RecordingRow | None) -> str:
    return "gone" if row is None else row.state
