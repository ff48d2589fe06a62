"""Kill -9 at every step of `start`, `tick`, `rotate` and `close`, under a writer that goes on like Asterisk does.

After the restart every byte the writer wrote is sealed exactly once, the spool and the resume folder are empty, and the
journal is whole.
"""

from __future__ import annotations

import contextlib
import io
import os
import random
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import soundfile

from edge.vault.payloads import PayloadVault
from edge.vault.slotfile import SlotFile
from formats.keyset import KeySet, entry
from formats.manifest import frame_bytes, verify_manifest
from formats.place import Place
from formats.shred import unseal_header
from formats.suites import suite_of
from tests.crash import capture_child as child

pytestmark = pytest.mark.crash
PIECE = 32768  # Asterisk's stdio buffer

BEFORE_ASTERISK = ["start.slot_synced", "spool.created", "start.resume_saved"]
STEPS = [
    "seal.payload_synced",
    "seal.payload_synced:3",
    "seal.committed",
    "seal.committed:2",
    "seal.punched",
    "seal.punched:2",
    "close.last_chunk_synced",
    "close.segment_committed",
    "close.sealed",
    "close.resume_destroyed",
    "spool.unlinked",
]


@pytest.fixture
def place() -> Iterator[tuple[Path, Path]]:
    disk = Path(tempfile.mkdtemp(prefix="callwarden-crash-", dir="/var/tmp"))
    memory = Path(tempfile.mkdtemp(prefix="callwarden-crash-", dir="/dev/shm"))
    (disk / "state").mkdir()
    (disk / "resume").mkdir(mode=0o700)
    (disk / "state" / "vault").mkdir(mode=0o700)
    yield disk / "state", memory
    shutil.rmtree(disk)
    shutil.rmtree(memory)


def start(place: tuple[Path, Path], failpoint: str = "", *more: str) -> subprocess.Popen[str]:
    environment = os.environ | {"CALLWARDEN_FAILPOINT": failpoint}
    return subprocess.Popen(
        [sys.executable, "-m", "tests.crash.capture_child", str(place[0]), str(place[1]), *more],
        stdout=subprocess.PIPE, text=True, env=environment,
    )  # fmt: skip


class Writer(threading.Thread):
    """Asterisk's part: truncates the file, writes buffers of 32 KiB, the rest at the end, closes."""

    def __init__(self, path: str, data: bytes, pause: float) -> None:
        super().__init__()
        self._path, self._data, self._pause = path, data, pause

    def run(self) -> None:
        fd = os.open(self._path, os.O_WRONLY | os.O_TRUNC)
        for at in range(0, len(self._data), PIECE):
            os.write(fd, self._data[at : at + PIECE])
            time.sleep(self._pause)
        os.close(fd)


def opened(state: Path) -> tuple[bytes, list[tuple[str, str, int]], str]:
    """(all audio of the one recording, its segments' (state, end_reason), recording state), checked on the way."""
    conn = sqlite3.connect(state / "journal.db")
    conn.row_factory = sqlite3.Row
    assert conn.execute("PRAGMA integrity_check").fetchone()[0] == "ok"
    recording = conn.execute("SELECT * FROM recording").fetchone()
    if recording is None:
        return b"", [], ""
    instance = conn.execute("SELECT value FROM meta WHERE key = 'instance_id'").fetchone()[0]
    slots = SlotFile.open(str(state / "shred.keys"), owner=instance, allow_copy_on_write=True)
    vault = PayloadVault(str(state / "vault"))
    audio, segments = b"", []
    for row in conn.execute("SELECT * FROM segment ORDER BY number"):
        headers = conn.execute("SELECT * FROM header WHERE segment_id = ? ORDER BY version", (row["segment_id"],))
        *before, header = headers.fetchall()
        assert all(old["slot"] == 0 and not old["sealed_header"] for old in before), "only the newest names a key"
        segments.append((row["state"], row["end_reason"], row["plain_bytes"]))
        assert vault.length(row["recording_id"], row["segment_id"]) == row["payload_bytes"]
        if row["plain_bytes"] == 0:
            continue
        shred_key = slots.read(header["slot"])
        plain = unseal_header(
            header["sealed_header"], shred_key, row["recording_id"], row["segment_id"], header["version"]
        )
        suite, place = suite_of(header["suite"]), Place(row["recording_id"], row["segment_id"])
        file_key = suite.open_header(plain, [child.IDENTITY], place)
        payload = Path(vault.path(row["recording_id"], row["segment_id"])).read_bytes()
        read = suite.read if row["state"] == "closed" else suite.read_truncated
        plain = b"".join(read(file_key, place, io.BytesIO(payload)))
        audio += plain if row["encoding"] == "none" else soundfile.read(io.BytesIO(plain), dtype="int16")[0].tobytes()
    if recording["state"] == "sealed":
        keys = KeySet.of([entry(child.KEY.verify_key, "edge", "test", edge_id=child.EDGE_ID)])
        manifest = verify_manifest(recording["manifest"], keys)
        assert sum(s.frames * frame_bytes(s.codec, s.channels) for s in manifest.segments) == len(audio)
    slots.close()
    conn.close()
    return audio, segments, recording["state"]


def heard(state: Path, segment_id: str) -> bytes:
    """The audio of one closed segment."""
    with contextlib.closing(sqlite3.connect(state / "journal.db")) as conn:
        conn.row_factory = sqlite3.Row
        row = conn.execute(
            "SELECT * FROM segment JOIN header USING(segment_id) WHERE segment_id = ?", (segment_id,)
        ).fetchone()
        instance = conn.execute("SELECT value FROM meta WHERE key = 'instance_id'").fetchone()[0]
    slots = SlotFile.open(str(state / "shred.keys"), owner=instance, allow_copy_on_write=True)
    key = slots.read(row["slot"])
    slots.close()
    header = unseal_header(row["sealed_header"], key, row["recording_id"], segment_id, 1)
    payload = Path(PayloadVault(str(state / "vault")).path(row["recording_id"], segment_id)).read_bytes()
    suite, place = suite_of(row["suite"]), Place(row["recording_id"], segment_id)
    return b"".join(suite.read(suite.open_header(header, [child.IDENTITY], place), place, io.BytesIO(payload)))


@pytest.mark.parametrize("step", STEPS)
def test_killed_at(step: str, place: tuple[Path, Path]) -> None:
    data = random.Random(step).randbytes(11 * 65536 + 4 * 777)
    first = start(place, step)
    assert first.stdout is not None
    path = first.stdout.readline().strip()
    assert path, "the failpoint came before Asterisk was told"
    writer = Writer(path, data, 0.05)
    writer.start()
    assert first.wait(30) == -9, "the failpoint was never passed"
    again = start(place)
    writer.join()
    assert again.wait(30) == 0
    audio, _, state = opened(place[0])
    assert audio == data
    assert state == "sealed"
    assert os.listdir(place[1]) == []
    assert os.listdir(place[0].parent / "resume") == []


@pytest.mark.parametrize("step", BEFORE_ASTERISK)
def test_killed_before_asterisk_was_told(step: str, place: tuple[Path, Path]) -> None:
    first = start(place, step)
    assert first.stdout is not None
    assert first.stdout.read() == ""
    assert first.wait(30) == -9, "the failpoint was never passed"
    second = start(place, "", "--hung-up")
    assert second.stdout is not None
    if step == "start.slot_synced":  # no row yet: this start begins anew, and its key slot was swept
        path = second.stdout.readline().strip()
        Writer(path, b"x" * 70000, 0).start()
    assert second.wait(30) == 0
    audio, _, state = opened(place[0])
    assert (audio, state) == ((b"x" * 70000, "sealed") if step == "start.slot_synced" else (b"", "no_audio"))
    assert os.listdir(place[1]) == []
    assert os.listdir(place[0].parent / "resume") == []


def test_killed_every_third_of_a_second(place: tuple[Path, Path]) -> None:
    data = random.Random(5).randbytes(40 * 65536 + 12)
    running = start(place)
    assert running.stdout is not None
    writer = Writer(running.stdout.readline().strip(), data, 0.06)
    writer.start()
    kills = 0
    while writer.is_alive():
        time.sleep(0.6)
        running.kill()
        running.wait()
        kills += 1
        running = start(place)
    assert running.wait(30) == 0
    audio, segments, state = opened(place[0])
    assert kills >= 4
    assert audio == data
    assert state == "sealed"
    assert len(segments) == 1, "every restart goes on with the same segment"


def test_a_lost_resume_key_costs_a_new_segment_and_no_audio(place: tuple[Path, Path]) -> None:
    data = random.Random(6).randbytes(20 * 65536)
    running = start(place)
    assert running.stdout is not None
    writer = Writer(running.stdout.readline().strip(), data, 0.05)
    writer.start()
    time.sleep(1.3)
    running.kill()
    running.wait()
    shutil.rmtree(place[0].parent / "resume")
    (place[0].parent / "resume").mkdir(mode=0o700)
    assert start(place).wait(30) == 0
    writer.join()
    audio, segments, state = opened(place[0])
    assert audio == data
    assert [s[:2] for s in segments] == [("truncated", "resume_refused"), ("closed", "hangup")]
    assert state == "sealed"


def test_a_lost_spool_keeps_what_was_sealed(place: tuple[Path, Path]) -> None:
    data = random.Random(7).randbytes(20 * 65536)
    running = start(place)
    assert running.stdout is not None
    path = running.stdout.readline().strip()
    writer = Writer(path, data, 0.05)
    writer.start()
    time.sleep(1.4)
    running.kill()
    running.wait()
    writer.join()
    os.unlink(path)
    assert start(place).wait(30) == 0
    audio, segments, state = opened(place[0])
    assert 65536 <= len(audio) < len(data)
    assert data.startswith(audio)
    assert [s[:2] for s in segments] == [("truncated", "power_cut")]
    assert state == "sealed"
