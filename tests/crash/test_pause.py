"""Kill -9 at every step of `pause`, `resume` and `shred`, under a monitor that is muted and goes on like Asterisk's.

What was said before and after the pause is sealed exactly once, nothing of what was said in it is sealed or left, and
the restarted daemon goes on as wanted.
"""

from __future__ import annotations

import contextlib
import os
import random
import sqlite3
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from edge.vault.payloads import PayloadVault
from tests.crash.test_capture import heard, opened, place, start

__all__ = ["place"]
pytestmark = pytest.mark.crash
BUFFER, FRAME, FRAME_S = 32768, 640, 0.004

#: Killed there the journal does not know of the mute yet, and the zeros count as silence until it is paused again; after
#: `resume.filed` it knows of the mute no more.
UNFILED = ["pause.noted", "pause.muted", "pause.closed", "pause.dropped"]
PAUSED = [*UNFILED, "pause.filed"]
RESUMED = ["resume.noted", "resume.unmuted", "resume.filed"]
FAILED = ["pause.given_up"]
SHREDDED = [
    "shred.segment_ended", "shred.intended", "shred.slots_shredded", "shred.keeper_answered", "shred.unlinked",
    "shred.finished",
]  # fmt: skip
STEPS = [*PAUSED, *RESUMED, *FAILED, *SHREDDED]


class Monitor(threading.Thread):
    """Asterisk's part, five times as fast: frames through its buffer, zeros while `muted` is there, until told to stop."""

    def __init__(self, path: str, folder: Path) -> None:
        super().__init__()
        self._path, self._folder = path, folder
        self._random = random.Random(path)
        self.said = self.secret = b""
        self.over = threading.Event()

    def run(self) -> None:
        fd, buffer = os.open(self._path, os.O_WRONLY | os.O_TRUNC), b""
        while not self.over.is_set() and not (self._folder / "stopped").exists():
            speech = bytes(self._random.randrange(1, 256) for _ in range(FRAME))
            muted = (self._folder / "muted").exists()
            if (self._folder / "wanted").exists() and (muted or (self._folder / "deaf").exists()):
                self.secret += speech
            if not muted:
                self.said += speech
            buffer += bytes(FRAME) if muted else speech
            if len(buffer) >= BUFFER:
                os.write(fd, buffer[:BUFFER])
                buffer = buffer[BUFFER:]
            time.sleep(FRAME_S)
        os.write(fd, buffer)
        os.close(fd)


class Keeper(threading.Thread):
    """Starts the daemon again when it is killed, as systemd does."""

    def __init__(self, place: tuple[Path, Path], step: str, line: Path, meanwhile: Callable[[], object] = bool) -> None:
        super().__init__()
        self._place, self._line, self._meanwhile = place, line, meanwhile
        self.killed = False
        self._running = start(place, step, "--line", str(line))
        assert self._running.stdout is not None
        self.path = self._running.stdout.readline().strip()
        self.code = 0

    def run(self) -> None:
        self.code = self._running.wait(60)
        if self.code == -9:
            self._meanwhile()
            self.killed = True
            self.code = start(self._place, "", "--line", str(self._line)).wait(60)


def until(what: Callable[[], bool], seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end
        time.sleep(0.01)


def muted(state: Path) -> bool:
    """What the journal says of the one capture."""
    with contextlib.closing(sqlite3.connect(state / "journal.db")) as conn:
        return bool(conn.execute("SELECT muted FROM capture").fetchone()[0])


@pytest.fixture
def line(tmp_path: Path) -> Path:
    return tmp_path


@pytest.mark.parametrize("step", [*PAUSED, *RESUMED])
def test_killed_at(step: str, place: tuple[Path, Path], line: Path) -> None:
    daemon = Keeper(place, step, line)
    monitor = Monitor(daemon.path, line)
    daemon.start()
    monitor.start()
    until(lambda: len(monitor.said) > 3 * BUFFER)
    (line / "wanted").touch()
    until(lambda: len(monitor.secret) > 3 * BUFFER)
    if step in PAUSED:
        until(lambda: daemon.killed)
        known = len(monitor.secret)
        until(lambda: len(monitor.secret) > known + BUFFER and muted(place[0]))  # by the one that came
    (line / "wanted").unlink()
    known = len(monitor.said)
    until(lambda: len(monitor.said) > known + 3 * BUFFER)
    if step in RESUMED:
        until(lambda: daemon.killed)
    monitor.over.set()
    monitor.join()
    daemon.join()
    assert daemon.killed, "the failpoint was never passed"
    assert daemon.code == 0
    audio, segments, state = opened(place[0])
    assert audio.replace(b"\0", b"") == monitor.said
    assert audio == monitor.said or step in (*UNFILED, "resume.filed"), "zeros were sealed"
    assert state == "sealed"
    assert "pause" in [s[1] for s in segments]
    assert os.listdir(place[1]) == []
    assert os.listdir(place[0].parent / "resume") == []


@pytest.mark.parametrize("step", ["pause.muted", "pause.closed"])
def test_a_pause_that_is_over_before_the_daemon_is_back(step: str, place: tuple[Path, Path], line: Path) -> None:
    """Asterisk is still muted, and neither the journal nor anybody's wish says so: nobody's words may be lost by that."""
    daemon = Keeper(place, step, line, (line / "wanted").unlink)
    monitor = Monitor(daemon.path, line)
    daemon.start()
    monitor.start()
    until(lambda: len(monitor.said) > 3 * BUFFER)
    (line / "wanted").touch()
    until(lambda: daemon.killed)
    known = len(monitor.said)
    until(lambda: len(monitor.said) > known + 3 * BUFFER)
    monitor.over.set()
    monitor.join()
    daemon.join()
    assert daemon.code == 0
    audio, _, state = opened(place[0])
    assert audio.replace(b"\0", b"").endswith(monitor.said[known:])
    assert state == "sealed"


def test_killed_while_a_mute_that_leaks_is_given_up(place: tuple[Path, Path], line: Path) -> None:
    (line / "deaf").touch()
    daemon = Keeper(place, FAILED[0], line)
    monitor = Monitor(daemon.path, line)
    daemon.start()
    monitor.start()
    until(lambda: len(monitor.said) > 3 * BUFFER)
    (line / "wanted").touch()
    until((line / "stopped").exists)
    monitor.join()
    daemon.join()
    assert daemon.killed, "the failpoint was never passed"
    assert daemon.code == 0
    audio, segments, state = opened(place[0])
    assert monitor.said.startswith(audio)
    # What lies within a buffer of the mute cannot be told from what was said before it.
    assert len(audio) <= len(monitor.said) - len(monitor.secret) + 2 * BUFFER
    assert [s[1] for s in segments] == ["pause"]
    assert state == "sealed"
    assert os.listdir(place[1]) == []


@pytest.mark.parametrize("step", SHREDDED)
def test_an_incident_killed_at(step: str, place: tuple[Path, Path], line: Path) -> None:
    """Once it is promised, nothing opens what was said before, and the recording goes on."""
    daemon = Keeper(place, step, line)
    monitor = Monitor(daemon.path, line)
    daemon.start()
    monitor.start()
    until(lambda: len(monitor.said) > 5 * BUFFER)
    (line / "new").write_text("2026-01-01T00:00:00.000Z")
    (line / "new").rename(line / "incident")
    until(lambda: daemon.killed and not (line / "incident").exists())
    known = len(monitor.said)
    until(lambda: len(monitor.said) > known + 6 * BUFFER)
    monitor.over.set()
    monitor.join()
    daemon.join()
    assert daemon.killed, "the failpoint was never passed"
    assert daemon.code == 0
    with sqlite3.connect(place[0] / "journal.db") as conn:
        rows = conn.execute("SELECT state, slot, segment_id FROM segment JOIN header USING(segment_id)").fetchall()
        recordings = conn.execute("SELECT recording_id, state FROM recording").fetchall()
    [(recording_id, state)] = recordings
    vault = PayloadVault(str(place[0] / "vault"))
    assert state == "sealed"
    assert {r[0] for r in rows} == {"closed", "shredded"}
    assert {r[1] for r in rows if r[0] == "shredded"} == {0}
    assert not any(vault.length(recording_id, r[2]) for r in rows if r[0] == "shredded")
    audio = b"".join(heard(place[0], r[2]) for r in rows if r[0] == "closed")
    assert audio
    assert monitor.said[known + BUFFER :].endswith(audio[-BUFFER:])
    assert monitor.said[: 5 * BUFFER][-1000:] not in audio
    assert os.listdir(place[1]) == []
