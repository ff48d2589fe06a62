"""Conversations with two agents on desk phones, moved about by every means a PBX has, and what their recordings hold."""

from __future__ import annotations

import asyncio
import time
import wave
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np

from rig import checker
from rig.ami_watch import AmiWatch
from rig.calltable_run import marks
from rig.desk_phone import DeskPhone, Leg
from rig.phone import Phone
from rig.stack import Stack
from rig.tones import AGENT, CALLER, CYCLE_S, LEVEL, RATE, Heard, Pcm, Verdict, check, listen, order, tone
from tests.asterisk.live_kit import rows

#: Seconds of talk before and after a move.
BEFORE_S, AFTER_S = 4.0, 8.0
#: A side that fell silent is repaired within 3 s (and is watched for one before that is known).
REPAIR_S = 4.0
#: A pitch this long in the wrong channel is somebody's voice, seconds; less is noise of a change of bridge.
STRAY_S = 0.3


@dataclass
class Talk:
    """One caller's conversation: Unix seconds of its turns, and afterwards what is stored of it."""

    number: str
    voice: int
    caller: Phone
    first: Leg | None = None
    second: Leg | None = None
    agreed: float = 0.0
    joined: float = 0.0
    moved: float = 0.0
    ended: float = 0.0
    #: from when nothing more is kept until when it may be again
    paused: tuple[float, float] = (0.0, 0.0)
    call: dict[str, Any] = field(default_factory=dict)
    flags: tuple[str, ...] = ()
    #: whole seconds heard in the recordings: caller left, first agent right, second agent right
    caller_s: int = 0
    first_s: int = 0
    second_s: int = 0
    #: seconds in which the caller sounds left, parts of a second included
    sounding_s: float = 0.0
    #: seconds in the wrong channel: the caller's tones right, an agent's left
    strayed_s: float = 0.0
    #: Unix seconds at which its recordings began, oldest first
    began: tuple[float, ...] = ()
    #: by agent, the seconds of him in the right channel of one recording, also where others speak as well
    present: dict[str, float] = field(default_factory=dict)


class Desk:
    """Both agents' phones, and calls to them sorted by caller."""

    def __init__(self, stack: Stack) -> None:
        pbx = stack.pbx()
        self.stack = stack
        self.one = DeskPhone(pbx.sip_port, "agent1", pbx.peers["agent1"], tone("agent1", AGENT))
        self.two = DeskPhone(pbx.sip_port, "agent2", pbx.peers["agent2"], tone("agent2", AGENT))
        self._waiting: dict[tuple[str, str], Leg] = {}
        self._came = asyncio.Condition()
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Desk:
        await self.one.__aenter__()
        await self.two.__aenter__()
        self._tasks = [asyncio.create_task(self._sort(phone)) for phone in (self.one, self.two)]
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.one.__aexit__()
        await self.two.__aexit__()

    async def _sort(self, phone: DeskPhone) -> None:
        while True:
            leg = await phone.ring(3600)
            async with self._came:
                self._waiting[phone.user, leg.from_number] = leg
                self._came.notify_all()

    async def rung(self, phone: DeskPhone, number: str, within: float = 30) -> Leg:
        """The call of this number at this phone, still ringing. Raises TimeoutError."""
        async with self._came, asyncio.timeout(within):
            await self._came.wait_for(lambda: (phone.user, number) in self._waiting)
            return self._waiting.pop((phone.user, number))

    async def pick_up(self, phone: DeskPhone, number: str, within: float = 30) -> Leg:
        """As `rung`, answered."""
        leg = await self.rung(phone, number, within)
        await leg.answer()
        return leg


async def agreed(stack: Stack, ext: str, voice: int) -> Talk:
    """A caller who dials `ext` and says yes."""
    number = f"+420606{voice:06d}"
    caller = await Phone.dial(stack.pbx(), ext, number=number, voice=tone(voice))
    await caller.hear(20)
    await asyncio.sleep(marks()["ask"].counts + 0.6)
    talk = Talk(number, voice, caller, agreed=time.time())
    await caller.press("1")
    return talk


Move = Callable[[Desk, Talk, AmiWatch], Awaitable[None]]


async def moved(desk: Desk, voice: int, move: Move, watch: AmiWatch, ext: str = "1041") -> Talk:
    """Caller and first agent talk, `move` brings (or does not bring) the second agent, they talk on, the caller ends."""
    talk = await agreed(desk.stack, ext, voice)
    talk.first = await desk.pick_up(desk.one, talk.number)
    talk.joined = time.time()
    await asyncio.sleep(BEFORE_S)
    await move(desk, talk, watch)
    talk.moved = talk.moved or time.time()
    await asyncio.sleep(AFTER_S)
    await talk.caller.hang_up()
    talk.ended = time.time()
    return talk


def channel_of(watch: AmiWatch, number: str) -> str:
    """The caller's channel name by Asterisk's own events."""
    names = [
        e["Channel"]
        for e in list(watch.events)
        if e.get("Event") == "Newchannel" and e.get("CallerIDNum") == number and "anonymous" in e["Channel"]
    ]
    return names[-1]


def read(stack: Stack, talk: Talk) -> Talk:
    """Fill in what the journal and the audio say, once the call has ended."""
    assert checker.wait_idle(stack.pbx(), 20)
    end = time.monotonic() + 20
    while True:
        [talk.call] = [c for c in stack.read("calls") if c["caller"] == talk.number]
        states = {r["recording_id"]: r["state"] for r in stack.read("recordings")}
        mine = talk.call["recordings"]
        if all(states[r] in ("sealed", "no_audio", "erased") for r in mine) or time.monotonic() > end:
            break
        time.sleep(0.3)
    why = stack.read("why", talk.call["call_id"])
    talk.flags = tuple(f["flag"] for r in why["recordings"] for f in r.get("flags", ()))
    talk.began = tuple(
        datetime.fromisoformat(at).timestamp()
        for (at,) in rows(
            stack, "SELECT started_at FROM recording WHERE call_id=? ORDER BY started_at", talk.call["call_id"]
        )
    )
    for recording_id in mine:
        if states[recording_id] != "sealed":
            continue
        left, right = audio(stack, recording_id)
        strays = (listen(left, AGENT), listen(right, CALLER))
        talk.strayed_s += sum(h.seconds for heard in strays for h in heard if h.seconds > STRAY_S)
        for name in ("agent1", "agent2"):
            talk.present[name] = max(talk.present.get(name, 0.0), seconds_of(right, name, AGENT))
        talk.sounding_s += sum(h.seconds for h in listen(left, CALLER))
        talk.caller_s += check(listen(left, CALLER), talk.voice, CALLER).seconds
        one, two = _agents(listen(right, AGENT))
        talk.first_s += one
        talk.second_s += two
    return talk


def audio(stack: Stack, recording_id: str) -> tuple[Pcm, Pcm]:
    """(left, right) of a recording, by the export command."""
    target = stack.state / f"{recording_id}.wav"
    stack.callwarden(
        "export", recording_id, "--identity", str(stack.identity_file), "-o", str(target), "--purpose", "quality"
    )
    with wave.open(str(target)) as wav:
        pcm = np.frombuffer(wav.readframes(wav.getnframes()), dtype="<i2").reshape(-1, 2)
    Path(target).unlink()
    return np.ascontiguousarray(pcm[:, 0]), np.ascontiguousarray(pcm[:, 1])


def seconds_of(pcm: Pcm, seed: int | str, band: tuple[int, ...]) -> float:
    """How many seconds of a speaker are heard, whoever speaks at the same time: at the best place of his order, the
    seconds in which his pitch of that second sounds. By chance another's pitch is his in one second of sixteen."""
    expected, step = order(seed, band), RATE // 10
    frames = len(pcm) // step
    if not frames:
        return 0.0
    probes = np.exp(-2j * np.pi * np.outer(np.array(band), np.arange(step) / RATE)) * np.hanning(step)
    cut = pcm[: frames * step].astype(np.float64).reshape(frames, step)
    sounds = np.abs(cut @ probes.T) / (step / 4) > LEVEL / 4  # tenths of a second by pitch
    tenths = np.arange(frames)
    fits = [
        sounds[tenths, [expected[s % CYCLE_S] for s in (tenths + shift) // 10]].sum() for shift in range(10 * CYCLE_S)
    ]
    return float(max(fits)) / 10


def _agents(heard: list[Heard]) -> tuple[int, int]:
    """Whole seconds of the first agent's voice, then of the second's: split where the two fit best."""

    def fit(at: int) -> tuple[int, int, int, int]:
        parts = ((heard[:at], "agent1"), (heard[at:], "agent2"))
        one, two = (check(part, name, AGENT) if part else Verdict(0, ()) for part, name in parts)
        return len(one.faults) + len(two.faults), -one.seconds - two.seconds, one.seconds, two.seconds

    return min(fit(at) for at in range(len(heard) + 1))[2:]
