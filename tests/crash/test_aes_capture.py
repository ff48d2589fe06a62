"""Suite `aes256gcm` under kill -9: a restart never goes on with a segment, and no byte that the writer wrote is lost."""

from __future__ import annotations

import os
import random
import time
from pathlib import Path

import pytest

from tests.crash.test_capture import STEPS, Writer, opened, place, start

__all__ = ["place"]
pytestmark = pytest.mark.crash
AES = ("--suite", "aes256gcm")
CHUNK = 16384
#: A kill at one of these leaves a segment that may take no more bytes although it is not closed.
OPEN_STEPS = [step for step in STEPS if step.startswith("seal.") or step == "close.last_chunk_synced"]


def _clean(place: tuple[Path, Path]) -> bool:
    return os.listdir(place[1]) == [] and os.listdir(place[0].parent / "resume") == []


@pytest.mark.parametrize("step", STEPS)
def test_killed_at(step: str, place: tuple[Path, Path]) -> None:
    data = random.Random(step).randbytes(11 * 65536 + 4 * 777)
    first = start(place, step, *AES)
    assert first.stdout is not None
    writer = Writer(first.stdout.readline().strip(), data, 0.05)
    writer.start()
    assert first.wait(30) == -9, "the failpoint was never passed"
    assert os.listdir(place[0].parent / "resume") == [], "a key that never resumes lies nowhere outside the process"
    again = start(place, "", *AES)
    writer.join()
    assert again.wait(30) == 0
    audio, segments, state = opened(place[0])
    assert audio == data
    assert state == "sealed"
    assert _clean(place)
    reasons = [s[:2] for s in segments]
    if step in OPEN_STEPS:
        assert reasons == [("truncated", "resume_refused"), ("closed", "hangup")]
        assert segments[0][2] % CHUNK == 0
    else:
        assert reasons == [("closed", "hangup")]


def test_killed_every_half_second_every_life_is_a_segment(place: tuple[Path, Path]) -> None:
    data = random.Random(5).randbytes(40 * 65536 + 12)
    running = start(place, "", *AES)
    assert running.stdout is not None
    writer = Writer(running.stdout.readline().strip(), data, 0.06)
    writer.start()
    kills = 0
    while writer.is_alive():
        time.sleep(0.6)
        running.kill()
        running.wait()
        kills += 1
        running = start(place, "", *AES)
    assert running.wait(30) == 0
    audio, segments, state = opened(place[0])
    assert audio == data
    assert state == "sealed"
    assert 2 <= len(segments) <= kills + 1
    assert [s[0] for s in segments[:-1]] == ["truncated"] * (len(segments) - 1)
    assert _clean(place)


@pytest.mark.parametrize("tail", [0, 4, CHUNK - 4])
def test_whatever_the_length_the_segment_is_closed(tail: int, place: tuple[Path, Path]) -> None:
    """A capture that ends where a chunk does ends with an empty one."""
    data = random.Random(tail).randbytes(6 * CHUNK + tail)
    running = start(place, "", *AES)
    assert running.stdout is not None
    Writer(running.stdout.readline().strip(), data, 0.2).start()
    assert running.wait(30) == 0
    assert opened(place[0]) == (data, [("closed", "hangup", len(data))], "sealed")
    assert _clean(place)


@pytest.mark.parametrize("step", ["", "rotate.closed", "start.slot_synced:2", "rotate.added", "vault.created:2"])
def test_rotation(step: str, place: tuple[Path, Path]) -> None:
    """A full segment ends with an empty chunk once a byte after it is there."""
    limit = ("--segment-chunks", "12")
    data = random.Random(step).randbytes(44 * CHUNK + 4 * 777)
    first = start(place, step, *AES, *limit)
    assert first.stdout is not None
    writer = Writer(first.stdout.readline().strip(), data, 0.05)
    writer.start()
    if step:
        assert first.wait(30) == -9, "the failpoint was never passed"
        first = start(place, "", *AES, *limit)
    writer.join()
    assert first.wait(30) == 0
    audio, segments, state = opened(place[0])
    assert audio == data
    assert state == "sealed"
    assert _clean(place)
    if not step:
        assert segments == [("closed", "rotate", 12 * CHUNK)] * 3 + [("closed", "hangup", 8 * CHUNK + 4 * 777)]


def test_a_lost_spool_keeps_what_was_sealed(place: tuple[Path, Path]) -> None:
    data = random.Random(7).randbytes(20 * 65536)
    running = start(place, "", *AES)
    assert running.stdout is not None
    path = running.stdout.readline().strip()
    writer = Writer(path, data, 0.05)
    writer.start()
    time.sleep(1.4)
    running.kill()
    running.wait()
    writer.join()
    os.unlink(path)
    assert start(place, "", *AES).wait(30) == 0
    audio, segments, state = opened(place[0])
    assert CHUNK <= len(audio) < len(data)
    assert data.startswith(audio)
    assert ([s[:2] for s in segments], state) == ([("truncated", "power_cut")], "sealed")


def test_a_wall_clock_that_jumps_costs_a_new_segment_and_no_audio(place: tuple[Path, Path]) -> None:
    """A machine that was frozen and thawed twice has the key in memory twice: the check before each write is the same."""
    data = random.Random(8).randbytes(20 * 65536)
    running = start(place, "", *AES, "--clock-jump")
    assert running.stdout is not None
    Writer(running.stdout.readline().strip(), data, 0.06).start()
    assert running.wait(30) == 0
    audio, segments, state = opened(place[0])
    assert (audio, state) == (data, "sealed")
    assert ("truncated", "resume_refused") in [s[:2] for s in segments]
