"""A real call in every capture format, and compacted: paused in the middle, exported, and both voices heard by their pitch."""

from __future__ import annotations

import asyncio
import os
import re
import time
import wave
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from rig.agent import AGENT_VOICE
from rig.invariants import check as check_invariants
from rig.spool_watch import SpoolWatch
from rig.stack import Stack
from rig.tones import AGENT, CALLER
from tests.asterisk.pause_kit import Talk, skipped
from tests.asterisk.stacks import whole_stack
from tests.asterisk.sweep_kit import memory

pytestmark = [pytest.mark.asterisk, pytest.mark.timeout(400)]

PAUSED_S = 4
#: What each is, as `recordings` and the WAV say: codec, rate, channels, encoding.
WHAT = {
    "1060": ("sln", 8000, 1, "none"),
    "1061": ("sln16", 16000, 1, "none"),
    "1062": ("sln16", 16000, 2, "none"),
    "1063": ("ulaw", 8000, 1, "none"),
    "1064": ("ulaw", 8000, 2, "none"),
    "1065": ("alaw", 8000, 1, "none"),
    "1066": ("alaw", 8000, 2, "none"),
    "1067": ("sln", 8000, 2, "flac"),
    "1068": ("sln16", 16000, 2, "opus"),
}


@pytest.fixture(scope="module", params=[False, True], ids=["Asterisk 22", "Asterisk 16"])
def stack(request: pytest.FixtureRequest) -> Iterator[Stack]:
    with whole_stack("formats", old=request.param) as running:
        yield running


@pytest.mark.parametrize("exts", [("1060", "1061", "1062"), ("1063", "1064", "1065"), ("1066", "1067", "1068")])
async def test_every_format_is_heard_through_a_pause(stack: Stack, exts: tuple[str, ...]) -> None:
    """Three at once: more phones in one process would stall on a slow machine, and what they do not send is not there."""
    since = time.time() - 1
    with SpoolWatch(stack.spool) as watch:
        talks = dict(zip(exts, await asyncio.gather(*(begun(stack, ext) for ext in exts)), strict=True))
        await asyncio.sleep(7)
        pauses = dict(zip(talks, await asyncio.gather(*(pause(talk) for talk in talks.values())), strict=True))
        await asyncio.sleep(7)
        calls = {ext: talk.call_id for ext, talk in talks.items()}
        for talk in talks.values():
            await talk.phone.hang_up()
        for ext, talk in talks.items():
            settled = "SELECT 1 FROM recording WHERE call_id=? AND state='sealed'"
            await talk.until(settled, calls[ext], within=60)
    assert watch.oldest_s < 10
    assert watch.most_bytes < 256 * 1024
    assert os.listdir(stack.spool) == []
    rows = {row["call_id"]: row for row in await asyncio.to_thread(stack.read, "recordings")}
    for ext in exts:
        assert set(rows[calls[ext]]["marks"]) <= {"duration"}, f"{ext}: both sides are heard"
        # On a machine that is too busy phones send late, and so do the events of a bridge: told, and never by much.
        for flag in (await asyncio.to_thread(stack.read, "why", calls[ext]))["recordings"][0]["flags"]:
            there, bridged = (float(word) for word in re.findall(r"[\d.]+", flag["detail"]))
            assert abs(there - bridged) < 3, f"{ext}: {flag['detail']}"
    for ext in exts:
        row, what = rows[calls[ext]], WHAT[ext]
        assert (row["codec"], {s["encoding"] for s in row["segments"]}) == (what[0], {what[3]}), ext
        await heard(stack, ext, row, what, pauses[ext])
    assert check_invariants(stack, since=since, lines=exts) == []


async def begun(stack: Stack, ext: str) -> Talk:
    await asyncio.sleep(int(ext[-1]) * 0.2)
    return await Talk.begin(stack, 600 + int(ext[-1]), ext)


async def pause(talk: Talk) -> float:
    """How long it was paused, the order and its end included, seconds."""
    began = time.time()
    await talk.act("pause", talk.call_id)
    await asyncio.sleep(PAUSED_S)
    await talk.act("resume", talk.call_id)
    return time.time() - began


async def heard(stack: Stack, ext: str, row: Any, what: tuple[str, int, int, str], paused: float) -> None:
    _, rate, channels, _ = what
    with memory() as folder:
        out = folder / "out.wav"
        identity = ("--identity", str(stack.identity_file))
        await asyncio.to_thread(stack.callwarden, "export", row["recording_id"], *identity, "-o", str(out))
        with wave.open(str(out)) as file:
            assert (file.getframerate(), file.getnchannels()) == (rate, channels), ext
            pcm = np.frombuffer(file.readframes(file.getnframes()), dtype="<i2").reshape(-1, channels)
        shape = await asyncio.to_thread(stack.read, "waveform", row["recording_id"], *identity)
    assert abs(len(pcm) / rate - row["seconds"]) < 0.01
    peaks = [[p for s in shape["segments"] for p in s["peaks"][channel]] for channel in range(channels)]
    assert all(len(side) >= row["seconds"] * 10 - 1 and max(side) > 10 for side in peaks), ext
    pcm = pcm[:: rate // 8000]
    sides = ((0, 600 + int(ext[-1]), CALLER), (channels - 1, AGENT_VOICE, AGENT))
    for side, seed, band in sides:
        gone = skipped(pcm[:, side], seed, band)
        assert PAUSED_S - 1 <= sum(gone) <= paused + 5, f"{ext}, side {side}: {gone}"
        if what[3] != "opus":  # whose edges at a pause are heard as a pitch of their own
            assert sum(gone) - max(gone) <= 1, f"{ext}, side {side}: nothing else is gone: {gone}"
