"""STAGE: what must go. Takes orders from the inbox, answers each with a signed receipt, and makes erasures final.

Write order `erase`: stop a live capture; intent with its audit entry; shred keys overwritten here and read back; the
same at central's keeper; payloads unlinked; one commit of tombstone, outcome and receipt. Every step may be repeated,
so a kill anywhere leaves an intent that the next start carries out.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import structlog

from edge.consent.units import Period
from edge.errors import CallwardenError
from edge.failpoints import hit
from edge.model.entities import OrderRow, ReceiptRow, RecordingRow
from edge.ports import Clock, Journal, KeeperPort, RecorderPort, Slots, Vault
from edge.retention.schedule import obstacle
from formats.errors import FormatError
from formats.keys import SigningKey
from formats.keyset import KeySet
from formats.orders import ReceiptClaims, VerifiedOrder, order_sha256, read_order, sign_receipt, verify_order

log = structlog.get_logger("retention")

#: How often unfinished and deferred orders are looked at again, seconds.
RETRY_S: Final = 3.0
UNFINISHED: Final = ("received", "deferred", "executing")


def fleet_of(trust: KeySet) -> str | None:
    """The fleet this edge was enrolled in: its witness signs as callwarden/FLEET/witness. None where none is pinned."""
    for witness in trust.with_role("witness"):
        parts = witness.owner.split("/")
        if len(parts) == 3 and (parts[0], parts[2]) == ("callwarden", "witness"):
            return parts[1]
    return None


@dataclass(frozen=True, slots=True)
class Means:
    """The executor's neighbours. `keeper`: None where no central is configured. `minimum_of`: policy id to its minimum
    retention. `head`: a signed note over the audit log as it stands, or None."""

    journal: Journal
    slots: Slots
    vault: Vault
    recorder: RecorderPort
    keeper: KeeperPort | None
    clock: Clock
    key: SigningKey
    trust: KeySet
    edge_id: str
    minimum_of: Callable[[str], Period]
    head: Callable[[], Awaitable[str | None]]
    worker: ThreadPoolExecutor


class Executor:
    """Carries out orders one after the other."""

    def __init__(self, means: Means) -> None:
        self._means = means
        self._wake = asyncio.Event()
        self._said: dict[str, str] = {}

    def wake(self) -> None:
        """There is a new order."""
        self._wake.set()

    async def run(self) -> None:
        """Until cancelled: every unfinished order, then every erasure that has an intent and no order."""
        while True:
            self._wake.clear()
            try:
                await self.once()
            except CallwardenError as error:  # the journal could not even be read
                self._say("orders", error)
            try:
                await asyncio.wait_for(self._wake.wait(), RETRY_S)
            except TimeoutError:
                continue

    async def once(self) -> None:
        """One pass over everything unfinished."""
        ordered = set()
        for order in await self._means.journal.orders(UNFINISHED):
            try:
                await self._carry_out(order)
            except CallwardenError as error:
                self._say(order.jti, error)
                ordered.add(read_order(order.jws).target.id)
        for row in await self._means.journal.recordings(states=("erasing",)):
            if row.recording_id in ordered:
                continue  # its order ends it and has the receipt
            try:
                await self._resume(row)
            except CallwardenError as error:
                self._say(row.recording_id, error)

    def _say(self, what: str, error: CallwardenError) -> None:
        if self._said.get(what) != error.code:
            log.warning("not finished yet; it is tried again", about=what, code=error.code, why=str(error))
        self._said[what] = error.code

    # ------------------------------------------------------------ orders

    async def _carry_out(self, row: OrderRow) -> None:
        try:
            order = self._verified(row)
        except FormatError as error:
            await self._answer(row, f"refused:{error.code}", error.message)
            return
        claims = order.claims
        if claims.cmd != "erase" or claims.target.kind != "recording":
            await self._answer(row, "refused:command.unsupported", f"{claims.cmd} of a {claims.target.kind}")
            return
        recording = await self._means.journal.recording(claims.target.id)
        if recording is None or recording.state == "erased":
            gone = recording is not None or await self._means.journal.tombstone(claims.target.id) is not None
            await self._answer(row, "already" if gone else "not_found", None, recording_id=claims.target.id)
            return
        if recording.state != "erasing":
            if (why := await self._obstacle(recording)) is not None:
                if row.state != "deferred":
                    await self._answer(row, "deferred", why, recording_id=recording.recording_id, state="deferred")
                return
            await self._means.recorder.stop(recording.recording_id, "erase")
            await self._means.journal.begin_erase(recording.recording_id, row.jti, "command")
            hit("erase.intended")
            recording = await self._means.journal.recording(recording.recording_id)
            assert recording is not None
        await self._erase(recording, order, row)

    def _verified(self, row: OrderRow) -> VerifiedOrder:
        """The order, if the keys pinned here that count now allow it. Raises FormatError.

        Once the intent is on file the keys may be gone already: what was allowed then is carried out and answered as
        that, also when a signer's key has retired since.
        """
        means = self._means
        try:
            return verify_order(row.jws, means.trust, now=means.clock.wall_text(), fleet=fleet_of(means.trust))
        except FormatError:
            if row.state != "executing":
                raise
            return VerifiedOrder(read_order(row.jws), (), order_sha256(row.jws))

    async def _obstacle(self, recording: RecordingRow) -> str | None:
        means = self._means
        holds = await means.journal.holds_on(recording.recording_id, recording.call_id)
        return obstacle(
            holds=holds,
            minimum=means.minimum_of(recording.policy_id),
            started_at=datetime.fromisoformat(recording.started_at),
            now=means.clock.wall(),
        )

    async def _resume(self, recording: RecordingRow) -> None:
        """An intent without an unfinished order: nobody waits for a receipt, the erasure is finished all the same."""
        await self._erase(recording, None, None)

    # ------------------------------------------------------------ erasure

    async def _erase(self, recording: RecordingRow, order: VerifiedOrder | None, row: OrderRow | None) -> None:
        means, recording_id = self._means, recording.recording_id
        slots = [s.header.slot for s in recording.segments]
        key_ids = [s.header.key_id.hex() for s in recording.segments]
        await means.slots.shred(slots)
        hit("erase.slots_shredded")
        statement: Mapping[str, Any] = {"result": "no central is configured"}
        if means.keeper is not None:
            statement = await means.keeper.shred(recording_id, key_ids, row.jti if row else None)
        hit("erase.keeper_answered")
        unlinked = await self._in_worker(lambda: means.vault.unlink(recording_id))
        hit("erase.payload_unlinked")
        erased_at = means.clock.wall_text()
        receipt = None
        if order is not None and row is not None:
            receipt = await self._receipt(
                row,
                "done",
                reason=None,
                recording_id=recording_id,
                at=erased_at,
                key_ids=tuple(key_ids),
                slots=tuple(slots),
                evidence={
                    "slots_overwritten": len(slots),
                    "read_back": True,
                    "payloads_unlinked": unlinked,
                    "cause": "command",
                    "ordered_by": sorted(one.kid for one in order.signers),
                },
                keeper_evidence=dict(statement),
                checkpoint=await means.head(),
            )
        cause = "command" if order is not None else "withdrawal"
        await means.journal.finish_erase(
            recording_id, erased_at=erased_at, cause=cause, key_ids=key_ids, receipt=receipt
        )
        hit("erase.finished")
        await self._scrub(slots)
        log.info("recording is erased", recording=recording_id, order=row.jti if row else None)

    async def _scrub(self, slots: list[int]) -> None:
        """After the promise is kept: the number out of the WAL, the slots free again. The next start does what fails."""
        try:
            await self._means.journal.read_gate()
            await self._means.slots.release(slots)
        except CallwardenError as error:
            log.info("the journal's old pages go later", code=error.code, why=error.message)

    async def _in_worker(self, work: Callable[[], int]) -> int:
        return await asyncio.get_running_loop().run_in_executor(self._means.worker, work)

    # ------------------------------------------------------------ receipts

    async def _answer(
        self,
        row: OrderRow,
        result: str,
        reason: str | None,
        *,
        recording_id: str | None = None,
        state: str = "answered",
    ) -> None:
        receipt = await self._receipt(
            row, result, reason=reason, recording_id=recording_id, at=self._means.clock.wall_text()
        )
        await self._means.journal.answer(receipt, state=state)
        log.info("order answered", order=row.jti, result=result, why=reason)

    async def _receipt(self, row: OrderRow, result: str, *, at: str, **facts: Any) -> ReceiptRow:
        receipt_id = secrets.token_hex(16)
        n = len(await self._means.journal.receipts_of(row.jti))
        claims = ReceiptClaims(
            receipt_id=receipt_id,
            jti=row.jti,
            n=n,
            result=result,
            edge_id=self._means.edge_id,
            at=at,
            order_sha256=order_sha256(row.jws),
            **facts,
        )
        return ReceiptRow(receipt_id, row.jti, n, result, sign_receipt(claims, self._means.key), None)
