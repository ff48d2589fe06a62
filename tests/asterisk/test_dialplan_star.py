"""The star code while the daemon is dead or frozen: the dialplan stops the capture, the next daemon files the withdrawal."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from rig import checker
from rig.stack import Stack
from tests.asterisk.dialplan_stack import sides
from tests.asterisk.live_kit import Talk, desk, live_stack, rows, talking, until
from tests.asterisk.test_live_withdraw import due, says

pytestmark = [pytest.mark.asterisk, pytest.mark.timeout(300)]

#: Failpoints that a daemon is killed at here (tests/asterisk/test_failpoints.py).
KILLED_AT = ("unattended.filed",)
#: What the promise allows, and the guard's patience with a frozen daemon, seconds.
STOP_S, GUARD_S = 1.0, 2.0
#: Asterisk writes 32,768 bytes at a time: about a second of two sides, 16 bit, 8000 per second. Bytes per second.
RATE = 32_000
EXTRA = """exten => 1044,1,Gosub(callwarden,s,1(trading))
 same => n,Dial(PJSIP/agent1,30)
"""


@pytest.fixture(scope="module")
def stack() -> Iterator[Stack]:
    with live_stack("star", EXTRA) as running:
        yield running


def spooled(stack: Stack) -> dict[Path, int]:
    """Every file Asterisk writes now, and how long it is."""
    found = {}
    for path in stack.spool.rglob("*.raw"):
        found[path] = path.stat().st_size
    return found


def monitors(stack: Stack, talk: Talk) -> int:
    """MixMonitors that Asterisk runs on the callers' channels."""
    names = [line.partition("!")[0] for line in stack.pbx().cli("core show channels concise").splitlines()]
    found = [line for name in names if name for line in stack.pbx().cli(f"mixmonitor list {name}").splitlines()]
    return sum(line.startswith("0x") for line in found)


async def stopped(stack: Stack, talk: Talk, pressed: float, within: float) -> None:
    """Capture has ended so soon after the key: what is in the file is no more than that, and stays so."""
    await until("the end of the monitor", lambda: monitors(stack, talk) == 0)
    (size,) = spooled(stack).values()
    began = await asyncio.to_thread(
        rows, stack, "SELECT strftime('%s', started_at) + substr(started_at, 20, 4) FROM recording WHERE call_id=?",
        talk.call_id,
    )  # fmt: skip
    assert size / RATE <= pressed + within - float(began[0][0])
    await asyncio.sleep(2.5)  # two buffers' time
    assert list(spooled(stack).values()) == [size]


def frames(talk: Talk) -> tuple[float, float]:
    """When the newest recording was permitted (epoch) and how long it is, seconds."""
    query = (
        "SELECT strftime('%s', started_at) + substr(started_at, 20, 4), frames * 1.0 / rate FROM recording"
        " JOIN capture USING(recording_id) WHERE call_id=? ORDER BY started_at DESC LIMIT 1"
    )
    ((began, length),) = rows(talk.stack, query, talk.call_id)
    return float(began), float(length)


async def killed(stack: Stack) -> None:
    edge = stack.process("edge")
    assert edge is not None
    await asyncio.to_thread(edge.kill)


async def filed(talk: Talk) -> None:
    await until("the withdrawal", lambda: talk.outcome() == "withdrawn")
    await until("the sealed recording", lambda: talk.states() == ["sealed"])
    assert talk.events() == ["requested", "given", "withdrawn"]
    assert due(talk) == ["withdrawal"]
    assert rows(talk.stack, "SELECT revoked_at IS NULL FROM permit WHERE call_id=?", talk.call_id) == [(0,)]


def tagged(talk: Talk) -> None:
    checker.wait_idle(talk.stack.pbx())
    tags = [r["userfield"] for r in checker.cdr_of(talk.stack.pbx(), talk.number)]
    assert f"cw=withdrawn;call={talk.call_id}" in tags


def test_the_daemon_is_dead(stack: Stack) -> None:
    async def call() -> tuple[Talk, float]:
        async with desk(stack, "agent1") as agent, talking(stack, agent, number="+420608200001", seed=1) as talk:
            await talk.recording()
            await asyncio.sleep(1)
            await killed(stack)
            before = says(stack, "withdrawn")
            await talk.press(talk.caller, "*9")
            pressed = time.time()
            await stopped(stack, talk, pressed, STOP_S)
            assert says(stack, "withdrawn") == before + 1  # the prompt's path was left on the channel
            assert talk.outcome() == "given"
            await asyncio.to_thread(stack.start_edge)
            await filed(talk)
            return talk, pressed

    talk, pressed = asyncio.run(call())
    began, length = frames(talk)
    assert 1.0 < length <= pressed + STOP_S - began
    recording = rows(stack, "SELECT recording_id FROM recording WHERE call_id=?", talk.call_id)[0][0]
    left, right = sides(stack, recording)
    assert len(left) == len(right) == round(length * 8000)
    tagged(talk)


def test_the_call_ends_before_the_daemon_is_back(stack: Stack) -> None:
    async def call() -> Talk:
        async with desk(stack, "agent1") as agent, talking(stack, agent, number="+420608200008", seed=8) as talk:
            await talk.recording()
            await asyncio.sleep(1)
            await killed(stack)
            await talk.press(talk.caller, "*9")
            await stopped(stack, talk, time.time(), STOP_S)
        return talk

    talk = asyncio.run(call())
    assert checker.wait_idle(stack.pbx())
    assert talk.outcome() == "given"
    stack.start_edge()

    async def afterwards() -> None:
        await filed(talk)
        mark = f"CALLWARDEN_WITHDRAWN_{talk.call_id}="
        await until("the cleared mark", lambda: f"{mark}\n" in stack.pbx().cli("dialplan show globals") + "\n")

    asyncio.run(afterwards())


@pytest.mark.parametrize("then", ["thawed", "killed"])
def test_the_daemon_is_frozen(stack: Stack, then: str) -> None:
    async def call() -> tuple[Talk, float]:
        number = {"thawed": "+420608200002", "killed": "+420608200003"}[then]
        async with desk(stack, "agent1") as agent, talking(stack, agent, number=number, seed=2) as talk:
            await talk.recording()
            await asyncio.sleep(1)
            edge = stack.process("edge")
            assert edge is not None
            edge.signal(signal.SIGSTOP)
            try:
                await talk.press(talk.caller, "*9")
                pressed = time.time()
                await stopped(stack, talk, pressed, GUARD_S + STOP_S)
            finally:
                if then == "thawed":
                    edge.signal(signal.SIGCONT)
                else:
                    await killed(stack)
                    await asyncio.to_thread(stack.start_edge)
            await filed(talk)
            return talk, pressed

    talk, pressed = asyncio.run(call())
    began, length = frames(talk)
    assert 1.0 < length <= pressed + GUARD_S + STOP_S - began
    tagged(talk)


def test_a_mandated_recording_goes_on_and_the_objection_is_filed_later(stack: Stack) -> None:
    async def call() -> None:
        async with (
            desk(stack, "agent1") as agent,
            talking(stack, agent, dial="1044", key="", number="+420608200004", seed=3) as talk,
        ):
            await talk.recording()
            await killed(stack)
            await talk.press(talk.caller, "*9")
            await asyncio.sleep(1)
            ((path, size),) = spooled(stack).items()
            await until("more of the recording", lambda: path.stat().st_size > size)
            assert monitors(stack, talk) == 1
            await asyncio.to_thread(stack.start_edge)
            await until("the objection", lambda: "objection_noted" in talk.events())
            assert talk.outcome() == "not_required"
            assert talk.states() == ["recording"]

    asyncio.run(call())


def test_an_agents_code_stops_nothing_without_the_daemon(stack: Stack) -> None:
    async def call() -> None:
        async with desk(stack, "agent1") as agent, talking(stack, agent, number="+420608200005", seed=4) as talk:
            await talk.recording()
            await killed(stack)
            await talk.press(talk.agent, "*9")
            await asyncio.sleep(1)
            ((path, size),) = spooled(stack).items()
            await until("more of the recording", lambda: path.stat().st_size > size)
            await asyncio.to_thread(stack.start_edge)
            await until("the recording goes on", lambda: talk.states() == ["recording"])
            assert talk.outcome() == "given"

    asyncio.run(call())


@pytest.mark.parametrize("point", KILLED_AT)
def test_a_kill_while_it_is_filed(stack: Stack, point: str) -> None:
    async def call() -> Talk:
        async with desk(stack, "agent1") as agent, talking(stack, agent, number="+420608200006", seed=5) as talk:
            await talk.recording()
            await killed(stack)
            await talk.press(talk.caller, "*9")
            await until("the end of the monitor", lambda: monitors(stack, talk) == 0)
            await asyncio.to_thread(lambda: stack.start_edge({"CALLWARDEN_FAILPOINT": point}, wait=False))
            await until("the daemon's death", lambda: stack.process("edge") is None)
            assert talk.outcome() == "withdrawn"
            await asyncio.to_thread(stack.start_edge)
            await filed(talk)
            return talk

    tagged(asyncio.run(call()))
