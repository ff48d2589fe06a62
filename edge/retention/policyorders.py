"""Central's orders that put a policy in the place of this edge's own: two people signed each, and the edge judges it itself.

What is surely tighter counts at once, whatever else after the window, with an alarm now, and any pinned key can cancel it
until then (`edge.consent.loosening` says which is which). What the loader refuses is refused, with file, line and fix.

Write order `policy order`: a row that waits, with the receipt `deferred` (what loosens); once it is time, judged again: the
row in force, `policy.loaded` of what differs, the versions on file, in effect; the receipt `done`. A kill behind the row in
force leaves a start that reads it, and an order whose receipt is given then.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from edge.consent.loosening import loosens
from edge.errors import CallwardenError
from edge.failpoints import hit
from edge.model.entities import OrderRow, ReceiptRow
from edge.model.ordered import OrderedPolicy
from edge.retention.clockwatch import ClockWatch
from edge.retention.means import Means
from edge.retention.receipts import Receipts
from formats.ids import format_time
from formats.orders import PolicyContent, VerifiedOrder, content_as


class PolicyOrders:
    """Judges, waits, puts into effect."""

    def __init__(self, means: Means, receipts: Receipts, clock: ClockWatch) -> None:
        self._means = means
        self._receipts = receipts
        self._clock = clock

    async def carry_out(self, row: OrderRow, order: VerifiedOrder) -> ReceiptRow | None:
        """The last word, or None while its time has not come. Raises CallwardenError for what is to be tried again."""
        desk, claims = self._means.policy_desk, order.claims
        if desk is None:
            return await self._says(row, "refused:command.unsupported", reason="nobody here takes policies")
        content = content_as(claims.content, PolicyContent)
        if content.edges and self._means.edge_id not in content.edges:
            return await self._says(row, "refused:command.audience", reason="the order names other edges")
        if (now := await self._clock.trusted()) is None:
            return None
        said = await self._means.journal.receipts_of(row.jti)
        if any(one.result == "refused:command.cancelled" for one in said):  # its journal was put back
            return await self._drop(row, "command.cancelled", "it was cancelled before the journal was put back")
        rows = [one for one in await self._means.journal.ordered_policies() if one.name == claims.target.id]
        mine = next((one for one in rows if one.jti == row.jti), None)
        if (
            mine is not None and mine.acting
        ):  # filed, and perhaps not in effect: something failed, or was killed, in between
            return await self._done(row, order, await desk.adopt(mine, _filed))
        if mine is not None and mine.acts_at > format_time(now):
            return None
        if row.state == "executing" and mine is None:
            return await self._says(row, "refused:command.superseded", reason="a later order about it took its place")
        change = OrderedPolicy(claims.target.id, row.jti, content.toml, claims.iat, format_time(now), acting=True)
        if any(one.iat >= change.iat for one in rows if one.jti != row.jti):
            return await self._drop(row, "command.superseded", "a later order about this policy is here")
        try:
            new = await desk.judge(change)
            if mine is None and (looser := loosens(desk.policy(change.name), new)):
                await self._wait(row, change, looser)
                return None
            version = await desk.adopt(change, lambda: self._file(change))
        except CallwardenError as error:
            if error.retryable or error.code.partition(".")[0] in ("journal", "vault"):
                raise
            fix = f"; fix: {error.hint}" if error.hint else ""
            return await self._drop(row, error.code, f"{error.where}: {error.message}{fix}")
        return await self._done(row, order, version)

    async def cancelled(self, row: OrderRow, by: str) -> ReceiptRow | None:
        """Its last word when it is cancelled now; None: it is in force."""
        rows = await self._means.journal.ordered_policies()
        if any(one.jti == row.jti and one.acting for one in rows):
            return None
        return await self._drop(row, "command.cancelled", f"cancelled by order {by}")

    async def _wait(self, row: OrderRow, change: OrderedPolicy, looser: tuple[str, ...]) -> None:
        acts_at = format_time(self._means.clock.wall() + timedelta(seconds=self._means.bounds().window))
        says = (
            f'policy "{change.name}" becomes looser ({", ".join(looser)}) from {acts_at} on, unless that is cancelled'
        )
        await self._means.journal.alarm("policy.loosens", f"order {row.jti}: {says}", where=f"order {row.jti}")
        hit("policy.order_alarmed")
        receipt = await self._says(row, "deferred", reason=says, evidence={"looser": list(looser), "acts_at": acts_at})
        waits = OrderedPolicy(change.name, row.jti, change.toml, change.iat, acts_at, acting=False)
        await self._means.journal.file_policy(waits, receipt, due_at=acts_at)
        hit("policy.order_waits")

    async def _file(self, change: OrderedPolicy) -> None:
        await self._means.journal.file_policy(change, None, due_at=None)

    async def _drop(self, row: OrderRow, code: str, why: str) -> ReceiptRow:
        await self._means.journal.drop_policy(row.jti)
        return await self._says(row, f"refused:{code}", reason=why)

    async def _done(self, row: OrderRow, order: VerifiedOrder, version: str | None) -> ReceiptRow:
        evidence = {
            "policy": order.claims.target.id,
            "version": version,
            "ordered_by": sorted(s.kid for s in order.signers),
        }
        return await self._says(row, "done", evidence=evidence)

    async def _says(self, row: OrderRow, result: str, **facts: Any) -> ReceiptRow:
        return await self._receipts.of_order(row, result, at=self._means.clock.wall_text(), **facts)


async def _filed() -> None:
    """Its row is there already."""
