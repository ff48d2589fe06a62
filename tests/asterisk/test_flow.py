"""What a policy adds to the question, on the whole stack: lamp, header, choice of a language, what is said when nothing
can be recorded, and parties that are called."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

from rig import checker
from rig.calltable_run import marks
from rig.desk_phone import DeskPhone
from rig.phone import Phone
from rig.stack import Stack
from rig.tones import AGENT, tone
from tests.asterisk.stacks import own_policies, whole_stack
from tests.asterisk.sweep_kit import wait_for

pytestmark = [pytest.mark.asterisk, pytest.mark.timeout(300)]

EXTRA = """exten => 1071,1,Gosub(callwarden,s,1(shown))
 same => n,Dial(PJSIP/agent1,30,b(callwarden-header^s^1))
 same => n,Hangup()
exten => 1072,1,Gosub(callwarden,s,1(tells,announce))
 same => n,Dial(PJSIP/agent,30)
 same => n,Hangup()
exten => 1073,1,Gosub(callwarden,s,1(more))
 same => n,Dial(PJSIP/agent,30)
 same => n,Hangup()
"""
#: A notice with everything that shows it; a question with what is said when it cannot be asked.
SHOWN = """[policy.shown]
mode = "notice"
jurisdiction = "CZ"
basis = "legitimate_interests"
basis_reference = "balancing test of 2026-03-02"
purposes = ["quality", "evidence"]
languages = ["en", "cs"]
language_choice = { "1" = "en", "2" = "cs" }
lamp = "recording"
header = true
"""
TELLS = """[policy.tells]
mode = "opt_in"
jurisdiction = "CZ"
purposes = ["quality", "evidence"]
languages = ["en"]
on_failure = "announce"
"""
MORE = """[policy.more]
mode = "opt_in"
jurisdiction = "CZ"
purposes = ["quality", "evidence"]
further = [{ purposes = ["training"], prompt = "ask_training", yes_key = "1" }]
languages = ["en"]
retries = 0
"""


@pytest.fixture(scope="module")
def stack() -> Iterator[Stack]:
    with whole_stack("flow", extra=EXTRA) as running:
        own_policies(running, {"shown": SHOWN, "tells": TELLS, "more": MORE})
        yield running


def desk(stack: Stack) -> DeskPhone:
    pbx = stack.pbx()
    return DeskPhone(pbx.sip_port, "agent1", pbx.peers["agent1"], tone("agent1", AGENT))


def newest(stack: Stack) -> dict[str, Any]:
    """Everything about the last call, once it is over and its recording is sealed."""
    assert checker.wait_idle(stack.pbx())
    found: dict[str, Any] = {}

    def over() -> bool:
        why = stack.read("why", stack.read("calls")[0]["call_id"])
        found.update({**why, **why["call"]})
        return found["state"] == "ended" and all(r["state"] in ("sealed", "no_audio") for r in found["recordings"])

    wait_for("the end of the call", over, 20)
    return found


def lamp(stack: Stack) -> str:
    [line] = [line for line in stack.pbx().cli("devstate list").splitlines() if "'Custom:recording'" in line]
    return line.split("'")[-2]


def test_lamp_header_and_language(stack: Stack) -> None:
    async def talk() -> tuple[str, str]:
        async with desk(stack) as agent:
            caller = await Phone.dial(stack.pbx(), "1071", number="+420608777301", voice=tone(301), within=30)
            await caller.hear(20)
            await asyncio.sleep(2.5)  # into "for Czech": any time will do, a language is no consent
            await caller.press("2")
            leg = await agent.ring(40)
            header = leg.invite.headers["x-callwarden"]
            await leg.answer()
            await asyncio.sleep(2)
            lit = lamp(stack)
            await caller.hang_up()
            return header, lit

    header, lit = asyncio.run(talk())
    why = newest(stack)
    assert header == f"notified;call={why['call_id']}"
    assert lit == "INUSE"
    wait_for("the lamp to go dark", lambda: lamp(stack) == "NOT_INUSE", 20)
    evidence = why["events"][-1]["evidence"]
    assert [(h["prompt_id"], h["language"]) for h in evidence["heard"]][-1] == ("notice", "cs")
    assert (evidence["language"], evidence["keys_pressed"]) == ("cs", "")
    assert [r["state"] for r in why["recordings"]] == ["sealed"]


@pytest.mark.parametrize(("last", "stay", "outcome"), [("1", 16.0, "given"), ("5", 26.0, "refused")])
def test_a_called_party_is_asked_before_it_is_joined(stack: Stack, last: str, stay: float, outcome: str) -> None:
    """The far end of the trunk presses the last digit of its number once it was asked."""

    async def call() -> None:
        async with desk(stack) as agent:
            leg = await agent.dial(f"960877712{last}", within=60)
            assert leg.refused is None
            await asyncio.sleep(stay - 10)
            await leg.hang_up()

    asyncio.run(call())
    why = newest(stack)
    assert (why["outcome"], why["direction"]) == (outcome, "outbound")
    assert why["events"][-1]["evidence"]["heard"][0]["prompt_id"] == "ask_callee"
    assert why["events"][-1]["evidence"]["party"]["role"] == "callee"
    number = [p["number"] for p in why["parties"] if p["role"] == "callee"]
    assert number == (["+420608777121"] if outcome == "given" else [None])
    assert bool(why["recordings"]) == (outcome == "given")


@pytest.mark.parametrize(("second", "granted"), [("1", True), ("2", False)])
def test_a_further_purpose_has_a_question_and_a_key_of_its_own(stack: Stack, second: str, granted: bool) -> None:
    async def call() -> None:
        caller = await Phone.dial(stack.pbx(), "1073", number="+420608777304", voice=tone(304), within=30)
        await caller.hear(20)
        await asyncio.sleep(marks()["ask"].counts + 0.6)
        await caller.press("1")
        await asyncio.sleep(marks()["ask_training"].counts + 1.2)
        await caller.press(second)
        await asyncio.sleep(3)
        await caller.hang_up()

    asyncio.run(call())
    why = newest(stack)
    evidence = why["events"][-1]["evidence"]
    assert [e["kind"] for e in why["events"]] == ["requested", "requested", "given"]
    assert [h["prompt_id"] for h in evidence["heard"]] == ["ask", "ask_training"]
    assert [f["granted"] for f in evidence["further"]] == [granted]
    assert why["permit"]["purposes"] == ["quality", "evidence", *(["training"] if granted else [])]


def test_nobody_is_asked_when_an_emergency_number_is_called(stack: Stack) -> None:
    async def call() -> float:
        async with desk(stack) as agent:
            began = asyncio.get_running_loop().time()
            leg = await agent.dial("112", within=30)
            waited = asyncio.get_running_loop().time() - began
            await asyncio.sleep(2)
            await leg.hang_up()
            return waited

    waited = asyncio.run(call())
    why = newest(stack)
    assert (why["outcome"], why["events"][-1]["evidence"]["reason"]) == ("not_recorded", "emergency")
    assert waited < 5, "a question takes eight seconds"


def test_what_is_said_when_the_question_cannot_be_played(stack: Stack) -> None:
    """Last in the file: the question's audio is gone from here on."""
    for file in (stack.state / "var" / "prompts").rglob("en-ask.wav"):
        file.unlink()

    async def call(ext: str, number: str) -> tuple[str, bool]:
        caller = await Phone.dial(stack.pbx(), ext, number=number, voice=tone(302), within=30)
        assert caller.refused is None
        await caller.hear(10)
        try:
            await caller.ended(14)
        except TimeoutError:
            await caller.hang_up()
            return "went on", stack.agent().dialled(number) is not None
        return "ended", stack.agent().dialled(number) is not None

    assert asyncio.run(call("1011", "+420608777302")) == ("ended", False)
    regulated = newest(stack)
    assert asyncio.run(call("1072", "+420608777303")) == ("went on", True)
    told = newest(stack)
    for why in (regulated, told):
        assert (why["outcome"], why["events"][-1]["evidence"]["reason"]) == ("unavailable", "prompt.missing")
        assert why["recordings"] == []
