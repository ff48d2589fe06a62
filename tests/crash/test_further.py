"""kill -9 at every step of the write orders `policy order`, `keys order` and of uploads; afterwards all is as if nothing had been."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.crash.further_child import OTHER
from tests.unit.retention.retention_kit import DPO, DPO2, STORE, Place
from tests.unit.retention.test_further import NEW, Here

ROOT = Path(__file__).parents[2]
POINTS = [
    "policy.order_filed", "policy.order_filed:2", "policy.order_alarmed", "policy.order_waits", "keys.alarmed",
    "keys.filed", "keys.taken_out", "fetch.wanted", "rewrap.begun", "further.answered", "further.cancelled",
]  # fmt: skip

pytestmark = pytest.mark.crash


def child(folder: Path, what: str, failpoint: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "tests.crash.further_child", str(folder), what],
        env={**os.environ, "CALLWARDEN_FAILPOINT": failpoint},
        capture_output=True, text=True, cwd=ROOT, timeout=120,
    )  # fmt: skip


async def check(folder: Path) -> None:
    ids = json.loads((folder / "ids.json").read_text())
    place = await Place.open(folder)
    try:
        results = {name: await place.results(one["jti"]) for name, one in ids["orders"].items()}
        assert results == {
            "tighter": ["done"], "new": ["deferred", "done"], "keys": ["deferred", "done"],
            "second": ["deferred", "refused:command.cancelled"], "cancel": ["done"], "fetch": ["deferred", "done"],
            "rewrap": ["done"],
        }  # fmt: skip
        here = Here(place, folder)
        here.clock.go(hours=31)
        await here.start()
        policies = here.book.config.policies
        assert policies["sales"].barge_in is False
        assert json.loads(await place.journal.meta("policies") or "") == {n: p.version for n, p in policies.items()}
        assert set(policies) == {"sales", "help"}
        counting = {one.kid for one in here.trust.active(here.clock.wall_text()).entries}
        assert {STORE.kid, DPO.kid, NEW.kid} <= counting
        assert counting.isdisjoint({DPO2.kid, OTHER.kid})
        assert await place.journal.wanted_media() == []
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
