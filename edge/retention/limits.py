"""What an order about many calls may not do: take more than the daily share under one key, or what nobody has exported."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

from edge.model.finds import Find
from edge.retention.means import Means
from formats.ids import format_time, parse_time
from formats.orders import SKEW_S, VerifiedOrder

_DAY: Final = timedelta(hours=24)


class Limits:
    """Judges calls that an order found: all of them before it begins, those found later one by one before they go."""

    def __init__(self, means: Means) -> None:
        self._means = means

    async def too_much(self, order: VerifiedOrder, calls: Sequence[str]) -> tuple[str, str] | None:
        """Above the daily share one DPO is not enough."""
        bounds = self._means.bounds()
        since = format_time(self._means.clock.wall() - _DAY)
        asked, before, had = await self._means.journal.share_of(calls, since)
        most = max(bounds.daily_free, had * bounds.daily_share // 100)
        if asked == 0 or asked + before <= most or sum(one.role == "dpo" for one in order.signers) > 1:
            return None
        why = f"{asked} recording(s) now and {before} within 24 hours are more than {most}: a second DPO must sign"
        return "command.second_key", why

    async def not_exported(self, order: VerifiedOrder, calls: Sequence[str]) -> tuple[str, str] | None:
        """A policy's recordings are handed over before they are destroyed."""
        if order.claims.target.kind != "policy" or order.claims.exported_to:
            return None
        missing = await self._means.journal.not_exported(calls)
        if not missing:
            return None
        why = f"{missing} recording(s) were never exported, and the order does not say where they were handed over"
        return "command.not_exported", why

    async def may_not(self, order: VerifiedOrder, find: Find) -> str | None:
        """Why a call that was found later is not destroyed now: it is restricted and waits. The words are the same every
        time, so that they are said once."""
        if await self.too_much(order, [find.call_id]) is not None:
            return "the daily share is used up, and one DPO signed: it goes when there is room"
        if await self.not_exported(order, [find.call_id]) is not None:
            return "it was never exported, and the order does not say where it was handed over"
        return None


def not_yet(order: VerifiedOrder, now: datetime) -> tuple[str, str] | None:
    """Calls that are still to come are nobody's to review."""
    if parse_time(order.claims.as_of) <= now + timedelta(seconds=SKEW_S):
        return None
    return "command.future", "the order covers calls that have not begun yet"


def not_reviewed(order: VerifiedOrder) -> tuple[str, str] | None:
    if order.claims.target.kind == "person" and order.claims.located is None:
        return "command.not_reviewed", "the order names no search whose finds were looked at"
    return None
