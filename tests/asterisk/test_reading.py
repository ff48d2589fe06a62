"""A part, the list of who read, and `verify` on a whole stack, beside a call that goes on."""

from __future__ import annotations

import asyncio
import json
import wave
from collections.abc import Iterator
from pathlib import Path

import pytest

from rig.stack import Stack
from tests.asterisk.live_kit import live_stack, rows, until
from tests.asterisk.test_door import agree, arun

pytestmark = [pytest.mark.asterisk, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def stack() -> Iterator[Stack]:
    with live_stack("reading") as stack:
        yield stack


def samples(path: Path) -> bytes:
    with wave.open(str(path)) as audio:
        return audio.readframes(audio.getnframes())


async def test_a_running_edge_is_not_suspected_and_its_parts_are_exact(stack: Stack, tmp_path: Path) -> None:
    phone, call = await agree(stack, "+420607000011", 3)
    recording = str(rows(stack, "SELECT recording_id FROM recording WHERE call_id=?", call)[0][0])
    try:
        for _ in range(5):  # while chunks are sealed
            looked = await arun(stack, "verify", "--repair", "--json")
            assert looked.returncode == 0, looked.stderr + looked.stdout
            assert json.loads(looked.stdout)["findings"] == []
            await asyncio.sleep(1)
    finally:
        await phone.hang_up()
    await until("its seal", lambda: rows(stack, "SELECT 1 FROM recording WHERE call_id=? AND state='sealed'", call))
    identity = str(stack.identity_file)
    whole, part = tmp_path / "whole.wav", tmp_path / "part.wav"
    for target, more in ((whole, ()), (part, ("--from", "1.5s", "--to", "4s"))):
        done = await arun(stack, "export", recording, "-i", identity, "-o", str(target), *more)
        assert done.returncode == 0, done.stderr
    assert samples(part) == samples(whole)[12000 * 4 : 32000 * 4]
    deep = await arun(stack, "verify", "-i", identity, "--json")
    assert deep.returncode == 0, deep.stderr + deep.stdout
    assert json.loads(deep.stdout)["opened"] >= 1
    listed = json.loads((await arun(stack, "reads", recording, "--json")).stdout)
    assert [r["form"] for r in listed if r["kind"] == "recording.read"] == ["wav", "wav", "verify"]
