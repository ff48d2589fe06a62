"""What central remembers of this edge, asked for after a restore: tombstones, receipts, how much of its log."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from edge.errors import CallwardenError
from edge.model.entities import ReceiptRow
from edge.ports.restores import Tombstone
from edge.sync.uplink import Uplink
from formats.errors import FormatError
from formats.ids import is_id
from formats.keyset import KeySet
from formats.orders import verify_receipt


class Elsewhere:
    """`ElsewherePort` over HTTP."""

    def __init__(self, uplink: Uplink, poll: Callable[[], Awaitable[int]] | None = None) -> None:
        """`poll`: asks for deliveries once, and says how many were new; None for who takes none."""
        self._uplink = uplink
        self._poll = poll

    async def tombstones(self) -> Sequence[Tombstone]:
        """See `ElsewherePort`."""
        return [
            Tombstone(one["recording_id"], str(one.get("at")), _text(one.get("receipt_id")))
            for one in await self._pages("tombstones")
            if is_id(str(one.get("recording_id")))
        ]

    async def receipts(self) -> Sequence[ReceiptRow]:
        """See `ElsewherePort`. One that this edge did not sign is left out."""
        own = KeySet.of(self._uplink.own)
        found = []
        for one in await self._pages("receipts"):
            try:
                claims, _ = verify_receipt(str(one.get("jws")), own)
            except FormatError:
                continue
            found.append(ReceiptRow(claims.receipt_id, claims.jti, claims.n, claims.result, str(one["jws"]), None))
        return found

    async def witnessed(self) -> Mapping[str, int]:
        """See `ElsewherePort`."""
        answer = await self._uplink.get(self._uplink.edge_path("audit"))
        logs = answer.get("logs")
        return {str(one["origin"]): int(one["size"]) for one in logs} if isinstance(logs, list) else {}

    async def take_orders(self) -> None:
        """See `ElsewherePort`."""
        while self._poll is not None and await self._poll():
            pass

    async def tell(
        self,
        restore: str,
        recordings: Sequence[str] = (),
        calls: Sequence[Mapping[str, Any]] = (),
        *,
        last: bool = False,
    ) -> None:
        """A central that was put back hears what was erased here and which calls are anonymous; `last`: that was all.
        Raises sync.*"""
        body = {
            "restore": restore, "tombstones": list(recordings), "anonymous": [dict(one) for one in calls], "last": last,
        }  # fmt: skip
        await self._uplink.post(self._uplink.edge_path("tombstones"), body)

    async def _pages(self, what: str) -> list[dict[str, Any]]:
        """All items of a list that central gives out page by page."""
        items: list[dict[str, Any]] = []
        after: int | str = ""
        while True:
            answer = await self._uplink.get(self._uplink.edge_path(f"{what}?after={after}" if after else what))
            page, last = answer.get(what), answer.get("last")
            if not isinstance(page, list) or not isinstance(last, int | str):
                raise CallwardenError("sync.answer", f"central's answer has no {what}", where=what, retryable=True)
            items += [one for one in page if isinstance(one, dict)]
            if not page or last == after:
                return items
            after = last


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None
