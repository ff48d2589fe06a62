"""Every format a policy may name: how much of it is in the clear and for how long, its silence, and a pause in it."""

from __future__ import annotations

import asyncio
import itertools
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from edge.consent.policy import CHUNK_BYTES, Capture, seal_tick
from edge.recorder import rounds as stage
from edge.recorder.files import BUFFER
from edge.recorder.sides import Sides
from edge.recorder.spool import Spool, files_of, name_of
from formats.pcm import SILENCE, expand
from tests.crash import capture_child as child
from tests.unit.recorder.line import FRAME, Line
from tests.unit.recorder.test_pause import Paused
from tests.unit.recorder.test_wounds import replace

CODECS = ("sln", "sln16", "ulaw", "alaw")
FORMATS = list(itertools.product(CODECS, (1, 2)))


@pytest.mark.parametrize("seal_every", [0.5, 4.0, 8.0])
@pytest.mark.parametrize(("codec", "channels"), FORMATS)
@pytest.mark.parametrize("start", [0, 1000, 30_000])
def test_what_lies_in_the_clear(codec: str, channels: int, seal_every: float, start: int) -> None:
    """Asterisk writes a buffer at a time, the sealer takes whole chunks at each tick: a minute of that, in steps of 20 ms.
    `start`: where in the first buffer the segment begins."""
    capture = Capture(codec, channels=channels)  # type: ignore[arg-type]
    tick = seal_tick(replace(child.POLICY, capture=replace(capture, seal_every=seal_every)))
    buffers = BUFFER * (2 if capture.two_files else 1)
    arrived: list[tuple[float, int]] = []  # when, and the file's length then
    sealed, most, oldest, next_tick, size = start, 0, 0.0, tick, 0
    for step in range(1, 60 * 50):
        now = step / 50
        if (written := int(now * capture.byte_rate) // buffers * buffers) > size:
            size = written
            arrived.append((now, size))
        left = max(0, size - sealed)
        most = max(most, left)
        if left:
            oldest = max(oldest, now - next(at for at, end in arrived if end > sealed))
        if now >= next_tick:
            next_tick = now + tick
            sealed += max(0, (left - 1) // CHUNK_BYTES) * CHUNK_BYTES
    assert most < 256 * 1024
    assert oldest < 10


@pytest.mark.parametrize("codec", ["ulaw", "alaw", "sln"])
def test_silence_is_what_expands_to_the_least(codec: str) -> None:
    assert {codec: expand(codec, bytes([SILENCE[codec]]) * 2)[:2] for codec in (codec,)} in (
        {"ulaw": b"\0\0"}, {"sln": b"\0\0"}, {"alaw": b"\x08\0"},
    )  # fmt: skip


@pytest.mark.parametrize(("codec", "channels"), FORMATS)
def test_sound_is_found_in_every_format(shm: Path, codec: str, channels: int) -> None:
    spool, name = Spool(shm, None), name_of("ab" * 16, codec, channels, has_d=True)
    spool.create(name)
    silence, files = bytes([SILENCE[codec]]), files_of(name)
    loud = bytes([SILENCE[codec] ^ 0x40])
    for file in files:
        (shm / file).write_bytes(silence * 6000 + loud * 400 + silence * 6000)
    each = len(files)
    assert spool.first_sound(name, 0, 12400 * each) == 6000 * each
    assert spool.last_sound(name, 0, 12400 * each) == 6400 * each
    assert spool.first_sound(name, 6400 * each, 12400 * each) is None


@pytest.mark.parametrize("codec", CODECS)
def test_a_silent_side_is_heard_in_every_codec(codec: str) -> None:
    sides, silence = Sides(codec=codec), SILENCE[codec]
    width = 1 if codec in ("ulaw", "alaw") else 2
    frame = bytes([silence]) * width + bytes([silence ^ 0x10]) * width
    sides.listen(frame * 8000)
    assert sides.silent(8000) == "caller"
    sides.listen(frame[::-1])
    assert sides.silent(8000) == ""


@pytest.fixture(params=FORMATS, ids=lambda one: f"{one[0]}, {one[1]}")
async def paused(shm: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> AsyncIterator[Paused]:
    codec, channels = request.param
    monkeypatch.setattr(stage, "RESCAN_S", 0.1)
    with tempfile.TemporaryDirectory(prefix="callwarden-test-", dir="/var/tmp") as disk:
        (Path(disk) / "state" / "vault").mkdir(parents=True, mode=0o700)
        (Path(disk) / "resume").mkdir(mode=0o700)
        made = Paused(Path(disk) / "state", shm, Line(codec=codec))
        made.policy = replace(child.POLICY, capture=replace(child.POLICY.capture, codec=codec, channels=channels))
        await made.start()
        made.line.open(*made.paths)
        yield made
        made.running.cancel()
        await made.journal.close()
        await made.slots.close()


async def test_a_pause_is_cut_out_to_the_byte_in_every_format(paused: Paused) -> None:
    paused.line.talk(130)
    async with paused.talking():
        await paused.recorder.pause(paused.capture.recording_id)
        assert paused.row() == ("paused", 1)
        await asyncio.sleep(0.2)
        await paused.recorder.resume(paused.capture.recording_id)
        await asyncio.sleep(0.2)
    audio, segments, state = await paused.over()
    assert len(paused.line.secret) > 20 * FRAME
    assert audio == paused.line.said
    assert [s[:2] for s in segments] == [("closed", "pause"), ("closed", "hangup")]
    assert state == "sealed"


async def test_speech_that_gets_old_while_silence_is_awaited_is_sealed(
    paused: Paused, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A buffer that fills slowly keeps the mute's silence back; the tick stands still meanwhile."""
    monkeypatch.setattr("edge.recorder.muting.AGED_NS", 0)
    paused.line.talk(130)
    await asyncio.sleep(0.3)
    pausing = asyncio.create_task(paused.recorder.pause(paused.capture.recording_id))
    await asyncio.sleep(0.3)
    assert paused.capture.segment.ended, "what was said before is sealed, though no silence has come yet"
    assert not any(Path(path).read_bytes().strip(b"\0") for path in paused.paths)
    async with paused.talking():
        await pausing
        await asyncio.sleep(0.2)
        await paused.recorder.resume(paused.capture.recording_id)
        await asyncio.sleep(0.2)
    audio, _, state = await paused.over()
    assert len(paused.line.secret) > 20 * FRAME
    assert (audio, state) == (paused.line.said, "sealed")
