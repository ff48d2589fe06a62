"""Kill -9 at every step of due erasures, orders about live calls and holds, and of what has had its time; then a second
start, and all is done."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from edge.store.base import decode_json
from formats.orders import open_receipt_document, receipt_document
from tests.unit.retention.retention_kit import TRUST, Place

ROOT = Path(__file__).parents[2]
#: Points of the write orders `erase` (without an order), `live order` and `expiry`, and how often the child meets them.
POINTS = [
    "order.begun:1", "order.begun:2", "order.carried_out:1", "order.carried_out:2", "due.deferred", "erase.intended",
    "erase.slots_shredded", "erase.keeper_answered", "erase.payload_unlinked", "erase.finished", "evidence.expired",
    "hold.placed", "hold.released", "retention.due", "metadata.expired", "notices.expired", "statistics.expired",
    "orders.expired", "alarms.expired", "exports.expired",
]  # fmt: skip

pytestmark = pytest.mark.crash


def child(folder: Path, what: str, failpoint: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "tests.crash.retention_child", str(folder), what],
        env={**os.environ, "CALLWARDEN_FAILPOINT": failpoint},
        capture_output=True, text=True, cwd=ROOT, timeout=60,
    )  # fmt: skip


async def check(folder: Path, ids: Mapping[str, str], point: str) -> None:
    place = await Place.open(folder)
    try:
        assert await place.results(ids["withdraw"]) == ["done"]
        interrupted = point in ("order.begun:2", "order.carried_out:2")
        assert await place.results(ids["pause"]) == ["refused:command.interrupted" if interrupted else "done"]
        paused = [one.call_id for one in await place.journal.open_pauses()]
        # Begun and killed before the deed: nothing happened, and nothing is made up for later.
        assert paused == ([] if point == "order.begun:2" else [ids["other"]])
        withdrawn = [one for one in await place.journal.views.calls() if one["call_id"] == ids["live"]]
        assert withdrawn[0]["outcome"] == "withdrawn"
        old = await place.journal.views.why(ids["old"])
        assert old is not None
        assert (old["call"]["evidence"], old["events"]) == ("expired", [])
        entries = [decode_json(one.entry)["kind"] for one in await place.journal.audit_entries(0, 1000)]
        assert entries.count("evidence.expired") == 2, "of two policies"
        assert await place.results(ids["hold"]) == ["done"]
        assert await place.results(ids["release"]) in (["done"], ["already"])
        assert {one.hold_id for one in await place.journal.holds()} & {ids["hold"], ids["released"]} == {ids["hold"]}
        assert await place.state(ids["wanted"]) == "sealed"
        assert await place.state(ids["aged"]) == "erased"
        texted = await place.journal.views.why(ids["texted"])
        assert texted is not None
        assert (texted["call"]["caller"], texted["notices"]) == (None, [])
        assert await place.journal.call(ids["gone"]) is None
        assert await place.journal.order(ids["past"]) is None
        assert (await place.journal.views.status())["alarms"]["count"] == 0
        copies = await place.journal._readers.read(
            lambda conn: conn.execute("SELECT count(*) FROM exported").fetchone()
        )
        assert copies == (0,)
        assert await place.state(ids["due"]) == "erased"
        assert await place.state(ids["held"]) == "sealed"
        assert await place.journal.recordings(states=("erasing",)) == []
        words = []
        for one in await place.journal.receipts_to_send():
            if one.jti not in (ids["withdraw"], ids["pause"], ids["hold"], ids["release"]):
                proof = open_receipt_document(receipt_document(one.jws, None), TRUST)
                words.append((proof.claims.recording_id, one.result))
        assert sorted(words) == sorted([(ids["due"], "done"), (ids["held"], "deferred"), (ids["aged"], "done")])
        assert not (folder / "vault" / ids["due"][:2] / ids["due"]).exists()
    finally:
        await place.close()


@pytest.mark.parametrize("point", POINTS)
async def test_killed_at(point: str, tmp_path: Path) -> None:
    made = child(tmp_path, "prepare")
    assert made.returncode == 0, made.stderr
    ids = json.loads(made.stdout.splitlines()[-1])
    killed = child(tmp_path, "pass", point)
    assert killed.returncode == -signal.SIGKILL, (point, killed.stderr)
    for _ in range(2):
        again = child(tmp_path, "pass")
        assert again.returncode == 0, again.stderr
    await check(tmp_path, ids, point)
