"""Outbound, queue, header and lines that refuse, on the whole product: what is heard, recorded and tagged."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from typing import Any

import pytest

from rig.agent import AGENT_VOICE, TRUNK_VOICE
from rig.desk_phone import DeskPhone
from rig.phone import Phone
from rig.stack import Stack
from rig.tones import AGENT, CALLER, check, listen, tone
from tests.asterisk.dialplan_stack import ANSWER_S, OVER_S, call_of, sides, tags_of
from tests.asterisk.stacks import whole_stack

pytestmark = [pytest.mark.asterisk, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def stack() -> Iterator[Stack]:
    with whole_stack("dialplan") as stack:
        yield stack


async def call_out(stack: Stack, number: str) -> tuple[dict[str, Any], float]:
    """An agent dials `number`, talks for 6 s once joined and hangs up: the call, and how long the called party waited."""
    pbx = stack.pbx()
    before, known = len(stack.trunk().calls()), len(tags_of(stack, "agent1"))
    async with DeskPhone(pbx.sip_port, "agent1", pbx.peers["agent1"], tone("agent1", AGENT)) as desk:
        leg = await desk.dial(number)
        end = time.monotonic() + OVER_S
        while not listen(leg.audio()[-4000:], CALLER) and time.monotonic() < end:
            await asyncio.sleep(0.05)
        joined = time.time()
        await asyncio.sleep(6)
        await leg.hang_up()
    answered = stack.trunk().calls()[before].answered
    assert answered is not None
    return await call_of(stack, "agent1", known), joined - answered


async def test_a_called_party_hears_the_question_and_is_recorded_after_its_key(stack: Stack) -> None:
    call, waited = await call_out(stack, "9420555123451")
    assert call["outcome"] == "given"
    assert waited > 5, "joined before the question was answered"
    why = await asyncio.to_thread(stack.read, "why", call["call_id"])
    given = next(event for event in why["events"] if event["kind"] == "given")
    assert given["evidence"]["heard"][0]["prompt_id"] == "ask_callee"
    (recording,) = call["recordings"]
    left, right = await asyncio.to_thread(sides, stack, recording)
    assert check(listen(left, CALLER), TRUNK_VOICE, CALLER).seconds >= 4
    assert check(listen(right, AGENT), "agent1", AGENT).seconds >= 4


async def test_a_called_party_that_presses_nothing_is_joined_unrecorded(stack: Stack) -> None:
    call, _ = await call_out(stack, "9420555123450")
    assert (call["outcome"], call["recordings"]) == ("refused", [])


@pytest.mark.parametrize("number", ["112", "9112"])
async def test_an_emergency_number_is_joined_at_once(stack: Stack, number: str) -> None:
    call, waited = await call_out(stack, number)
    assert (call["outcome"], call["recordings"]) == ("not_recorded", [])
    assert waited < 2.5


async def test_two_agents_of_the_queue_take_calls_in_turn_and_are_recorded(stack: Stack) -> None:
    pbx = stack.pbx()

    async def one(n: int) -> dict[str, Any]:
        number = f"+42060217000{n}"
        phone = await Phone.dial(pbx, "1010", number=number, voice=tone(f"queue{n}"))
        await asyncio.sleep(ANSWER_S)
        await phone.press("1")
        await asyncio.sleep(6)
        await phone.hang_up()
        return await call_of(stack, number)

    calls = await asyncio.gather(one(1), one(2))
    for n, call in enumerate(calls, 1):
        assert call["outcome"] == "given"
        (recording,) = call["recordings"]
        left, right = await asyncio.to_thread(sides, stack, recording)
        assert check(listen(left, CALLER), f"queue{n}", CALLER).seconds >= 4
        assert check(listen(right, AGENT), AGENT_VOICE, AGENT).seconds >= 4
    shown = pbx.cli("queue show support")
    assert "Ann (PJSIP/agent)" in shown
    assert shown.count("has taken 1 calls") == 2


async def test_with_the_daemon_dead_or_frozen_calls_go_out_unrecorded_and_1011_is_refused(stack: Stack) -> None:
    edge = stack.process("edge")
    assert edge is not None
    known = len(await asyncio.to_thread(stack.read, "calls"))
    for fault in ("frozen", "dead"):
        if fault == "frozen":
            edge.signal(19)
        else:
            edge.kill()
        pbx = stack.pbx()
        before = len(stack.trunk().calls())
        async with DeskPhone(pbx.sip_port, "agent1", pbx.peers["agent1"], tone("agent1", AGENT)) as desk:
            leg = await desk.dial("9420555123450")
            while not listen(leg.audio()[-4000:], CALLER):
                await asyncio.sleep(0.02)
            answered = stack.trunk().calls()[before].answered
            assert answered is not None
            assert time.time() - answered < 3.0, fault  # 2.5 s, and half a second of voice to know it by
            await leg.hang_up()
        phone = await Phone.dial(pbx, "1011", number="+420602170100")
        await phone.hear()
        await phone.ended(30)
        assert stack.agent().dialled("+420602170100") is None
        phone = await Phone.dial(pbx, "112", number="+420602170112")
        await phone.hear()
        await phone.hang_up()
        assert stack.agent().dialled("+420602170112") is not None
    stack.start_edge()
    assert len([c for c in await asyncio.to_thread(stack.read, "calls") if c["recordings"]]) <= known
