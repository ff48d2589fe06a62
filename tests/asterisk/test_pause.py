"""Pause and resume on a real Asterisk: nothing of the pause is kept, nothing before or after it is lost, on both sides."""

from __future__ import annotations

import asyncio
import os
import shutil
import sqlite3
import time
import wave
from collections.abc import Iterator
from contextlib import closing

import numpy as np
import pytest

from rig.agent import AGENT_VOICE
from rig.calltable_run import marks
from rig.invariants import check as check_invariants
from rig.invariants import snapshot
from rig.phone import Phone
from rig.places import state_folder
from rig.spool_watch import SpoolWatch
from rig.stack import Stack, open_stack
from rig.tones import AGENT, CALLER, Pcm, listen, order, tone
from tests.asterisk.sweep_kit import memory

pytestmark = [pytest.mark.asterisk, pytest.mark.timeout(300)]


@pytest.fixture(scope="module", params=[False, True], ids=["Asterisk 22", "Asterisk 16"])
def stack(request: pytest.FixtureRequest) -> Iterator[Stack]:
    home = state_folder() / f"pause-{os.getpid()}"
    stack = open_stack(f"pause-{os.getpid()}", home=home)
    stack.old = request.param
    try:
        stack.up()
        yield stack
    finally:
        stack.down()
        shutil.rmtree(stack.state, ignore_errors=True)
        shutil.rmtree(home, ignore_errors=True)


class Talk:
    """A caller who said yes and talks with the agent."""

    def __init__(self, stack: Stack, phone: Phone, voice: int) -> None:
        self.stack, self.phone, self.voice = stack, phone, voice
        self.paused: list[tuple[float, float]] = []

    @classmethod
    async def begin(cls, stack: Stack, voice: int) -> Talk:
        phone = await Phone.dial(stack.pbx(), "1001", number=f"+420607{voice:06d}", voice=tone(voice))
        await phone.hear(20)
        await asyncio.sleep(marks()["ask"].counts + 0.6)
        await phone.press("1")
        talk = cls(stack, phone, voice)
        await talk.until("SELECT 1 FROM recording WHERE call_id=? AND state='recording'", talk.call_id)
        return talk

    @property
    def call_id(self) -> str:
        with closing(snapshot(self.stack.journal)) as conn:
            row = conn.execute(
                "SELECT call_id FROM party WHERE number_heard=?", (self.phone.number,)
            ).fetchone()
        return str(row[0])

    async def until(self, query: str, *args: str, within: float = 30) -> sqlite3.Row:
        end = time.monotonic() + within
        while True:
            with closing(snapshot(self.stack.journal)) as conn:
                row: sqlite3.Row | None = conn.execute(query, args).fetchone()
            if row is not None:
                return row
            assert time.monotonic() < end, query
            await asyncio.sleep(0.1)

    async def act(self, *words: str) -> None:
        await asyncio.to_thread(self.stack.callwarden, *words)

    def in_the_clear(self) -> bool:
        """Whether any spool file holds a byte that is not zero."""
        return any(any(path.read_bytes()) for path in self.stack.spool.iterdir())

    async def pause(self, seconds: float) -> None:
        """Pause for so long, watching the spool; the whole seconds between are noted."""
        await self.act("pause", self.call_id)
        began = time.time()
        while time.time() < began + seconds:
            assert not self.in_the_clear(), "something of the pause is in the spool"
            await asyncio.sleep(0.2)
        self.paused.append((began, time.time()))
        await self.act("resume", self.call_id)

    async def over(self) -> list[tuple[Pcm, list[str]]]:
        """(samples by side, segments' end reasons) of each recording of the call, after the hang-up."""
        call = self.call_id
        await self.phone.hang_up()
        await self.until("SELECT 1 FROM call WHERE call_id=? AND state='ended'", call)
        settled = (
            "SELECT 1 WHERE NOT EXISTS(SELECT 1 FROM recording WHERE call_id=? AND state NOT IN ('sealed','no_audio'))"
        )
        await self.until(settled, call)
        with closing(snapshot(self.stack.journal)) as conn:
            found = conn.execute("SELECT recording_id, state FROM recording WHERE call_id=? ORDER BY seq", (call,))
            ids = [row[0] for row in found if row[1] == "sealed"]
            ends = {i: [r[0] for r in conn.execute("SELECT end_reason FROM segment WHERE recording_id=?"
                        " ORDER BY number", (i,))] for i in ids}  # fmt: skip
        heard = []
        for one in ids:
            with memory() as folder:
                wav = folder / "out.wav"
                await self.act("export", one, "--identity", str(self.stack.identity_file), "-o", str(wav))
                with wave.open(str(wav)) as file:
                    pcm = np.frombuffer(file.readframes(file.getnframes()), dtype="<i2").reshape(-1, 2)
            heard.append((pcm, ends[one]))
        return heard


def skipped(pcm: Pcm, seed: int | str, band: tuple[int, ...]) -> list[int]:
    """How many whole seconds of a voice are missing, at each place where it goes on later than it left off.

    Within a few seconds no pitch comes back, so a jump of up to three is what it looks like; longer ones are matched by
    the pitches that follow.
    """
    expected, heard = order(seed, band), [h.pitch for h in listen(np.ascontiguousarray(pcm), band)]
    heard = [p for n, p in enumerate(heard) if n == 0 or p != heard[n - 1]]
    best: list[int] | None = None
    for start in range(len(expected)):
        jumps, at = [], start
        if expected[at] != heard[0]:
            continue
        for n, pitch in enumerate(heard[1:], 1):
            ahead = [
                k for k in range(1, 12)
                if all(
                    expected[(at + k + i) % len(expected)] == p for i, p in enumerate(heard[n : n + 3])
                )
            ]  # fmt: skip
            step = ahead[0] if ahead else next(k for k in range(1, 99) if expected[(at + k) % len(expected)] == pitch)
            if step > 1:
                jumps.append(step - 1)
            at += step
        if best is None or len(jumps) < len(best):
            best = jumps
    assert best is not None, heard
    return best


async def test_nothing_of_a_pause_is_kept(stack: Stack) -> None:
    since = time.time() - 1
    with SpoolWatch(stack.spool) as watch:
        talk = await Talk.begin(stack, 11)
        assert len(os.listdir(stack.spool)) == (2 if stack.old else 1), "16 has no option D"
        await asyncio.sleep(4)
        await talk.pause(4)
        await asyncio.sleep(5)
        [(pcm, ends)] = await talk.over()
    assert ends == ["pause", "hangup"]
    [(began, ended)] = talk.paused
    for side, seed, band in ((0, 11, CALLER), (1, AGENT_VOICE, AGENT)):
        [gone] = skipped(pcm[:, side], seed, band)
        assert int(ended - began) - 1 <= gone <= int(ended - began) + 5, f"side {side}: {gone} s are gone"
    assert watch.oldest_s < 10
    assert check_invariants(stack, since=since, lines=("1001",)) == []


async def test_a_caller_hangs_up_in_a_pause(stack: Stack) -> None:
    talk = await Talk.begin(stack, 12)
    await asyncio.sleep(3)
    await talk.act("pause", talk.call_id)
    await asyncio.sleep(2)
    [(pcm, ends)] = await talk.over()
    assert ends == ["pause"]
    assert skipped(pcm[:, 0], 12, CALLER) == []
    assert os.listdir(stack.spool) == []


async def test_a_pause_outlives_the_daemon(stack: Stack) -> None:
    talk = await Talk.begin(stack, 13)
    await asyncio.sleep(3)
    await talk.act("pause", talk.call_id)
    began = time.time()
    running = stack.process("edge")
    assert running is not None
    running.stop()
    await asyncio.sleep(1)
    stack.start_edge()
    while time.time() < began + 6:
        assert not talk.in_the_clear(), "something of the pause is in the spool"
        await asyncio.sleep(0.2)
    await talk.act("resume", talk.call_id)
    await asyncio.sleep(4)
    [(pcm, ends)] = await talk.over()
    assert ends == ["pause", "hangup"]
    [gone] = skipped(pcm[:, 0], 13, CALLER)
    assert 4 <= gone <= 11


async def test_an_incident_takes_the_last_seconds(stack: Stack) -> None:
    since = time.time() - 1
    talk = await Talk.begin(stack, 14)
    await asyncio.sleep(3)
    await talk.act("incident", talk.call_id, "--seconds", "2")
    await asyncio.sleep(5)
    call = talk.call_id
    await talk.until("SELECT 1 FROM segment JOIN header USING(segment_id) JOIN recording USING(recording_id)"
                     " WHERE call_id=? AND segment.state='shredded' AND slot=0", call)  # fmt: skip
    [(pcm, _)] = await talk.over()
    assert 2 < len(pcm) / 8000 < 6
    assert skipped(pcm[:, 0], 14, CALLER) == []
    assert check_invariants(stack, since=since, lines=("1001",)) == []
