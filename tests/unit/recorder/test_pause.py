"""Pause and resume on real journal, slots, vault and spool, against a monitor that buffers like Asterisk's."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sqlite3
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from edge.errors import CallwardenError
from edge.model.live import Actor, PauseRow
from edge.recorder import muting
from edge.recorder import rounds as stage
from edge.recorder.capture import Capture
from edge.recorder.spool import files_of
from edge.recorder.tools import Tools
from formats.errors import ManifestError
from tests.crash import capture_child as child
from tests.unit.recorder.line import FRAME, Line
from tests.unit.recorder.test_wounds import Patient

AGENT = Actor("agent", "PJSIP/agent1")


class Paused(Patient):
    """A patient on a line that can be muted."""

    def __init__(self, state: Path, spool: Path, line: Line) -> None:
        super().__init__(state, spool)
        self.line = line
        object.__setattr__(self.tools, "asterisk", line)

    @property
    def paths(self) -> list[str]:
        return [self.tools.spool.path(file) for file in files_of(self.capture.spool_name)]

    @property
    def buffer(self) -> int:
        return self.capture.buffer

    def clear(self) -> bool:
        """Whether any byte in the spool is not zero."""
        return any(any(Path(path).read_bytes()) for path in self.paths)

    async def start(self) -> Capture:
        capture = await self.begin()
        await self.recorder.confirm(capture.recording_id, self.line.monitor)
        self.running = asyncio.create_task(self.recorder.run())
        return capture

    @contextlib.asynccontextmanager
    async def talking(self) -> AsyncIterator[None]:
        task = asyncio.create_task(self.line.going_on())
        try:
            yield
        finally:
            task.cancel()

    async def wish(self, wanted: bool) -> None:
        """What whoever orders a pause puts on file first."""
        row = PauseRow("ab" * 16, self.capture.call_id, "asked", AGENT, "2026-07-01T10:00:00.000Z", None)
        if wanted:
            await self.journal.open_pause(row)
        else:
            await self.journal.close_pause(row.pause_id, "2026-07-01T10:01:00.000Z", AGENT)

    async def over(self) -> tuple[bytes, list[tuple[str, str, int]], str]:
        self.line.hang_up()
        self.recorder.link_up({})
        await asyncio.wait_for(self.capture.done.wait(), 20)
        self.running.cancel()
        return await self.close()

    def row(self) -> tuple[str, int]:
        with sqlite3.connect(self.state / "journal.db") as conn:
            found = conn.execute("SELECT state, muted FROM recording JOIN capture USING(recording_id)").fetchone()
        return found[0], found[1]

    def flags(self) -> list[str]:
        with sqlite3.connect(self.state / "journal.db") as conn:
            return [r[0] for r in conn.execute("SELECT flag FROM recording_flag")]

    async def close_parts(self) -> None:
        self.running.cancel()
        await self.journal.close()
        await self.slots.close()

    def fail_first_manifest(self) -> list[int]:
        """The first manifest cannot be made. Returned: a list that has 1 in it once that has happened."""
        make, failed = self.tools.make_manifest, list[int]()

        def once(*args: Any) -> str:
            if not failed:
                failed.append(1)
                raise ManifestError("vault.manifest", "it contradicts itself")
            return make(*args)

        object.__setattr__(self.tools, "make_manifest", once)
        return failed

    async def crash(self) -> Paused:
        """The daemon dies here and another one starts; Asterisk goes on."""
        await self.close_parts()
        again = Paused(self.state, self.folder, self.line)
        await again.start()
        return again


@pytest.fixture
def disk() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="callwarden-test-", dir="/var/tmp") as disk:
        (Path(disk) / "state" / "vault").mkdir(parents=True, mode=0o700)
        (Path(disk) / "resume").mkdir(mode=0o700)
        yield Path(disk)


@pytest.fixture(params=[True, False], ids=["one file", "two files"])
async def patient(
    shm: Path, disk: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> AsyncIterator[Paused]:
    monkeypatch.setattr(stage, "RESCAN_S", 0.1)
    made = Paused(disk / "state", shm, Line())
    made.recorder.has_d = request.param
    await made.start()
    made.line.open(*made.paths)
    yield made
    made.running.cancel()
    await made.journal.close()
    await made.slots.close()


async def test_a_pause_is_cut_out_to_the_byte(patient: Paused) -> None:
    patient.line.talk(130)
    async with patient.talking():
        await patient.recorder.pause(patient.capture.recording_id)
        assert patient.row() == ("paused", 1)
        await asyncio.sleep(0.3)
        assert patient.recorder.oldest_unsealed_s() == 0
        await patient.recorder.resume(patient.capture.recording_id)
        assert patient.row() == ("recording", 0)
        await asyncio.sleep(0.3)
    audio, segments, state = await patient.over()
    assert len(patient.line.secret) > 20 * FRAME
    assert audio == patient.line.said
    assert [s[:2] for s in segments] == [("closed", "pause"), ("closed", "hangup")]
    assert state == "sealed"
    assert patient.count("alarm") == 0


async def test_what_was_dropped_is_gone_from_memory_too(patient: Paused) -> None:
    async with patient.talking():
        await asyncio.sleep(0.2)
        await patient.recorder.pause(patient.capture.recording_id)
        await asyncio.sleep(0.5)
        assert patient.tools.spool.resident(patient.capture.spool_name) < 3 * patient.buffer
        assert not patient.clear()
    audio, _, _ = await patient.over()
    assert audio == patient.line.said


async def test_pause_and_resume_again_and_again(patient: Paused) -> None:
    rid = patient.capture.recording_id
    async with patient.talking():
        for _ in range(4):
            await asyncio.sleep(0.05)
            await patient.recorder.pause(rid)
            await patient.recorder.pause(rid)
            await patient.recorder.resume(rid)
            await patient.recorder.resume(rid)
    audio, segments, _ = await patient.over()
    assert patient.line.orders == [True, False] * 4
    assert audio == patient.line.said
    assert {s[0] for s in segments} == {"closed"}


async def test_hang_up_during_a_pause(patient: Paused) -> None:
    async with patient.talking():
        await asyncio.sleep(0.1)
        await patient.recorder.pause(patient.capture.recording_id)
        await asyncio.sleep(0.1)
    audio, segments, state = await patient.over()
    assert (audio, state) == (patient.line.said, "sealed")
    assert [s[:2] for s in segments] == [("closed", "pause")]


async def test_hang_up_while_the_zeros_are_awaited(patient: Paused) -> None:
    patient.line.talk(70)
    ordered = asyncio.create_task(patient.recorder.pause(patient.capture.recording_id))
    while not patient.line.muted:
        await asyncio.sleep(0.001)
    patient.line.talk(10)
    audio, _, state = await patient.over()
    await ordered
    assert (audio, state) == (patient.line.said, "sealed")


async def test_a_caller_who_waits_can_be_paused(patient: Paused) -> None:
    """No bridge, no bytes: what Asterisk's buffer holds comes later and belongs before the pause."""
    patient.line.talk(130)
    await patient.recorder.pause(patient.capture.recording_id)
    assert patient.row() == ("paused", 1)
    before = patient.line.said
    patient.line.talk(100)
    await asyncio.sleep(0.5)
    await patient.recorder.resume(patient.capture.recording_id)
    patient.line.talk(100)
    audio, segments, _ = await patient.over()
    assert audio.startswith(before)
    assert audio == patient.line.said
    assert [s[1] for s in segments] == ["pause", "pause", "hangup"]


async def test_a_pause_before_the_first_byte(patient: Paused) -> None:
    await patient.recorder.pause(patient.capture.recording_id)
    assert patient.row()[0] == "starting"
    patient.line.talk(120)
    end = asyncio.get_running_loop().time() + 20
    while patient.row() != ("paused", 1):
        assert asyncio.get_running_loop().time() < end
        await asyncio.sleep(0.05)
    await patient.recorder.resume(patient.capture.recording_id)
    patient.line.talk(120)
    audio, _, state = await patient.over()
    assert (audio, state) == (patient.line.said, "sealed")


async def test_a_mute_is_on_file_only_once_what_was_said_before_it_is_sealed(patient: Paused) -> None:
    """Else a daemon killed then takes what was said for a leak, and stops the recording."""
    patient.line.talk(130)
    pausing = asyncio.create_task(patient.recorder.pause(patient.capture.recording_id))
    while patient.row()[0] == "starting":
        await asyncio.sleep(0.01)
    assert patient.capture.mute is not None
    assert patient.row() == ("recording", 0)
    async with patient.talking():
        await pausing
        assert patient.row() == ("paused", 1)
        await patient.recorder.resume(patient.capture.recording_id)
        await asyncio.sleep(0.3)
    audio, _, state = await patient.over()
    assert (audio, state) == (patient.line.said, "sealed")


async def test_a_pause_that_a_full_disk_cut_short_is_on_file_when_there_is_room(
    patient: Paused, monkeypatch: pytest.MonkeyPatch
) -> None:
    full, before = True, muting._end_segment

    async def end_segment(tools: Tools, capture: Capture) -> None:
        if full:
            raise CallwardenError("vault.io", "no space left on device")
        await before(tools, capture)

    monkeypatch.setattr(muting, "_end_segment", end_segment)
    patient.line.talk(130)
    async with patient.talking():
        with pytest.raises(CallwardenError, match="no space left"):
            await patient.recorder.pause(patient.capture.recording_id)
        await patient.recorder.pause(patient.capture.recording_id)  # as whoever wishes it does, a second later
        assert patient.row()[1] == 0
        full = False
        while patient.row() != ("paused", 1):
            await asyncio.sleep(0.05)
        await patient.recorder.resume(patient.capture.recording_id)
        await asyncio.sleep(0.3)
    audio, _, state = await patient.over()
    assert (audio, state) == (patient.line.said, "sealed")


async def test_silence_before_and_after_a_pause_costs_no_speech(patient: Paused) -> None:
    patient.line.talk(60)
    patient.line.talk(40, quiet=True)
    async with patient.talking():
        await patient.recorder.pause(patient.capture.recording_id)
    patient.line.talk(60)
    await patient.recorder.resume(patient.capture.recording_id)
    patient.line.talk(80, quiet=True)
    await asyncio.sleep(0.3)
    patient.line.talk(60)
    audio, _, _ = await patient.over()
    assert audio.replace(b"\0", b"") == patient.line.said.replace(b"\0", b"")


@pytest.mark.parametrize("how", ["refuses", "lost"])
async def test_a_mute_that_does_not_come_ends_the_recording(patient: Paused, how: str) -> None:
    setattr(patient.line, how, True)
    async with patient.talking():
        await asyncio.sleep(0.6)
        known = patient.line.said
        with pytest.raises(CallwardenError) as failed:
            await patient.recorder.pause(patient.capture.recording_id)
        assert failed.value.code == "recorder.mute_failed"
        assert patient.capture.mute is not None
        # On a busy machine the order was noted a while after `known`.
        begin = max(patient.capture.mute.begin, len(known))
        patient.line.lost = False
        await asyncio.wait_for(patient.capture.done.wait(), 20)
    assert patient.line.stopped == ["0x7f"]
    assert "mute_failed" in patient.flags()
    audio, _, state = await patient.over()
    assert known.startswith(audio) or audio.startswith(known)
    assert len(audio) <= begin + 10 * FRAME, "nothing is kept from the order on"
    assert state == "sealed"


async def test_a_mute_that_is_acknowledged_and_leaks_ends_the_recording(patient: Paused) -> None:
    patient.line.deaf = True
    async with patient.talking():
        await asyncio.sleep(0.2)
        with pytest.raises(CallwardenError) as failed:
            await patient.recorder.pause(patient.capture.recording_id)
        assert failed.value.code == "recorder.mute_failed"
        await asyncio.wait_for(patient.capture.done.wait(), 20)
    assert patient.line.stopped == ["0x7f"]
    assert os.listdir(patient.folder) == []
    assert patient.flags() == ["mute_failed"]


async def test_a_mute_that_ends_by_itself_is_met(patient: Paused) -> None:
    async with patient.talking():
        await asyncio.sleep(0.1)
        await patient.recorder.pause(patient.capture.recording_id)
        said = patient.line.said
        await asyncio.sleep(0.2)
        patient.line.muted = False  # somebody else did that
        await asyncio.wait_for(patient.capture.done.wait(), 20)
    audio, segments, state = await patient.over()
    assert (audio, state) == (said, "sealed")
    assert [s[:2] for s in segments] == [("closed", "pause")]
    assert patient.line.stopped == ["0x7f"]
    assert patient.flags() == ["mute_failed"]


async def test_a_restart_in_a_pause_goes_on_with_the_pause(patient: Paused) -> None:
    async with patient.talking():
        await asyncio.sleep(0.1)
        await patient.wish(True)
        await patient.recorder.pause(patient.capture.recording_id)
        again = await patient.crash()
        try:
            await again.recorder.pause(again.capture.recording_id)
            await asyncio.sleep(0.3)
            assert again.row() == ("paused", 1)
            await again.wish(False)
            await again.recorder.resume(again.capture.recording_id)
            await asyncio.sleep(0.3)
            audio, segments, state = await again.over()
        finally:
            again.running.cancel()
    assert again.line.orders == [True, False], "Asterisk stayed muted all the while"
    assert (audio, state) == (again.line.said, "sealed")
    assert [s[1] for s in segments] == ["pause", "hangup"]
    assert again.count("alarm") == 0


async def test_a_restart_between_the_unmuting_and_its_row_keeps_what_was_said(patient: Paused) -> None:
    async with patient.talking():
        await asyncio.sleep(0.1)
        await patient.wish(True)
        await patient.recorder.pause(patient.capture.recording_id)
        await patient.wish(False)
        patient.running.cancel()
        await patient.line.mute_monitor("", "0x7f", False)
        await asyncio.sleep(0.2)
        again = await patient.crash()
        await asyncio.sleep(0.2)
        await again.recorder.resume(again.capture.recording_id)
        assert again.row() == ("recording", 0)
        audio, _, state = await again.over()
    assert (audio, state) == (again.line.said, "sealed")
    assert again.count("alarm") == 0


async def test_the_tick_of_a_stored_policy_holds_after_a_restart(patient: Paused) -> None:
    patient.line.talk(60)
    await asyncio.sleep(0.3)
    again = await patient.crash()
    assert again.recorder._tick_s == float(child.POLICY.capture.seal_every) == 0.5
    audio, _, _ = await again.over()
    assert audio == again.line.said
