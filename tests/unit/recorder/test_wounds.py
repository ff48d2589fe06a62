"""The recorder on real journal, slots, vault and spool, hurt in one place at a time: nothing is lost, loops or floods."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from edge.consent.policy import Policy
from edge.consent.policy_tables import Choices
from edge.consent.units import Seconds
from edge.errors import CallwardenError
from edge.ports import Asterisk
from edge.recorder import endings, sealer
from edge.recorder import rounds as stage
from edge.recorder.capture import Capture
from edge.recorder.opening import order
from formats.age import X25519Identity
from tests.crash import capture_child as child
from tests.crash.test_capture import opened

RATE = child.POLICY.capture.byte_rate
CHUNK = 65536


class Patient:
    """One begun capture and the hand that writes into its file."""

    policy: Policy | None = None  # None: the child's own

    def __init__(self, state: Path, spool: Path) -> None:
        self.state, self.folder = state, spool
        self.journal, self.slots, self.vault, self.recorder = child.open_parts(state, spool)
        self.tools = self.recorder._tools
        self.written = b""

    async def begin(self) -> Capture:
        self.slots.sweep(await self.journal.slots_in_use())
        await self.journal.audit_log.unlock(self.journal, self.slots)  # type: ignore[attr-defined]
        await self.recorder.recover()
        if not len(self.recorder._live):
            await child.begin(self.journal, self.recorder, self.folder, self.policy or child.POLICY)
        (capture,) = self.recorder._live
        self.path = self.tools.spool.path(capture.spool_name)
        self.capture = capture
        return capture

    def open(self) -> None:
        self.fd = os.open(self.path, os.O_WRONLY | os.O_APPEND)

    def write(self, size: int) -> None:
        data = os.urandom(size)
        self.written += data
        os.write(self.fd, data)

    async def look(self) -> None:
        await self.recorder._look(list(self.recorder._live))

    async def tick(self) -> None:
        await sealer.tick(self.tools, list(self.recorder._live))

    async def end(self) -> tuple[bytes, list[tuple[str, str, int]], str]:
        os.close(self.fd)
        self.recorder.link_up({})
        await self.look()
        await asyncio.wait_for(self.capture.done.wait(), 10)
        return await self.close()

    async def close(self) -> tuple[bytes, list[tuple[str, str, int]], str]:
        await self.journal.close()
        await self.slots.close()
        return opened(self.state)

    def count(self, table: str) -> int:
        with sqlite3.connect(self.state / "journal.db") as conn:
            return int(conn.execute(f"SELECT count(*) FROM {table}").fetchone()[0])


@pytest.fixture
async def patient(shm: Path) -> AsyncIterator[Patient]:
    with tempfile.TemporaryDirectory(prefix="callwarden-test-", dir="/var/tmp") as disk:
        (Path(disk) / "state" / "vault").mkdir(parents=True, mode=0o700)
        (Path(disk) / "resume").mkdir(mode=0o700)
        made = Patient(Path(disk) / "state", shm)
        yield made
        await made.journal.close()
        await made.slots.close()


async def test_bytes_flushed_between_the_last_look_and_the_close_are_kept(patient: Patient) -> None:
    capture = await patient.begin()
    patient.open()
    patient.write(4000)
    os.close(patient.fd)
    assert capture.size == 0  # what the look saw a moment before Asterisk flushed and closed
    await endings.finish(patient.tools, patient.recorder._live, capture)
    audio, _, state = await patient.close()
    assert (audio, state) == (patient.written, "sealed")


async def test_the_age_of_the_oldest_byte_does_not_grow_with_the_call(patient: Patient) -> None:
    capture = await patient.begin()
    patient.open()
    patient.write(CHUNK + 4000)
    await patient.look()
    assert capture.unsealed_since_ns is not None
    capture.unsealed_since_ns -= 60_000_000_000  # a minute of talk later
    await patient.tick()
    await patient.look()
    assert patient.recorder.oldest_unsealed_s() < 4000 / RATE + 2


async def test_one_failure_late_in_a_call_does_not_stop_it(patient: Patient) -> None:
    capture = await patient.begin()
    patient.open()
    patient.write(CHUNK + 4000)
    await patient.look()
    assert capture.unsealed_since_ns is not None
    capture.unsealed_since_ns -= 60_000_000_000
    await patient.tick()
    link = Link("0x7f")
    object.__setattr__(patient.tools, "asterisk", link)
    await sealer.stuck(patient.tools, capture, OSError(5, "once"))
    assert link.stopped == []


async def test_a_spool_file_that_became_shorter_ends_the_recording(patient: Patient) -> None:
    capture = await patient.begin()
    patient.open()
    patient.write(3 * CHUNK)
    await patient.look()
    await patient.tick()
    os.truncate(patient.path, 1000)
    for _ in range(3):
        await patient.tick()
        await patient.look()
    await asyncio.wait_for(capture.done.wait(), 5)
    audio, segments, state = await patient.close()
    assert audio == patient.written[: 2 * CHUNK]
    assert [s[:2] for s in segments] == [("truncated", "power_cut")]
    assert state == "sealed"


async def test_bytes_freed_behind_the_journals_back_are_stepped_over(patient: Patient) -> None:
    """A journal put back under a live call: it does not know what was sealed and freed since."""
    capture = await patient.begin()
    patient.open()
    patient.write(3 * CHUNK)
    await patient.look()
    await patient.tick()
    patient.write(2 * CHUNK)
    patient.tools.spool.punch(capture.spool_name, 4 * CHUNK)
    patient.write(3 * CHUNK)
    for _ in range(3):
        await patient.look()
        await patient.tick()
    audio, segments, state = await patient.end()
    assert audio == patient.written[: 2 * CHUNK] + patient.written[4 * CHUNK :]
    assert [s[:2] for s in segments] == [("truncated", "power_cut"), ("closed", "hangup")]
    assert state == "sealed"


async def test_rotation_survives_a_journal_that_fails_between_its_rows(
    patient: Patient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edge.recorder.capture.segment_chunks", lambda rate, chunk: 2)
    await patient.begin()
    patient.open()
    real, failures = patient.journal.add_segment, 2

    async def add_segment(segment: Any) -> None:
        nonlocal failures
        failures -= 1
        if failures >= 0:
            raise CallwardenError("journal.io", "the disk failed once", retryable=True)
        await real(segment)

    monkeypatch.setattr(patient.journal, "add_segment", add_segment)
    for _ in range(6):
        patient.write(CHUNK + 1200)
        await patient.look()
        await patient.tick()
    audio, segments, state = await patient.end()
    assert failures < 0
    assert audio == patient.written
    assert {s[0] for s in segments} == {"closed"}
    assert len(segments) >= 3
    assert state == "sealed"


async def test_a_full_disk_is_alarmed_once_not_every_tick(patient: Patient, monkeypatch: pytest.MonkeyPatch) -> None:
    await patient.begin()
    patient.open()
    patient.write(2 * CHUNK)
    await patient.look()
    real = patient.vault.append

    def append(*args: Any) -> None:
        raise CallwardenError("vault.io", "no space left", retryable=True)

    monkeypatch.setattr(patient.vault, "append", append)
    for _ in range(12):
        await patient.tick()
    assert patient.count("alarm") == 1
    monkeypatch.setattr(patient.vault, "append", real)
    audio, _, state = await patient.end()
    assert (audio, state) == (patient.written, "sealed")


async def test_what_lies_in_the_spool_while_nothing_comes_is_sealed(
    patient: Patient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The agent transfers the caller back into a queue: MixMonitor writes nothing until somebody answers."""
    monkeypatch.setattr(stage, "SETTLE_NS", 0)
    capture = await patient.begin()
    patient.open()
    patient.write(CHUNK + 5000)
    await patient.look()
    await patient.tick()
    await patient.look()
    assert patient.tools.spool.resident(capture.spool_name) <= 4096
    with open(patient.path, "rb") as spool:
        assert not any(spool.read())
    for _ in range(3):
        await patient.look()
        await patient.tick()
    assert patient.count("segment") == 1, "nothing came: no further segment is begun"
    monkeypatch.setattr(stage, "SETTLE_NS", 10**12)
    patient.write(2 * CHUNK)
    await patient.look()
    await patient.tick()
    audio, segments, state = await patient.end()
    assert audio == patient.written
    assert [s[:2] for s in segments] == [("closed", "pause"), ("closed", "hangup")]
    assert state == "sealed"


async def test_a_call_that_ends_in_silence_has_no_empty_segment(
    patient: Patient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stage, "SETTLE_NS", 0)
    await patient.begin()
    patient.open()
    patient.write(5000)
    await patient.look()
    await patient.look()
    audio, segments, state = await patient.end()
    assert audio == patient.written
    assert [s[:2] for s in segments] == [("closed", "pause")]
    assert state == "sealed"


async def test_a_monitor_that_cannot_be_stopped_keeps_its_file_watched(
    patient: Patient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Unlinked now, Asterisk would make the file anew at the next bridge, and nobody would seal it."""
    monkeypatch.setattr(stage, "GROWTH_DEADLINE_NS", -1)
    monkeypatch.setattr(stage, "RESCAN_S", 0.01)
    await patient.begin()
    patient.recorder.channel_bridged("1.1")
    await patient.look()
    await asyncio.sleep(0.1)
    assert os.path.exists(patient.path)
    assert patient.recorder.live == 1

    link: Asterisk = Link("0x7f")
    object.__setattr__(patient.tools, "asterisk", link)
    await asyncio.sleep(0.1)
    await patient.look()
    await asyncio.wait_for(patient.capture.done.wait(), 5)
    assert not os.path.exists(patient.path)


async def test_a_resume_folder_that_cannot_be_written_stops_the_start(patient: Patient) -> None:
    patient.slots.sweep(await patient.journal.slots_in_use())
    await patient.journal.audit_log.unlock(patient.journal, patient.slots)  # type: ignore[attr-defined]
    (patient.state.parent / "resume").rmdir()
    with pytest.raises(CallwardenError) as raised:
        await child.begin(patient.journal, patient.recorder, patient.folder)
    assert raised.value.code == "spool.unwritable"
    assert os.listdir(patient.folder) == []


class Link(child.NoAsterisk):
    """Asterisk's manager as far as one channel goes. `monitor`: what the channel says runs on it."""

    def __init__(self, monitor: str = "", up: bool = True) -> None:
        self.monitor, self.answers, self.stopped = monitor, up, []  # type: ignore[var-annotated]

    async def get_variable(self, channel_name: str, name: str) -> str:
        if not self.answers:
            raise CallwardenError("ami.down", "no link", retryable=True)
        return self.monitor

    async def stop_monitor(self, channel_name: str, monitor_id: str) -> bool:
        self.stopped.append(monitor_id)
        return True


async def test_a_dialogue_lost_after_the_monitor_began_stops_it(patient: Patient) -> None:
    capture = await patient.begin()
    link = Link("0x7f", up=False)
    object.__setattr__(patient.tools, "asterisk", link)
    await patient.recorder.fail(capture.recording_id)
    running = asyncio.create_task(patient.recorder.run())
    await asyncio.sleep(0.3)
    assert os.path.exists(patient.path), "as long as Asterisk cannot be asked, the file is watched"
    link.answers = True
    await asyncio.wait_for(capture.done.wait(), 5)
    running.cancel()
    assert link.stopped == ["0x7f"]
    assert os.listdir(patient.folder) == []
    assert (await patient.close())[2] == "no_audio"


async def test_a_caller_who_waits_again_is_not_a_recording_that_does_not_grow(
    patient: Patient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stage, "GROWTH_DEADLINE_NS", 0)
    await patient.begin()
    patient.recorder.channel_bridged("1.1")
    patient.recorder.channel_unbridged("1.1")
    await patient.look()
    await asyncio.sleep(0.05)
    assert patient.recorder.live == 1


async def test_a_file_that_no_capture_owns_is_removed_while_running(patient: Patient) -> None:
    await patient.begin()
    (patient.folder / "made-anew.raw").write_bytes(b"speech")
    (patient.folder / "planted").mkdir()
    running = asyncio.create_task(patient.recorder.run())
    await asyncio.sleep(0.2)
    running.cancel()
    assert sorted(os.listdir(patient.folder)) == sorted([os.path.basename(patient.path), "planted"])
    assert patient.count("alarm") == 1


async def test_a_journal_that_fails_for_a_while_ends_no_capture(
    patient: Patient, monkeypatch: pytest.MonkeyPatch
) -> None:
    await patient.begin()
    patient.open()
    patient.recorder._tick_s = 0.05
    monkeypatch.setattr(stage, "RESCAN_S", 0.05)
    running = asyncio.create_task(patient.recorder.run())
    real = patient.journal._writer._commit
    monkeypatch.setattr(
        patient.journal._writer,
        "_commit",
        lambda batch: patient.journal._writer._all_failed(batch, CallwardenError("journal.full", "no room")),
    )
    patient.write(3 * CHUNK)
    await asyncio.sleep(0.5)
    assert not running.done()
    assert patient.recorder.live == 1
    monkeypatch.setattr(patient.journal._writer, "_commit", real)
    patient.write(3 * CHUNK)
    await asyncio.sleep(0.5)
    os.close(patient.fd)
    patient.recorder.link_up({})
    await asyncio.wait_for(patient.capture.done.wait(), 5)
    running.cancel()
    audio, segments, state = await patient.close()
    assert (audio, state) == (patient.written, "sealed")
    assert len(segments) == 1


async def test_only_our_own_monitor_is_ever_stopped(patient: Patient) -> None:
    """An empty id would stop any monitor on the channel."""
    capture = await patient.begin()
    link = Link("")
    object.__setattr__(patient.tools, "asterisk", link)
    running = asyncio.create_task(patient.recorder.run())
    await patient.recorder.stop(capture.recording_id, "erase")
    running.cancel()
    assert link.stopped == []
    assert (await patient.close())[2] == "no_audio"


async def test_a_live_recording_waits_for_its_erasure_while_asterisk_cannot_be_told(patient: Patient) -> None:
    capture = await patient.begin()
    patient.open()
    patient.write(3 * CHUNK)
    link = Link("0x7f", up=False)
    object.__setattr__(patient.tools, "asterisk", link)
    running = asyncio.create_task(patient.recorder.run())
    with pytest.raises(CallwardenError, match="no link"):
        await patient.recorder.stop(capture.recording_id, "erase")
    assert patient.recorder.live == 1
    link.answers = True
    asyncio.get_running_loop().call_later(0.3, os.close, patient.fd)  # Asterisk lets go
    await patient.recorder.stop(capture.recording_id, "erase")
    running.cancel()
    audio, segments, state = await patient.close()
    assert (audio, state) == (patient.written, "sealed")
    assert [s[:2] for s in segments] == [("closed", "erase")]


async def test_a_last_chunk_that_was_not_committed_is_no_last_chunk(
    patient: Patient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The journal fails after the quiet segment's last chunk was written, and then the talk goes on."""
    await patient.begin()
    patient.open()
    patient.write(CHUNK + 5000)
    await patient.look()
    await patient.tick()
    real = patient.journal.close_segment

    async def close_segment(closed: Any) -> None:
        raise CallwardenError("journal.io", "the disk failed once", retryable=True)

    monkeypatch.setattr(stage, "SETTLE_NS", 0)
    monkeypatch.setattr(patient.journal, "close_segment", close_segment)
    await patient.look()
    monkeypatch.setattr(patient.journal, "close_segment", real)
    monkeypatch.setattr(stage, "SETTLE_NS", 10**12)
    patient.write(2 * CHUNK)
    await patient.look()
    await patient.tick()
    audio, segments, state = await patient.end()
    assert audio == patient.written
    assert [s[:2] for s in segments] == [("truncated", "resume_refused"), ("closed", "hangup")]
    assert state == "sealed"


async def test_a_recording_that_cannot_be_taken_up_does_not_go_on_unseen(patient: Patient) -> None:
    """Its file is removed at the start, and Asterisk would fill the memory behind it until the hang-up."""
    capture = await patient.begin()
    await patient.journal.set_monitor(capture.recording_id, "0x7f")
    patient.open()
    patient.write(3 * CHUNK)
    await patient.look()
    await patient.tick()
    [(_, segment_id, _)] = patient.vault.listing()
    os.truncate(patient.vault.path(capture.recording_id, segment_id), 100)
    await patient.journal.close()
    await patient.slots.close()
    again = Patient(patient.state, patient.folder)
    link = Link("0x7f")
    object.__setattr__(again.tools, "asterisk", link)
    await again.journal.audit_log.unlock(again.journal, again.slots)  # type: ignore[attr-defined]
    await again.recorder.recover()
    assert again.recorder.live == 0
    assert os.listdir(again.folder) == []
    again.recorder.link_up({"1.1": "PJSIP/renamed-1"})
    await asyncio.sleep(0)
    await asyncio.gather(*again.recorder._tasks)
    assert link.stopped == ["0x7f"]
    again.recorder.link_up({"1.1": "PJSIP/renamed-1"})
    assert not again.recorder._tasks
    await again.journal.close()
    await again.slots.close()


@pytest.mark.parametrize(
    ("channels", "has_d", "more", "said"),
    [
        (2, True, {}, "DIR/NAME.raw,bD"),
        (1, True, {"codec": "sln16"}, "DIR/NAME.sln16,b"),
        (1, False, {"codec": "ulaw"}, "DIR/NAME.ulaw,b"),
        (1, True, {"codec": "alaw"}, "DIR/NAME.alaw,b"),
        # Option D interleaves 16-bit linear at 8 kHz only, also where there is one.
        (2, True, {"codec": "sln16"}, ",bSr(DIR/NAME.l.sln16)t(DIR/NAME.r.sln16)"),
        (2, True, {"codec": "ulaw"}, ",bSr(DIR/NAME.l.ulaw)t(DIR/NAME.r.ulaw)"),
        (2, False, {"codec": "alaw"}, ",bSr(DIR/NAME.l.alaw)t(DIR/NAME.r.alaw)"),
        (1, True, {}, "DIR/NAME.sln,b"),
        (2, True, {"wait": "record", "beep": Seconds(15)}, "DIR/NAME.raw,DB(15)"),
        (2, False, {}, ",bSr(DIR/NAME.l.sln)t(DIR/NAME.r.sln)"),
        (1, False, {"beep": Seconds(5)}, "DIR/NAME.sln,bB(5)"),
    ],
)
async def test_what_asterisk_is_told(
    patient: Patient, channels: Any, has_d: bool, more: dict[str, Any], said: str
) -> None:
    patient.recorder.has_d = has_d
    more = dict(more)
    capture = replace(child.POLICY.capture, channels=channels, codec=more.pop("codec", "sln"), rate=0)
    policy = replace(child.POLICY, capture=capture, **more)
    prepared = await patient.recorder.prepare(policy)
    told = order(patient.tools.spool, prepared.spool_name, policy)
    name = prepared.spool_name.partition(".")[0]
    assert f"{told.path},{told.options}" == said.replace("DIR", str(patient.folder)).replace("NAME", name)
    await patient.recorder.discard(prepared)


async def test_a_recording_is_sealed_to_the_keys_of_its_month(patient: Patient) -> None:
    month = str(X25519Identity.generate(bytes([7]) * 32).recipient())
    now = patient.tools.clock.wall_text()[:7]
    policy = replace(child.POLICY, epochs="monthly", epoch_keys=Choices({now: month, "2020-01": "age1x"}))
    prepared = await patient.recorder.prepare(policy)
    assert prepared.keys.header.recipients == (month, *child.POLICY.recipients)
    await patient.recorder.discard(prepared)
