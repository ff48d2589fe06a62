"""Outbound by the dialplan: the called party is asked on its own channel, then joined, whatever the daemon does."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from rig.checker import wait_idle
from rig.phone import Phone
from rig.tones import CALLER, check, listen
from tests.asterisk.dialplan_kit import Bench, hang_up, open_bench, open_daemon

pytestmark = pytest.mark.asterisk

AGENTS = """
exten => 3001,1,Dial(PJSIP/420555100201@trunk,30,U(callwarden-callee^outbound^refuse_call))
 same => n,Set(GLOBAL(AFTER_3001)=${DIALSTATUS})
 same => n,Hangup()
exten => 3002,1,Set(__CALLWARDEN_NUMBER=9112)
 same => n,Dial(PJSIP/420555100201@trunk,30,U(callwarden-callee^outbound^refuse_call))
 same => n,Hangup()
"""


@pytest.fixture(scope="module")
def bench(rig_folder: Path) -> Iterator[Bench]:
    with open_bench(rig_folder / "dialplan-outbound", agents_extra=AGENTS) as bench:
        yield bench


async def joined(leg: Phone) -> float:
    """When the agent first hears the called party's voice (the trunk's, in the callers' band)."""
    while True:
        at = await leg.hear(20)
        if listen(leg.audio()[-8000:], CALLER):
            return at
        await asyncio.sleep(0.02)


@pytest.mark.parametrize(("number", "word"), [("9420555100201", "given"), ("9420555100202", "refused")])
async def test_the_called_party_is_asked_before_the_two_are_joined(bench: Bench, number: str, word: str) -> None:
    async with open_daemon(bench) as daemon, bench.desk() as desk:
        before = len(bench.trunk.calls())
        leg = await desk.dial(number)
        told = await daemon.told()
        assert told["script"] == "callee"
        assert told["key"] == number[-1]
        assert await joined(leg) - await bench.trunk_answered(before) > 1.0, "joined before the answer"
        await asyncio.sleep(3)
        await hang_up(leg)
        if word == "given":
            assert Path(str(told["spool"])).stat().st_size > 8000
        else:
            assert "spool" not in told
        (tag,) = await bench.tags("agent1") or [""]
        assert tag.endswith(f"cw={word};call={'c' * 32}")
        verdict = check(listen(leg.audio(), CALLER), "trunk", CALLER)
        assert verdict.seconds >= 2
    (bench.pbx.run / "log" / "cdr-custom" / "cdr.csv").unlink()


@pytest.mark.parametrize("state", ["no guard", "dead", "frozen"])
async def test_joined_within_2_5_s_unrecorded(bench: Bench, state: str) -> None:
    made = set(bench.pbx.monitor.iterdir())
    before = len(bench.trunk.calls())
    async with bench.desk() as desk:
        if state == "no guard":
            leg = await desk.dial("9420555100200")
            waited = await joined(leg) - await bench.trunk_answered(before)
        else:
            async with open_daemon(bench) as daemon:
                daemon.signal(signal.SIGKILL if state == "dead" else signal.SIGSTOP)
                leg = await desk.dial("9420555100200")
                waited = await joined(leg) - await bench.trunk_answered(before)
        assert waited < 2.5
        await hang_up(leg)
    assert set(bench.pbx.monitor.iterdir()) == made
    assert await asyncio.to_thread(wait_idle, bench.pbx)


async def test_a_called_party_that_may_not_be_talked_to_unrecorded_is_let_go(bench: Bench) -> None:
    before = len(bench.trunk.calls())
    async with bench.desk() as desk:
        leg = await desk.dial("3001")
        await leg.ended(20)
        await bench.trunk_answered(before)
        assert leg.ended_by in ("pbx", "")
    end = time.monotonic() + 10
    while not bench.variable("AFTER_3001") and time.monotonic() < end:
        await asyncio.sleep(0.1)
    assert bench.variable("AFTER_3001"), "the caller's dialplan did not go on"


async def test_but_never_when_an_emergency_number_was_dialled(bench: Bench) -> None:
    async with bench.desk() as desk:
        leg = await desk.dial("3002")
        await joined(leg)
        await hang_up(leg)


async def test_agents_reach_the_emergency_number_through_the_trunk(bench: Bench) -> None:
    async with bench.desk() as desk:
        for number in ("112", "9112"):
            before = len(bench.trunk.calls())
            leg = await desk.dial(number)
            await bench.trunk_answered(before)
            await joined(leg)
            await hang_up(leg)
