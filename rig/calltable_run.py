"""Plays the table of calls on a running stack: every row by a real phone, through a real Asterisk."""

from __future__ import annotations

import asyncio
import subprocess
import time
import tomllib
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from rig.agent import AGENT_VOICE
from rig.calltable import Row
from rig.phone import Phone
from rig.places import PROJECT
from rig.stack import Stack
from rig.tones import AGENT, CALLER, check, listen, tone

#: How many calls are up at once: phones are Python, and a late packet is a gap in a tone.
AT_ONCE = 6
#: How long a caller talks with the agent, seconds.
TALK_S = 4.0
#: The longest way to the agent: a question, its repeat and both windows, on a busy machine.
LONGEST_S = 75.0


@dataclass
class Played:
    """What came of a row: the caller's number and voice, Unix seconds of what happened (None: it did not)."""

    row: Row
    number: str
    voice: int
    dialled: float = 0.0
    prompt: float | None = None
    agent: float | None = None
    pressed: list[float] = field(default_factory=list)
    ended: float = 0.0
    refused: int | None = None
    trouble: str = ""


@dataclass(frozen=True)
class Marks:
    """Seconds of a prompt: its length, and from when a key counts."""

    length: float
    counts: float


def marks(language: str = "en") -> dict[str, Marks]:
    """From the shipped manifest."""
    manifest = tomllib.loads((PROJECT / "prompts" / language / "manifest.toml").read_text())
    return {p["id"]: Marks(p["duration_ms"] / 1000, p.get("answerable_from_ms", 0) / 1000) for p in manifest["prompt"]}


async def play(stack: Stack, rows: Sequence[Row], *, first_voice: int = 0) -> list[Played]:
    """Every row once; rows of one person one after the other, others side by side. In the order of `rows`."""
    gate = asyncio.Semaphore(AT_ONCE)
    people: dict[str, list[Played]] = defaultdict(list)
    numbers: dict[str, str] = {}
    played = []
    for n, row in enumerate(rows):
        who = row.person or f"row {n}"
        voice = first_voice + n
        number = row.number or numbers.setdefault(who, f"+420608{voice:06d}")
        one = Played(row, number, voice)
        played.append(one)
        people[who].append(one)

    async def person(theirs: list[Played]) -> None:
        for one in theirs:
            async with gate:
                await _call(stack, one)

    await asyncio.gather(*(person(theirs) for theirs in people.values()))
    return played


async def _call(stack: Stack, one: Played) -> None:
    row = one.row
    one.dialled = time.time()
    try:
        phone = await Phone.dial(stack.pbx(), row.dial, number=one.number, voice=tone(one.voice), within=LONGEST_S)
    except TimeoutError as late:
        one.trouble = str(late)
        return
    try:
        one.refused = phone.refused
        if phone.refused is None:
            await _talk(stack, phone, one, marks())
    except TimeoutError as late:
        one.trouble = str(late)
    finally:
        if phone.refused is None:
            await phone.hang_up()
        one.ended = phone.ended_at or time.time()


async def _started(stack: Stack, one: Played) -> asyncio.Future[subprocess.CompletedProcess[str]]:
    """Start the recording by command; the command goes on until the caller has answered."""
    [call_id] = [c["call_id"] for c in await asyncio.to_thread(stack.read, "calls") if c["caller"] == one.number]
    running = asyncio.ensure_future(asyncio.to_thread(stack.callwarden, "start", call_id, check=False, timeout=90))
    end = time.monotonic() + 20
    while True:
        why = await asyncio.to_thread(stack.read, "why", call_id)
        if any(e["kind"] == "requested" for e in why["events"]):
            one.prompt = time.time()
            return running
        if time.monotonic() > end:
            raise TimeoutError("the caller was never asked")
        await asyncio.sleep(0.1)


async def _talk(stack: Stack, phone: Phone, one: Played, known: dict[str, Marks]) -> None:
    row = one.row
    asked = [moment for moment, _ in row.presses if moment != "talking"]
    running: asyncio.Future[subprocess.CompletedProcess[str]] | None = None
    if row.started:
        await _agent(phone, one)
        await asyncio.sleep(1)
        running = await _started(stack, one)
    elif (row.hears or asked or row.hang_up_in_prompt) and not row.dead:
        one.prompt = await phone.hear(20)
    if row.hang_up_in_prompt:
        await asyncio.sleep(2)
        return
    prompt = known.get(row.hears[0] if row.hears else "ask", Marks(0, 0))
    for moment, key in row.presses:
        if moment == "talking":
            await _agent(phone, one)
            await asyncio.sleep(2)
        elif moment == "again":
            await asyncio.sleep(2)  # the wrong key cut the question short, the next one began at once
        else:
            assert one.prompt is not None
            after = {"early": 0.6, "counts": prompt.counts + 0.6, "end": prompt.length + 0.6}[moment]
            await asyncio.sleep(max(0.0, one.prompt + after - time.time()))
        for single in key:
            await phone.press(single)
            await asyncio.sleep(0.1)
        one.pressed.append(time.time())
    if running is not None:
        await running
        one.agent = None  # heard again once the question is over
        phone.heard.clear()
    if not row.reaches_agent:
        await phone.ended(LONGEST_S)
        return
    await _agent(phone, one)
    await asyncio.sleep(TALK_S)


async def _agent(phone: Phone, one: Played) -> None:
    """Wait until the agent is heard for a second."""
    end = time.monotonic() + LONGEST_S
    while one.agent is None:
        recent = [pcm for _, pcm in phone.heard[-75:]]
        if recent:
            verdict = check(listen(np.concatenate(recent), AGENT), AGENT_VOICE, AGENT)
            if verdict.seconds and not verdict.faults:
                one.agent = time.time() - 0.5
                return
        if time.monotonic() > end or phone.ended_by:
            raise TimeoutError("the agent was never heard")
        await asyncio.sleep(0.2)


def caller_heard(pcm_left: bytes, voice: int) -> int:
    """Whole seconds of this caller's voice in s16 mono audio."""
    return check(listen(np.frombuffer(pcm_left, dtype="<i2"), CALLER), voice, CALLER).seconds
