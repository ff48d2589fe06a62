"""One caller who said yes and talks with the agent on a whole stack, and what of a voice is missing in a recording."""

from __future__ import annotations

import asyncio
import sqlite3
import time
import wave
from contextlib import closing

import numpy as np

from rig.calltable_run import marks
from rig.invariants import snapshot
from rig.phone import Phone
from rig.stack import Stack
from rig.tones import Pcm, listen, order, tone
from tests.asterisk.sweep_kit import memory


class Talk:
    """A caller who said yes and talks with the agent."""

    def __init__(self, stack: Stack, phone: Phone, voice: int) -> None:
        self.stack, self.phone, self.voice = stack, phone, voice
        self.paused: list[tuple[float, float]] = []

    @classmethod
    async def begin(cls, stack: Stack, voice: int, line: str = "1001") -> Talk:
        phone = await Phone.dial(stack.pbx(), line, number=f"+420607{voice:06d}", voice=tone(voice))
        await phone.hear(20)
        await asyncio.sleep(marks()["ask"].counts + 0.6)
        await phone.press("1")
        talk = cls(stack, phone, voice)
        await talk.until("SELECT 1 FROM recording WHERE call_id=? AND state='recording'", talk.call_id)
        return talk

    @property
    def call_id(self) -> str:
        with closing(snapshot(self.stack.journal)) as conn:
            row = conn.execute("SELECT call_id FROM party WHERE number_heard=?", (self.phone.number,)).fetchone()
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
        return await self.heard(call)

    async def heard(self, call: str) -> list[tuple[Pcm, list[str]]]:
        """(samples by side, segments' end reasons) of each sealed recording of a call that is over."""
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
