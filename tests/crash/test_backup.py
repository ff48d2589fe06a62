"""Kill -9 at every step of `backup` and `restore`; then the same command again, or the daemon's start, and all is whole."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from tests.crash import restore_child
from tests.unit.central.central_kit import TestCentral
from tests.unit.cli import cli_makers as make
from tests.unit.cli.conftest import edge, filled, run_dir
from tests.unit.retention.restore_kit import RestoredEdge

ROOT = Path(__file__).parents[2]
#: Points of the write order `backup`, and how often the child meets them before it dies.
BACKUP = [
    "backup.begun", "backup.journal_copied", "backup.file_written", "backup.file_written:4", "backup.file_placed",
    "backup.file_placed:4", "backup.listed", "backup.pruned", "backup.finished",
]  # fmt: skip
RESTORE = [
    "restore.payload_placed", "restore.payload_placed:3", "restore.journal_marked", "restore.old_set_aside",
    "restore.journal_placed",
]  # fmt: skip
SETTLE = [
    "restore.tombstones_fetched", "restore.buried", "restore.receipts_taken", "restore.orders_taken",
    "restore.orders_ended", "restore.settled",
]  # fmt: skip
TELL = ["sync.tombstones_told", "sync.calls_told_again"]
POINTS = [*BACKUP, *RESTORE, *SETTLE, *TELL]

pytestmark = [pytest.mark.crash, pytest.mark.timeout(400)]
__all__ = ["edge", "filled", "run_dir"]


def child(failpoint: str, *args: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", *map(str, args)],
        env={**os.environ, "CALLWARDEN_FAILPOINT": failpoint},
        capture_output=True, text=True, cwd=ROOT, timeout=60,
    )  # fmt: skip


def callwarden(failpoint: str, edge: make.Edge, *args: str | Path) -> subprocess.CompletedProcess[str]:
    return child(failpoint, "callwarden", "--config", edge.config, *args)


async def test_backup_killed_at(filled: make.Edge, tmp_path: Path) -> None:
    """At each step, over an older backup: the list that stands is whole, of before or of now; and a repeat ends it."""
    old = tmp_path / "old"
    assert callwarden("", filled, "backup", old).returncode == 0
    async with make.opened(filled) as files:
        await make.record(filled, files, [make.sound(2, 9)])
        await make.erase(files, filled.facts["two"])
    for point in BACKUP:
        place = tmp_path / point.replace(":", "-")
        shutil.copytree(old, place)
        if ":4" in point:  # a first backup: more files than the four
            shutil.rmtree(place)
        done = callwarden(point, filled, "backup", place)
        assert done.returncode == -signal.SIGKILL, (point, done.stderr)
        listed = (place / "backup.json").exists()
        checked = callwarden("", filled, "backup", "verify", place)
        assert checked.returncode == (0 if listed else 5), (point, checked.stdout, checked.stderr)
        again = callwarden("", filled, "backup", place, "--json")
        assert again.returncode == 0, (point, again.stderr)
        if ":4" in point:
            assert json.loads(again.stdout)["kept"] >= 2, "what was copied before the kill is kept"
        assert callwarden("", filled, "backup", "verify", place).returncode == 0
        left = [p for p in place.rglob("*") if p.name.startswith(".") and p.name != ".lock"]
        assert left == [], point
        assert not any(filled.facts["two"].recording_id in str(p) for p in place.rglob("*")), point


async def test_restore_killed_at(filled: make.Edge, tmp_path: Path) -> None:
    """There is a whole journal at every moment: the old one, or the marked one; and a repeat ends it."""
    place = tmp_path / "backup"
    assert callwarden("", filled, "backup", place).returncode == 0
    section = filled.loaded.edge
    async with make.opened(filled) as files:
        later = await make.record(filled, files, [make.sound(2, 9)])
    journal, vault = section.journal.read_bytes(), tmp_path / "vault-of-before"
    shutil.copytree(section.vault, vault)
    for point in RESTORE:
        for one in section.journal.parent.glob("journal.db*"):
            one.unlink()
        section.journal.write_bytes(journal)
        section.journal.chmod(0o600)
        shutil.rmtree(section.vault)
        done = callwarden(point, filled, "restore", place)
        assert done.returncode == -signal.SIGKILL, (point, done.stderr)
        conn = sqlite3.connect(section.journal)
        assert conn.execute("PRAGMA integrity_check").fetchone()[0] == "ok"
        marked = conn.execute("SELECT count(*) FROM meta WHERE key='restored'").fetchone()[0]
        knows = conn.execute("SELECT count(*) FROM recording WHERE recording_id=?", (later.recording_id,)).fetchone()[0]
        conn.close()
        assert (marked, knows) == ((1, 0) if point == "restore.journal_placed" else (0, 1)), point
        again = callwarden("", filled, "restore", place, "--json")
        assert again.returncode == 0, (point, again.stderr)
        assert json.loads(again.stdout)["incarnation"] == (2 if point == "restore.journal_placed" else 1)
        assert callwarden("", filled, "recordings").returncode == 75
        assert callwarden("", filled, "audit", "verify").returncode == 0
        names = {p.name for p in section.vault.rglob("*") if p.is_file()}
        assert sum(name.endswith(".payload") for name in names) == 4, names
        assert not any(name.startswith(".") for name in names)


@pytest.mark.parametrize("point", SETTLE)
async def test_settling_killed_at(point: str, tmp_path: Path) -> None:
    prepared = child("", "tests.crash.restore_child", tmp_path, "prepare")
    ids = json.loads(prepared.stdout.splitlines()[-1])
    killed = child(point, "tests.crash.restore_child", tmp_path, "pass")
    assert killed.returncode == -signal.SIGKILL, (point, killed.stderr)
    again = child("", "tests.crash.restore_child", tmp_path, "pass")
    assert again.returncode == 0, again.stderr
    central = TestCentral(tmp_path / "central", dpo=restore_child.DPO)
    await central.start()
    edge = await RestoredEdge.open(tmp_path / "edge", restore_child.KEY, central)
    try:
        assert await edge.journal.restore_mark() is None
        assert await edge.state(ids["gone"]) == "erased"
        assert await edge.state(ids["kept"]) == "sealed"
        assert await edge.journal.tombstone(ids["later"]) is not None
        rows = [json.loads(one.entry) for one in await edge.journal.audit_entries(0, 10_000)]
        assert [one["kind"] for one in rows].count("restore.settled") == 1
        erased = [one["body"]["recording_id"] for one in rows if one["kind"] == "recording.erased"]
        assert erased == [ids["gone"]], "once"
    finally:
        await edge.close()
        await central.stop()
    await asyncio.sleep(0)


@pytest.mark.parametrize("point", TELL)
async def test_telling_a_restored_central_killed_at(point: str, tmp_path: Path) -> None:
    prepared = child("", "tests.crash.restore_child", tmp_path, "prepare")
    ids = json.loads(prepared.stdout.splitlines()[-1])
    assert child("", "tests.crash.restore_child", tmp_path, "pass").returncode == 0
    killed = child(point, "tests.crash.restore_child", tmp_path, "tell")
    assert killed.returncode == -signal.SIGKILL, (point, killed.stderr)
    central = TestCentral(tmp_path / "central", dpo=restore_child.DPO)
    await central.start()
    assert (await central.admin("GET", "/v1/recordings"))[0] == 503, "told, but not to the end"
    await central.stop()
    assert child("", "tests.crash.restore_child", tmp_path, "tell").returncode == 0
    await central.start()
    status, found = await central.admin("GET", "/v1/recordings")
    heads = {one["recording_id"]: [h["kept"] for h in one["headers"]] for one in found["recordings"]}
    await central.stop()
    assert status == 200
    assert heads[ids["gone"]] == [False]
    assert heads[ids["kept"]] == [True]
