"""The waveform and the compaction of closed segments, on real journal, slots, vault and spool, with the real encoder."""

from __future__ import annotations

import array
import asyncio
import io
import math
import sqlite3
import sys
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import soundfile

from edge.errors import CallwardenError
from edge.recorder import endings
from edge.recorder.recorder import Recorder
from formats import waveform
from formats.keyset import KeySet, entry
from formats.manifest import check_key, check_payload, verify_manifest
from formats.place import Place
from formats.shred import unseal_header
from formats.suites import suite_of
from tests.crash import capture_child as child
from tests.unit.recorder.line import FRAME, Line
from tests.unit.recorder.test_incident import Keeper, finish_when_reported
from tests.unit.recorder.test_pause import Paused
from tests.unit.recorder.test_wounds import replace


def voice(frames: int, *, sides: tuple[int, int] = (6000, 3000)) -> bytes:
    """Frames of 20 ms of two tones, one a side."""
    samples = array.array("h")
    for n in range(frames * 160):
        samples.extend(int(level * math.sin(n / (5 + side))) or 1 for side, level in enumerate(sides))
    return samples.tobytes()


@pytest.fixture(params=["age1", "aes256gcm"])
async def patient(shm: Path, request: pytest.FixtureRequest) -> AsyncIterator[Paused]:
    with tempfile.TemporaryDirectory(prefix="callwarden-test-", dir="/var/tmp") as disk:
        (Path(disk) / "state" / "vault").mkdir(parents=True, mode=0o700)
        (Path(disk) / "resume").mkdir(mode=0o700)
        made = Paused(Path(disk) / "state", shm, Line())
        made.policy = replace(child.POLICY, suite=request.param)
        yield made
        made.running.cancel()
        await made.journal.close()
        await made.slots.close()


TRUST = KeySet.of([entry(child.KEY.verify_key, "edge", child.EDGE_ID, edge_id=child.EDGE_ID)])


class Stored:
    """What lies in the vault of the one recording, opened as a reader would."""

    def __init__(self, patient: Paused) -> None:
        with sqlite3.connect(patient.state / "journal.db") as conn:
            conn.row_factory = sqlite3.Row
            self.recording = conn.execute("SELECT * FROM recording").fetchone()
            self.segments = conn.execute("SELECT * FROM segment ORDER BY number").fetchall()
            self.headers = conn.execute("SELECT * FROM header ORDER BY segment_id, version").fetchall()
            self.flags = dict(conn.execute("SELECT flag, detail FROM recording_flag").fetchall())
        self.id = self.recording["recording_id"]
        self.manifest = verify_manifest(self.recording["manifest"], TRUST)
        self.folder = patient.state / "vault" / self.id[:2] / self.id

    async def open(self, patient: Paused, number: int) -> tuple[bytes, waveform.Waveform]:
        """(plaintext of the payload, waveform)."""
        facts = self.manifest.segments[number]
        (header,) = [h for h in self.headers if h["segment_id"] == facts.segment_id and h["slot"] > 0]
        suite, place = suite_of(facts.suite), Place(self.id, facts.segment_id)
        shred_key = await patient.slots.read(header["slot"])
        raw = unseal_header(header["sealed_header"], shred_key, self.id, facts.segment_id, header["version"])
        key = suite.open_header(raw, [child.IDENTITY], place)
        check_key(facts, key)
        payload = (self.folder / f"{facts.segment_id}.payload").read_bytes()
        check_payload(facts, io.BytesIO(payload))
        sealed = (self.folder / f"{facts.segment_id}.waveform").read_bytes()
        peaks = waveform.unseal(
            sealed, suite=facts.suite, file_key=key, recording_id=self.id, segment_id=facts.segment_id
        )
        return b"".join(suite.read(key, place, io.BytesIO(payload))), peaks


async def recorded(patient: Paused, data: bytes, **policy: Any) -> Stored:
    patient.policy = replace(patient.policy or child.POLICY, **policy)
    await patient.start()
    patient.line.open(*patient.paths)
    patient.line.put(data)
    await asyncio.sleep(0.8)
    patient.line.hang_up()
    patient.recorder.link_up({})
    await asyncio.wait_for(patient.capture.done.wait(), 30)
    return Stored(patient)


async def test_every_segment_has_its_waveform_under_its_own_key(patient: Paused) -> None:
    stored = await recorded(patient, data := voice(200))
    plain, peaks = await stored.open(patient, 0)
    assert plain == data
    assert len(peaks.side(0)) == 40
    assert set(peaks.side(0)) == {5999 >> 8}
    assert {10, 11} >= set(peaks.side(1))
    assert stored.segments[0]["loudest"] == "[23,11]"
    assert list((patient.state.parent / "resume").iterdir()) == []
    assert "one_sided" not in stored.flags


@pytest.mark.parametrize(
    ("sides", "flag"), [((6000, 0), "agent"), ((0, 6000), "caller"), ((100, 200), "both"), ((300, 6000), None)]
)
async def test_a_side_without_energy_is_flagged(patient: Paused, sides: tuple[int, int], flag: str | None) -> None:
    stored = await recorded(patient, voice(200, sides=sides))
    assert stored.flags.get("one_sided") == flag


@pytest.mark.parametrize("form", ["flac", "opus"])
async def test_a_segment_is_compacted(patient: Paused, form: str) -> None:
    stored = await recorded(patient, data := voice(300), compact=form)
    assert (stored.segments[0]["encoding"], stored.segments[0]["frames"]) == (form, len(data) // 4)
    assert stored.manifest.segments[0].encoding == form
    assert stored.manifest.segments[0].duration_ms == 6000
    plain, peaks = await stored.open(patient, 0)
    assert len(plain) < len(data) / 1.5
    samples, rate = soundfile.read(io.BytesIO(plain), dtype="int16")
    assert (rate, len(samples)) == (8000, len(data) // 4)
    assert form == "opus" or samples.tobytes() == data
    assert len(peaks.side(0)) == 60
    old, new = stored.headers
    assert (old["version"], old["slot"], old["sealed_header"]) == (1, 0, b"")
    assert new["version"] == 2
    assert old["key_id"] != new["key_id"]
    assert sorted(p.name for p in stored.folder.iterdir()) == sorted(
        stored.segments[0]["segment_id"] + suffix for suffix in (".payload", ".waveform")
    )


async def test_of_several_segments_each_is_compacted(patient: Paused) -> None:
    patient.policy = replace(patient.policy or child.POLICY, compact="flac")
    capture = await patient.start()
    patient.line.open(*patient.paths)
    first, second = voice(200), voice(150)
    patient.line.put(first)
    await asyncio.sleep(0.6)
    await endings.afterwork.finished(capture.after)
    async with capture.lock:
        from edge.recorder.sealer import drain, end_segment

        await end_segment(patient.tools, capture, await drain(patient.tools, capture), "pause")
    patient.line.put(second)
    await asyncio.sleep(1)
    patient.line.hang_up()
    patient.recorder.link_up({})
    await asyncio.wait_for(capture.done.wait(), 30)
    stored = Stored(patient)
    assert [s["encoding"] for s in stored.segments] == ["flac", "flac"]
    heard = [soundfile.read(io.BytesIO((await stored.open(patient, n))[0]), dtype="int16")[0].tobytes() for n in (0, 1)]
    assert heard == [first, second]


async def test_an_encoder_that_fails_costs_no_audio(patient: Paused, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edge.recorder.compaction.sys.executable", "/bin/false")
    stored = await recorded(patient, data := voice(200), compact="flac")
    assert stored.segments[0]["encoding"] == "none"
    plain, peaks = await stored.open(patient, 0)
    assert plain == data
    assert len(peaks.side(0)) == 40
    assert len(stored.headers) == 1
    assert stored.headers[0]["slot"] > 0


async def test_an_encoder_that_lies_costs_no_audio(
    patient: Paused, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """One that drops samples, says so itself or is found out."""
    liar = tmp_path / "liar"
    liar.write_text(
        '#!/bin/sh\ncat >/dev/null\necho \'{"frames": 1, "sha256": "00", "heard_frames": 1}\'\necho short\n'
    )
    liar.chmod(0o755)
    monkeypatch.setattr("edge.recorder.compaction.sys.executable", str(liar))
    stored = await recorded(patient, data := voice(200), compact="flac")
    assert stored.segments[0]["encoding"] == "none"
    assert (await stored.open(patient, 0))[0] == data
    assert len(list(stored.folder.iterdir())) == 2


#: The real encoder's line and a part of its file, then death by the kernel's hand, or an orderly end.
TORN = """#!{python}
import os, signal, subprocess, sys
out = subprocess.run([{python!r}, *sys.argv[1:]], stdin=sys.stdin.buffer, capture_output=True, check=True).stdout
line, _, file = out.partition(b"\\n")
assert len(file) > 1000
sys.stdout.buffer.write(line + b"\\n" + {what})
sys.stdout.buffer.flush()
{end}
"""
KILLED = "os.kill(os.getpid(), signal.SIGKILL)"


@pytest.mark.parametrize(
    ("what", "end"),
    [
        ("b''", KILLED),
        ("file[:len(file) // 2]", KILLED),
        ("file", KILLED),
        ("file[:len(file) // 2]", ""),
        ("file[:-1] + bytes([file[-1] ^ 1])", ""),
    ],
)
@pytest.mark.parametrize("form", ["flac", "opus"])
async def test_an_encoder_that_dies_after_its_line_costs_no_audio(
    patient: Paused, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, form: str, what: str, end: str
) -> None:
    """What came is not what was announced, or its sender did not live to the end: nothing takes the segment's place."""
    torn = tmp_path / "torn"
    torn.write_text(TORN.format(python=sys.executable, what=what, end=end))
    torn.chmod(0o755)
    monkeypatch.setattr("edge.recorder.compaction.sys.executable", str(torn))
    stored = await recorded(patient, data := voice(300), compact=form)
    assert stored.segments[0]["encoding"] == "none"
    assert (await stored.open(patient, 0))[0] == data
    assert len(stored.headers) == 1
    assert len(list(stored.folder.iterdir())) == 2
    assert set(await patient.slots.live()) == set(await patient.journal.slots_in_use())


async def test_an_encoder_that_hangs_is_ended(patient: Paused, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    hung = tmp_path / "hung"
    hung.write_text("#!/bin/sh\nexec sleep 600\n")
    hung.chmod(0o755)
    monkeypatch.setattr("edge.recorder.compaction.sys.executable", str(hung))
    monkeypatch.setattr("edge.recorder.compaction._WALL_S", 0.3)
    stored = await recorded(patient, data := voice(200), compact="flac")
    assert stored.segments[0]["encoding"] == "none"
    assert (await stored.open(patient, 0))[0] == data


async def test_a_slot_that_cannot_be_overwritten_keeps_no_payload_from_its_name(
    patient: Paused, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(slots: Any) -> None:
        raise CallwardenError("vault.io", "the disk failed", retryable=True)

    monkeypatch.setattr("edge.recorder.compaction._PAUSES_S", (0.01,))
    monkeypatch.setattr(patient.slots, "release", broken)
    stored = await recorded(patient, data := voice(300), compact="flac")
    assert (stored.segments[0]["encoding"], stored.segments[0]["staged"]) == ("flac", "")
    plain, _ = await stored.open(patient, 0)
    assert soundfile.read(io.BytesIO(plain), dtype="int16")[0].tobytes() == data


@pytest.mark.parametrize("where", ["take_place", "compacted"])
async def test_a_compaction_that_stopped_on_the_way_is_made_good_by_the_next_start(
    patient: Paused, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    """Also when the recording was sealed meanwhile."""

    def broken(*names: str) -> bool:
        raise CallwardenError("vault.io", "the disk failed", retryable=True)

    async def refused(segment_id: str) -> bool:
        return broken(segment_id)

    monkeypatch.setattr("edge.recorder.compaction._PAUSES_S", (0.01,))
    with monkeypatch.context() as hurt:
        hurt.setattr(*((patient.vault, where, broken) if where == "take_place" else (patient.journal, where, refused)))
        stored = await recorded(patient, data := voice(300), compact="flac")
    assert stored.recording["state"] == "sealed"
    assert stored.segments[0]["staged"]
    await patient.recorder.recover()
    stored = Stored(patient)
    assert stored.segments[0]["staged"] == ""
    plain, peaks = await stored.open(patient, 0)
    assert soundfile.read(io.BytesIO(plain), dtype="int16")[0].tobytes() == data
    assert len(peaks.side(0)) == 60
    assert len(list(stored.folder.iterdir())) == 2


async def test_an_incident_takes_what_lies_under_a_staged_name(
    patient: Paused, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*names: str) -> None:
        raise CallwardenError("vault.io", "the disk failed", retryable=True)

    monkeypatch.setattr("edge.recorder.compaction._PAUSES_S", (0.01,))
    monkeypatch.setattr(patient.vault, "take_place", broken)
    stored = await recorded(patient, voice(300), compact="flac")
    assert len(list(stored.folder.iterdir())) == 4
    assert await patient.recorder.shred_segment(stored.id, since=stored.recording["started_at"]) == 1
    keeper = Keeper()
    keeper.there = True
    await finish_when_reported(patient, keeper)
    assert list(stored.folder.iterdir()) == []


async def test_one_that_stopped_on_the_way_is_tried_again_at_once(
    patient: Paused, monkeypatch: pytest.MonkeyPatch
) -> None:
    tries, works = [], patient.vault.take_place

    def once_broken(*names: str) -> None:
        tries.append(names)
        if len(tries) == 1:
            raise CallwardenError("vault.io", "the disk failed", retryable=True)
        works(*names)

    monkeypatch.setattr("edge.recorder.compaction._PAUSES_S", (0.01,))
    monkeypatch.setattr(patient.vault, "take_place", once_broken)
    stored = await recorded(patient, voice(300), compact="flac")
    assert (stored.segments[0]["staged"], len(tries)) == ("", 2)


@pytest.mark.parametrize("spool_gone", [False, True])
async def test_a_start_waits_for_no_encoder(
    patient: Paused, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, spool_gone: bool
) -> None:
    """A daemon died while it encoded; the encoder's queue is full when the next one begins, and calls are answered all the same."""
    slow = tmp_path / "slow"
    slow.write_text("#!/bin/sh\nexec sleep 600\n")
    slow.chmod(0o755)
    monkeypatch.setattr("edge.recorder.compaction.sys.executable", str(slow))
    monkeypatch.setattr("edge.recorder.compaction._WALL_S", 4.0)
    patient.policy = replace(patient.policy or child.POLICY, compact="flac")
    capture = await patient.start()
    patient.line.open(*patient.paths)
    patient.line.put(data := voice(300))
    await asyncio.sleep(0.8)
    patient.line.hang_up()
    patient.recorder.link_up({})
    for _ in range(200):
        await asyncio.sleep(0.05)
        row = await patient.journal.recording(capture.recording_id)
        if row and row.segments[0].state == "closed" and row.segments[0].loudest:
            break
    died = [patient.running, *patient.recorder._tasks, *capture.after]
    for task in died:
        task.cancel()
    await asyncio.gather(*died, return_exceptions=True)
    if spool_gone:
        patient.tools.spool.unlink(capture.spool_name)
    again = Recorder(patient.tools)
    await asyncio.wait_for(again.recover(), 2)
    row = await patient.journal.recording(capture.recording_id)
    assert row is not None
    # The other suite keeps no key: nothing is left to do with its segment.
    assert row.state == ("closing" if patient.policy.suite == "age1" else "sealed")
    patient.running = asyncio.create_task(again.run())
    again.link_up({})
    for _ in range(400):
        await asyncio.sleep(0.05)
        row = await patient.journal.recording(capture.recording_id)
        if row and row.state == "sealed":
            break
    stored = Stored(patient)
    assert (await stored.open(patient, 0))[0] == data
    assert patient.tools.spool.names() == []


async def test_who_withdraws_waits_for_no_compaction_that_has_not_begun(
    patient: Paused, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    slow, begun = tmp_path / "slow", tmp_path / "begun"
    slow.write_text(f"#!/bin/sh\necho x >>{begun}\nexec sleep 600\n")
    slow.chmod(0o755)
    monkeypatch.setattr("edge.recorder.compaction.sys.executable", str(slow))
    monkeypatch.setattr("edge.recorder.compaction._WALL_S", 4.0)
    patient.policy = replace(patient.policy or child.POLICY, compact="flac")
    capture = await patient.start()
    patient.line.open(*patient.paths)
    from edge.recorder.sealer import drain, end_segment

    for _ in range(2):
        patient.line.put(voice(150))
        await asyncio.sleep(0.8)
        async with capture.lock:
            await end_segment(patient.tools, capture, await drain(patient.tools, capture), "pause")
    assert len(capture.after) == 2
    capture.stop_reason = "withdraw"
    patient.line.hang_up()
    patient.recorder.link_up({})
    await asyncio.wait_for(capture.done.wait(), 30)
    assert begun.read_text() == "x\n"
    assert [s["encoding"] for s in Stored(patient).segments] == ["none", "none"]


async def test_what_does_not_get_smaller_stays_as_it_is(patient: Paused) -> None:
    stored = await recorded(patient, data := b"".join(Line(seed=n).frame() for n in range(200)), compact="flac")
    assert stored.segments[0]["encoding"] == "none"
    assert (await stored.open(patient, 0))[0] == data
    assert len(data) == 200 * FRAME


async def test_what_is_going_to_be_erased_is_not_compacted(patient: Paused) -> None:
    patient.policy = replace(patient.policy or child.POLICY, compact="flac")
    capture = await patient.start()
    patient.line.open(*patient.paths)
    patient.line.put(voice(200))
    await asyncio.sleep(0.6)
    patient.recorder._live.recording(capture.recording_id).stop_reason = "withdraw"  # type: ignore[union-attr]
    patient.line.hang_up()
    patient.recorder.link_up({})
    await asyncio.wait_for(capture.done.wait(), 30)
    assert Stored(patient).segments[0]["encoding"] == "none"
