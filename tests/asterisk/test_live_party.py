"""Who is on the call decides: agents come and go, a further outside party is asked in the bridge."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from rig.calltable_run import marks
from rig.desk_phone import Leg
from rig.stack import Stack
from tests.asterisk.live_kit import Talk, channel, desk, live_stack, redirect, talking, until

pytestmark = [pytest.mark.asterisk, pytest.mark.timeout(300)]

EXTRA = """exten => 1090,1,Dial(PJSIP/777123456@trunk2,30)
 same => n,Hangup()
"""


@pytest.fixture(scope="module")
def stack() -> Iterator[Stack]:
    with live_stack("party", EXTRA) as running:
        yield running


async def joined(talk: Talk, trunk: object) -> Leg:
    """The caller is sent to an outside party, who picks up; capture pauses, and the party is asked."""
    await redirect(talk.stack, channel(talk.stack, "PJSIP/anonymous"), "1090")
    leg: Leg = await trunk.pick_up()  # type: ignore[attr-defined]
    await until("the pause", lambda: talk.states() == ["paused"])
    assert ("party", True) in talk.pauses()
    assert ("third", "none", True) in talk.parties()
    await until("the question", lambda: talk.events().count("requested") == 2)
    return leg


def test_a_further_party_agrees(stack: Stack) -> None:
    async def call() -> None:
        async with (
            desk(stack, "agent1") as agent,
            desk(stack, "trunk2", seed=77) as trunk,
            talking(stack, agent, number="+420608300001", seed=1) as talk,
        ):
            await talk.recording()
            leg = await joined(talk, trunk)
            await asyncio.sleep(marks()["ask_third"].counts + 1)
            await leg.press("1")
            await until("the recording goes on", lambda: talk.states()[-1] == "recording")
            assert ("third", "given", True) in talk.parties()
            assert talk.events() == ["requested", "given", "requested", "given"]
            assert talk.outcome() == "given"

    asyncio.run(call())


def test_a_further_party_says_no(stack: Stack) -> None:
    async def call() -> None:
        async with (
            desk(stack, "agent1") as agent,
            desk(stack, "trunk2", seed=77) as trunk,
            talking(stack, agent, number="+420608300002", seed=2) as talk,
        ):
            await talk.recording()
            await joined(talk, trunk)  # and says nothing, which is no
            await until("the end of the recording", lambda: talk.states() == ["sealed"], 60)
            assert ("third", "refused", True) in talk.parties()
            assert talk.events()[-1] == "refused"
            assert talk.outcome() == "given"

    asyncio.run(call())


def test_a_further_party_leaves_without_an_answer(stack: Stack) -> None:
    async def call() -> None:
        async with (
            desk(stack, "agent1") as agent,
            desk(stack, "agent2", seed=78) as other,
            desk(stack, "trunk2", seed=77) as trunk,
            talking(stack, agent, number="+420608300003", seed=3) as talk,
        ):
            await talk.recording()
            await joined(talk, trunk)
            await redirect(stack, channel(stack, "PJSIP/anonymous"), "202", "from-agents")
            await other.pick_up()
            await until("the recording goes on", lambda: talk.states()[-1] == "recording")
            assert ("third", "none", False) in talk.parties()
            assert ("party", False) in talk.pauses()

    asyncio.run(call())


def test_a_blind_transfer_to_another_agent_goes_on_with_both_sides(stack: Stack) -> None:
    """On 22.10.1 the far side is often silent to the bit afterwards: then it was repaired, or it is marked."""

    async def call() -> None:
        async with (
            desk(stack, "agent1") as agent,
            desk(stack, "agent2", seed=78) as other,
            talking(stack, agent, number="+420608300004", seed=4) as talk,
        ):
            await talk.recording()
            assert await talk.agent.refer("202") == 202
            await other.pick_up()
            await until("both agents", lambda: [present for _, _, present in talk.parties()] == [False, True])
            await asyncio.sleep(6)
            assert talk.states()[-1] == "recording"
            assert len(talk.states()) == 1 + talk.flags().count("repaired")
            assert "one_sided" not in talk.flags()

    asyncio.run(call())
