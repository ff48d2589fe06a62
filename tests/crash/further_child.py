"""The process that is killed: orders about policies, keys, uploads and headers at one edge. usage: further_child.py FOLDER prepare|run

`prepare` makes a recording and the orders. `run` is their life in leaps of the clock: a tighter policy, a new one, a key set,
a second key set that is cancelled, an upload that is served after an hour, and a header.
"""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

from edge.retention.clockwatch import TRUSTED_META
from formats import canonical
from formats.keys import SigningKey
from formats.keyset import KeyEntry, KeySet
from formats.orders import OrderClaims, Target, sign_order
from tests.unit.retention.retention_kit import AUDITOR, DPO, DPO2, STORE, Place, now_plus
from tests.unit.retention.test_further import HEADERS, NEW, TABLE, TIGHTER, Here, of, people
from tests.unit.store import store_makers as makers

OTHER = SigningKey.from_seed(bytes([10]) * 32)
HOUR = 3600


def an_order(cmd: str, target: Target, keys: tuple[SigningKey, ...], hours: int, content: Any = None) -> dict[str, Any]:
    at = now_plus(hours * HOUR)
    claims = OrderClaims(
        iss="fleet", jti=makers.new_id(), iat=at, fleet="fleet", cmd=cmd,  # type: ignore[arg-type]
        target=target, as_of=at, reason="asked", content=content or {},
    )  # fmt: skip
    return {"jti": claims.jti, "hours": hours, "text": canonical.dumps(sign_order(claims, keys)).decode()}


def keyset(*entries: KeyEntry) -> dict[str, Any]:
    return {"keyset": json.loads(KeySet.of(entries).dump())}


async def prepare(place: Place) -> dict[str, Any]:
    recording, _ = await place.record()
    two, fleet = (STORE, DPO), Target("fleet", "fleet")
    help_table = TABLE.replace("policy.sales", "policy.help")
    second = an_order("keys", fleet, two, 1, keyset(*people(DPO2), of(NEW), of(OTHER, owner="Otto")))
    orders = {
        "tighter": an_order("policy", Target("policy", "sales"), two, 0, {"toml": TIGHTER}),
        "new": an_order("policy", Target("policy", "help"), two, 0, {"toml": help_table}),
        "keys": an_order("keys", fleet, two, 0, keyset(*people(DPO2), of(NEW))),
        "second": second,
        "cancel": an_order("cancel", Target("order", second["jti"]), (AUDITOR,), 2),
        "fetch": an_order("fetch", Target("recording", recording.recording_id), (STORE,), 0),
        "rewrap": an_order("rewrap", Target("recording", recording.recording_id), two, 0, {"headers": HEADERS}),
    }
    return {"recording": recording.recording_id, "orders": orders}


async def run(here: Here, ids: dict[str, Any]) -> None:
    journal = here.place.journal
    reached = here.folder / "hour"
    begun = int(reached.read_text()) if reached.exists() else 0
    for hours in (one for one in (0, 1, 2, 30) if one >= begun):
        reached.write_text(str(hours))
        here.clock.ahead *= 0
        here.clock.go(hours=hours)
        await journal.set_meta(TRUSTED_META, here.clock.wall_text())  # no leap to whoever looks
        await here.start()
        for one in ids["orders"].values():
            if one["hours"] == hours:
                await journal.take_order(one["jti"], one["text"], here.clock.wall_text(), None)
        if hours == 1:
            await journal.media_served(ids["orders"]["fetch"]["jti"], ids["recording"], "done", {"bytes": 6})
        await here.executor.once()


async def main() -> None:
    folder = Path(sys.argv[1])
    place = await Place.open(folder)
    try:
        if sys.argv[2] == "prepare":
            (folder / "ids.json").write_text(json.dumps(await prepare(place)))
        else:
            await run(Here(place, folder), json.loads((folder / "ids.json").read_text()))
    finally:
        await place.close()


if __name__ == "__main__":
    asyncio.run(main())
