"""The rig by itself: ten callers reach the agent with no Callwarden at all, and both sides are heard."""

from __future__ import annotations

import asyncio
import wave
from pathlib import Path

import numpy as np
import pytest

from rig.agent import AGENT_VOICE, Line, start_agent
from rig.asterisk import start_asterisk
from rig.callers import place_call, place_many
from rig.checker import agent_dialled_at, cdr_of, channels, complaints, outcome, wait_idle
from rig.pbx_dialplan import DialplanSettings
from rig.scenarios import Press, Wait
from rig.tones import AGENT, CALLER, check, listen, speaker

pytestmark = pytest.mark.asterisk


async def test_ten_callers_reach_the_agent(line: Line) -> None:
    results = await asyncio.gather(
        *(place_call(line.pbx, "1000", behaviour="silent", prompt_s=0, seconds=3) for _ in range(10))
    )
    assert len({result.number for result in results}) == 10
    for result in results:
        assert result.exit_code == 0, result.errors
        assert result.ended_by == "caller"
        assert 2.9 < result.talked < 4
        got = line.agent.dialled(result.number)
        assert got is not None
        assert got.dialled - result.invited < 1
        noted = agent_dialled_at(line.pbx, result.number)
        assert noted is not None
        assert abs(noted - got.dialled) < 0.5
        [record] = cdr_of(line.pbx, result.number)
        assert record["disposition"] == "ANSWERED"
        assert outcome(record) == ""
    assert wait_idle(line.pbx)
    assert channels(line.pbx) == 0


async def test_both_voices_are_heard_in_a_mono_recording(line: Line) -> None:
    results = await asyncio.gather(
        *(place_call(line.pbx, "1008", behaviour="silent", prompt_s=0, seconds=6) for _ in range(3))
    )
    for result in results:
        [record] = cdr_of(line.pbx, result.number)
        with wave.open(str(line.pbx.monitor / f"{record['uniqueid']}.wav")) as file:
            pcm = np.frombuffer(file.readframes(file.getnframes()), dtype=np.int16)
        mine = check(listen(pcm, CALLER), result.voice, CALLER)
        assert mine.clean, mine
        assert mine.seconds >= 6
        agents = check(listen(pcm, AGENT), AGENT_VOICE, AGENT)
        assert agents.clean, agents
        assert agents.seconds >= 6
        assert speaker(pcm, [r.voice for r in results], CALLER) == result.voice


async def test_two_channels_hold_one_voice_each(line: Line) -> None:
    result = await place_call(line.pbx, "1018", behaviour="silent", prompt_s=0, seconds=4, law="alaw")
    [record] = cdr_of(line.pbx, result.number)
    pcm = np.fromfile(line.pbx.monitor / f"{record['uniqueid']}.raw", dtype=np.int16)
    caller, agent = pcm[::2], pcm[1::2]
    assert check(listen(caller, CALLER), result.voice, CALLER).clean
    assert listen(caller, AGENT) == []
    assert check(listen(agent, AGENT), AGENT_VOICE, AGENT).clean
    assert listen(agent, CALLER) == []


async def test_hostile_names_and_numbers_arrive_raw(line: Line) -> None:
    number = "../a,b c$(id)${SHELL(id)}'%^{X}"
    result = await place_call(line.pbx, "1000", behaviour="hang_up", prompt_s=0.5, number=number, name='x";y;\\')
    assert result.exit_code == 0, result.errors
    [record] = cdr_of(line.pbx, number)
    assert record["src"] == number
    await place_call(line.pbx, "1000", behaviour="hang_up", prompt_s=0.5, number="77;user=phone")
    assert cdr_of(line.pbx, "77"), "Asterisk cuts a number at a semicolon"


async def test_a_key_is_heard(rig_folder: Path) -> None:
    run = rig_folder / "keys"
    heard = (
        "exten => keys,1,Answer()\n same => n,Read(K,,1,,1,5)\n"
        " same => n,Set(CDR(userfield)=key ${K})\n same => n,Hangup()\n"
    )
    pbx = start_asterisk(run, dialplan=DialplanSettings(run / "monitor", extra=heard))
    try:
        for key in "1*":
            result = await place_call(pbx, "keys", steps=[Wait(500), Press(key), Wait(8000)])
            assert result.exit_code == 0, result.errors
            assert result.ended_by == "pbx"
            assert result.talked < 3
            [record] = cdr_of(pbx, result.number)
            assert record["userfield"] == f"key {key}"
        refused = await place_call(pbx, "nowhere", behaviour="silent")
        assert refused.refused == 404
        assert refused.answered is None
    finally:
        pbx.stop()
    assert not pbx.process.alive


async def test_an_agent_may_leave_first(rig_folder: Path) -> None:
    pbx = start_asterisk(rig_folder / "leaving")
    agent = start_agent(pbx, leave_after_ms=1000)
    try:
        result = await place_call(pbx, "1000", behaviour="silent", prompt_s=0, seconds=20)
        assert result.ended_by == "pbx"
        assert 0.8 < result.talked < 3
    finally:
        agent.stop()
        pbx.stop()


async def test_calls_at_a_rate_all_arrive(line: Line) -> None:
    results = await place_many(line.pbx, "1000", calls=20, rate=10, seconds=2, prompt_s=0, behaviour="silent")
    assert len(results) == 20
    assert [r.errors for r in results if r.exit_code] == []
    assert all(line.agent.dialled(r.number) for r in results)
    assert wait_idle(line.pbx)


async def test_a_call_through_the_snippet_goes_on_without_a_daemon(line: Line) -> None:
    result = await place_call(line.pbx, "1001", behaviour="silent", prompt_s=0, seconds=1)
    assert result.exit_code == 0, result.errors
    got = line.agent.dialled(result.number)
    assert got is not None
    assert got.dialled - result.invited < 1
    [record] = cdr_of(line.pbx, result.number)
    assert outcome(record) == "unavailable"


def test_asterisk_has_nothing_to_complain_of(line: Line) -> None:
    # Where no daemon listens the snippet's AGI fails, and Asterisk rightly says so.
    assert [line_ for line_ in complaints(line.pbx) if "FastAGI" not in line_ and "res_agi" not in line_] == []
