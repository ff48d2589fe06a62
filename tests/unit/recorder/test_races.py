"""What comes at the wrong moment: a hang-up, an incident, an impatient caller or a failing disk in the middle of a pause."""

from __future__ import annotations

import asyncio
import os
import sqlite3
from typing import Any

import pytest

from edge.errors import CallwardenError
from edge.recorder import incident, recorder, sealer
from tests.unit.recorder.line import FRAME
from tests.unit.recorder.test_incident import ago
from tests.unit.recorder.test_pause import Paused, disk, patient

__all__ = ["disk", "patient"]


async def until(patient: Paused, what: Any) -> None:
    for _ in range(2000):
        if what():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("it did not come")


async def test_an_incident_between_hang_up_and_flush_takes_what_is_flushed(patient: Paused) -> None:
    patient.line.talk(160)
    await until(patient, lambda: patient.capture.growing)
    patient.recorder.channel_gone(patient.capture.channel_uid)
    await patient.recorder.shred_segment(patient.capture.recording_id, since=ago(5))
    patient.line.hang_up()
    await asyncio.wait_for(patient.capture.done.wait(), 20)
    row = await patient.journal.recording(patient.capture.recording_id)
    assert row is not None
    assert [s.state for s in row.segments] == ["shredded"]


async def test_an_incident_directly_after_a_pause_breaks_no_segment(patient: Paused) -> None:
    rid = patient.capture.recording_id
    async with patient.talking():
        await asyncio.sleep(0.2)
        await patient.recorder.pause(rid)
    patient.line.talk(130)
    await patient.recorder.resume(rid)
    await patient.recorder.shred_segment(rid, since=ago(0))
    patient.line.talk(300, quiet=True)
    await asyncio.sleep(0.4)
    patient.line.talk(300)
    await patient.over()
    assert [s for s in segments(patient) if s[0] == "truncated"] == []
    assert segments(patient)[-1] == ("closed", "hangup")


def segments(patient: Paused) -> list[tuple[str, str]]:
    with sqlite3.connect(patient.state / "journal.db") as conn:
        return conn.execute("SELECT state, end_reason FROM segment ORDER BY number").fetchall()


async def test_a_pause_holds_although_nobody_waits_for_it(patient: Paused, monkeypatch: pytest.MonkeyPatch) -> None:
    rid, mute, asked = patient.capture.recording_id, patient.line.mute_monitor, asyncio.Event()

    async def slow(channel: str, monitor: str, on: bool) -> bool:
        asked.set()
        await asyncio.sleep(0.1)
        return await mute(channel, monitor, on)

    monkeypatch.setattr(patient.line, "mute_monitor", slow)
    async with patient.talking():
        await asyncio.sleep(0.2)
        ordered = asyncio.create_task(patient.recorder.pause(rid))
        await asked.wait()
        ordered.cancel()
        await patient.recorder.pause(rid)
        assert patient.line.muted
        await asyncio.sleep(0.3)
    audio, _, _ = await patient.over()
    assert len(patient.line.secret) > 10 * FRAME
    assert audio == patient.line.said


async def test_a_pause_that_asterisk_never_answered_keeps_nothing_from_the_order_on(
    patient: Paused, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = asyncio.Event()

    async def silent(channel: str, monitor: str, on: bool) -> bool:
        asked.set()
        await asyncio.sleep(5)
        raise CallwardenError("ami.unknown", "no answer", retryable=True)

    monkeypatch.setattr(patient.line, "mute_monitor", silent)
    patient.line.talk(160)
    ordered = asyncio.create_task(patient.recorder.pause(patient.capture.recording_id))
    await asked.wait()
    mute = patient.capture.mute
    assert mute is not None
    patient.line.talk(3 * patient.buffer // FRAME)
    audio, _, state = await patient.over()
    ordered.cancel()
    assert len(audio) == mute.begin
    assert state == "sealed"


async def test_a_pause_that_fails_is_stopped_while_the_disk_is_full(
    patient: Paused, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise CallwardenError("vault.io", "no room", retryable=True)

    patient.line.talk(160)
    await until(patient, lambda: patient.capture.growing)
    patient.line.refuses = True
    with monkeypatch.context() as broken:
        broken.setattr(patient.vault, "append", full)
        with pytest.raises(CallwardenError):
            await patient.recorder.pause(patient.capture.recording_id)
        assert patient.line.stopped == ["0x7f"]
    await asyncio.wait_for(patient.capture.done.wait(), 20)
    assert patient.flags() == ["mute_failed"]


async def test_an_ending_that_meets_a_bug_is_tried_again(patient: Paused) -> None:
    failed = patient.fail_first_manifest()
    patient.line.talk(160)
    audio, _, state = await patient.over()
    assert failed == [1]
    assert (audio, state) == (patient.line.said, "sealed")
    assert os.listdir(patient.folder) == []


async def test_bytes_that_cannot_be_freed_end_no_round(patient: Paused, monkeypatch: pytest.MonkeyPatch) -> None:
    def stubborn(*_: object) -> None:
        raise CallwardenError("spool.punch", "they cannot be freed")

    patient.line.talk(160)
    with monkeypatch.context() as broken:
        broken.setattr(incident, "discard", stubborn)
        await asyncio.sleep(0.5)
    assert not patient.running.done()
    audio, _, _ = await patient.over()
    assert audio == patient.line.said


async def test_a_tick_that_waited_for_a_lock_leaves_a_finished_capture_alone(patient: Paused) -> None:
    patient.line.talk(160)
    await until(patient, lambda: patient.capture.growing)
    capture = patient.capture
    await capture.lock.acquire()

    async def over() -> None:
        async with capture.lock:
            capture.finishing = True
            patient.tools.spool.unlink(capture.spool_name)

    waiting = asyncio.create_task(over())
    await asyncio.sleep(0)
    capture.lock.release()  # not locked now, and somebody stands in line
    assert not capture.lock.locked()
    await sealer.tick(patient.tools, [capture])
    await waiting
    assert patient.count("alarm") == 0


async def test_a_stop_that_missed_its_channel_is_told_again(patient: Paused, monkeypatch: pytest.MonkeyPatch) -> None:
    rid, stop = patient.capture.recording_id, patient.line.stop_monitor

    async def missed(channel: str, monitor: str) -> bool:
        return False

    monkeypatch.setattr(recorder, "STOP_TIMEOUT_S", 0.2)
    monkeypatch.setattr(patient.line, "channel_alive", lambda uid: True)
    monkeypatch.setattr(patient.line, "stop_monitor", missed)
    patient.line.talk(160)
    await until(patient, lambda: patient.capture.growing)
    with pytest.raises(CallwardenError) as late:
        await patient.recorder.stop(rid, "withdraw")
    assert late.value.code == "spool.still_written"
    monkeypatch.setattr(patient.line, "stop_monitor", stop)
    monkeypatch.setattr(recorder, "STOP_TIMEOUT_S", 20)
    await patient.recorder.stop(rid, "withdraw")
    assert patient.line.stopped == ["0x7f"]


async def test_what_a_failed_start_flushes_is_kept_once_it_was_recording(
    patient: Paused, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def later(channel: str, monitor: str) -> bool:
        asyncio.get_running_loop().call_later(0.1, patient.line.hang_up)
        return True

    monkeypatch.setattr(patient.line, "stop_monitor", later)
    patient.line.talk(160)
    await until(patient, lambda: patient.capture.growing)
    await patient.recorder.fail(patient.capture.recording_id)
    await asyncio.wait_for(patient.capture.done.wait(), 20)
    patient.running.cancel()
    audio, _, state = await patient.close()
    assert (audio, state) == (patient.line.said, "sealed")
