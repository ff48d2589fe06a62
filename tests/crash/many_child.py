"""The process that is killed: orders about many calls over an edge's disk. usage: many_child.py FOLDER prepare|run

`prepare` makes two calls of a person, one of them held, one of somebody else and one under another policy, and the orders:
to find the person, to erase them, to erase the policy, and to cancel that. They come as deliveries. `run` is the life of
those orders, in leaps of the clock; at the second a call of the person is adopted, at the third the hold is released.
"""

from __future__ import annotations

import asyncio
import json
import secrets
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from edge.retention.clockwatch import TRUSTED_META
from edge.retention.means import Bounds
from edge.sync.elsewhere import Elsewhere
from edge.sync.inbox import Inbox
from formats.orders import OrderClaims, Person, Target, sign_delivery, sign_order
from tests.unit.retention.retention_kit import DPO, STORE, TRUST, Place, now_plus
from tests.unit.retention.test_many import OTHER, Clock, digest
from tests.unit.store import store_makers as makers

LATE = "ab" * 16


def an_order(cmd: str, kind: str, target: str, **more: Any) -> dict[str, Any]:
    at = now_plus(0)
    claims = OrderClaims(
        iss="fleet", jti=makers.new_id(), iat=at, fleet="fleet", cmd=cmd,  # type: ignore[arg-type]
        target=Target(kind, target), as_of=at, reason="asked", **more,  # type: ignore[arg-type]
    )  # fmt: skip
    return {"jti": claims.jti, "order": sign_order(claims, [STORE, DPO] if cmd == "erase" else [STORE])}


async def prepare(place: Place, folder: Path) -> dict[str, Any]:
    mine, _ = await place.record(number_e164=makers.NUMBER)
    held, _ = await place.record(number_e164=makers.NUMBER)
    other, _ = await place.record(number_heard=OTHER, number_e164=OTHER)
    sales, _ = await place.record(number_heard=OTHER, number_e164=OTHER, policy_id="sales")
    await place.hold(held.call_id, "case 7")
    people = [Person(secrets.token_bytes(16), makers.NUMBER) for _ in range(2)]
    locate = an_order("locate", "person", people[0].id)
    erase = an_order("erase", "person", people[1].id, located=locate["jti"])
    policy = an_order("erase", "policy", "sales", exported_to="tape 7")
    cancel = an_order("cancel", "order", policy["jti"])
    found = [locate, erase, policy, cancel]
    deliveries = [
        {
            "seq": number,
            "jws": sign_delivery(STORE, aud="edge-1", seq=number, order=one["order"]),
            **({"opening": person.document()} if person else {}),
        }
        for number, (one, person) in enumerate(zip(found, [*people, None, None], strict=True), 1)
    ]
    (folder / "deliveries.json").write_text(json.dumps(deliveries))
    by_hand = {"order": locate["order"], "opening": people[0].document()}
    (folder / "by_hand.json").write_text(json.dumps(by_hand))
    return {
        "mine": mine.recording_id, "held": held.recording_id, "other": other.recording_id, "sales": sales.recording_id,
        "held_call": held.call_id,
        "locate": locate["jti"], "erase": erase["jti"], "policy": policy["jti"], "cancel": cancel["jti"],
    }  # fmt: skip


async def run(place: Place, folder: Path, ids: dict[str, str]) -> None:
    uplink = SimpleNamespace(edge_id="edge-1")
    clock = Clock()
    elsewhere = Elsewhere(uplink)  # type: ignore[arg-type]
    inbox = Inbox(
        uplink, place.journal, place.slots, TRUST, clock, lambda: None, elsewhere,  # type: ignore[arg-type]
    )  # fmt: skip
    *first, cancel = json.loads((folder / "deliveries.json").read_text())
    for hours in (0, 1, 60, 90, 600):
        clock = Clock()
        clock.go(hours=hours)
        await place.journal.set_meta(TRUSTED_META, clock.wall_text())  # no leap to whoever looks
        if hours == 0:  # the search is brought by hand, too: one order, whichever way it comes
            locate = json.loads((folder / "by_hand.json").read_text())
            await place.executor(digest=digest).by_hand.take(locate["order"], locate["opening"], 0)
        for one in first if hours == 0 else [cancel]:
            await inbox._take(one)
        if hours == 1 and await place.journal.call(LATE) is None:
            await place.record(call=makers.call(call_id=LATE, number_e164=makers.NUMBER))
        if hours == 90:
            await place.release(ids["held_call"])
        await place.executor(clock=clock, digest=digest, bounds=lambda: Bounds(daily_share=100)).once()


async def main() -> None:
    folder = Path(sys.argv[1])
    place = await Place.open(folder)
    try:
        if sys.argv[2] == "prepare":
            ids = await prepare(place, folder)
            (folder / "ids.json").write_text(json.dumps(ids))
        else:
            await run(place, folder, json.loads((folder / "ids.json").read_text()))
    finally:
        await place.close()


asyncio.run(main())
