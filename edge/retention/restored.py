"""After a restore: what was erased since the backup is erased again, before anything is given out, and what was ordered
since is in the inbox before anything else is destroyed. Write order `restore`.

Two witnesses: central (tombstones), and the slot file, which was never in a backup: a recording of which no slot opens a header
lost its keys since. Where there is a central, its word alone says that this was an erasure: a rewrap destroys keys too, and its new
header is at central. Such a recording is quarantined and its payload kept. ADR 0082.
"""

from __future__ import annotations

from contextlib import suppress
from functools import partial
from typing import Final

import structlog

from edge.errors import CallwardenError
from edge.failpoints import hit
from edge.model.entities import ReceiptRow, RecordingRow
from edge.model.lifecycle import UNFINISHED
from edge.ports.restores import RestoreMark
from edge.retention.erasure import Destroyed, Eraser
from edge.retention.means import Means
from formats.certificate_facts import is_last_word
from formats.errors import FormatError, SealError
from formats.orders import OrderClaims, read_order, read_receipt
from formats.shred import unseal_header

log = structlog.get_logger("retention")

#: Cause of an erasure that was made before the restore and is made again.
CAUSE: Final = "erased_before_restore"
#: States in which a recording has keys that may have been destroyed since.
_KEPT: Final = ("sealed", "quarantined")


class Restored:
    """Settles a journal that was put back."""

    def __init__(self, means: Means, eraser: Eraser) -> None:
        self._means = means
        self._eraser = eraser
        self._looked = False
        self._apart = 0
        self._intended: set[str] = set()
        self._failed: list[CallwardenError] = []
        self.pending = True

    async def settle(self) -> None:
        """Repeated until it is done; nothing where nothing is to settle. Raises CallwardenError sync.*, vault.*, journal.*."""
        if not self.pending:
            return
        means = self._means
        mark = await means.journal.restore_mark()
        if mark is None:
            self._done()
            return
        self._failed.clear()
        away: CallwardenError | None = None
        try:
            facts = await self._from_central(mark)
        except CallwardenError as error:
            facts, away = None, error
        if facts is not None or mark.accepted or not await self._has_central():
            await self._look(mark)
        if mark.accepted:
            means.gate.open()
        if away is not None:
            raise away
        await self._erase_all()
        if facts is not None:
            if means.elsewhere is not None:  # told of tombstones only now, if it was restored itself: they are all here
                await means.elsewhere.take_orders()
                hit("restore.orders_taken")
            await self._end_answered()
        if self._failed:
            raise self._failed[0]
        if facts is None:
            return
        facts["quarantined"] = self._apart
        await means.journal.settle_restore(facts)
        hit("restore.settled")
        log.info("the restored journal is settled", backup=mark.backup_id, **facts)
        self._done()

    def _done(self) -> None:
        self.pending = False
        self._means.gate.open()

    async def _from_central(self, mark: RestoreMark) -> dict[str, int | None] | None:
        """What central knows, applied; None while nobody may serve without it."""
        means = self._means
        if means.elsewhere is None:
            return {"tombstones": None, "receipts": None, "witnessed": None} if mark.accepted else None
        stones = await means.elsewhere.tombstones()
        receipts = await means.elsewhere.receipts()
        witnessed = await means.elsewhere.witnessed()
        hit("restore.tombstones_fetched")
        for stone in stones:
            row = await means.journal.recording(stone.recording_id)
            if row is not None:
                if row.state not in ("erasing", "erased"):
                    await self._intend(row, gone=await self._key_is_gone(row))
                continue
            await means.in_worker(partial(means.vault.unlink, stone.recording_id))
            await means.journal.bury_unknown(stone.recording_id, stone.at, stone.receipt_id)
        hit("restore.buried")
        await means.journal.take_back_receipts(receipts)
        hit("restore.receipts_taken")
        return {
            "tombstones": len(stones),
            "receipts": len(receipts),
            "witnessed": max(witnessed.values(), default=None),
        }

    async def _has_central(self) -> bool:
        """Also one that is not configured any more: its keeper may have what a slot here has lost."""
        return self._means.elsewhere is not None or await self._means.journal.last_cosigned() is not None

    async def _look(self, mark: RestoreMark) -> None:
        """Sealed recordings whose keys are gone and that central did not name."""
        if self._looked:
            return
        central = await self._has_central()
        for row in await self._means.journal.recordings(states=_KEPT):
            if not await self._key_is_gone(row):
                continue
            if not central:
                await self._intend(row, gone=True)
            elif row.state == "sealed":
                message = (
                    "its keys here were destroyed after the backup and central knows of no erasure: restored from before a"
                    " rewrap; central's copy opens it (callwarden recover)"
                )
                await self._means.journal.alarm("restore.key_gone", message, where=row.recording_id)
                await self._means.journal.quarantine(row.recording_id, ["restore.key_gone"], mark.uid)
                self._apart += 1
        self._looked = True

    async def _intend(self, row: RecordingRow, *, gone: bool) -> None:
        """`gone`: its keys are, so a hold has nothing left to keep: it was released before they went. Else a hold keeps it,
        whatever central says, and this restore is not settled."""
        try:
            await self._eraser.intend([row], None, CAUSE, over_holds=gone)
            self._intended.add(row.recording_id)
        except CallwardenError as error:
            log.warning("erased before the restore, and still there", recording=row.recording_id, code=error.code)
            self._failed.append(error)

    async def _erase_all(self) -> None:
        for recording_id in sorted(self._intended):
            try:
                await self._eraser.erase(recording_id, cause=CAUSE, jti=None, sign=_nobody)
            except CallwardenError as error:
                log.warning("erased before the restore, not yet again", recording=recording_id, code=error.code)
                self._failed.append(error)

    async def _end_answered(self) -> None:
        """Orders whose last answer came back are over, as central knows them: a cancelled one destroys nothing more."""
        means, over = self._means, set[str]()
        orders = []
        for row in await means.journal.orders(UNFINISHED):
            with suppress(FormatError):  # what is no order is refused by the executor
                orders.append((row.jti, read_order(row.jws)))
        for jti, claims in orders:
            receipts = await means.journal.receipts_of(jti)
            if receipts and _is_last(claims, receipts[-1]):
                over.add(jti)
        going_on = {jti for jti, _ in orders} - over
        # One that cancels is carried out again where what it cancels did not come back as ended.
        over -= {jti for jti, claims in orders if claims.cmd == "cancel" and claims.target.id in going_on}
        await means.slots.release(await means.journal.end_answered(sorted(over)))
        hit("restore.orders_ended")

    async def _key_is_gone(self, row: RecordingRow) -> bool:
        """No header of it opens any more under the key in its slot: somebody destroyed them all after the backup."""
        named = [segment for segment in row.segments if segment.header.slot]
        for segment in named:
            try:
                key = await self._means.slots.read(segment.header.slot)
                unseal_header(
                    segment.header.sealed_header, key, row.recording_id, segment.segment_id, segment.header.version
                )
            except SealError:
                continue  # the slot holds another recording's key
            except CallwardenError as error:
                if error.code == "vault.slot_shredded":
                    continue
                log.warning("a key cannot be looked at", recording=row.recording_id, code=error.code)
                return False
            return False
        return bool(named)


def _is_last(claims: OrderClaims, receipt: ReceiptRow) -> bool:
    """Whether an answer ends its order here. Not what places or releases a hold: the deed itself did not come back."""
    if claims.cmd not in ("erase", "cancel"):
        return False
    return is_last_word(read_receipt(receipt.jws), claims.target.kind)


async def _nobody(_: Destroyed) -> None:
    return None
