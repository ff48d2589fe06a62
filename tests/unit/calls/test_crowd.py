"""Who is on a call, filed as its parties."""

from __future__ import annotations

from collections.abc import AsyncIterator

import msgspec
import pytest

from edge.config.schema import TelephonySection
from edge.model.live import Actor
from tests.unit.calls.live_kit import Scene, open_scene


@pytest.fixture
async def scene() -> AsyncIterator[Scene]:
    async with open_scene() as made:
        made.house.telephony = TelephonySection(trunks=("PJSIP/trunk",), never_numbers=("+420 800 111 222",))
        yield made


TRUNK = ("t1", "PJSIP/trunk-00000009")


async def test_agents_come_and_go(scene: Scene) -> None:
    call = await scene.call()
    await scene.with_agent(call)
    assert await scene.others(call) == [("agent", "none", True)]
    name = scene.board.names[call.channel_uid]
    scene.board.join((call.channel_uid, name), ("a2", "PJSIP/agent2-00000002"))
    await scene.quiet()
    assert await scene.others(call) == [("agent", "none", False), ("agent", "none", True)]
    await scene.with_agent(call)
    assert sorted(await scene.others(call)) == [("agent", "none", False), ("agent", "none", True)]  # no third row
    assert scene.tape.words() == []


async def test_what_is_on_file_for_an_agent_is_looked_up_each_time(scene: Scene) -> None:
    scene.standings["PJSIP/agent1"] = "standing"
    call = await scene.call()
    await scene.with_agent(call)
    assert await scene.others(call) == [("agent", "standing", True)]
    scene.standings["PJSIP/agent1"] = "refused"
    scene.conductor.touch(call.call_id)
    await scene.quiet()
    assert await scene.others(call) == [("agent", "refused", True)]
    assert scene.tape.words() == ["pause"]


async def test_a_party_with_an_answer_of_its_own_is_satisfied_or_not(scene: Scene) -> None:
    first, second, third = await scene.call(), await scene.call(number="+420777000002"), await scene.call("5")
    names = scene.board.names
    scene.board.join(*((call.channel_uid, names[call.channel_uid]) for call in (first, second)))
    await scene.quiet()
    assert await scene.others(first) == [("third", "given", True)]
    assert await scene.others(second) == [("third", "given", True)]
    (filed,) = [p for p in await scene.journal.parties(first.call_id) if p.role == "third"]
    assert filed.number_heard == "+420777000002"  # as in its own call, whatever the channel is named now
    assert scene.tape.words() == []
    scene.board.join(*((call.channel_uid, names[call.channel_uid]) for call in (first, second, third)))
    await scene.quiet()
    assert ("third", "refused", True) in await scene.others(first)
    assert scene.tape.words() == ["stop:party", "stop:party"]


async def test_a_party_that_takes_its_own_answer_back_takes_it_from_all(scene: Scene) -> None:
    first, second = await scene.call(), await scene.call(number="+420777000002")
    names = scene.board.names
    scene.board.join(*((call.channel_uid, names[call.channel_uid]) for call in (first, second)))
    await scene.quiet()
    await scene.conductor.withdraw(second.call_id, Actor("caller"), "")
    await scene.quiet()
    assert await scene.others(first) == [("third", "refused", True)]
    assert scene.tape.live_of(first.call_id) == []
    assert (await scene.now(first.call_id)).outcome == "given"


@pytest.mark.parametrize("number", ["00420800111222", "9800111222"])  # as a caller; dialled by an agent for a line out
async def test_a_number_that_is_never_recorded_pauses_for_as_long_as_it_is_there(scene: Scene, number: str) -> None:
    call = await scene.call()
    scene.board.variables[TRUNK[1], "CALLERID(num)"] = number
    await scene.with_agent(call)
    scene.board.join((call.channel_uid, scene.board.names[call.channel_uid]), TRUNK)
    await scene.quiet()
    assert await scene.pauses(call) == [("party", True)]
    assert scene.events(call) == ["requested", "given"]  # nobody asks such a number
    await scene.with_agent(call)
    assert await scene.pauses(call) == [("party", False)]
    assert scene.tape.words() == ["pause", "resume"]


async def test_an_inside_number_that_is_never_recorded(scene: Scene) -> None:
    scene.house.telephony = TelephonySection(never_numbers=("350",))
    call = await scene.call()
    scene.board.variables["PJSIP/council-00000001", "CALLERID(num)"] = "350"
    scene.board.join((call.channel_uid, scene.board.names[call.channel_uid]), ("w1", "PJSIP/council-00000001"))
    await scene.quiet()
    assert await scene.pauses(call) == [("party", True)]
    (party,) = [p for p in await scene.journal.parties(call.call_id) if p.role == "agent"]
    assert party.number_heard is None


async def test_a_conferences_own_channels_are_nobody(scene: Scene) -> None:
    call = await scene.call()
    scene.board.join((call.channel_uid, scene.board.names[call.channel_uid]), ("c", "CBAnn/1030-00000001;2"))
    await scene.quiet()
    assert await scene.others(call) == []


async def test_a_hostile_number_is_stored_as_what_it_is(scene: Scene) -> None:
    call = await scene.call()
    scene.board.variables[TRUNK[1], "CALLERID(num)"] = "1,${SHELL(id)}\r\nEvent: x\x1b"
    scene.board.join((call.channel_uid, scene.board.names[call.channel_uid]), TRUNK)
    await scene.quiet()
    (party,) = [p for p in await scene.journal.parties(call.call_id) if p.role == "third"]
    assert party.number_class == "invalid"
    assert (party.number_heard or "").isprintable()


async def test_an_extension_is_nobodys_number(scene: Scene) -> None:
    call = await scene.call()
    name = scene.board.names[call.channel_uid]
    for n, (heard, stored, kind) in enumerate(
        [
            ("1001", None, "invalid"),
            ("+420777000005", "+420777000005", "plain"),
            ("", None, "withheld"),
            ("9777000006", "777000006", "plain"),
        ]
    ):
        trunk = (f"t{n}", f"PJSIP/trunk-0000001{n}")
        scene.board.variables[trunk[1], "CALLERID(num)"] = heard
        scene.board.join((call.channel_uid, name), trunk)
        await scene.quiet()
        (party,) = [p for p in await scene.journal.parties(call.call_id) if p.role == "third" and p.present]
        assert (party.number_heard, party.number_class) == (stored, kind)


@pytest.mark.parametrize("by", ["policy", "number"])
async def test_the_party_of_a_call_that_is_never_recorded(scene: Scene, by: str) -> None:
    first, recorded = await scene.call(), scene.house.policy
    if by == "policy":
        scene.house.policy = msgspec.structs.replace(recorded, mode="never")
    never = await scene.call("", number="+420777000002" if by == "policy" else "+420800111222")
    scene.house.telephony = TelephonySection(trunks=("PJSIP/trunk",))  # the number is on no list any more
    assert never.outcome == "not_recorded"
    scene.house.policy = recorded
    names = scene.board.names
    scene.board.join(*((call.channel_uid, names[call.channel_uid]) for call in (first, never)))
    await scene.quiet()
    assert await scene.pauses(first) == [("party", True)]
    assert scene.events(first) == ["requested", "given"]  # it is not asked
    assert scene.board.talks == {}
    assert scene.tape.words() == ["pause"]
    scene.board.leave(never.channel_uid)
    await scene.quiet()
    assert await scene.pauses(first) == [("party", False)]
    scene.conductor.forget(never.call_id)
    assert never.channel_uid not in scene.conductor._crowd._calls
