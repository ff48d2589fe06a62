"""Pause and resume on a real Asterisk: nothing of the pause is kept, nothing before or after it is lost, on both sides."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Iterator

import pytest

from rig.agent import AGENT_VOICE
from rig.invariants import check as check_invariants
from rig.spool_watch import SpoolWatch
from rig.stack import Stack
from rig.tones import AGENT, CALLER
from tests.asterisk.pause_kit import Talk, skipped
from tests.asterisk.stacks import whole_stack

pytestmark = [pytest.mark.asterisk, pytest.mark.timeout(300)]


@pytest.fixture(scope="module", params=[False, True], ids=["Asterisk 22", "Asterisk 16"])
def stack(request: pytest.FixtureRequest) -> Iterator[Stack]:
    with whole_stack("pause", old=request.param) as running:
        yield running


async def test_nothing_of_a_pause_is_kept(stack: Stack) -> None:
    since = time.time() - 1
    with SpoolWatch(stack.spool) as watch:
        talk = await Talk.begin(stack, 11)
        assert len(os.listdir(stack.spool)) == (2 if stack.old else 1), "16 has no option D"
        await asyncio.sleep(4)
        await talk.pause(4)
        await asyncio.sleep(5)
        [(pcm, ends)] = await talk.over()
    assert ends == ["pause", "hangup"]
    [(began, ended)] = talk.paused
    for side, seed, band in ((0, 11, CALLER), (1, AGENT_VOICE, AGENT)):
        [gone] = skipped(pcm[:, side], seed, band)
        assert int(ended - began) - 1 <= gone <= int(ended - began) + 5, f"side {side}: {gone} s are gone"
    assert watch.oldest_s < 10
    assert check_invariants(stack, since=since, lines=("1001",)) == []


async def test_a_caller_hangs_up_in_a_pause(stack: Stack) -> None:
    talk = await Talk.begin(stack, 12)
    await asyncio.sleep(3)
    await talk.act("pause", talk.call_id)
    await asyncio.sleep(2)
    [(pcm, ends)] = await talk.over()
    assert ends == ["pause"]
    assert skipped(pcm[:, 0], 12, CALLER) == []
    assert os.listdir(stack.spool) == []


async def test_a_pause_outlives_the_daemon(stack: Stack) -> None:
    talk = await Talk.begin(stack, 13)
    await asyncio.sleep(3)
    await talk.act("pause", talk.call_id)
    began = time.time()
    running = stack.process("edge")
    assert running is not None
    running.stop()
    await asyncio.sleep(1)
    stack.start_edge()
    while time.time() < began + 6:
        assert not talk.in_the_clear(), "something of the pause is in the spool"
        await asyncio.sleep(0.2)
    await talk.act("resume", talk.call_id)
    await asyncio.sleep(4)
    [(pcm, ends)] = await talk.over()
    assert ends == ["pause", "hangup"]
    [gone] = skipped(pcm[:, 0], 13, CALLER)
    assert 4 <= gone <= 11


async def test_an_incident_takes_the_last_seconds(stack: Stack) -> None:
    since = time.time() - 1
    talk = await Talk.begin(stack, 14)
    await asyncio.sleep(3)
    await talk.act("incident", talk.call_id, "--seconds", "2")
    await asyncio.sleep(5)
    call = talk.call_id
    await talk.until("SELECT 1 FROM segment JOIN header USING(segment_id) JOIN recording USING(recording_id)"
                     " WHERE call_id=? AND segment.state='shredded' AND slot=0", call)  # fmt: skip
    [(pcm, _)] = await talk.over()
    assert 2 < len(pcm) / 8000 < 6
    assert skipped(pcm[:, 0], 14, CALLER) == []
    assert check_invariants(stack, since=since, lines=("1001",)) == []
