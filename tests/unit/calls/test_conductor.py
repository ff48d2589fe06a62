"""What people and Asterisk do to a call that goes on, and what becomes of its recording."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from copy import copy
from datetime import timedelta

import msgspec
import pytest

from edge.calls import errands
from edge.config.schema import TelephonySection
from edge.consent.units import Period, Seconds
from edge.errors import CallwardenError
from edge.model.entities import ConsentEvent
from edge.model.live import Actor
from edge.ports import DialogueLost
from tests.unit.calls.flow_kit import Caller
from tests.unit.calls.live_kit import Scene, open_scene

AGENT, SUPERVISOR = Actor("agent", "PJSIP/agent1"), Actor("supervisor", "uid:0")
TRUNK = ("t1", "PJSIP/trunk-00000009")


@pytest.fixture
async def scene(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Scene]:
    monkeypatch.setattr(errands, "ANSWER_S", 0.05)
    monkeypatch.setattr(errands, "COMPANY_S", 0.2)
    async with open_scene() as made:
        made.house.telephony = TelephonySection(trunks=("PJSIP/trunk",))
        yield made


async def due(scene: Scene, recording_id: str) -> str:
    found = await scene.journal.due_of(recording_id)
    return found.cause if found else ""


# ------------------------------------------------------------ withdrawal


async def test_the_callers_star_code(scene: Scene) -> None:
    call = await scene.call()
    recording_id = await scene.with_agent(call)
    talk = await scene.board.press(call.channel_uid, "withdraw")
    await scene.quiet()
    assert scene.events(call) == ["requested", "given", "withdrawn"]
    assert scene.tape.words()[0] == "stop:withdraw"
    assert talk.played == ["/x/en-withdrawn"]
    assert await due(scene, recording_id) == "withdrawal"
    assert await scene.journal.permit(call.call_id) is None
    tags = scene.board.set[scene.board.names[call.channel_uid]]
    assert tags["CALLWARDEN_OUTCOME"] == "withdrawn"
    assert tags["CDR(userfield)"] == f"cw=withdrawn;call={call.call_id}"
    assert list(tags)[-1] == "CALLWARDEN_OUTCOME"
    assert [event["Outcome"] for event in scene.board.events] == ["withdrawn"]


async def test_an_agents_star_code_keeps_everything(scene: Scene) -> None:
    call = await scene.call()
    recording_id = await scene.with_agent(call)
    talk = await scene.board.press("a1", "withdraw")
    await scene.quiet()
    assert (await scene.now(call.call_id)).outcome == "given"
    assert scene.tape.words()[0] == "stop:withdraw"
    assert await due(scene, recording_id) == ""
    assert await scene.journal.flags(recording_id) == [("agent_stopped", "star_code")]
    assert talk.played == ["/x/en-stopped"]


async def test_a_supervisor_withdraws_and_the_caller_hears_it(scene: Scene) -> None:
    call = await scene.call()
    await scene.with_agent(call)
    done = await scene.conductor.withdraw(call.call_id, SUPERVISOR, "complaint")
    await scene.quiet()
    assert done["did"] == "withdrawn"
    assert scene.board.talks[call.channel_uid].played == ["/x/en-withdrawn"]
    assert (await scene.conductor.withdraw(call.call_id, SUPERVISOR, ""))["did"] == "already"
    assert scene.events(call).count("withdrawn") == 1


async def test_a_withdrawal_does_not_wait_for_a_party_that_cannot_be_told(scene: Scene) -> None:
    call = await scene.call()
    await scene.with_agent(call)
    scene.board.deaf.add(call.channel_uid)
    done = await scene.conductor.withdraw(call.call_id, SUPERVISOR, "")
    assert done["did"] == "withdrawn"
    assert scene.tape.live_of(call.call_id) == []
    await scene.quiet()


async def test_after_the_end_and_too_late(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    call = await scene.call()
    recording_id = await scene.with_agent(call)
    scene.tracker.link_up({})
    scene.house.recorder.link_up({})
    for _ in range(500):
        await asyncio.sleep(0.01)
        if (await scene.now(call.call_id)).state == "ended":
            break
    assert (await scene.conductor.withdraw(call.call_id, SUPERVISOR, ""))["did"] == "withdrawn"
    assert await due(scene, recording_id) == "withdrawal"
    monkeypatch.setattr(
        "edge.calls.withdrawing.LATEST", -1 * Seconds(0) or __import__("datetime").timedelta(seconds=-1)
    )
    with pytest.raises(CallwardenError) as late:
        await scene.conductor.withdraw(call.call_id, SUPERVISOR, "")
    assert late.value.code == "calls.not_live"


async def test_the_erasure_is_counted_from_the_calls_end(scene: Scene) -> None:
    call = await scene.call()
    recording_id = await scene.with_agent(call)
    await scene.conductor.withdraw(call.call_id, SUPERVISOR, "")
    await scene.quiet()
    await scene.journal.end_call(call.call_id, "2031-01-01T10:00:00.000Z")
    found = await scene.journal.due_of(recording_id)
    assert found is not None
    assert found.due_at.startswith("2031-01-01T11:00:0")


async def test_what_was_captured_after_a_late_stop_is_shredded(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """As after a kill between the commit and the stop."""
    monkeypatch.setattr("edge.calls.keeping.LATE", timedelta(0))
    call = await scene.call()
    await scene.with_agent(call)
    event = ConsentEvent("withdrawn", scene.house.world.clock.wall_text(), 1, {}, call.party_id)
    await scene.journal.withdraw(call.call_id, event, "withdrawn", (), forget=None)
    await asyncio.sleep(0.02)
    scene.conductor.link_up(dict(scene.board.names))
    await scene.quiet()
    assert scene.tape.words() == ["shred", "stop:withdraw"]


async def test_an_unknown_call(scene: Scene) -> None:
    for work in (
        scene.conductor.withdraw("f" * 32, SUPERVISOR, ""),
        scene.conductor.pause("f" * 32, AGENT),
        scene.conductor.start("f" * 32, AGENT),
        scene.conductor.incident("f" * 32, AGENT, 1),
    ):
        with pytest.raises(CallwardenError) as unknown:
            await work
        assert unknown.value.code == "calls.not_found"


# ------------------------------------------------------------ pauses


async def test_pause_and_resume(scene: Scene) -> None:
    call = await scene.call()
    await scene.with_agent(call)
    assert (await scene.conductor.pause(call.call_id, AGENT))["did"] == "paused"
    assert (await scene.conductor.pause(call.call_id, AGENT))["did"] == "paused"
    assert await scene.pauses(call) == [("asked", True)]
    assert (await scene.conductor.resume(call.call_id, AGENT))["did"] == "resumed"
    assert (await scene.conductor.resume(call.call_id, AGENT))["did"] == "already"
    assert scene.tape.words() == ["pause", "resume"]


async def test_a_pause_needs_a_recording(scene: Scene) -> None:
    call = await scene.call("5")
    with pytest.raises(CallwardenError) as refused:
        await scene.conductor.pause(call.call_id, AGENT)
    assert refused.value.code == "calls.refused"


async def test_a_pause_that_is_only_a_row_is_not_said_to_be_one(scene: Scene) -> None:
    call = await scene.call()
    await scene.speak(await scene.with_agent(call))
    scene.board.up = False  # no link: nobody can be told
    with pytest.raises(CallwardenError) as late:
        await scene.conductor.pause(call.call_id, AGENT)
    assert late.value.code == "calls.pause_late"
    scene.board.up = True
    scene.conductor.link_up(dict(scene.board.names))
    await scene.quiet()
    assert scene.tape.words() == ["pause"]


async def test_the_limit_ends_a_pause(scene: Scene) -> None:
    scene.house.policy = msgspec.structs.replace(scene.house.policy, pause_limit=Seconds(0.2))
    call = await scene.call()
    await scene.with_agent(call)
    await scene.conductor.pause(call.call_id, AGENT)
    for _ in range(300):
        await asyncio.sleep(0.02)
        if await scene.pauses(call) == [("asked", False)]:
            break
    await scene.quiet()
    assert scene.tape.words() == ["pause", "resume"]
    assert '"pause.limit"' in scene.alarms()


async def test_holds_of_either_side_and_music(scene: Scene) -> None:
    call = await scene.call()
    await scene.with_agent(call)
    for uid, on in (("a1", True), (call.channel_uid, True), ("a1", False)):
        scene.conductor.channel_held(uid, on)
        await scene.quiet()
        assert await scene.pauses(call) == [("hold", True)]
    scene.conductor.channel_held(call.channel_uid, False)
    await scene.quiet()
    assert await scene.pauses(call) == [("hold", False)]
    assert scene.tape.words() == ["pause", "resume"]


async def test_a_hold_ends_with_who_held(scene: Scene) -> None:
    call = await scene.call()
    await scene.with_agent(call)
    scene.conductor.channel_held("a1", True)
    await scene.quiet()
    name = scene.board.names[call.channel_uid]
    scene.board.join((call.channel_uid, name), ("a2", "PJSIP/agent2-00000002"))  # an attended transfer
    await scene.quiet()
    assert await scene.pauses(call) == [("hold", False)]


async def test_a_parked_call_is_on_hold(scene: Scene) -> None:
    call = await scene.call()
    await scene.with_agent(call)
    scene.board.apart.add(call.channel_uid)
    scene.board.join((call.channel_uid, scene.board.names[call.channel_uid]))
    await scene.quiet()
    assert await scene.pauses(call) == [("hold", True)]


async def test_two_reasons_two_ends(scene: Scene) -> None:
    call = await scene.call()
    await scene.with_agent(call)
    scene.conductor.channel_held("a1", True)
    await scene.conductor.pause(call.call_id, AGENT)
    still = await scene.conductor.resume(call.call_id, AGENT)
    assert still["did"] == "still_paused"
    assert "hold" in still["says"]
    scene.conductor.channel_held("a1", False)
    await scene.quiet()
    assert scene.tape.words() == ["pause", "resume"]


async def test_pauses_are_taken_up_by_the_next_daemon(scene: Scene) -> None:
    call = await scene.call()
    recording_id = await scene.with_agent(call)
    await scene.conductor.pause(call.call_id, AGENT)
    scene.conductor.channel_held("a1", True)
    await scene.quiet()
    again = copy(scene)
    again.conductor = type(scene.conductor)(scene.conductor._world, scene.board, lambda _: "none")
    scene.board.conductor = again.conductor
    scene.tape.paused.clear()  # the monitor's mute was lost
    await again.conductor.follow(await scene.now(call.call_id))
    again.conductor.link_up(dict(scene.board.names))
    await again.quiet()
    assert recording_id in scene.tape.paused
    assert again.conductor._keeper.held == {"a1"}
    await again.conductor.resume(call.call_id, AGENT)
    assert recording_id in scene.tape.paused
    again.conductor.channel_held("a1", False)
    await again.quiet()
    assert recording_id not in scene.tape.paused


async def test_a_pause_that_fails_stops_and_starts_again_afterwards(scene: Scene) -> None:
    call = await scene.call()
    recording_id = await scene.with_agent(call)
    scene.tape.failing = CallwardenError("recorder.mute_failed", "no")
    await scene.conductor.pause(call.call_id, AGENT)
    await scene.quiet()
    assert scene.tape.words() == ["stop:pause"]
    scene.tape.failing = None
    await scene.conductor.resume(call.call_id, AGENT)
    await scene.quiet()
    (successor,) = scene.tape.live_of(call.call_id)
    assert successor != recording_id


async def test_a_pause_that_failed_is_known_to_the_next_daemon(scene: Scene) -> None:
    call = await scene.call()
    recording_id = await scene.with_agent(call)
    scene.tape.failing = CallwardenError("recorder.mute_failed", "no")
    await scene.journal.flag(recording_id, "mute_failed", "")  # as the recorder does
    await scene.conductor.pause(call.call_id, AGENT)
    await scene.quiet()
    scene.tape.failing = None
    again = copy(scene)
    again.conductor = type(scene.conductor)(scene.conductor._world, scene.board, lambda _: "none")
    scene.board.conductor = again.conductor
    await again.conductor.follow(await scene.now(call.call_id))
    again.conductor.link_up(dict(scene.board.names))
    await again.quiet()
    assert scene.tape.live_of(call.call_id) == []
    await again.conductor.resume(call.call_id, AGENT)
    await again.quiet()
    (successor,) = scene.tape.live_of(call.call_id)
    assert successor != recording_id


async def test_a_start_says_how_it_is(scene: Scene) -> None:
    call = await scene.call()
    await scene.with_agent(call)
    scene.board.variables[TRUNK[1], "CALLERID(num)"] = "+420777000009"
    scene.board.deaf.add("t1")
    assert (await scene.conductor.start(call.call_id, AGENT))["says"] == "The call is being recorded."
    scene.board.join((call.channel_uid, scene.board.names[call.channel_uid]), TRUNK)
    await scene.quiet()
    done = await scene.conductor.start(call.call_id, AGENT)
    assert (done["did"], done["says"]) == ("already", "The recording is paused: party.")
    await scene.with_agent(call)
    await scene.board.press("a1", "withdraw")  # the agent's own stop leaves the permit
    await scene.quiet()
    done = await scene.conductor.start(call.call_id, AGENT)
    assert done["did"] == "starting"
    assert "asked" not in done["says"]
    await scene.quiet()
    assert len(scene.tape.live_of(call.call_id)) == 1


async def test_an_agents_codes_are_not_the_callers(scene: Scene) -> None:
    call = await scene.call()
    await scene.with_agent(call)
    for word in ("pause", "start", "resume"):
        assert (await scene.board.press(call.channel_uid, word)).played == []
    await scene.quiet()
    assert await scene.pauses(call) == []
    talk = await scene.board.press("a1", "pause")
    await scene.quiet()
    assert talk.played == ["/x/en-paused"]
    assert scene.tape.words() == ["pause"]


# ------------------------------------------------------------ further parties


async def test_a_further_party_is_asked_on_its_own_channel(scene: Scene) -> None:
    call = await scene.call()
    await scene.with_agent(call)
    scene.board.join((call.channel_uid, scene.board.names[call.channel_uid]), TRUNK)
    await scene.quiet()
    assert scene.board.talks["t1"].played == ["/x/en-ask_third"]
    assert await scene.others(call) == [("agent", "none", False), ("third", "given", True)]
    assert scene.tape.words() == ["pause", "resume"]
    assert scene.events(call) == ["requested", "given", "requested", "given"]
    assert (await scene.now(call.call_id)).outcome == "given"


async def test_a_further_partys_no_ends_the_recording(scene: Scene) -> None:
    call = await scene.call()
    await scene.with_agent(call)
    scene.board.talks["t1"] = Caller("5")
    scene.board.join((call.channel_uid, scene.board.names[call.channel_uid]), TRUNK)
    await scene.quiet()
    assert scene.tape.words() == ["pause", "stop:party"]
    assert ("third", "refused", True) in await scene.others(call)
    assert (await scene.now(call.call_id)).outcome == "given"
    assert scene.tape.live_of(call.call_id) == []


async def test_a_party_that_cannot_be_asked_keeps_it_paused(scene: Scene) -> None:
    call = await scene.call()
    await scene.with_agent(call)
    scene.board.deaf.add("t1")
    scene.board.join((call.channel_uid, scene.board.names[call.channel_uid]), TRUNK)
    await scene.quiet()
    assert await scene.pauses(call) == [("party", True)]
    assert '"calls.party_unasked"' in scene.alarms()
    await scene.with_agent(call)
    assert await scene.pauses(call) == [("party", False)]


async def test_a_mandated_recording_goes_on_with_anybody(scene: Scene) -> None:
    scene.house.policy = msgspec.structs.replace(
        scene.house.policy, mode="obligation", basis="legal_obligation", basis_reference="statute", prompt="none"
    )
    call = await scene.call()
    await scene.with_agent(call)
    scene.board.deaf.add("t1")
    scene.board.join((call.channel_uid, scene.board.names[call.channel_uid]), TRUNK)
    await scene.quiet()
    assert scene.tape.words() == []
    done = await scene.conductor.withdraw(call.call_id, Actor("caller", ""), "")
    assert done["did"] == "objection_noted"
    await scene.quiet()
    assert scene.tape.words() == []
    assert scene.events(call)[-1] == "objection_noted"


# ------------------------------------------------------------ starting, errands, mending


async def test_a_manual_call_is_started_by_the_agent(scene: Scene) -> None:
    scene.house.policy = msgspec.structs.replace(scene.house.policy, mode="manual")
    call = await scene.call()
    assert call.outcome == "not_recorded"
    scene.board.join((call.channel_uid, scene.board.names[call.channel_uid]), ("a1", "PJSIP/agent1-00000001"))
    assert (await scene.conductor.start(call.call_id, AGENT))["did"] == "asking"
    await scene.quiet()
    assert (await scene.now(call.call_id)).outcome == "given"
    assert len(scene.tape.live_of(call.call_id)) == 1
    talk = scene.board.talks[call.channel_uid]
    assert talk.set["CALLWARDEN_OUTCOME"] == "given"
    assert talk.played[-1] == "/x/en-thanks_recorded"
    assert (await scene.conductor.start(call.call_id, AGENT))["did"] == "already"


async def test_who_said_no_is_not_asked_again(scene: Scene) -> None:
    call = await scene.call("5")
    scene.board.join((call.channel_uid, scene.board.names[call.channel_uid]), ("a1", "PJSIP/agent1-00000001"))
    with pytest.raises(CallwardenError) as refused:
        await scene.conductor.start(call.call_id, AGENT)
    assert refused.value.code == "calls.refused"


async def test_a_caller_who_is_alone_cannot_be_asked(scene: Scene) -> None:
    scene.house.policy = msgspec.structs.replace(scene.house.policy, mode="manual")
    call = await scene.call()
    with pytest.raises(CallwardenError) as alone:
        await scene.conductor.start(call.call_id, AGENT)
    assert alone.value.code == "calls.unreachable"


async def test_a_caller_who_does_not_answer_in_company_is_alarmed_once(scene: Scene) -> None:
    scene.house.policy = msgspec.structs.replace(scene.house.policy, mode="manual")
    call = await scene.call()
    with pytest.raises(CallwardenError):
        await scene.conductor.start(call.call_id, AGENT)
    assert '"features.missing"' not in scene.alarms()  # with nobody there is no bridge, and no code
    scene.board.join((call.channel_uid, scene.board.names[call.channel_uid]), ("a1", "PJSIP/agent1-00000001"))
    await scene.quiet()
    scene.board.deaf.add(call.channel_uid)
    for _ in range(2):
        with pytest.raises(CallwardenError) as deaf:
            await scene.conductor.start(call.call_id, AGENT)
        assert deaf.value.code == "calls.unreachable"
    assert scene.alarms().count('"features.missing"') == 1


async def test_an_errand_nobody_sent_for_ends_at_once(scene: Scene) -> None:
    call = await scene.call()
    await scene.with_agent(call)
    talk = await scene.board.press(call.channel_uid, "errand")
    assert talk.steps == 0


async def test_a_silent_side_is_repaired_once_and_then_marked(scene: Scene) -> None:
    call = await scene.call()
    first = await scene.with_agent(call)
    await scene.speak(first)
    scene.conductor.mending.one_sided(first, "agent")
    await scene.quiet()
    (second,) = scene.tape.live_of(call.call_id)
    assert await scene.journal.flags(first) == [("repaired", second)]
    assert scene.board.talks[call.channel_uid].played == ["/x/en-tone"]
    await scene.speak(second)
    scene.conductor.mending.one_sided(second, "agent")
    await scene.quiet()
    assert scene.tape.live_of(call.call_id) == [second]
    assert await scene.journal.flags(second) == [("one_sided", "agent")]


@pytest.mark.parametrize("leaves", range(1, 7))
async def test_a_repair_that_loses_its_session_begins_in_another(scene: Scene, leaves: int) -> None:
    """As when a busy machine makes the guard take the caller back in the middle of it."""
    call = await scene.call()
    first = await scene.with_agent(call)
    await scene.speak(first)
    lost = scene.board.talks[call.channel_uid] = Caller("1", leaves, DialogueLost)
    scene.conductor.mending.one_sided(first, "agent")
    while not lost.steps >= leaves and scene.tape.live_of(call.call_id) == [first]:
        await asyncio.sleep(0)
    scene.board.talks.pop(call.channel_uid, None)
    await scene.quiet()
    live = scene.tape.live_of(call.call_id)
    assert len(live) == 1
    assert await scene.journal.flags(first) in ([("repaired", live[0])], [("one_sided", "agent")])


async def test_silence_in_a_pause_is_no_silence(scene: Scene) -> None:
    call = await scene.call()
    first = await scene.with_agent(call)
    await scene.speak(first)
    await scene.conductor.pause(call.call_id, AGENT)
    scene.conductor.mending.one_sided(first, "agent")
    await scene.quiet()
    assert scene.tape.live_of(call.call_id) == [first]


@pytest.mark.parametrize(("wanted", "ends"), [("alarm", False), ("announce", False), ("hang_up", True)])
async def test_a_recording_that_fails_in_mid_call(scene: Scene, wanted: str, ends: bool) -> None:
    scene.house.policy = msgspec.structs.replace(scene.house.policy, on_failure_midcall=wanted)
    call = await scene.call()
    recording_id = await scene.with_agent(call)
    scene.conductor.mending.gap(recording_id)
    await scene.quiet()
    assert scene.events(call)[-1] == "recording_failed"
    assert await scene.journal.flags(recording_id) == [("gap", "")]
    assert '"recording.failed"' in scene.alarms()
    talk = scene.board.talks.get(call.channel_uid)
    assert (talk is not None and talk.played == ["/x/en-unavailable_notice"]) is (wanted != "alarm")
    assert bool(scene.board.ended) is ends


async def test_a_recording_that_a_withdrawal_ended_did_not_fail(scene: Scene) -> None:
    call = await scene.call()
    recording_id = await scene.with_agent(call)
    await scene.conductor.withdraw(call.call_id, SUPERVISOR, "")
    scene.conductor.mending.gap(recording_id)  # the file was left before anybody knew why
    await scene.quiet()
    assert scene.events(call)[-1] == "withdrawn"
    assert await scene.journal.flags(recording_id) == []


@pytest.mark.parametrize("rogue", ["alarm", "stop"])
async def test_somebody_elses_monitor(scene: Scene, rogue: str) -> None:
    scene.house.policy = msgspec.structs.replace(scene.house.policy, rogue=rogue)
    call = await scene.call()
    first = await scene.with_agent(call)
    name = scene.board.names[call.channel_uid]
    scene.conductor.mending.rogue(call.channel_uid)  # an event, and nothing behind it: forged
    await scene.quiet()
    assert '"watchdog.rogue_monitor"' not in scene.alarms()
    (spooled,) = scene.house.rows("SELECT spool_name FROM capture")[0]
    scene.board.variables[name, "MIXMONITOR_FILENAME"] = f"/run/callwarden/spool/{spooled}"  # ours: forged, too
    scene.conductor.mending.rogue(call.channel_uid)
    await scene.quiet()
    assert '"watchdog.rogue_monitor"' not in scene.alarms()
    scene.board.variables[name, "MIXMONITOR_FILENAME"] = "/tmp/x.wav"
    scene.conductor.mending.rogue(call.channel_uid)
    await scene.quiet()
    assert '"watchdog.rogue_monitor"' in scene.alarms()
    assert await scene.journal.flags(first) == [("rogue_monitor", "")]
    assert ((name, "") in scene.board.stopped) is (rogue == "stop")
    assert (scene.tape.live_of(call.call_id) == [first]) is (rogue == "alarm")
    assert len(scene.tape.live_of(call.call_id)) == 1


@pytest.mark.parametrize(("mode", "key"), [("never", ""), ("opt_in", "5"), ("opt_out", "2")])
@pytest.mark.parametrize("rogue", ["alarm", "stop"])
async def test_somebody_elses_monitor_on_a_call_that_is_not_recorded(
    scene: Scene, mode: str, key: str, rogue: str
) -> None:
    scene.house.policy = msgspec.structs.replace(scene.house.policy, mode=mode, rogue=rogue)
    call = await scene.call(key)
    assert call.outcome in ("not_recorded", "refused", "objected")
    name = scene.board.names[call.channel_uid]
    scene.board.variables[name, "MIXMONITOR_FILENAME"] = "/tmp/x.wav"
    scene.conductor.mending.rogue(call.channel_uid)
    await scene.quiet()
    assert '"watchdog.rogue_monitor"' in scene.alarms()
    assert scene.board.stopped == ([(name, "")] if rogue == "stop" else [])


async def test_somebody_elses_monitor_in_a_pause_starts_nothing_before_its_end(scene: Scene) -> None:
    scene.house.policy = msgspec.structs.replace(scene.house.policy, rogue="stop")
    call = await scene.call()
    first = await scene.with_agent(call)
    name = scene.board.names[call.channel_uid]
    await scene.speak(first)
    await scene.conductor.pause(call.call_id, AGENT)
    scene.board.variables[name, "MIXMONITOR_FILENAME"] = "/tmp/x.wav"
    scene.conductor.mending.rogue(call.channel_uid)
    await scene.quiet()
    assert (name, "") in scene.board.stopped
    assert scene.tape.live_of(call.call_id) == []
    scene.board.variables[name, "MIXMONITOR_FILENAME"] = ""
    await scene.conductor.resume(call.call_id, AGENT)
    await scene.quiet()
    assert len(scene.tape.live_of(call.call_id)) == 1


async def test_an_agents_basis_that_is_read_anew_counts_in_calls_that_go_on(scene: Scene) -> None:
    scene.house.policy = msgspec.structs.replace(scene.house.policy, standing_agents=True)
    call = await scene.call()
    recording_id = await scene.with_agent(call)
    assert scene.tape.paused == {recording_id}
    scene.standings["PJSIP/agent1"] = "standing"
    scene.conductor.judge_all()
    await scene.quiet()
    assert scene.tape.paused == set()
    scene.standings["PJSIP/agent1"] = "refused"
    scene.conductor.judge_all()
    await scene.quiet()
    assert scene.tape.paused == {recording_id}


async def test_an_incident_shreds_what_was_open(scene: Scene) -> None:
    call = await scene.call()
    recording_id = await scene.with_agent(call)
    done = await scene.conductor.incident(call.call_id, AGENT, 30)
    assert (done["did"], done["segments"]) == ("shredded", 1)
    assert scene.tape.log == [("shred", recording_id)]


async def test_memory_is_forgotten_with_the_withdrawal(scene: Scene) -> None:
    scene.house.policy = msgspec.structs.replace(scene.house.policy, remember=Period("P7D"))
    call = await scene.call()
    await scene.with_agent(call)
    remembered = "SELECT count(*) FROM answer WHERE revoked_at IS NULL"
    assert scene.house.rows(remembered) == [(1,)]
    await scene.board.press(call.channel_uid, "withdraw")
    await scene.quiet()
    assert scene.house.rows(remembered) == [(0,)]
