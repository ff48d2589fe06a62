"""Central's orders that replace the pinned keys, by the rules of those that are pinned now.

Write order `keys order`: an alarm; one commit with the key set, the order `executing` and its first receipt; the set in
effect. Keys that are new count from the end of the window on, of themselves; until then any pinned key can cancel the order,
and they are taken out again. Keys that are gone count no more from the commit on. A kill before "in effect" leaves a start
that reads the set.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from edge.failpoints import hit
from edge.model.entities import OrderRow, ReceiptRow
from edge.model.ordered import PinnedRow
from edge.pinned import PinnedKeys, lacking, replaced, without
from edge.retention.clockwatch import ClockWatch
from edge.retention.means import Means, fleet_of
from edge.retention.receipts import Receipts
from formats.errors import FormatError
from formats.ids import format_time
from formats.keyset import KeySet
from formats.orders import KeysContent, VerifiedOrder, content_as, read_receipt


class KeyOrders:
    """Judges, pins, waits."""

    def __init__(self, means: Means, receipts: Receipts, clock: ClockWatch) -> None:
        self._means = means
        self._receipts = receipts
        self._clock = clock

    async def carry_out(self, row: OrderRow, order: VerifiedOrder) -> ReceiptRow | None:
        """The last word, or None until its new keys count. Raises CallwardenError for what is to be tried again."""
        trust = self._means.trust
        if not isinstance(trust, PinnedKeys):
            return await self._says(row, "refused:command.unsupported", reason="the keys are those of a file alone")
        if (now := await self._clock.trusted()) is None:
            return None
        if row.state == "executing":
            said = await self._means.journal.receipts_of(row.jti)
            if (over := _cancelled(said)) is not None:
                return await self._taken_out(row, trust, said, read_receipt(over.jws).reason or "cancelled before")
            return await self._done(row, order) if row.due_at is None or row.due_at <= format_time(now) else None
        return await self._pin(row, order, trust, format_time(now))

    async def _pin(self, row: OrderRow, order: VerifiedOrder, trust: PinnedKeys, now: str) -> ReceiptRow | None:
        means, wanted = self._means, content_as(order.claims.content, KeysContent).keys
        last = await means.journal.pinned()
        if last is not None and last.iat >= order.claims.iat and last.jti != row.jti:
            return await self._says(row, "refused:command.superseded", reason="a later key set is pinned")
        acts_at = format_time(means.clock.wall() + timedelta(seconds=means.bounds().window))
        try:
            keys, facts = replaced(trust, wanted, now, acts_at)
        except FormatError as error:  # this edge's own key, in another role
            return await self._says(row, "refused:command.keys", reason=error.message)
        if fleet_of(keys) != fleet_of(trust):
            return await self._says(row, "refused:command.fleet", reason="its witness is another fleet's")
        if (role := lacking(keys, trust, now)) is not None:
            why = f"no key of role {role} that counts now would be left: name the new one beside it, and drop it once that counts"
            return await self._says(row, "refused:command.keys", reason=why)
        if set(_facts(keys)) == set(_facts(trust)):
            return await self._says(row, "already")
        says = f"{len(facts['added'])} new key(s) count from {acts_at} on; {len(facts['removed'])} count no more"
        await means.journal.alarm("auth.keys_ordered", f"order {row.jti}: {says}; fix: cancel it if that was not meant")
        hit("keys.alarmed")
        receipt = await self._says(row, "deferred", reason=says, evidence=dict(facts)) if facts["added"] else None
        pinned = PinnedRow(row.jti, keys.dump().decode(), trust.file_sha256, order.claims.iat)
        due_at = acts_at if facts["added"] else None
        await means.journal.pin(pinned, receipt, due_at=due_at, facts={**facts, "ordered_by": _by(order)})
        hit("keys.filed")
        trust.become(keys)
        return None if facts["added"] else await self._done(row, order)

    async def cancelled(self, row: OrderRow, by: str) -> ReceiptRow | None:
        """Its last word when it is cancelled now: what it added is taken out. None: its keys count already, by a clock that is
        believed, and it was not cancelled before (a journal that was put back may not show that)."""
        trust, now = self._means.trust, await self._clock.trusted()
        if not isinstance(trust, PinnedKeys):
            return None
        said = await self._means.journal.receipts_of(row.jti)
        late = now is not None and row.due_at is not None and row.due_at <= format_time(now)
        if late and _cancelled(said) is None:
            return None
        return await self._taken_out(row, trust, said, f"cancelled by order {by}")

    async def _taken_out(self, row: OrderRow, trust: PinnedKeys, said: Sequence[ReceiptRow], why: str) -> ReceiptRow:
        if row.state == "executing":
            added = frozenset(kid for one in said for kid in read_receipt(one.jws).evidence.get("added", ()))
            keys = without(trust, added)
            last = await self._means.journal.pinned()
            iat = last.iat if last is not None else row.received_at
            pinned = PinnedRow(row.jti, keys.dump().decode(), trust.file_sha256, iat)
            await self._means.journal.pin(pinned, None, due_at=None, facts={"cancelled": why})
            hit("keys.taken_out")
            trust.become(keys)
        return await self._says(row, "refused:command.cancelled", reason=why)

    async def _done(self, row: OrderRow, order: VerifiedOrder) -> ReceiptRow:
        now = self._means.clock.wall_text()
        counting = sorted(one.kid for one in self._means.trust.active(now).entries)
        return await self._says(row, "done", evidence={"counting": counting, "ordered_by": _by(order)})

    async def _says(self, row: OrderRow, result: str, **facts: Any) -> ReceiptRow:
        return await self._receipts.of_order(row, result, at=self._means.clock.wall_text(), **facts)


def _facts(keys: KeySet) -> list[tuple[str, str, str, str | None, str | None]]:
    return [(one.kid, one.role, one.owner, one.not_before, one.retired) for one in keys.entries]


def _cancelled(said: Sequence[ReceiptRow]) -> ReceiptRow | None:
    return next((one for one in said if one.result == "refused:command.cancelled"), None)


def _by(order: VerifiedOrder) -> list[str]:
    return sorted(one.kid for one in order.signers)
