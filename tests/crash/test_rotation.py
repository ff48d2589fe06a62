"""Recordings longer than a segment: rotation under a writer that goes on, killed at each of its steps, and clock jumps."""

from __future__ import annotations

import os
import random
from pathlib import Path

import pytest

from tests.crash.test_capture import Writer, opened, place, start

__all__ = ["place"]
pytestmark = pytest.mark.crash
CHUNK = 65536
LIMIT = ("--segment-chunks", "3")


def _written(place: tuple[Path, Path], failpoint: str, *more: str) -> tuple[bytes, list[tuple[str, str, int]]]:
    data = random.Random(failpoint).randbytes(11 * CHUNK + 4 * 777)
    first = start(place, failpoint, *LIMIT, *more)
    assert first.stdout is not None
    writer = Writer(first.stdout.readline().strip(), data, 0.05)
    writer.start()
    if failpoint:
        assert first.wait(30) == -9, "the failpoint was never passed"
        first = start(place, "", *LIMIT)
    writer.join()
    assert first.wait(30) == 0
    audio, segments, state = opened(place[0])
    assert audio == data
    assert state == "sealed"
    assert os.listdir(place[1]) == []
    assert os.listdir(place[0].parent / "resume") == []
    return audio, segments


def test_a_long_recording_is_segments_of_the_limit(place: tuple[Path, Path]) -> None:
    _, segments = _written(place, "")
    assert [s[0] for s in segments] == ["closed"] * 4
    assert [s[1] for s in segments] == ["rotate"] * 3 + ["hangup"]
    assert [s[2] for s in segments] == [3 * CHUNK] * 3 + [2 * CHUNK + 4 * 777]


@pytest.mark.parametrize(
    "step",
    [
        "seal.payload_synced:3",
        "rotate.closed",
        "rotate.closed:2",
        "start.slot_synced:2",
        "rotate.added",
        "vault.created:2",
    ],
)
def test_rotation_killed_at(step: str, place: tuple[Path, Path]) -> None:
    _, segments = _written(place, step)
    assert len(segments) >= 4
    assert {s[0] for s in segments} <= {"closed", "truncated"}


def test_a_wall_clock_that_jumps_costs_a_new_segment_and_no_audio(place: tuple[Path, Path]) -> None:
    """A daemon frozen with the machine and thawed twice would look like this: the key in hand must not go on."""
    _, segments = _written(place, "", "--clock-jump")
    assert ("truncated", "resume_refused") in [s[:2] for s in segments]
