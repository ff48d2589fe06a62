"""The process that is killed: retention over an edge's disk. usage: retention_child.py FOLDER prepare|pass

`prepare` makes one call that goes on, one whose withdrawal is due, one whose withdrawal waits for a hold, and the orders
to pause the first and to withdraw from it, and a refused call whose evidence is over; it prints their ids as JSON. `pass`
is one pass of the executor, and its look at what is past its time.
"""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

from edge.consent.policy import Policy
from edge.model.live import DueErasure
from tests.unit.retention.retention_kit import Place, now_plus
from tests.unit.store import store_makers as makers


async def prepare(place: Place) -> dict[str, str]:
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
    return {
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
