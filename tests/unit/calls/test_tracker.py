"""Calls across a restart, and sessions that are no new call."""

from __future__ import annotations

from collections.abc import AsyncIterator

import msgspec
import pytest

from edge.calls import errands
from edge.calls.conductor import Conductor
from edge.calls.tracker import Tracker
from edge.model.entities import CallRow
from edge.model.live import Actor
from tests.unit.calls.live_kit import Scene, open_scene


@pytest.fixture
async def scene(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Scene]:
    monkeypatch.setattr(errands, "COMPANY_S", 0.1)
    async with open_scene() as made:
        yield made


async def restarted(scene: Scene, call: CallRow, tag: str, monitor: str = "0x1") -> Tracker:
    """The next daemon, at its first link-up; `tag`: what the channel says."""
    name = scene.board.names[call.channel_uid]
    scene.board.variables |= {(name, "CALLWARDEN_OUTCOME"): tag, (name, "CALLWARDEN_MONITOR"): monitor}
    world = scene.conductor._world
    scene.conductor = scene.board.conductor = Conductor(world, scene.board, lambda _: "none")
    tracker = Tracker(world, scene.board, scene.conductor)
    await tracker.recover()
    tracker.link_up(dict(scene.board.names))
    scene.conductor.link_up(dict(scene.board.names))
    while tracker._tasks:
        await next(iter(tracker._tasks))
    await scene.quiet()
    return tracker


@pytest.mark.parametrize(
    ("mode", "basis", "outcome"),
    [
        ("opt_in", "consent", "given"),
        ("notice", "legitimate_interests", "notified"),
        ("obligation", "legal_obligation", "not_required"),
    ],
)
async def test_the_record_becomes_the_tag(scene: Scene, mode: str, basis: str, outcome: str) -> None:
    scene.house.policy = msgspec.structs.replace(
        scene.house.policy, mode=mode, basis=basis, basis_reference="x", header=True
    )
    call = await scene.call("1" if mode == "opt_in" else "")
    assert call.outcome == outcome
    await restarted(scene, call, "unavailable")
    tags = scene.board.set[scene.board.names[call.channel_uid]]
    assert tags["CALLWARDEN_OUTCOME"] == outcome
    assert tags["CALLWARDEN_RECORDING"] == call.recordings[0]
    assert tags["CDR(userfield)"] == f"cw={outcome};call={call.call_id}"
    assert tags["__CALLWARDEN_HEADER"] == f"{outcome};call={call.call_id}"
    assert list(tags)[-1] == "CALLWARDEN_OUTCOME"


async def test_a_permit_that_led_to_no_monitor_is_unavailable(scene: Scene) -> None:
    scene.house.policy = msgspec.structs.replace(
        scene.house.policy, mode="notice", basis="legitimate_interests", basis_reference="x"
    )
    call = await scene.call("")
    await restarted(scene, call, "unavailable", monitor="")
    assert scene.events(call)[-2:] == ["recording_failed", "unavailable"]
    assert (await scene.now(call.call_id)).outcome == "unavailable"


async def test_a_withdrawal_that_was_not_tagged(scene: Scene) -> None:
    call = await scene.call()
    scene.board.deaf.add(call.channel_uid)
    await scene.conductor.withdraw(call.call_id, Actor("supervisor", ""), "")
    await scene.quiet()
    scene.board.set.clear()
    await restarted(scene, call, "given")
    assert scene.board.set[scene.board.names[call.channel_uid]]["CALLWARDEN_OUTCOME"] == "withdrawn"


async def test_a_tag_that_is_right_is_left_alone(scene: Scene) -> None:
    call = await scene.call()
    await restarted(scene, call, "given")
    assert scene.board.set == {}


async def test_a_feature_code_is_no_new_call(scene: Scene) -> None:
    call = await scene.call()
    await scene.with_agent(call)
    talk = scene.board.talks[call.channel_uid] = type(await scene.board.press(call.channel_uid, "errand"))("1")
    talk.script, talk.feature, talk.channel_uid = "feature", "withdraw", call.channel_uid
    await scene.tracker.take(talk)
    await scene.quiet()
    assert len(scene.house.rows("SELECT * FROM call")) == 1
    assert (await scene.now(call.call_id)).outcome == "withdrawn"


async def test_a_withdrawal_that_the_dialplan_took(scene: Scene) -> None:
    call = await scene.call()
    name = scene.board.names[call.channel_uid]
    scene.board.variables["", f"CALLWARDEN_WITHDRAWN_{call.call_id}"] = "1700000000"
    await restarted(scene, call, "given")
    assert (await scene.now(call.call_id)).outcome == "withdrawn"
    body = scene.house.rows("SELECT evidence FROM consent_event WHERE kind='withdrawn'")[0][0]
    assert '"pressed_at":"2023-11-14T22:13:20.000Z"' in str(body).replace('": "', '":"')
    assert scene.board.set[""][f"CALLWARDEN_WITHDRAWN_{call.call_id}"] == ""
    assert scene.board.set[name]["CALLWARDEN_OUTCOME"] == "withdrawn"


async def test_a_withdrawal_that_the_dialplan_took_of_a_call_that_is_over(scene: Scene) -> None:
    """The mark outlives the channel."""
    call = await scene.call()
    name = scene.board.names[call.channel_uid]
    scene.board.variables["", f"CALLWARDEN_WITHDRAWN_{call.call_id}"] = "1700000000"
    del scene.board.names[call.channel_uid]
    world = scene.conductor._world
    scene.conductor = scene.board.conductor = Conductor(world, scene.board, lambda _: "none")
    tracker = Tracker(world, scene.board, scene.conductor)
    await tracker.recover()
    tracker.link_up({})
    while tracker._tasks:
        await next(iter(tracker._tasks))
    await scene.quiet()
    now = await scene.now(call.call_id)
    assert (now.state, now.outcome) == ("ended", "withdrawn")
    assert scene.board.set[""][f"CALLWARDEN_WITHDRAWN_{call.call_id}"] == ""
    assert name not in scene.board.set


async def test_a_capture_that_ended_without_a_mark_is_no_withdrawal(scene: Scene) -> None:
    call = await scene.call()
    scene.conductor.monitor_seen(call.channel_uid, False)
    await scene.quiet()
    assert (await scene.now(call.call_id)).outcome == "given"
    scene.board.variables["", f"CALLWARDEN_WITHDRAWN_{call.call_id}"] = "1700000000"
    scene.conductor.monitor_seen(call.channel_uid, False)
    await scene.quiet()
    assert (await scene.now(call.call_id)).outcome == "withdrawn"
