"""STAGE: what must go. Takes orders from the inbox, answers each with a signed receipt, makes erasures final, ordered or
due by themselves, and hands orders about live calls to the calls stage."""

from __future__ import annotations

import asyncio
from itertools import dropwhile
from typing import Any, Final

import structlog

from edge.errors import CallwardenError
from edge.failpoints import hit
from edge.model.entities import OrderRow, ReceiptRow, RecordingRow
from edge.model.lifecycle import UNFINISHED
from edge.retention import further, holdorders
from edge.retention.byhand import ByHand
from edge.retention.clockwatch import ClockWatch
from edge.retention.due import DueErasures
from edge.retention.erasure import Destroyed, Eraser
from edge.retention.expiry import Expiry
from edge.retention.further import FurtherOrders
from edge.retention.holding import Holding
from edge.retention.holdorders import HoldOrders
from edge.retention.incidents import Incidents
from edge.retention.kept import Kept
from edge.retention.live import COMMANDS, LiveOrders
from edge.retention.many import ManyOrders
from edge.retention.means import Means, fleet_of
from edge.retention.obstacles import Obstacles
from edge.retention.people import People
from edge.retention.receipts import Receipts
from edge.retention.restored import Restored
from edge.retention.stuck import Stuck
from edge.retention.terms import TermsBook
from edge.retention.turns import LAST, claims_of, rank
from formats.errors import FormatError
from formats.ids import format_time
from formats.orders import MANY, VerifiedOrder, order_sha256, read_order, verify_order

log = structlog.get_logger("retention")

#: How often unfinished and deferred orders, and what is due, are looked at again, seconds.
RETRY_S: Final = 3.0
#: How often everything is looked at whose time may be over, seconds; answers that are past theirs count for nothing meanwhile.
LOOK_EVERY_S: Final = 600.0


class Executor:
    """Carries out orders one after the other, then what is due."""

    def __init__(self, means: Means) -> None:
        self._means = self.sight = means
        self._receipts = Receipts(means)
        self.holding = Holding(means)
        self.terms = TermsBook(means)
        self.clock = ClockWatch(means)
        self.kept = Kept(means, self.holding, self.terms)
        self.obstacles = Obstacles(means, self.holding, self.terms)
        self._eraser = Eraser(means, self.obstacles)
        self._due = DueErasures(means, self._eraser, self._receipts)
        self._live = LiveOrders(means, self._receipts)
        self._incidents = Incidents(means)
        self._expiry = Expiry(means, self.kept, self.terms, self._due)
        self._restored = Restored(means, self._eraser)
        self.people = People(means, self._receipts)
        self._holds = HoldOrders(means, self.holding, self._receipts, self.people)
        self.by_hand = ByHand(means, self.people, self.terms, self.wake)
        self._further = FurtherOrders(means, self._receipts, self.clock)
        self._many = ManyOrders(
            means, self._eraser, self.obstacles, self._receipts, self.people, self.clock, self.wake, self._further
        )
        self._wake = asyncio.Event()
        self._said: dict[str, str] = {}
        self._stuck = Stuck(means.journal, means.clock)
        self._look_at = 0

    def wake(self) -> None:
        """There is a new order."""
        self._wake.set()

    def notes(self) -> list[str]:
        """What a person should know of retention, for `status`: a clock that is doubted, terms that wait."""
        found = [f"retention: {self.clock.doubt}; nothing goes"] if self.clock.doubt else []
        for scope, waits in sorted(self._expiry.waiting.items()):
            what = f'policy "{scope}"' if scope else "what belongs to no policy"
            found.append(f"retention: {what} waits for an approval ({len(waits)} settings); callwarden retention plan")
        return found

    def look(self) -> None:
        """Somebody wants a look at what is over now."""
        self._look_at = 0
        self.wake()

    async def run(self) -> None:
        """Until cancelled: every unfinished order, every erasure with an intent and no order, every due one."""
        while True:
            self._wake.clear()
            more = False
            try:
                await self.once()
                more = await self._forget()
            except CallwardenError as error:  # the journal could not even be read
                self._say("orders", error)
            try:
                await asyncio.wait_for(self._wake.wait(), 0 if more else RETRY_S)
            except TimeoutError:
                continue

    async def _forget(self) -> bool:
        """Whatever has had its time, now and then; True when there is more of it at once. Not while a restored journal is not
        settled: it may lack a hold."""
        if self._means.gate.refusal() is not None:
            return False
        mono = self._means.clock.mono_ns()
        if mono < self._look_at or (now := await self.clock.trusted()) is None:
            return False
        await self._means.journal.forget_expired(format_time(now))
        if await self._expiry.once(now):
            return True
        self._look_at = mono + round(LOOK_EVERY_S * 1e9)
        return False

    async def once(self) -> None:
        """One pass over everything unfinished. Orders about live calls go first, and those that stop another: somebody is
        speaking, and an erasure may wait long for central's keeper. Then holds: what came with an erasure keeps it.
        A restored journal that is not settled may lack a hold or a cancellation: nothing new is destroyed."""
        try:
            await self._restored.settle()
        except CallwardenError as error:
            self._say("restore", error)
        await self._look_for_held()
        shut = self._means.gate.refusal() is not None
        ordered: set[str] = set()
        read = [(order, claims_of(order)) for order in await self._means.journal.orders(UNFINISHED)]
        for order, claims in sorted(read, key=lambda one: rank(one[1])):
            try:
                fresh = await self._means.journal.order(order.jti)
                if fresh is not None and fresh.state in UNFINISHED:  # else another order has ended it meanwhile
                    if not self._stuck.waits(order.jti) and not (shut and claims is not None and rank(claims) == LAST):
                        await self._carry_out(fresh)
                        self._stuck.over(order.jti)
                    elif claims is not None:
                        ordered.add(claims.target.id)
            except CallwardenError as error:
                self._say(order.jti, error)
                if claims is not None:
                    ordered.add(claims.target.id)
            except Exception as bug:  # of this order alone: the others go on, and so does the daemon
                await self._stuck.failed(order.jti, claims, bug)
                if claims is not None:
                    ordered.add(claims.target.id)
            if claims is not None and claims.target.kind in MANY:  # what it has begun has its receipts from it alone
                ordered |= await self._many.calls_of(order.jti)
        for row in await self._means.journal.recordings(states=("erasing",)):
            if ordered.isdisjoint((row.recording_id, row.call_id)):  # else its order ends it and has the receipt
                await self._try(row.recording_id, row)
        now = await self.clock.trusted()
        for due in await self._means.journal.due_erasures(format_time(now)) if now is not None and not shut else ():
            try:
                await self._due.carry_out(due)
            except CallwardenError as error:
                self._say(due.recording_id, error)
        try:
            await self._incidents.once()
        except CallwardenError as error:
            self._say("incidents", error)

    async def _look_for_held(self) -> None:
        """Whom a person's hold covers. Where that cannot be found out, what is about to go is looked at once more by itself
        (`Obstacles`), and stays; everything else goes on."""
        try:
            await self.holding.look()
            self._said.pop("holds", None)
        except CallwardenError as error:
            if self._said.get("holds") != error.code:
                await self._means.journal.alarm(
                    "retention.holds",
                    f"whom the holds on people cover cannot be found out, so nothing is erased: {error.message}; fix: if the"
                    " number key is lost, release these holds and place them again (callwarden hold list)",
                    where=error.where,
                )
            self._say("holds", error)

    async def _try(self, recording_id: str, row: RecordingRow) -> None:
        try:
            await self._due.finish(row)
        except CallwardenError as error:
            self._say(recording_id, error)

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
        if claims.cmd in COMMANDS:
            await self._store(await self._live.answer(row, order), "answered")
        elif claims.cmd in holdorders.COMMANDS:
            await self._holds.carry_out(row, order)
        elif claims.cmd == "erase" and claims.target.kind in ("recording", "call"):
            await self._erase(row, order)
        elif claims.cmd == "erase" and claims.target.kind in MANY:
            await self._many.carry_out(row, order)
        elif claims.cmd == "cancel":
            await self._many.cancel(row, order)
        elif claims.cmd in further.COMMANDS:
            if (said := await self._further.answer(row, order)) is not None:
                await self._store(said, "answered")
                hit("further.answered")
        elif claims.cmd == "locate" and claims.target.kind == "person":
            await self.people.locate(row, claims)
        else:
            await self._answer(row, "refused:command.unsupported", f"{claims.cmd} of a {claims.target.kind}")

    def _verified(self, row: OrderRow) -> VerifiedOrder:
        """The order, if the keys pinned here that count now allow it. Raises FormatError.

        Once it was begun the keys may be gone already: what was allowed then is carried out and answered as that, also
        when a signer's key has retired or the order's life has ended since.
        """
        means = self._means
        try:
            return verify_order(row.jws, means.trust, now=means.clock.wall_text(), fleet=fleet_of(means.trust))
        except FormatError:
            if row.state != "executing":
                raise
            return VerifiedOrder(read_order(row.jws), (), order_sha256(row.jws))

    async def _erase(self, row: OrderRow, order: VerifiedOrder) -> None:
        """An order to erase: all of its recordings, or, where something holds one of them, none yet. Of one that has begun:
        what has its intent; what came since and is held waits."""
        target = order.claims.target
        only = target.id if target.kind == "recording" else None
        named = (target.id,) if only else await self._recordings_of(target.id)
        rows = [one for name in named if (one := await self._means.journal.recording(name)) is not None]
        left = [one for one in rows if one.state != "erased"]
        if not left:
            gone = bool(rows) or (only and await self._means.journal.tombstone(only) is not None)
            await self._answer(row, "already" if gone else "not_found", None, recording_id=only)
            return
        going = left
        if (held := await self._eraser.held(left)) is not None:
            going = [one for one in left if one.state == "erasing" and row.state == "executing"]
            if not going:
                said = await self._means.journal.receipts_of(row.jti)
                if not said or said[-1].result != "deferred":
                    state = "executing" if row.state == "executing" else "deferred"
                    await self._answer(row, "deferred", held[0], recording_id=only, state=state)
                return
            left = [*going, *(one for one in left if one not in going)]
        await self._eraser.intend(going, row.jti, "command")

        async def sign(gone: Destroyed) -> ReceiptRow:
            facts: dict[str, Any] = {"ordered_by": sorted(signer.kid for signer in order.signers)}
            if only is None:  # how many of the call's recordings have their receipt still to come
                facts["left"] = sum(1 for _ in dropwhile(lambda one: one.recording_id != gone.recording_id, left)) - 1
            claims = gone.claims(await self._means.head(), **facts)
            return await self._receipts.of_order(row, "done", recording_id=gone.recording_id, **claims)

        for one in going:
            await self._eraser.erase(one.recording_id, cause="command", jti=row.jti, sign=sign, answers=one is left[-1])

    async def _recordings_of(self, call_id: str) -> tuple[str, ...]:
        call = await self._means.journal.call(call_id)
        return call.recordings if call is not None else ()

    async def _answer(
        self,
        row: OrderRow,
        result: str,
        reason: str | None,
        *,
        recording_id: str | None = None,
        state: str = "answered",
    ) -> None:
        at = self._means.clock.wall_text()
        await self._store(
            await self._receipts.of_order(row, result, reason=reason, recording_id=recording_id, at=at), state
        )

    async def _store(self, receipt: ReceiptRow, state: str) -> None:
        """Its answer; the last one, whatever it says, wipes the person that the order may be about."""
        if state == "answered":
            await self._means.slots.release(await self._means.journal.end_many([receipt]))
        else:
            await self._means.journal.answer(receipt, state=state)
        log.info("order answered", order=receipt.jti, result=receipt.result)


__all__ = ["Executor", "Means", "fleet_of"]
