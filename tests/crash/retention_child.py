"""The process that is killed: retention over an edge's disk. usage: retention_child.py FOLDER prepare|pass

`prepare` makes one call that goes on, one whose withdrawal is due, one whose withdrawal waits for a hold, and the orders
to pause the first and to withdraw from it, and a refused call whose evidence is over; a recording whose time is over, a
call whose names and texts are, one of which nothing is left, an order and an alarm that are; the orders to hold a recording
and to release another hold. It prints their ids as JSON. `pass` is one pass of the executor, and its look at what is past
its time.
"""

from __future__ import annotations

import asyncio
import json
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

from edge.consent.policy import Policy
from edge.consent.units import Period
from edge.model.holds import HoldRow
from edge.model.live import DueErasure, NoticeRow
from tests.unit.retention.keeping_kit import kept, policy, talked
from tests.unit.retention.retention_kit import Place, now_plus
from tests.unit.store import store_makers as makers

NOW = datetime.now(UTC)
DAY = timedelta(days=1)


async def prepare(place: Place) -> dict[str, str]:
    past = await place.order("pause", "call", makers.new_id(), age_s=5 * 366 * 86_400)
    await place.executor().once()
    (receipt,) = await place.journal.receipts_of(past)
    await place.journal.acknowledge_receipt(receipt.receipt_id, makers.AT)
    live, _ = await place.record(ended=False)
    other, _ = await place.record(ended=False)
    due, _ = await place.record()
    held, _ = await place.record()
    for one in (due, held):
        what = [DueErasure(one.recording_id, now_plus(-1), "withdrawal")]
        await place.journal.withdraw(one.call_id, makers.event("withdrawn"), "withdrawn", what, forget=None)
    await place.hold(held.call_id, "case 7")
    old = makers.call(
        policy_document=Policy(name="support", mode="opt_in", basis="consent").document, policy_version="v2"
    )
    await place.journal.open_call(old)
    await place.journal.add_event(old.call_id, makers.event("refused"), state="declined", outcome="refused")
    await place.journal.end_call(old.call_id, makers.AT)
    aged = await kept(place, NOW - 40 * DAY, policy(recordings=Period("P1M")))
    texted = await talked(place, NOW - 250 * DAY, policy(), outcome="notified")
    notice = NoticeRow(
        makers.new_id(), texted.call_id, "end", None, "cd" * 32, "CZ", "dropped", 0, makers.AT, makers.AT, None, "x"
    )
    await place.journal.owe_notice(notice)
    gone = await talked(place, NOW - 800 * DAY, policy())
    await place.journal.expire_evidence([gone.call_id])
    await place.journal.forget_calls([gone.call_id], {})
    await place.journal.alarm("spool.full", "long ago")
    await place.journal._writer.do(lambda conn: conn.execute("UPDATE alarm SET at='2020-01-01T00:00:00.000Z'"))
    wanted, free = await kept(place, NOW - DAY, policy()), await kept(place, NOW - DAY, policy())
    copy = (
        "INSERT INTO exported(recording_id, form, purpose, at) VALUES(?, 'wav', 'quality', '2020-01-01T00:00:00.000Z')"
    )
    await place.journal._writer.do(lambda conn: conn.execute(copy, (wanted.recording_id,)))
    released = HoldRow(makers.new_id(), "hold", "call", free.call_id, "case 8", None, "uid:1", makers.AT)
    await place.journal.place_hold(released)
    waiting = await place.journal.outbox(10_000)
    await place.journal.prune(waiting[-1].seq)
    return {
        "aged": aged.recording_id, "texted": texted.call_id, "gone": gone.call_id, "past": past,
        "wanted": wanted.recording_id, "hold": await place.order("hold", "recording", wanted.recording_id),
        "released": released.hold_id, "release": await place.order("release", "hold", released.hold_id),
        "old": old.call_id, "live": live.call_id, "other": other.call_id, "due": due.recording_id, "held": held.recording_id,
        "withdraw": await place.order("withdraw", "call", live.call_id),
        "pause": await place.order("pause", "call", other.call_id),
    }  # fmt: skip


async def main() -> None:
    place = await Place.open(Path(sys.argv[1]))
    try:
        if sys.argv[2] == "prepare":
            print(json.dumps(await prepare(place)))
        else:
            executor = place.executor()
            await executor.once()
            await executor._forget()
    finally:
        await place.close()


asyncio.run(main())
