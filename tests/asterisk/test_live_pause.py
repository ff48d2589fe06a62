"""Pauses of real calls: asked over the API and by code, by hold, ended by the policy's limit, through a restart."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from rig.calltable_run import marks
from rig.stack import Stack
from tests.asterisk.live_kit import act, desk, live_stack, rows, talking, until

pytestmark = [pytest.mark.asterisk, pytest.mark.timeout(300)]

#: Failpoints that a daemon is killed at here (tests/asterisk/test_failpoints.py).
KILLED_AT = ("live.pause_opened",)
EXTRA = """exten => 1045,1,Gosub(callwarden,s,1(brief))
 same => n,Dial(PJSIP/agent1,30)
"""


@pytest.fixture(scope="module")
def stack() -> Iterator[Stack]:
    with live_stack("pause", EXTRA) as running:
        folder = running.etc / "conf.d"
        shipped = (folder / "support.toml").read_text().replace("policy.support", "policy.brief")
        kept = [line for line in shipped.splitlines() if not line.startswith(("match", "pause_limit"))]
        kept.insert(kept.index("[policy.brief]") + 1, 'pause_limit = "2s"')
        (folder / "brief.toml").write_text("\n".join(kept) + "\n")
        (folder / "brief.toml").chmod((folder / "support.toml").stat().st_mode)
        edge = running.process("edge")
        assert edge is not None
        edge.stop()
        running.start_edge()
        yield running


def alarms(stack: Stack, code: str) -> int:
    return int(rows(stack, "SELECT count(*) FROM audit WHERE entry LIKE ?", f'%"{code}"%')[0][0])


def test_asked_by_one_and_ended_by_the_other(stack: Stack) -> None:
    async def call() -> None:
        async with desk(stack, "agent1") as agent, talking(stack, agent, number="+420608200001", seed=1) as talk:
            await talk.recording()
            done = await act(stack, talk.call_id, "pause", role="agent")
            assert (done["status"], done["did"]) == (200, "paused")
            assert talk.states() == ["paused"]
            await talk.press(talk.caller, "*72")  # the caller's own phone: the code is the agent's
            await asyncio.sleep(1)
            assert talk.pauses() == [("asked", True)]
            await talk.press(talk.agent, "*72")
            await until("the recording goes on", lambda: talk.states() == ["recording"])
            assert talk.pauses() == [("asked", False)]
            await asyncio.sleep(marks()["resumed"].length + 1.5)  # said to the agent, whose keys are nobody's meanwhile
            await talk.press(talk.agent, "*71")
            await until("paused by code", lambda: talk.states() == ["paused"])
            done = await act(stack, talk.call_id, "resume")
            assert done["did"] == "resumed"
            assert talk.states() == ["recording"]

    asyncio.run(call())


def test_a_hold_is_a_pause(stack: Stack) -> None:
    async def call() -> None:
        async with desk(stack, "agent1") as agent, talking(stack, agent, number="+420608200002", seed=2) as talk:
            await talk.recording()
            await talk.agent.hold()
            await until("paused by hold", lambda: talk.states() == ["paused"])
            assert talk.pauses() == [("hold", True)]
            await act(stack, talk.call_id, "pause")
            await talk.agent.hold(on=False)
            await until("the hold's end", lambda: ("hold", False) in talk.pauses())
            assert talk.states() == ["paused"]  # somebody asked for it, too
            await act(stack, talk.call_id, "resume")
            await until("the recording goes on", lambda: talk.states() == ["recording"])

    asyncio.run(call())


def test_the_limit_ends_a_pause_with_an_alarm(stack: Stack) -> None:
    async def call() -> None:
        async with (
            desk(stack, "agent1") as agent,
            talking(stack, agent, dial="1045", number="+420608200003", seed=3) as talk,
        ):
            await talk.recording()
            before = alarms(stack, "pause.limit")
            await act(stack, talk.call_id, "pause")
            await until("the limit", lambda: talk.pauses() == [("asked", False)])
            await until("the recording goes on", lambda: talk.states() == ["recording"])
            await until("the alarm", lambda: alarms(stack, "pause.limit") > before)

    asyncio.run(call())


def test_through_a_transfer_and_a_kill(stack: Stack) -> None:
    async def call() -> None:
        async with (
            desk(stack, "agent1") as agent,
            desk(stack, "agent2", seed=901) as other,
            talking(stack, agent, number="+420608200004", seed=4) as talk,
        ):
            await talk.recording()
            await act(stack, talk.call_id, "pause")
            edge = stack.process("edge")
            assert edge is not None
            edge.kill()
            await asyncio.to_thread(stack.start_edge)
            await until("still paused", lambda: talk.states() == ["paused"])
            await talk.agent.refer("202")
            await other.pick_up()
            await until(
                "the new agent", lambda: talk.parties()[-1:] == [("agent", "none", True)] and len(talk.parties()) == 2
            )
            assert talk.states() == ["paused"]
            assert talk.pauses() == [("asked", True)]
            done = await act(stack, talk.call_id, "resume")
            assert done["did"] == "resumed"
            await until("the recording goes on", lambda: talk.states()[-1] == "recording")

    asyncio.run(call())


@pytest.mark.parametrize("point", KILLED_AT)
def test_a_pause_that_was_only_written_down_is_made_at_the_next_start(stack: Stack, point: str) -> None:
    async def call() -> None:
        async with desk(stack, "agent1") as agent:
            edge = stack.process("edge")
            assert edge is not None
            await asyncio.to_thread(edge.stop)
            await asyncio.to_thread(stack.start_edge, {"CALLWARDEN_FAILPOINT": point})
            async with talking(stack, agent, number="+420608200005", seed=5) as talk:
                await talk.recording()
                await talk.agent.hold()
                await until("the daemon's death", lambda: stack.process("edge") is None)
                assert talk.pauses() == [("hold", True)]
                assert talk.states() == ["recording"]
                await asyncio.to_thread(stack.start_edge)
                await until("the pause", lambda: talk.states() == ["paused"])
                await talk.agent.hold(on=False)
                await until("the recording goes on", lambda: talk.states() == ["recording"])

    asyncio.run(call())
