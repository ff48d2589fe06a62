"""Orders to erase all calls of a person, or under a policy, in the write order `many`.

The calls are found and restricted at once, destroyed after the window in which any pinned key may cancel, and looked for
again until `due_at`: calls that went on, or were reported late. Each call goes by itself, in the write order `erase` for its
recordings and one commit that makes it anonymous; what something holds waits, with a receipt that says why, and the rest
goes on. The last word counts, and wipes the person from the order.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any, Final

import structlog

from edge.errors import CallwardenError
from edge.failpoints import hit
from edge.model.entities import OrderRow, ReceiptRow
from edge.model.finds import Find
from edge.model.lifecycle import UNFINISHED
from edge.retention.clockwatch import ClockWatch
from edge.retention.erasure import Destroyed, Eraser
from edge.retention.further import CANCELLABLE, FurtherOrders
from edge.retention.limits import Limits, not_reviewed, not_yet
from edge.retention.means import Means
from edge.retention.obstacles import Obstacles
from edge.retention.people import People
from edge.retention.receipts import Receipts
from formats.ids import format_time
from formats.orders import MANY, Person, VerifiedOrder, read_order

log = structlog.get_logger("retention")

#: Between two looks for calls that an order covers and that were not there before, seconds.
LOOK_EVERY_S: Final = 60.0
#: Calls that are restricted in one commit, and destroyed in one pass: live calls and orders about them wait no longer.
AT_ONCE: Final = 100
#: Calls that a receipt lists; more are only counted.
_MOST_LISTED: Final = 200


class ManyOrders:
    """Finds, restricts, destroys, cancels."""

    def __init__(
        self, means: Means, eraser: Eraser, obstacles: Obstacles, receipts: Receipts, people: People, clock: ClockWatch,
        wake: Callable[[], None], further: FurtherOrders,
    ) -> None:  # fmt: skip
        self._means = means
        self._limits = Limits(means)
        self._eraser = eraser
        self._obstacles = obstacles
        self._receipts, self._people = receipts, people
        self._clock, self._wake, self._further = clock, wake, further
        self._looked: dict[str, int] = {}
        self._last: dict[str, str] = {}

    async def carry_out(self, row: OrderRow, order: VerifiedOrder) -> None:
        """What can be done of it now. Raises CallwardenError: it is tried again."""
        if await self._clock.trusted() is None:
            return  # by a clock that jumped a window could be over that has hardly begun
        if row.state != "executing":
            await self._begin(row, order)
            return
        await self._look(row, order)
        failed: CallwardenError | None = None
        now, gone = self._means.clock.wall_text(), False
        due = _turn(await self._means.journal.finds(row.jti), self._last.get(row.jti), now)
        late = await self._late(row)
        for find in due[:AT_ONCE]:
            self._last[row.jti] = find.call_id
            try:
                if find.call_id in late and (why := await self._limits.may_not(order, find)) is not None:
                    await self._waits(row, find, why, None)
                    continue
                gone = await self._destroy(row, order, find) or gone
            except CallwardenError as error:
                failed = error
                if error.code.startswith("sync."):
                    break  # central is away for the rest, too
        if gone:
            await self._forget(row)
            if len(due) > AT_ONCE:
                self._wake()
        if failed is not None:
            raise failed
        await self._finish(row)

    async def calls_of(self, jti: str) -> set[str]:
        """The calls an order found and has not destroyed."""
        return {one.call_id for one in await self._means.journal.finds(jti) if one.state == "waiting"}

    # ------------------------------------------------------------ finding

    async def _begin(self, row: OrderRow, order: VerifiedOrder) -> None:
        claims, journal = order.claims, self._means.journal
        person = await self._people.of_order(row, claims.target)
        if (why := not_reviewed(order) or not_yet(order, self._means.clock.wall())) or (
            claims.target.kind == "person" and person is None
        ):
            refusal = why or ("command.person", "the number that the order is about did not come with it")
            await self._end(row, f"refused:{refusal[0]}", refusal[1])
            return
        calls = await self._covered(order, person)
        refused = await self._limits.too_much(order, calls) or await self._limits.not_exported(order, calls)
        if refused is not None:
            await self._end(row, f"refused:{refused[0]}", refused[1])
            return
        bounds, now = self._means.bounds(), self._means.clock.wall()
        shred_at = now + timedelta(seconds=bounds.window)
        due_at = bounds.late.after(shred_at)
        says = (
            f"{len(calls)} call(s) are restricted and destroyed from {format_time(shred_at)} on, unless that is cancelled; "
            f"calls of before {claims.as_of} are looked for until {format_time(due_at)}"
        )
        counts = {"calls": len(calls), "found": calls[:_MOST_LISTED]}
        when = {"shred_at": format_time(shred_at), "due_at": format_time(due_at)}
        receipt = await self._says(row, "deferred", says, counts | when)
        await journal.begin_many(
            row.jti,
            calls[:AT_ONCE],
            at=format_time(now),
            shred_at=format_time(shred_at),
            due_at=format_time(due_at),
            receipt=receipt,
        )
        hit("many.restricted")
        self._seen(row, len(calls))
        log.info("calls are restricted by an order", order=row.jti, calls=len(calls))

    async def _look(self, row: OrderRow, order: VerifiedOrder) -> None:
        """Calls that were not there at the last look: each gets a window of its own, since nobody has looked at it."""
        means, now = self._means, self._means.clock.mono_ns()
        at = means.clock.wall_text()
        last = self._looked.get(row.jti)
        if (last is not None and now - last < LOOK_EVERY_S * 1e9) or (row.due_at is not None and row.due_at <= at):
            return
        person = await self._people.of_order(row, order.claims.target)
        known = {one.call_id for one in await means.journal.finds(row.jti)}
        found = [one for one in await self._covered(order, person) if one not in known]
        self._seen(row, len(found))
        more = found[:AT_ONCE]
        if not more:
            return
        shred_at = format_time(means.clock.wall() + timedelta(seconds=means.bounds().window))
        says = f"{len(more)} further call(s) were found and are destroyed from {shred_at} on, unless that is cancelled"
        receipt = await self._says(row, "deferred", says, {"calls": len(more), "found": more[:_MOST_LISTED]})
        await means.journal.add_finds(row.jti, more, at=at, shred_at=shred_at, receipt=receipt)
        hit("many.found")

    def _seen(self, row: OrderRow, found: int) -> None:
        """The next look is in a while, or at once where there is more than one commit takes."""
        if found <= AT_ONCE:
            self._looked[row.jti] = self._means.clock.mono_ns()
        else:
            self._wake()

    async def _covered(self, order: VerifiedOrder, person: Person | None) -> list[str]:
        claims, left_out = order.claims, frozenset(order.claims.exclude)
        if claims.target.kind == "policy":
            found = await self._means.journal.calls_of_policy(claims.target.id, claims.as_of)
        elif person is not None:
            found = await self._people.calls(person, claims.as_of)
        else:
            return []
        return [one for one in found if one not in left_out]

    async def _late(self, row: OrderRow) -> frozenset[str]:
        """Calls that came after the first look: neither the share nor the exports were judged by them."""
        finds = await self._means.journal.finds(row.jti)
        first = min((one.found_at for one in finds), default="")
        return frozenset(one.call_id for one in finds if one.state == "waiting" and one.found_at != first)

    # ------------------------------------------------------------ destroying

    async def _destroy(self, row: OrderRow, order: VerifiedOrder, find: Find) -> bool:
        """One call, as far as it may; whether it is gone."""
        journal = self._means.journal
        call = await journal.call(find.call_id)
        rows = [one for name in (call.recordings if call else ()) if (one := await journal.recording(name)) is not None]
        left = [one for one in rows if one.state not in ("erased", "no_audio")]
        held = await self._eraser.held(left)
        if held is not None:
            await self._waits(row, find, *held)
            left = [one for one in left if one.state == "erasing"]  # there is no way back for these
        elif not left and (why := await self._obstacles.of_call(find.call_id)) is not None:
            await self._waits(row, find, why, None)
            return False
        await self._eraser.intend(left, row.jti, "command")

        async def sign(gone: Destroyed) -> ReceiptRow:
            by = sorted(signer.kid for signer in order.signers)
            claims = gone.claims(await self._means.head(), ordered_by=by)
            return await self._receipts.of_order(row, "done", recording_id=gone.recording_id, **claims)

        for one in left:
            await self._eraser.erase(one.recording_id, cause="command", jti=row.jti, sign=sign, answers=False)
            hit("many.erased")
        if held is not None or (call is not None and call.state != "ended"):
            return False  # it goes on, unrecorded; its rows are needed until it is over
        await journal.find_done(row.jti, find.call_id)
        hit("many.anonymised")
        return True

    async def _waits(self, row: OrderRow, find: Find, why: str, recording_id: str | None) -> None:
        if find.waits_for == why:
            return
        at = self._means.clock.wall_text()
        receipt = await self._receipts.of_order(row, "deferred", at=at, reason=why, recording_id=recording_id)
        await self._means.journal.find_waits(row.jti, find.call_id, why, receipt)
        hit("many.deferred")

    async def _forget(self, row: OrderRow) -> None:
        """What is remembered of the person, and the number in old pages of the journal."""
        if (person := await self._people.of_order(row, read_order(row.jws).target)) is not None:
            await self._people.forget(person)
        await self._people.scrub()

    async def _finish(self, row: OrderRow) -> None:
        """The last word, once no call can come any more and none waits."""
        finds = await self._means.journal.finds(row.jti)
        if row.due_at is None or row.due_at > self._means.clock.wall_text() or any(f.state == "waiting" for f in finds):
            return
        await self._forget(row)
        done = [one for one in await self._means.journal.receipts_of(row.jti) if one.result == "done"]
        counts = {"calls": len(finds), "recordings": len(done)}
        await self._end(row, "done" if finds else "not_found", None, counts)

    # ------------------------------------------------------------ the end

    async def cancel(self, row: OrderRow, order: VerifiedOrder) -> None:
        """An order to cancel another: what it has not destroyed yet stays, and it destroys nothing more."""
        named = await self._means.journal.order(order.claims.target.id)
        if named is None:
            await self._end(row, "not_found", None)
            return
        cancels = read_order(named.jws)
        if cancels.cmd in CANCELLABLE and named.state in UNFINISHED:
            if (said := await self._further.cancelled(named, cancels.cmd, row.jti)) is not None:
                await self._close([said, await self._says(row, "done", None, {"did": "cancelled"})])
                hit("further.cancelled")
                return
            await self._end(row, "refused:command.too_late", "what the order brought counts already")
            return
        if cancels.cmd != "erase" or cancels.target.kind not in MANY or named.state not in UNFINISHED:
            await self._end(row, "refused:command.too_late", "the order is carried out, or has no window")
            return
        finds = await self._means.journal.finds(named.jti)
        begun = [one for one in finds if one.state == "waiting" and await self._is_erasing(one.call_id)]
        if begun or (finds and all(one.state == "done" for one in finds)):
            await self._end(row, "refused:command.too_late", "what the order found is destroyed, or is being destroyed")
            return
        done = [one for one in finds if one.state == "done"]
        why = f"cancelled by order {row.jti}"
        counts = {"calls": len(done), "cancelled": len(finds) - len(done)}
        last = await self._says(named, "done" if done else "refused:command.cancelled", why, counts)
        mine = await self._says(row, "done", None, {**counts, "did": "cancelled"})
        await self._close([last, mine])
        hit("many.cancelled")

    async def _is_erasing(self, call_id: str) -> bool:
        call = await self._means.journal.call(call_id)
        rows = [await self._means.journal.recording(one) for one in (call.recordings if call else ())]
        return any(one is not None and one.state == "erasing" for one in rows)

    async def _end(self, row: OrderRow, result: str, why: str | None, counts: dict[str, Any] | None = None) -> None:
        await self._close([await self._says(row, result, why, counts or {})])
        hit("many.ended")

    async def _close(self, receipts: Sequence[ReceiptRow]) -> None:
        slots = await self._means.journal.end_many(receipts)
        await self._means.slots.release(slots)
        for one in receipts:
            self._looked.pop(one.jti, None)
            self._last.pop(one.jti, None)
            log.info("order answered", order=one.jti, result=one.result)

    async def _says(self, row: OrderRow, result: str, why: str | None, counts: dict[str, Any]) -> ReceiptRow:
        at = self._means.clock.wall_text()
        return await self._receipts.of_order(row, result, at=at, reason=why, evidence=counts)


def _turn(finds: Sequence[Find], last: str | None, now: str) -> Sequence[Find]:
    """What is due, from behind the one that was looked at last: what waits for something holds up nobody."""
    start = next((at + 1 for at, one in enumerate(finds) if one.call_id == last), 0)
    return [one for one in (*finds[start:], *finds[:start]) if one.state == "waiting" and one.shred_at <= now]
