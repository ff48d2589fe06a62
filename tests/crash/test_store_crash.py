"""Rows 43, 45, 52: kill -9, or EIO, at every named point of journal, slots and vault; then reopen and check everything."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import random
import re
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from edge.audit.log import AuditLog
from edge.store.journal import Journal
from edge.vault.payloads import PayloadVault
from edge.vault.slots import ShredSlots
from formats import merkle
from tests.unit.store.store_makers import SystemClock

ROOT = Path(__file__).parents[2]
SOURCES = [
    *(ROOT / "edge" / "store").glob("*.py"),
    *(ROOT / "edge" / "vault").glob("*.py"),
]
POINTS = sorted({name for path in SOURCES for name in re.findall(r'hit\("([\w.]+)"\)', path.read_text())})
#: Passed only by recovery from a bad tail, by a compaction and by a waveform (tests/crash/test_afterwork.py), not here.
NOT_HERE = {"vault.truncated", "vault.took_place", "vault.waveform_kept"}

pytestmark = pytest.mark.crash


def run_child(folder: Path, failpoint: str, seed: int = 1) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "tests.crash.store_child", str(folder), str(seed)],
        env={**os.environ, "CALLWARDEN_FAILPOINT": failpoint},
        capture_output=True, text=True, cwd=ROOT, timeout=60,
    )  # fmt: skip


async def check(folder: Path, output: str) -> None:
    """Everything that was promised is there, nothing is half there, and a second start works."""
    said: dict[str, list[list[str]]] = {}
    for line in output.splitlines():
        word, *rest = line.split()
        said.setdefault(word, []).append(rest)
    if not (folder / "journal.db").exists() or not (folder / "shred.keys").exists():
        assert "call" not in said, "something was promised before both files were there"
    log = AuditLog()
    journal = Journal.open(folder / "journal.db", audit=log, clock=SystemClock(), edge_id="edge-1")
    slots = ShredSlots.open(str(folder / "shred.keys"), owner=journal.instance_id, count=8)
    try:
        used = await journal.slots_in_use()
        slots.sweep(used)
        await log.unlock(journal, slots)
        await check_rows(journal, log)
        await check_promises(journal, slots, folder, said)
    finally:
        await journal.close()
        await slots.close()


async def check_rows(journal: Journal, log: AuditLog) -> None:
    def read(conn: sqlite3.Connection) -> None:
        assert conn.execute("PRAGMA integrity_check").fetchone()[0] == "ok"
        assert conn.execute("PRAGMA foreign_key_check").fetchall() == []
        sent = Counter(conn.execute("SELECT type, subject FROM outbox").fetchall())
        noted = Counter(
            (entry["kind"], entry["subject"], entry["body"].get("recording_id"))
            for entry in (json.loads(row[0]) for row in conn.execute("SELECT entry FROM audit"))
        )
        for call_id, state in conn.execute("SELECT call_id, state FROM call"):
            about = log.subject(call_id, call_id)
            assert sent["call.opened", call_id] == noted["call.opened", about, None] == 1
            assert sent["call.closed", call_id] == noted["call.closed", about, None] == int(state == "ended")
            events = conn.execute("SELECT count(*) FROM consent_event WHERE call_id=?", (call_id,)).fetchone()[0]
            assert sent["consent.recorded", call_id] == events
        opened = conn.execute("SELECT count(*) FROM call").fetchone()[0]
        assert sum(n for (kind, _), n in sent.items() if kind == "call.opened") == opened
        for recording_id, call_id, state, permits in conn.execute(
            "SELECT r.recording_id, r.call_id, r.state, (SELECT count(*) FROM permit p WHERE p.permit_id=r.permit_id)"
            " FROM recording r"
        ):
            about = log.subject(call_id, call_id)
            assert permits == 1, "a recording without a stored permit"
            assert sent["recording.opened", recording_id] == 1
            assert noted["recording.permitted", about, recording_id] == 1
            was_sealed = state in ("sealed", "erasing", "erased")
            assert sent["recording.sealed", recording_id] == int(was_sealed)
            assert noted["recording.sealed", about, recording_id] == int(was_sealed)
            tombs = conn.execute("SELECT count(*) FROM tombstone WHERE recording_id=?", (recording_id,)).fetchone()[0]
            gone = int(state == "erased")
            assert sent["recording.erased", recording_id] == noted["recording.erased", about, recording_id] == gone
            assert tombs == gone
            assert noted["erase.intended", about, recording_id] == int(state in ("erasing", "erased"))
        numbers = [row[0] for row in conn.execute("SELECT seq FROM outbox ORDER BY seq")]
        assert numbers == list(range(1, len(numbers) + 1)), "the outbox has a gap"

    await journal._readers.read(read)
    size = await journal.audit_size()
    rows = await journal.audit_entries(0, size)
    assert await journal.audit_root(size) == merkle.root_of([merkle.leaf_hash(r.entry.encode()) for r in rows])


async def check_promises(journal: Journal, slots: ShredSlots, folder: Path, said: dict[str, list[list[str]]]) -> None:
    vault = PayloadVault(str(folder / "vault"))
    for (call_id,) in said.get("call", []):
        assert await journal.call(call_id) is not None
    for (call_id,) in said.get("ended", []):
        row = await journal.call(call_id)
        assert row is not None
        assert row.state == "ended"
    for recording_id, slot, secret in said.get("granted", []):
        recording = await journal.recording(recording_id)
        assert recording is not None
        if recording.state not in ("erasing", "erased"):
            assert await slots.read(int(slot)) == bytes.fromhex(secret), "a row names a slot without its key"
    for recording_id, segment_id, length in said.get("sealed", []):
        recording = await journal.recording(recording_id)
        assert recording is not None
        assert recording.segments[0].payload_bytes >= int(length)
        if recording.state not in ("erasing", "erased"):
            assert vault.length(recording_id, segment_id) >= recording.segments[0].payload_bytes
    for recording in await journal.recordings(states=("sealed",)):
        segment = recording.segments[0]
        assert hashlib.sha512(Path(vault.path(recording.recording_id, segment.segment_id)).read_bytes()).digest() == (
            segment.payload_sha512
        )
    for (recording_id,) in said.get("erased", []):
        assert await journal.tombstone(recording_id) is not None
    data = (folder / "shred.keys").read_bytes()
    for (secret,) in said.get("shredded", []):
        assert bytes.fromhex(secret) not in data
    # Whatever became erasing can be finished now, and then nothing of it is left.
    for recording in await journal.recordings(states=("erasing",)):
        named = [s.header.slot for s in recording.segments]
        await slots.shred(named)
        vault.unlink(recording.recording_id)
        await journal.read_gate()
        await journal.finish_erase(
            recording.recording_id, erased_at=recording.started_at, cause="retention", key_ids=[], receipt=None
        )
        await slots.release(named)
        assert vault.length(recording.recording_id, recording.segments[0].segment_id) == 0


@pytest.mark.parametrize("point", [point for point in POINTS if point not in NOT_HERE])
@pytest.mark.parametrize("nth", [1, 3])
async def test_row_52_killed_at_every_point(tmp_path: Path, point: str, nth: int) -> None:
    done = run_child(tmp_path, f"{point}:{nth}")
    if done.returncode == 0:
        assert nth > 1, f"the workload never passes {point}: {done.stdout[-200:]}"
    else:
        assert done.returncode == -signal.SIGKILL, done.stderr[-2000:]
    await check(tmp_path, done.stdout)
    again = run_child(tmp_path, "", seed=2)
    assert again.returncode == 0, again.stderr[-2000:]
    await check(tmp_path, done.stdout + again.stdout)


@pytest.mark.parametrize("point", ["journal.before_commit", "slots.written", "slots.shred_written", "vault.appended"])
@pytest.mark.parametrize("nth", [2, 6])
async def test_row_45_eio_at_every_sync(tmp_path: Path, point: str, nth: int) -> None:
    """The disk fails once: the operation says so, others go on or fail whole, and nothing false was promised."""
    done = run_child(tmp_path, f"{point}:{nth}=error")
    assert done.returncode in (0, 1), done.stderr[-2000:]
    if done.returncode:
        assert "[journal.io]" in done.stderr or "[vault.io]" in done.stderr, done.stderr[-2000:]
    else:
        assert "failed journal.io" in done.stdout or "failed vault.io" in done.stdout
    await check(tmp_path, done.stdout)


async def test_row_52_killed_at_random_times(tmp_path: Path) -> None:
    """Twelve kills -9 at random moments, one after another on the same files; everything promised stays."""
    rng = random.Random(52)
    output = ""
    for seed in range(12):
        child = subprocess.Popen(
            [sys.executable, "-m", "tests.crash.store_child", str(tmp_path), str(seed)],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT,
        )  # fmt: skip
        assert child.stdout is not None
        first = child.stdout.readline()
        await asyncio.to_thread(time.sleep, rng.uniform(0, 0.12))
        child.kill()
        rest, errors = child.communicate(timeout=30)
        assert child.returncode in (0, -signal.SIGKILL), errors[-2000:]
        output += first + rest
        await check(tmp_path, output)
    assert output.count("call ") > 12


async def test_a_slot_is_synced_before_a_row_may_name_it(tmp_path: Path) -> None:
    """Frozen between write and sync, no row names the slot yet: the order of write order 1."""
    child = subprocess.Popen(
        [sys.executable, "-m", "tests.crash.store_child", str(tmp_path), "1"],
        env={**os.environ, "CALLWARDEN_FAILPOINT": "slots.written:2=stop"},
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT,
    )  # fmt: skip
    try:
        for _ in range(200):
            if Path(f"/proc/{child.pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "T":
                break
            await asyncio.sleep(0.05)
        else:
            pytest.fail("the child did not reach the point")
        # The child holds the lock, but its rows may be read.
        conn = sqlite3.connect(f"file:{tmp_path / 'journal.db'}?mode=ro", uri=True)
        assert conn.execute("SELECT count(*) FROM header").fetchone()[0] == 0
        conn.close()
    finally:
        child.kill()
        child.communicate(timeout=30)
    await check(tmp_path, "")
