"""Taking an answer back on real calls: by star code, over the API, after the end, on a mandated line, and through a kill."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import pytest

from rig import checker
from rig.stack import Stack
from tests.asterisk.live_kit import Talk, act, desk, live_stack, rows, talking, until

pytestmark = [pytest.mark.asterisk, pytest.mark.timeout(300)]

#: Failpoints that a daemon is killed at here (tests/asterisk/test_failpoints.py).
KILLED_AT = ("withdraw.committed", "withdraw.stopped")
EXTRA = """exten => 1044,1,Gosub(callwarden,s,1(trading))
 same => n,Dial(PJSIP/agent1,30)
"""


@pytest.fixture(scope="module")
def stack() -> Iterator[Stack]:
    with live_stack("withdraw", EXTRA) as running:
        yield running


def due(talk: Talk) -> list[str]:
    query = "SELECT d.cause FROM due_erasure d JOIN recording r USING(recording_id) WHERE r.call_id=?"
    return [cause for (cause,) in rows(talk.stack, query, talk.call_id)]


def says(stack: Stack, prompt: str) -> int:
    """How often Asterisk has played this prompt to its call."""
    return stack.pbx().log.read_text(errors="replace").count(f"-{prompt}.slin'")


def seconds_after_the_event(talk: Talk, kind: str) -> float:
    """How long audio goes on after an event, at most: had the recording begun the moment it was permitted."""
    query = "SELECT at_wall FROM consent_event WHERE call_id=? AND kind=? ORDER BY seq DESC LIMIT 1"
    event = datetime.fromisoformat(rows(talk.stack, query, talk.call_id, kind)[0][0])
    found: list[Any] = rows(
        talk.stack, "SELECT started_at, frames, rate FROM recording JOIN capture USING(recording_id) WHERE call_id=?",
        talk.call_id,
    )  # fmt: skip
    started, frames, rate = found[0]
    return float((datetime.fromisoformat(started) - event).total_seconds() + frames / rate)


def test_the_star_code_withdraws_and_is_heard(stack: Stack) -> None:
    async def call() -> Talk:
        async with desk(stack, "agent1") as agent, talking(stack, agent, number="+420608100001", seed=1) as talk:
            await talk.recording()
            before = says(stack, "withdrawn")
            await talk.press(talk.caller, "*9")
            await until("the end of the recording", lambda: talk.states() == ["sealed"])
            await until("the confirmation", lambda: says(stack, "withdrawn") == before + 1)
            assert talk.outcome() == "withdrawn"
            assert seconds_after_the_event(talk, "withdrawn") < 1.0
            await asyncio.sleep(2)
            return talk

    talk = asyncio.run(call())
    assert talk.events() == ["requested", "given", "withdrawn"]
    assert due(talk) == ["withdrawal"]
    assert rows(stack, "SELECT revoked_at IS NULL FROM permit WHERE call_id=?", talk.call_id) == [(0,)]
    checker.wait_idle(stack.pbx())
    tags = [r["userfield"] for r in checker.cdr_of(stack.pbx(), talk.number)]
    assert f"cw=withdrawn;call={talk.call_id}" in tags


def test_a_supervisor_withdraws_for_the_caller_who_hears_it(stack: Stack) -> None:
    async def call() -> None:
        async with desk(stack, "agent1") as agent, talking(stack, agent, number="+420608100002", seed=2) as talk:
            await talk.recording()
            before = says(stack, "withdrawn")
            done = await act(stack, talk.call_id, "withdraw", reason="complaint")
            assert (done["status"], done["did"]) == (200, "withdrawn")
            assert talk.states() == ["sealed"]
            await until("the confirmation", lambda: says(stack, "withdrawn") == before + 1)
            again = await act(stack, talk.call_id, "withdraw")
            assert again["did"] == "already"
            assert talk.events().count("withdrawn") == 1

    asyncio.run(call())


def test_an_agents_code_stops_and_erases_nothing(stack: Stack) -> None:
    async def call() -> None:
        async with desk(stack, "agent1") as agent, talking(stack, agent, number="+420608100003", seed=3) as talk:
            await talk.recording()
            await talk.press(talk.agent, "*9")
            await until("the end of the recording", lambda: talk.states() == ["sealed"])
            await until("the mark", lambda: talk.flags() == ["agent_stopped"])
            assert talk.outcome() == "given"
            assert due(talk) == []
            started = await act(stack, talk.call_id, "start", role="agent")
            assert started["did"] == "starting"
            await until("a further recording", lambda: talk.states() == ["sealed", "recording"])

    asyncio.run(call())


def test_a_mandated_recording_goes_on_and_says_so(stack: Stack) -> None:
    async def call() -> None:
        async with (
            desk(stack, "agent1") as agent,
            talking(stack, agent, dial="1044", key="", number="+420608100004", seed=4) as talk,
        ):
            await talk.recording()
            before = says(stack, "objection_noted")
            await talk.press(talk.caller, "*9")
            await until("the objection", lambda: "objection_noted" in talk.events())
            await until("the answer to it", lambda: says(stack, "objection_noted") == before + 1)
            assert talk.outcome() == "not_required"
            await asyncio.sleep(1)
            assert talk.states() == ["recording"]

    asyncio.run(call())


def test_after_the_end_of_the_call(stack: Stack) -> None:
    async def call() -> None:
        async with desk(stack, "agent1") as agent, talking(stack, agent, number="+420608100005", seed=5) as talk:
            await talk.recording()
        await until("the end", lambda: talk.states() == ["sealed"])
        done = await act(stack, talk.call_id, "withdraw", role="caller")
        assert (done["status"], done["did"]) == (200, "withdrawn")
        assert talk.outcome() == "withdrawn"
        assert due(talk) == ["withdrawal"]

    asyncio.run(call())


@pytest.mark.parametrize("point", KILLED_AT)
def test_a_kill_on_the_way_is_made_good_by_the_next_start(stack: Stack, point: str) -> None:
    async def call() -> Talk:
        async with desk(stack, "agent1") as agent:
            edge = stack.process("edge")
            assert edge is not None
            await asyncio.to_thread(edge.stop)
            await asyncio.to_thread(stack.start_edge, {"CALLWARDEN_FAILPOINT": point})
            async with talking(stack, agent, number=f"+42060810001{KILLED_AT.index(point)}", seed=6) as talk:
                await talk.recording()
                await talk.press(talk.caller, "*9")
                await until("the daemon's death", lambda: stack.process("edge") is None)
                assert talk.outcome() == "withdrawn"
                assert talk.states() != ["sealed"] or point == "withdraw.stopped"
                await asyncio.sleep(1.5)  # long enough for words that nobody may keep
                await asyncio.to_thread(stack.start_edge)
                await until("the end of the recording", lambda: talk.states() == ["sealed"])
                await asyncio.sleep(1)
                if point == "withdraw.committed":  # what was said since then is in no segment that can be opened
                    query = "SELECT s.state FROM segment s JOIN recording USING(recording_id) WHERE call_id=?"
                    assert ("shredded",) in rows(stack, query, talk.call_id)
            return talk

    talk = asyncio.run(call())
    checker.wait_idle(stack.pbx())
    tags = [r["userfield"] for r in checker.cdr_of(stack.pbx(), talk.number)]
    assert f"cw=withdrawn;call={talk.call_id}" in tags
