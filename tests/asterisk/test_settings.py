"""Settings that only a real call can show: each has a policy of its own here, and all its calls run side by side."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from rig import checker
from rig.ami_watch import AmiWatch
from rig.desk_phone import DeskPhone
from rig.phone import Phone
from rig.stack import Stack
from rig.tones import AGENT, CALLER, RATE, check, listen, tone
from tests.asterisk.live_kit import rows, until
from tests.asterisk.report import add_line
from tests.asterisk.stacks import own_policies, whole_stack
from tests.asterisk.transfer_kit import Desk, Talk, audio, channel_of, read

pytestmark = [pytest.mark.asterisk, pytest.mark.timeout(240)]

#: What a loaded machine may add to a promise in seconds.
LOAD_S = 2.0
#: Hz under which nobody's tone of these tests lies but the callers' own: prompts and beeps, as a caller hears them.
SPEECH_HZ = (250, 1500)
NEVER = "+420608999111"
NEVER_OUTSIDE = "777999888"

EXTRA = "".join(
    f"exten => {number},1,Gosub(callwarden,s,1({policy}))\n same => n,Dial(PJSIP/agent1,30,tk)\n same => n,Hangup()\n"
    for number, policy in (("1071", "staff"), ("1072", "plain"), ("1073", "contract"), ("555100200", "czech"))
)


def policy(name: str, more: str, *, mode: str = "obligation", basis: str = "legal_obligation") -> str:
    """What is not about the question asks none: a mandated recording begins at once."""
    reference = "" if basis == "consent" else 'basis_reference = "balancing test of 2026-03-02"\n'
    return (
        f'[policy.{name}]\nmode = "{mode}"\njurisdiction = "CZ"\nbasis = "{basis}"\n{reference}'
        f'purposes = ["quality", "evidence"]\nlanguages = ["en", "cs"]\n{more}\n'
    )


POLICIES = {
    "plain": policy("plain", ""),
    "beeps": policy("beeps", 'beep = "5s"'),
    "stops": policy("stops", 'rogue = "stop"'),
    "tells": policy("tells", 'on_failure_midcall = "announce"'),
    "ends": policy("ends", 'on_failure_midcall = "hang_up"'),
    "staff": policy("staff", "standing_agents = true", mode="notice", basis="legitimate_interests"),
    "contract": policy("contract", 'contract_withdraw = "note"', mode="notice", basis="contract"),
    "czech": policy("czech", 'language_did = { "555100200" = "cs" }', mode="opt_in", basis="consent"),
    "agents": '[agents.two]\ndevice = "PJSIP/agent2"\nbasis = "contract"\nreference = "works agreement of 2026-01-15"\n',
}


@dataclass
class Scene:
    """What the calls share."""

    stack: Stack
    desk: Desk
    trunk: DeskPhone
    watch: AmiWatch

    async def call(self, ext: str, voice: int, number: str = "") -> Talk:
        number = number or f"+420606{voice:06d}"
        return Talk(number, voice, await Phone.dial(self.stack.pbx(), ext, number=number, voice=tone(voice)))

    async def recording(self, talk: Talk) -> str:
        """The id of the call, once its recording is seen to grow."""
        query = (
            "SELECT call_id FROM recording JOIN call USING(call_id) JOIN party USING(call_id)"
            " WHERE number_heard=? AND recording.state='recording'"
        )
        found = await until("the recording", lambda: rows(self.stack, query, talk.number))
        return str(found[0][0])

    def cli(self, words: str) -> Awaitable[str]:
        return asyncio.to_thread(self.stack.pbx().cli, words)


def loud_from(phone: Phone, since: float = 0.0) -> list[float]:
    """Unix times at which sound in the band of speech began, after a second without any."""
    low, high = SPEECH_HZ
    begins, last = [], 0.0
    for at, pcm in phone.heard:
        power = np.abs(np.fft.rfft(pcm.astype(np.float64) * np.hanning(len(pcm)))) / len(pcm)
        hertz = np.fft.rfftfreq(len(pcm), 1 / RATE)
        if at >= since and power[(hertz > low) & (hertz < high)].max() > 100:
            if at - last > 1:
                begins.append(at)
            last = at
    return begins


# ---------------------------------------------------------------- what happens


async def beeps(scene: Scene) -> Any:
    talk = await scene.call("policy-beeps", 2001)
    await scene.recording(talk)
    began = time.time() + 1
    await asyncio.sleep(18)
    await talk.caller.hang_up()
    return loud_from(talk.caller, began)


async def agents_without_basis(scene: Scene) -> Any:
    talk = await scene.call("1071", 2002)
    talk.first = await scene.desk.pick_up(scene.desk.one, talk.number)
    query = "SELECT recording.state FROM recording JOIN party USING(call_id) WHERE number_heard=? AND recording.state='paused'"
    await until("the pause", lambda: rows(scene.stack, query, talk.number))
    await asyncio.sleep(3)
    assert await talk.first.refer("202") == 202
    talk.second = await scene.desk.pick_up(scene.desk.two, talk.number)
    await scene.recording(talk)
    await asyncio.sleep(6)
    await talk.caller.hang_up()
    return talk


async def never_calls(scene: Scene) -> Any:
    dialling = asyncio.create_task(scene.call("1072", 2003, NEVER))  # answered by nobody but the agent
    await scene.desk.pick_up(scene.desk.one, NEVER)
    talk = await dialling
    await asyncio.sleep(2)
    await talk.caller.hang_up()
    return talk


async def never_joins(scene: Scene) -> Any:
    talk = await scene.call("1072", 2004)
    talk.first = await scene.desk.pick_up(scene.desk.one, talk.number)
    await scene.recording(talk)
    await asyncio.sleep(4)
    assert await talk.first.refer(f"8{NEVER_OUTSIDE}") == 202
    await scene.trunk.pick_up(30)
    query = "SELECT 1 FROM pause JOIN party USING(call_id) WHERE number_heard=? AND reason='party' AND ended_at IS NULL"
    await until("the pause", lambda: rows(scene.stack, query, talk.number))
    await asyncio.sleep(3)
    await talk.caller.hang_up()
    return talk


async def czech_number(scene: Scene) -> Any:
    talk = await scene.call("555100200", 2005)
    await talk.caller.hear(20)
    await asyncio.sleep(2)
    await talk.caller.hang_up()
    return talk


async def foreign_monitor(scene: Scene) -> Any:
    talk = await scene.call("policy-stops", 2006)
    await scene.recording(talk)
    await asyncio.sleep(3)
    channel = channel_of(scene.watch, talk.number)

    def seen(event: str) -> int:
        return sum(e.get("Event") == event and e.get("Channel") == channel for e in list(scene.watch.events))

    file = scene.stack.pbx_run / "monitor" / "foreign.raw"
    scene.watch.action("MixMonitor", Channel=channel, File=str(file))
    await until("the foreign monitor", lambda: seen("MixMonitorStart") >= 2)
    began = time.time()
    await until("both monitors stopped", lambda: seen("MixMonitorStop") >= 2)
    stopped = time.time()
    await until("our own again", lambda: seen("MixMonitorStart") >= 3)
    await asyncio.sleep(1)
    size = file.stat().st_size
    await asyncio.sleep(5)
    grew = file.stat().st_size - size
    await talk.caller.hang_up()
    return talk, stopped - began, grew


async def broken(scene: Scene, ext: str, voice: int) -> tuple[Talk, float]:
    """A recording whose monitor somebody stops."""
    talk = await scene.call(ext, voice)
    await scene.recording(talk)
    await asyncio.sleep(3)
    at = time.time()
    await scene.cli(f"mixmonitor stop {channel_of(scene.watch, talk.number)}")
    return talk, at


async def fails_and_tells(scene: Scene) -> Any:
    talk, at = await broken(scene, "policy-tells", 2007)
    await until("the announcement", lambda: loud_from(talk.caller, at))
    await asyncio.sleep(8)
    ended = talk.caller.ended_by
    await talk.caller.hang_up()
    tail = np.concatenate([pcm for when, pcm in talk.caller.heard if when > talk.caller.ended_at - 2])  # type: ignore[operator]
    return talk, ended, sum(h.seconds for h in listen(tail, AGENT))


async def fails_and_ends(scene: Scene) -> Any:
    talk, at = await broken(scene, "policy-ends", 2008)
    await talk.caller.ended(30)
    return talk, talk.caller.ended_by, loud_from(talk.caller, at)


async def contract_objection(scene: Scene) -> Any:
    talk = await scene.call("1073", 2009)
    talk.first = await scene.desk.pick_up(scene.desk.one, talk.number, 60)
    call_id = await scene.recording(talk)
    await asyncio.sleep(2)
    for key in "*9":
        await talk.caller.press(key)
        await asyncio.sleep(0.1)
    query = "SELECT 1 FROM consent_event WHERE call_id=? AND kind='objection_noted'"
    await until("the objection", lambda: rows(scene.stack, query, call_id))
    await asyncio.sleep(7)
    await talk.caller.hang_up()
    return talk


SCENES: tuple[Callable[[Scene], Awaitable[Any]], ...] = (
    beeps, agents_without_basis, never_calls, never_joins, czech_number, foreign_monitor, fails_and_tells,
    fails_and_ends, contract_objection,
)  # fmt: skip


@pytest.fixture(scope="module")
def stack() -> Iterator[Stack]:
    with whole_stack("settings", extra=EXTRA) as running:
        telephony = running.etc / "conf.d" / "telephony.toml"
        lists = f'prefixes = ["8", "9"]\nnever_numbers = ["{NEVER}", "{NEVER_OUTSIDE}"]\n'
        telephony.write_text(telephony.read_text() + lists)
        own_policies(running, POLICIES)
        yield running


@pytest.fixture(scope="module")
def happened(stack: Stack) -> dict[str, Any]:
    """What each scene returned or raised."""

    async def all_of_them() -> list[Any]:
        pbx = stack.pbx()
        trunk = DeskPhone(pbx.sip_port, "trunk2", pbx.peers["trunk2"], tone(2100, CALLER))
        with AmiWatch(pbx) as watch:
            async with Desk(stack) as desk, trunk:
                scene = Scene(stack, desk, trunk, watch)
                return await asyncio.gather(*(play(scene) for play in SCENES), return_exceptions=True)

    results = asyncio.run(all_of_them())
    assert checker.wait_idle(stack.pbx(), 30)
    return {play.__name__: result for play, result in zip(SCENES, results, strict=True)}


def of(happened: dict[str, Any], play: Callable[[Scene], Awaitable[Any]]) -> Any:
    found = happened[play.__name__]
    if isinstance(found, BaseException):
        raise found
    return found


def events(stack: Stack, talk: Talk) -> list[dict[str, Any]]:
    """Of the call that Asterisk's record names: the number of one that is not recorded is not stored."""
    tags = {r["userfield"].partition("call=")[2] for r in checker.cdr_of(stack.pbx(), talk.number)} - {""}
    assert len(tags) == 1, tags
    found: list[dict[str, Any]] = stack.read("why", tags.pop())["events"]
    return found


# ---------------------------------------------------------------- what must come of it


def test_a_beep_every_five_seconds(happened: dict[str, Any]) -> None:
    at = of(happened, beeps)
    apart = [round(b - a, 2) for a, b in itertools.pairwise(at)]
    add_line(f"beep of 5 s: heard by the caller {apart} s apart")
    assert len(at) >= 3
    assert all(4 <= gap <= 6 for gap in apart), apart


def test_an_agent_without_a_basis_is_not_recorded(stack: Stack, happened: dict[str, Any]) -> None:
    talk = read(stack, of(happened, agents_without_basis))
    assert talk.call["outcome"] == "notified"
    assert talk.first_s == 0, (talk.caller_s, talk.first_s, talk.second_s)
    assert talk.second_s >= 3 or "one_sided" in talk.flags, (talk.caller_s, talk.second_s, talk.flags)


def test_a_number_that_is_never_recorded_calls(stack: Stack, happened: dict[str, Any]) -> None:
    talk = of(happened, never_calls)
    [decision] = events(stack, talk)
    assert (decision["kind"], decision["evidence"]["reason"]) == ("not_recorded", "never_number")


def test_a_number_that_is_never_recorded_is_joined(stack: Stack, happened: dict[str, Any]) -> None:
    talk = read(stack, of(happened, never_joins))
    assert talk.first_s >= 2
    for recording_id in talk.call["recordings"]:
        theirs = [h for h in listen(audio(stack, recording_id)[1], CALLER) if h.seconds > 0.3]
        assert check(theirs, 2100, CALLER).seconds == 0, theirs


def test_a_number_that_is_answered_in_czech(stack: Stack, happened: dict[str, Any]) -> None:
    last = events(stack, of(happened, czech_number))[-1]
    assert (last["kind"], last["evidence"]["language"]) == ("abandoned", "cs")


def test_a_foreign_monitor_is_stopped_and_ours_goes_on(stack: Stack, happened: dict[str, Any]) -> None:
    talk, took, grew = of(happened, foreign_monitor)
    add_line(f"rogue = stop: a monitor that nobody permitted is stopped {took:.1f} s after its event")
    assert took < 3 + LOAD_S
    assert grew == 0
    talk = read(stack, talk)
    assert "rogue_monitor" in talk.flags
    assert len(talk.call["recordings"]) == 2
    assert talk.caller_s >= 6
    assert rows(stack, "SELECT 1 FROM alarm WHERE code='watchdog.rogue_monitor'")


@pytest.mark.parametrize("play", [fails_and_tells, fails_and_ends], ids=["announce", "hang_up"])
def test_a_recording_that_breaks_in_mid_call(
    play: Callable[[Scene], Awaitable[Any]], stack: Stack, happened: dict[str, Any]
) -> None:
    talk, ended_by, heard = of(happened, play)
    assert heard, "the caller is told, and after an announcement hears the agent again"
    assert ended_by == ("" if play is fails_and_tells else "pbx")
    read(stack, talk)
    assert "gap" in talk.flags
    assert "recording_failed" in [e["kind"] for e in events(stack, talk)]


def test_an_objection_against_a_contract_is_noted(stack: Stack, happened: dict[str, Any]) -> None:
    talk = read(stack, of(happened, contract_objection))
    assert talk.call["outcome"] == "notified"
    assert [e["kind"] for e in events(stack, talk)][-1] == "objection_noted"
    assert talk.caller_s >= 7  # two seconds before it, what is said to the caller, and on
