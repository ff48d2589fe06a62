"""kill -9 at every step of the write order `many`; afterwards the orders end as if nothing had been."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from edge.errors import CallwardenError
from formats.orders import open_receipt_document, receipt_document
from tests.unit.retention.retention_kit import TRUST, Place
from tests.unit.store import store_makers as makers

ROOT = Path(__file__).parents[2]
POINTS = [
    "order.opening_synced", "sync.opening_synced", "sync.opening_synced:2", "locate.answered", "many.restricted",
    "many.restricted:2", "many.found", "many.deferred", "many.erased", "many.anonymised", "many.cancelled", "many.ended",
]  # fmt: skip

pytestmark = pytest.mark.crash


def child(folder: Path, what: str, failpoint: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "tests.crash.many_child", str(folder), what],
        env={**os.environ, "CALLWARDEN_FAILPOINT": failpoint},
        capture_output=True, text=True, cwd=ROOT, timeout=120,
    )  # fmt: skip


async def check(folder: Path) -> None:
    ids = json.loads((folder / "ids.json").read_text())
    place = await Place.open(folder)
    try:
        erased = [ids["mine"], ids["held"]]
        late = await place.journal.call("ab" * 16)
        assert late is not None
        erased += late.recordings
        assert [await place.state(one) for one in erased] == ["erased"] * 3
        assert [await place.state(ids[one]) for one in ("other", "sales")] == ["sealed"] * 2
        assert await place.results(ids["locate"]) == ["done"]
        assert await place.results(ids["cancel"]) == ["done"]
        assert await place.results(ids["policy"]) == ["deferred", "refused:command.cancelled"]
        words = await place.results(ids["erase"])
        assert sorted(words) == sorted(["deferred"] * 3 + ["done"] * 4)
        for jti in (ids["locate"], ids["erase"], ids["policy"], ids["cancel"]):
            row = await place.journal.order(jti)
            assert row is not None
            assert row.state == "answered"
            for one in await place.journal.receipts_of(jti):
                open_receipt_document(receipt_document(one.jws, row.jws), TRUST)
            assert await place.journal.opening_slot(jti) is None
        kinds = [json.loads(one.entry)["kind"] for one in await place.journal.audit_entries(0, 1000)]
        assert (kinds.count("call.anonymised"), kinds.count("recording.erased")) == (3, 3)
        assert [name for name, *_ in place.vault.listing() if name in erased] == []
        await place.journal.read_gate()
        assert b"777123456" not in b"".join(one.read_bytes() for one in folder.glob("journal.db*"))
        in_use = set(await place.journal.slots_in_use())
        for slot in range(1, 64):
            if slot not in in_use:
                with pytest.raises(CallwardenError):
                    await place.slots.read(slot)
    finally:
        await place.close()


@pytest.mark.parametrize("point", POINTS)
async def test_killed_at(point: str, tmp_path: Path) -> None:
    made = child(tmp_path, "prepare")
    assert made.returncode == 0, made.stderr
    killed = child(tmp_path, "run", point)
    assert killed.returncode == -signal.SIGKILL, (point, killed.stderr)
    again = child(tmp_path, "run")
    assert again.returncode == 0, again.stderr
    await check(tmp_path)


def test_the_number_is_the_one_that_is_looked_for() -> None:
    assert makers.NUMBER.endswith("777123456")
