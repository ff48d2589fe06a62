"""A call to which anything happens in any order: after each thing its recording is exactly what the rules say."""

from __future__ import annotations

import random

import pytest

from edge.calls import errands
from edge.config.schema import TelephonySection
from edge.errors import CallwardenError
from edge.model.live import Actor
from tests.unit.calls.live_kit import open_scene

AGENT = Actor("agent", "PJSIP/agent1")
OTHERS = {"a1": "PJSIP/agent1-00000001", "a2": "PJSIP/agent2-00000002", "t1": "PJSIP/trunk-00000009"}
STEPS = 40


@pytest.mark.parametrize("seed", range(6))
async def test_whatever_happens(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(errands, "ANSWER_S", 0.01)
    monkeypatch.setattr(errands, "COMPANY_S", 0.01)
    dice = random.Random(seed)
    async with open_scene() as scene:
        scene.house.telephony = TelephonySection(trunks=("PJSIP/trunk",))
        scene.board.deaf.add("t1")  # an outside party whom nobody can ask
        call = await scene.call()
        own = (call.channel_uid, scene.board.names[call.channel_uid])
        recording_id = await scene.with_agent(call)
        company, held, asked, withdrawn = {"a1"}, set[str](), False, False
        for step in range(STEPS):
            what = dice.choice(("join", "join", "hold", "hold", "pause", "resume", "link", "again"))
            if step == STEPS - 1:
                what = "withdraw"
            if what == "join":
                company = set(dice.sample(sorted(OTHERS), dice.randint(0, 3)))
                scene.board.join(own, *((uid, OTHERS[uid]) for uid in sorted(company)))
            elif what == "hold":
                uid, on = dice.choice((*OTHERS, call.channel_uid)), dice.random() < 0.5
                (held.add if on else held.discard)(uid)
                scene.conductor.channel_held(uid, on)
            elif what == "pause":
                asked = True
                await scene.conductor.pause(call.call_id, AGENT)
            elif what == "resume":
                asked = False
                await scene.conductor.resume(call.call_id, AGENT)
            elif what == "link":
                scene.conductor.link_down()
                scene.conductor.link_up(dict(scene.board.names))
                held &= scene.board.names.keys()
            elif what == "again":
                scene.conductor.touch(call.call_id)
            else:
                withdrawn = True
                await scene.conductor.withdraw(call.call_id, Actor("caller", ""), "")
            await scene.quiet()
            paused = asked or bool(held & (company | {call.channel_uid})) or "t1" in company
            assert (scene.tape.live_of(call.call_id) == []) is withdrawn, (step, what)
            if not withdrawn:
                assert (recording_id in scene.tape.paused) is paused, (step, what, company, held, asked)
                assert any(open_ for _, open_ in await scene.pauses(call)) is paused
        with pytest.raises(CallwardenError):
            await scene.conductor.pause(call.call_id, AGENT)
