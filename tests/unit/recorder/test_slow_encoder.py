"""An encoder that takes its time, for this recording or for another one: nobody who stops, pauses or destroys waits for it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sqlite3
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from msgspec.structs import replace

from edge.errors import CallwardenError
from edge.recorder import recorder
from edge.recorder.sealer import drain, end_segment
from tests.crash import capture_child as child
from tests.unit.recorder.test_afterwork import Stored, patient, voice
from tests.unit.recorder.test_incident import ago
from tests.unit.recorder.test_pause import Paused

__all__ = ["patient"]

#: The real encoder, once it is let.
SLOW = """#!/bin/sh
touch {begun}
while [ ! -e {go} ]; do sleep 0.05; done
exec {python} "$@"
"""


@contextlib.contextmanager
def busy(patient: Paused) -> Iterator[threading.Event]:
    """The one encoder works for another recording until the event is set."""
    go = threading.Event()
    patient.tools.encoder.submit(go.wait)
    try:
        yield go
    finally:
        go.set()


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not condition():
            await asyncio.sleep(0.02)


async def talked(patient: Paused) -> None:
    """Six seconds, of which something is sealed."""
    capture = await patient.start()
    patient.line.open(*patient.paths)
    patient.line.put(voice(300))
    await until(lambda: capture.segment.plain_bytes > 0)


def over(patient: Paused, how: str) -> None:
    if how == "spool lost":
        os.unlink(patient.paths[0])
    else:
        patient.line.hang_up()
    patient.recorder.link_up({})


def segments(patient: Paused) -> list[tuple[str, str, str]]:
    with sqlite3.connect(patient.state / "journal.db") as conn:
        return conn.execute("SELECT segment_id, state, encoding FROM segment ORDER BY number").fetchall()


@pytest.mark.parametrize("how", ["hang-up", "spool lost"])
async def test_an_incident_waits_for_no_other_recording(patient: Paused, how: str) -> None:
    """Also where the first try to seal fails, and the ending is begun anew after the incident."""
    failed = patient.fail_first_manifest()
    await talked(patient)
    capture = patient.capture
    with busy(patient) as go:
        over(patient, how)
        await until(lambda: capture.segment.ended)
        shredding = asyncio.create_task(patient.recorder.shred_segment(capture.recording_id, since=ago(60)))
        await until(shredding.done)
        assert shredding.result() == 1
        assert not capture.done.is_set()
        go.set()
    await asyncio.wait_for(capture.done.wait(), 60)
    assert failed == [1]
    row = await patient.journal.recording(capture.recording_id)
    assert row is not None
    assert (row.state, [s.state for s in row.segments]) == ("sealed", ["shredded"])
    assert patient.tools.spool.names() == []
    assert list((patient.state.parent / "resume").iterdir()) == []


async def test_an_incident_waits_not_even_for_its_own_encoding(
    patient: Paused, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """What comes of the encoding is for nobody any more: it goes with its key."""
    slow, begun, go = tmp_path / "slow", tmp_path / "begun", tmp_path / "go"
    slow.write_text(SLOW.format(begun=begun, go=go, python=sys.executable))
    slow.chmod(0o755)
    monkeypatch.setattr("edge.recorder.compaction.sys.executable", str(slow))
    patient.policy = replace(patient.policy or child.POLICY, compact="flac")
    await talked(patient)
    capture = patient.capture
    over(patient, "hang-up")
    try:
        await until(begun.exists)
        shredding = asyncio.create_task(patient.recorder.shred_segment(capture.recording_id, since=ago(60)))
        await until(shredding.done)
        assert shredding.result() == 1
        assert not capture.done.is_set()
    finally:
        go.touch()
    await asyncio.wait_for(capture.done.wait(), 60)
    stored = Stored(patient)
    ((segment_id, state, encoding),) = segments(patient)
    assert (state, encoding, stored.recording["state"]) == ("shredded", "none", "sealed")
    assert {path.stem for path in stored.folder.iterdir()} == {segment_id}
    assert set(await patient.slots.live()) <= set(await patient.journal.slots_in_use())


@pytest.mark.parametrize("reason", ["withdraw", "pause", "rotate"])
async def test_who_stops_a_recording_waits_for_no_encoder(patient: Paused, reason: str) -> None:
    """It is stopped, and sealed to its last byte: nothing to be alarmed about, and another one may begin."""
    await talked(patient)
    capture, rid = patient.capture, patient.capture.recording_id
    with busy(patient) as go:
        async with capture.lock:
            await end_segment(patient.tools, capture, await drain(patient.tools, capture), "pause")
        patient.line.put(voice(100))
        assert patient.recorder.capturing(capture.call_id) == [rid]
        stopping = asyncio.create_task(patient.recorder.stop(rid, reason))
        await until(stopping.done)
        stopping.result()
        assert patient.line.stopped == ["0x7f"]
        assert not capture.done.is_set()
        assert patient.recorder.live_of(capture.call_id) == [rid]
        assert patient.recorder.capturing(capture.call_id) == []
        await until(lambda: not patient.clear())
        await patient.recorder.stop(rid, reason)
        assert patient.line.stopped == ["0x7f"], "it is not told of a monitor that is gone"
        await patient.recorder.pause(rid)
        go.set()
    await asyncio.wait_for(capture.done.wait(), 60)
    stored = Stored(patient)
    assert stored.recording["state"] == "sealed"
    assert (await stored.open(patient, 0))[0] + (await stored.open(patient, 1))[0] == voice(300) + voice(100)
    assert patient.count("alarm") == 0


async def test_who_erases_is_told_what_is_waited_for(patient: Paused, monkeypatch: pytest.MonkeyPatch) -> None:
    """A payload that is still read and written must not be unlinked; that is no trouble with Asterisk."""
    monkeypatch.setattr(recorder, "STOP_TIMEOUT_S", 60)
    await talked(patient)
    capture, rid = patient.capture, patient.capture.recording_id
    with busy(patient) as go:
        over(patient, "hang-up")
        await until(capture.ended.is_set)
        monkeypatch.setattr(recorder, "STOP_TIMEOUT_S", 0.2)
        with pytest.raises(CallwardenError) as late:
            await patient.recorder.stop(rid, "erase")
        assert (late.value.code, late.value.retryable) == ("recorder.afterwork", True)
        go.set()
    monkeypatch.setattr(recorder, "STOP_TIMEOUT_S", 60)
    await patient.recorder.stop(rid, "erase")
    assert capture.done.is_set()
    assert Stored(patient).recording["state"] == "sealed"
