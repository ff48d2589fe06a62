"""Asterisk 16 (Debian bullseye): the dialplan's promises hold there too, also when it is entered from a Macro()."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from rig.agent import AGENT_VOICE, TRUNK_VOICE
from rig.checker import wait_idle
from rig.desk_phone import DeskPhone
from rig.phone import Phone
from rig.stack import Stack
from rig.tones import AGENT, CALLER, check, listen, tone
from tests.asterisk.dialplan_kit import (
    PROMPT_S,
    Bench,
    asterisk16,
    hang_up,
    open_bench,
    open_daemon,
    open_guard,
    press_in_prompt,
)
from tests.asterisk.dialplan_stack import ANSWER_S, OVER_S, call_of, sides
from tests.asterisk.stacks import whole_stack

pytestmark = [pytest.mark.asterisk, pytest.mark.timeout(300)]

DEADMAN_S = 5
ADMIN_LIMIT_S = 9
MACRO = f"""
exten => macro,1,Macro(asked,support)
 same => n,Set(GLOBAL(AFTER_MACRO)=${{CALLWARDEN_OUTCOME}})
 same => n,Dial(PJSIP/agent,30)
exten => refused,1,Macro(regulated,support)
 same => n,Dial(PJSIP/agent,30)
exten => 911,1,Macro(regulated,support)
 same => n,Dial(PJSIP/agent,30)
exten => left,1,Set(TIMEOUT(absolute)={ADMIN_LIMIT_S})
 same => n,Gosub(callwarden,s,1(support))
 same => n,Set(GLOBAL(LEFT_AFTER)=${{TIMEOUT(absolute)}})
 same => n,Dial(PJSIP/agent,30)
[macro-asked]
exten => s,1,Gosub(callwarden,s,1(${{ARG1}}))
[macro-regulated]
exten => s,1,Gosub(callwarden,s,1(${{ARG1}},refuse_call))
"""


@pytest.fixture(scope="module")
def bench(rig_folder: Path) -> Iterator[Bench]:
    found = asterisk16()
    variables = {"CALLWARDEN_DEADMAN": str(DEADMAN_S)}
    with open_bench(rig_folder / "asterisk16", extra=MACRO, variables=variables, found=found) as bench:
        yield bench


@pytest.mark.parametrize("ext", ["1001", "macro"])
@pytest.mark.parametrize(("key", "word"), [("1", "given"), ("2", "refused"), ("", "refused")])
async def test_asked(bench: Bench, ext: str, key: str, word: str) -> None:
    async with open_daemon(bench) as daemon:
        number = bench.caller()
        phone = await Phone.dial(bench.pbx, ext, number=number)
        if key:
            await press_in_prompt(phone, key)
        told = await daemon.told()
        assert told["key"] == key
        if not key:
            assert abs(int(str(told["played_ms"])) - PROMPT_S * 1000) < 50
        await bench.agent_dialled(number)
        await asyncio.sleep(2.5)
        if word == "given":
            assert Path(str(told["spool"])).stat().st_size > 0
        assert ("spool" in told) == (word == "given")
        await hang_up(phone)
        assert await bench.tags(number) == [f"cw={word};call={'c' * 32}"]


@pytest.mark.parametrize("ext", ["1001", "macro"])
async def test_no_guard_no_wait(bench: Bench, ext: str) -> None:
    number = bench.caller()
    began = time.time()
    phone = await Phone.dial(bench.pbx, ext, number=number)
    assert await bench.agent_dialled(number) - began < 1.0
    await hang_up(phone)
    assert await bench.tags(number) == ["cw=unavailable"]


@pytest.mark.parametrize("ext", ["1001", "macro"])
async def test_a_frozen_daemon_costs_2_s(bench: Bench, ext: str) -> None:
    async with open_daemon(bench) as daemon:
        daemon.signal(signal.SIGSTOP)
        number = bench.caller()
        began = time.time()
        phone = await Phone.dial(bench.pbx, ext, number=number)
        assert await bench.agent_dialled(number) - began < 2.5
        await hang_up(phone)
        assert await bench.tags(number) == ["cw=unavailable"]


@pytest.mark.parametrize("ext", ["1001", "macro"])
async def test_killed_in_the_prompt_the_call_goes_on_at_once(bench: Bench, ext: str) -> None:
    async with open_daemon(bench) as daemon:
        number = bench.caller()
        phone = await Phone.dial(bench.pbx, ext, number=number)
        await phone.hear()
        killed = time.time()
        daemon.signal(signal.SIGKILL)
        assert await bench.agent_dialled(number) - killed < PROMPT_S + 1.0
        await hang_up(phone)
        assert await bench.tags(number) == ["cw=unavailable"]


async def test_a_frozen_guard_is_left_by_the_dead_mans_switch(bench: Bench) -> None:
    async with open_guard(bench) as guard:
        guard.signal(signal.SIGSTOP)
        number = bench.caller()
        began = time.time()
        phone = await Phone.dial(bench.pbx, "1001", number=number)
        waited = await bench.agent_dialled(number) - began
        assert DEADMAN_S - 1 < waited < DEADMAN_S + 2.5
        await hang_up(phone)
    assert await asyncio.to_thread(wait_idle, bench.pbx)


async def test_what_is_left_of_the_admins_limit_applies_again(bench: Bench) -> None:
    async with open_daemon(bench):
        number = bench.caller()
        phone = await Phone.dial(bench.pbx, "left", number=number)
        await bench.agent_dialled(number)
        left = float(bench.variable("LEFT_AFTER"))
        assert 1 <= left <= ADMIN_LIMIT_S - PROMPT_S + 1
        await hang_up(phone)


async def test_refused_from_a_macro_but_no_emergency_call(bench: Bench) -> None:
    number = bench.caller()
    phone = await Phone.dial(bench.pbx, "refused", number=number)
    await phone.hear()
    await phone.ended(20)
    assert bench.agent.dialled(number) is None
    number = bench.caller()
    phone = await Phone.dial(bench.pbx, "911", number=number)
    await bench.agent_dialled(number)
    await hang_up(phone)


async def test_a_called_party_is_asked(bench: Bench) -> None:
    async with open_daemon(bench) as daemon, bench.desk() as desk:
        leg = await desk.dial("9420555100201")
        told = await daemon.told()
        assert (told["script"], told["key"]) == ("callee", "1")
        await leg.hear()
        await hang_up(leg)


async def test_a_feature_code_comes_back_to_the_bridge(bench: Bench) -> None:
    async with open_daemon(bench) as daemon, bench.desk() as desk:
        phone = await Phone.dial(bench.pbx, "1041", number=bench.caller())
        await press_in_prompt(phone)
        await desk.pick_up()
        assert (await daemon.told())["script"] == "entry"
        await phone.hear()
        for key in "*9":
            await phone.press(key)
            await asyncio.sleep(0.1)
        told = await daemon.told()
        assert (told["script"], told["feature"]) == ("feature", "withdraw")
        await phone.hear()
        assert phone.ended_at is None
        await hang_up(phone)


# ------------------------------------------------------------ the whole product on 16

WHOLE_MACRO = """
exten => macro,1,Macro(asked,support)
 same => n,Dial(PJSIP/agent,30)
[macro-asked]
exten => s,1,Gosub(callwarden,s,1(${ARG1}))
"""


@pytest.fixture(scope="module")
def stack() -> Iterator[Stack]:
    asterisk16()
    with whole_stack("asterisk16", old=True, extra=WHOLE_MACRO) as stack:
        assert stack.pbx().programs.version.startswith("16.")
        yield stack


@pytest.mark.parametrize("ext", ["1001", "macro"])
async def test_a_yes_records_two_channels(stack: Stack, ext: str) -> None:
    number = f"+42060216000{len(ext)}"
    phone = await Phone.dial(stack.pbx(), ext, number=number, voice=tone(ext))
    await asyncio.sleep(ANSWER_S)
    await phone.press("1")
    await asyncio.sleep(6)
    await phone.hang_up()
    call = await call_of(stack, number)
    assert call["outcome"] == "given"
    (recording,) = call["recordings"]
    left, right = await asyncio.to_thread(sides, stack, recording)
    caller, agent = check(listen(left, CALLER), ext, CALLER), check(listen(right, AGENT), AGENT_VOICE, AGENT)
    assert caller.seconds >= 4
    assert agent.seconds >= 4
    assert not caller.faults
    assert not agent.faults
    assert not listen(left, AGENT)
    assert not listen(right, CALLER)


@pytest.mark.parametrize(
    ("ext", "key", "word"), [("1001", "7", "refused"), ("1001", "", "refused"), ("1005", "", "not_recorded")]
)
async def test_anything_else_records_nothing(stack: Stack, ext: str, key: str, word: str) -> None:
    number = f"+4206021601{len(key)}{ext[-1]}"
    phone = await Phone.dial(stack.pbx(), ext, number=number, voice=tone(ext))
    if ext != "1005":
        for _ in range(2):
            await asyncio.sleep(ANSWER_S)
            if key:
                await phone.press(key)
    await agent_reached(stack, number)
    await phone.hang_up()
    call = await call_of(stack, number)
    assert call["outcome"] == word
    assert call["recordings"] == []


async def test_a_called_party_is_recorded_in_two_channels(stack: Stack) -> None:
    pbx = stack.pbx()
    async with DeskPhone(pbx.sip_port, "agent1", pbx.peers["agent1"], tone("agent1", AGENT)) as desk:
        leg = await desk.dial("9420555123451")
        end = time.monotonic() + OVER_S
        while not listen(leg.audio()[-8000:], CALLER) and time.monotonic() < end:
            await asyncio.sleep(0.1)
        await asyncio.sleep(6)
        await leg.hang_up()
    call = await call_of(stack, "agent1")
    assert call["outcome"] == "given"
    (recording,) = call["recordings"]
    left, right = await asyncio.to_thread(sides, stack, recording)
    assert check(listen(left, CALLER), TRUNK_VOICE, CALLER).seconds >= 4
    assert check(listen(right, AGENT), "agent1", AGENT).seconds >= 4


async def test_pause_and_withdrawal_by_key(stack: Stack) -> None:
    pbx = stack.pbx()
    number = "+420602160300"
    async with DeskPhone(pbx.sip_port, "agent1", pbx.peers["agent1"], tone("agent1", AGENT)) as desk:
        phone = await Phone.dial(pbx, "1041", number=number, voice=tone("keys"))
        await asyncio.sleep(ANSWER_S)
        await phone.press("1")
        leg = await desk.pick_up()
        await asyncio.sleep(3)
        for who, keys in ((leg, "*71"), (leg, "*72"), (phone, "*9")):
            for key in keys:
                await who.press(key)
                await asyncio.sleep(0.1)
            await asyncio.sleep(5)
        await phone.hang_up()
    call = await call_of(stack, number)
    assert call["outcome"] == "withdrawn"
    known = {recording["recording_id"]: recording for recording in stack.read("recordings")}
    recordings = [known[recording_id] for recording_id in call["recordings"]]  # in the order of the call
    reasons = [segment["end_reason"] for recording in recordings for segment in recording["segments"]]
    # A phone that stalls for a second on a busy machine is silent to the bit, and what is silent is repaired (ADR 0049):
    # then a further recording follows, and its predecessor ends as rotated.
    assert [reason for reason in reasons if reason != "rotate"] == ["pause", "withdraw"]
    assert sum(recording["seconds"] for recording in recordings) < 12  # of about 18 s of talk: the pause is not there


@pytest.mark.parametrize("ext", ["1001", "macro"])
async def test_with_the_daemon_frozen_or_dead_the_agent_is_reached(stack: Stack, ext: str) -> None:
    edge = stack.process("edge")
    assert edge is not None
    for number, fault in ((f"+42060216021{len(ext)}", edge.signal), (f"+42060216022{len(ext)}", None)):
        if fault is not None:
            fault(signal.SIGSTOP)
        else:
            edge.kill()
        began = time.time()
        phone = await Phone.dial(stack.pbx(), ext, number=number)
        assert await agent_reached(stack, number) - began < 2.5
        await phone.hang_up()
    stack.start_edge()


async def agent_reached(stack: Stack, number: str, within: float = OVER_S) -> float:
    """When the agent was dialled for this caller. Raises AssertionError."""
    end = time.monotonic() + within
    while time.monotonic() < end:
        found = stack.agent().dialled(number)
        if found is not None:
            return found.dialled
        await asyncio.sleep(0.05)
    raise AssertionError(f"the agent was never dialled for {number}")
