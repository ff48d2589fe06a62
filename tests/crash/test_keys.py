"""Kill -9 at every step of a rewrap: exactly one header opens the recording at any time, and no key is left over."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.crash.keys_child import openers
from tests.unit.retention.retention_kit import Place

ROOT = Path(__file__).parents[2]
#: Points of the write order `resend`.
RESEND = ["resend.begun", "resend.some"]
#: Point of the write order `rewrap`, and who opens the recording after a kill there.
POINTS = {
    "rewrap.slot_synced": "old",
    "rewrap.committed": "new",
    "slots.shred_written": "new",
    "slots.shred_synced": "new",
    "rewrap.released": "new",
}

pytestmark = pytest.mark.crash


def child(folder: Path, *what: str, failpoint: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "tests.crash.keys_child", str(folder), *what],
        env={**os.environ, "CALLWARDEN_FAILPOINT": failpoint},
        capture_output=True, text=True, cwd=ROOT, timeout=60,
    )  # fmt: skip


async def looked_at(folder: Path, recording_id: str) -> tuple[list[str], int, int]:
    """(who opens it, live slots, slots that rows name)."""
    place = await Place.open(folder)
    try:
        named = len(await place.journal.slots_in_use())
        return await openers(place, folder, recording_id), place.slots.counts()["live"], named
    finally:
        await place.close()


@pytest.mark.parametrize("point", POINTS)
async def test_killed_at(point: str, tmp_path: Path) -> None:
    recording_id = child(tmp_path, "prepare").stdout.strip()
    killed = child(tmp_path, "rewrap", recording_id, failpoint=point)
    assert killed.returncode == -signal.SIGKILL, (point, killed.stderr)
    opens, live, named = await looked_at(tmp_path, recording_id)
    assert opens == [POINTS[point]]
    assert live == named  # the next start destroyed what no row names
    again = child(tmp_path, "rewrap", recording_id)
    assert again.returncode == 0, again.stderr
    assert await looked_at(tmp_path, recording_id) == (["new"], live, named)


@pytest.mark.parametrize("point", RESEND)
async def test_a_resend_killed_at(point: str, tmp_path: Path) -> None:
    recording_id = child(tmp_path, "prepare").stdout.strip()
    killed = child(tmp_path, "resend", failpoint=point)
    assert killed.returncode == -signal.SIGKILL, (point, killed.stderr)
    again = child(tmp_path, "resend")
    assert again.returncode == 0, again.stderr
    place = await Place.open(tmp_path)
    try:
        # What was told first, perhaps a part of a resend, and one whole one: by subject the last of each kind is the same.
        rows = await place.journal.outbox(1000)
        kinds = [row.type for row in rows]
        assert kinds.count("recording.sealed") == {"resend.begun": 2, "resend.some": 3}[point]
        sealed = [row.body for row in rows if row.type == "recording.sealed"]
        assert all(body["recording_id"] == recording_id and body["manifest"] == "m.a.n" for body in sealed)
        opened = [row.body["header"]["slot"] for row in rows if row.type == "recording.opened"]
        assert set(opened) == {row.header.slot for row in (await place.journal.recording(recording_id)).segments}
    finally:
        await place.close()
