"""The coverage watchdog: one side silent to the bit, files that stand still, a full spool, other people's monitors."""

from __future__ import annotations

import asyncio
import os
import random
import struct
from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from edge.recorder import rounds as stage
from edge.recorder import spool, watch
from edge.recorder.sides import Sides
from edge.recorder.tools import Watch
from tests.crash import capture_child as child
from tests.unit.recorder.line import Line
from tests.unit.recorder.test_pause import Paused, disk

__all__ = ["disk"]
RATE = 8000


class Ears:
    """What the watchdog told."""

    def __init__(self) -> None:
        self.told: list[tuple[str, ...]] = []

    def watch(self) -> Watch:
        def tells(word: str) -> object:
            return lambda *facts: self.told.append((word, *facts))

        return Watch(tells("one_sided"), tells("two_sided"), tells("gap"), tells("rogue"))  # type: ignore[arg-type]

    def words(self) -> list[str]:
        return [t[0] for t in self.told]


def talk(samples: int, *, caller: bool = True, agent: bool = True, seed: int = 0) -> bytes:
    """Interleaved speech of both; a side that is off is exact zeros, one that is on is never zero twice."""
    rand = random.Random(seed)
    return b"".join(
        struct.pack("<hh", rand.randrange(1, 2000) if caller else 0, rand.randrange(-2000, -1) if agent else 0)
        for _ in range(samples)
    )


@pytest.fixture
def ears() -> Ears:
    return Ears()


@pytest.fixture
async def patient(shm: Path, disk: Path, monkeypatch: pytest.MonkeyPatch, ears: Ears) -> AsyncIterator[Paused]:
    monkeypatch.setattr(stage, "RESCAN_S", 0.1)
    made = Paused(disk / "state", shm, Line())
    made.recorder._watchdog._hears = made.recorder._hears = ears.watch()
    await made.start()
    made.line.open(made.path)
    yield made
    await made.close_parts()


def test_runs_of_zeros_are_counted_over_pieces() -> None:
    sides = Sides()
    for piece in range(5):
        sides.listen(talk(2000, agent=piece == 0, seed=piece))
    assert sides.runs == [0, 8000]
    assert sides.silent(RATE) == "agent"
    sides.listen(talk(1, caller=False))
    assert sides.runs == [1, 0]
    assert sides.silent(RATE) == ""
    sides.listen(talk(9000, caller=False, agent=False))
    assert sides.silent(RATE) == "", "when nobody says a word nothing is wrong"


def test_a_sample_is_silent_only_with_both_its_bytes() -> None:
    sides = Sides()
    sides.listen(struct.pack("<hh", 256, 1) * 9000)
    assert sides.runs == [0, 0]


async def until(what: object, seconds: float = 20) -> None:
    end = asyncio.get_running_loop().time() + seconds
    while not what():  # type: ignore[operator]
        assert asyncio.get_running_loop().time() < end
        await asyncio.sleep(0.02)


async def test_a_silent_side_is_told_and_so_is_its_return(patient: Paused, ears: Ears) -> None:
    patient.recorder.channel_bridged("1.1")
    await asyncio.sleep(0.3)
    for seed in range(2):
        patient.line.put(talk(8192, seed=seed))
        await asyncio.sleep(0.3)
    assert ears.words() == []
    for seed in range(2):
        patient.line.put(talk(8192, agent=False, seed=seed))
        await asyncio.sleep(0.3)
    await until(lambda: ears.told)
    assert ears.told == [("one_sided", patient.capture.recording_id, "agent")]
    patient.line.put(talk(8192, seed=5))
    await until(lambda: len(ears.told) == 2)
    assert ears.told[1] == ("two_sided", patient.capture.recording_id)


async def test_freed_pages_are_no_silence(patient: Paused, ears: Ears) -> None:
    patient.recorder.channel_bridged("1.1")
    await asyncio.sleep(0.3)
    for seed in range(30):
        patient.line.put(talk(8192, seed=seed))
        await asyncio.sleep(0.05)
    await asyncio.sleep(0.5)
    assert patient.count("segment") == 1
    assert "one_sided" not in ears.words()


async def test_a_pause_and_a_caller_who_waits_are_not_one_sided(patient: Paused, ears: Ears) -> None:
    for seed in range(3):
        patient.line.put(talk(8192, agent=False, seed=seed))
        await asyncio.sleep(0.3)
    patient.recorder.channel_bridged("1.1")
    async with patient.talking():
        await patient.recorder.pause(patient.capture.recording_id)
        await asyncio.sleep(0.5)
    assert ears.words() == []


async def test_a_bridged_file_that_stands_still_is_told_once(
    patient: Paused, ears: Ears, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch, "STALL_NS", 0)
    monkeypatch.setattr(spool, "BUFFER", 1000)
    patient.line.put(talk(8192))
    patient.recorder.channel_bridged("1.1")
    await until(lambda: ears.told)
    await asyncio.sleep(0.5)
    assert ears.told == [("gap", patient.capture.recording_id)]


def small(left: int) -> object:
    return lambda path: SimpleNamespace(f_bavail=left, f_frsize=1, f_blocks=8 << 20)


async def test_a_full_spool_takes_nothing_and_ends_what_stands_still(
    patient: Paused, ears: Ears, monkeypatch: pytest.MonkeyPatch
) -> None:
    patient.line.put(talk(20000))
    await asyncio.sleep(0.3)
    assert patient.recorder.not_ready() is None
    monkeypatch.setattr(os, "statvfs", small(1000))
    await until(lambda: patient.recorder.not_ready())
    why = patient.recorder.not_ready()
    assert why is not None
    assert why.code == "spool.full"
    await asyncio.sleep(0.5)
    assert patient.count("alarm") == 1
    assert patient.recorder.live == 1, "it still grows, as far as anybody knows"
    monkeypatch.setattr(watch, "STALL_NS", 0)
    monkeypatch.setattr(spool, "BUFFER", 1000)
    patient.recorder.channel_bridged("1.1")
    await asyncio.wait_for(patient.capture.done.wait(), 20)
    assert patient.line.stopped == ["0x7f"]
    assert set(patient.flags()) == {"gap", "duration"}, "put in faster than anybody speaks"
    monkeypatch.setattr(os, "statvfs", small(4 << 20))
    await until(lambda: patient.recorder.not_ready() is None)


async def test_only_a_monitor_that_was_ordered_is_ours(patient: Paused, ears: Ears) -> None:
    patient.recorder.monitor_seen("1.1", True)
    assert ears.told == []
    patient.recorder.monitor_seen("1.1", False)
    patient.recorder.monitor_seen("1.1", True)
    patient.recorder.monitor_seen("9.9", True)
    assert ears.told == [("rogue", "1.1"), ("rogue", "9.9")]


async def test_a_planted_file_goes_as_soon_as_it_is_seen(patient: Paused, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stage, "RESCAN_S", 1000.0)
    await asyncio.sleep(0.3)
    planted = patient.folder / "planted.raw"
    planted.write_bytes(b"speech")
    patient.recorder.file_closed("planted.raw")
    await until(lambda: not planted.exists())
    assert patient.count("alarm") == 1


async def test_a_further_recording_of_a_talk_is_watched_from_its_start(patient: Paused, ears: Ears) -> None:
    """A repair begins in the middle of the bridge: nobody says again that the two are bridged."""
    patient.recorder.channel_bridged("1.1")
    await child.begin(patient.journal, patient.recorder, patient.folder)
    first, second = patient.recorder._live
    assert first is patient.capture
    assert patient.recorder.live_of(second.call_id) == [second.recording_id]
    line = Line()
    line.open(patient.tools.spool.path(second.spool_name))
    for seed in range(3):
        patient.line.put(talk(8192, seed=seed))
        line.put(talk(8192, caller=False, seed=seed))
        await asyncio.sleep(0.3)
    await until(lambda: ears.told)
    assert ears.told == [("one_sided", second.recording_id, "caller")]
    line.hang_up()
    patient.line.hang_up()
    patient.recorder.channel_gone("1.1")
    await asyncio.wait_for(asyncio.gather(first.done.wait(), second.done.wait()), 20)
    assert patient.count("recording") == 2
    assert os.listdir(patient.folder) == []


async def test_who_left_the_bridge_while_the_link_was_down_is_not_missed(patient: Paused) -> None:
    patient.recorder.channel_bridged("1.1")
    assert patient.capture.bridged_ns is not None
    patient.recorder.link_down()
    patient.recorder.link_up({"1.1": "SIP/x-1"})
    assert patient.capture.bridged_ns is None


@pytest.mark.parametrize("paused", [False, True])
async def test_a_monitor_that_somebody_else_stops_is_told(
    patient: Paused, ears: Ears, monkeypatch: pytest.MonkeyPatch, paused: bool
) -> None:
    monkeypatch.setattr(watch, "LEFT_NS", 300_000_000)
    patient.recorder.channel_bridged("1.1")
    async with patient.talking():
        await asyncio.sleep(0.5)
        if paused:
            await patient.recorder.pause(patient.capture.recording_id)
    patient.line.hang_up()  # the file is closed, and the channel stays
    await asyncio.wait_for(patient.capture.done.wait(), 20)
    assert ears.told == [("gap", patient.capture.recording_id)]


@pytest.mark.parametrize("why", ["hang-up", "late hang-up", "unbridged", "stop", "link"])
async def test_an_end_that_is_explained_is_no_gap(patient: Paused, ears: Ears, why: str) -> None:
    patient.recorder.channel_bridged("1.1")
    patient.line.put(talk(8192))
    await until(lambda: patient.capture.growing)
    if why == "stop":
        await patient.recorder.stop(patient.capture.recording_id, "withdraw")
    elif why == "link":
        patient.line.up = False
    elif why == "unbridged":
        patient.recorder.channel_unbridged("1.1")
    if why != "stop":
        patient.line.hang_up()
    if why == "hang-up":
        await asyncio.sleep(0.3)
        patient.recorder.channel_gone("1.1")
    elif why == "late hang-up":  # Asterisk knows no such channel any more
        patient.line.gone = True
    await asyncio.wait_for(patient.capture.done.wait(), 20)
    assert ears.told == []
