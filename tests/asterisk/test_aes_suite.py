"""A real call sealed with `aes256gcm`: paused, its daemon killed in the middle, exported, and heard whole."""

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
from tests.asterisk.live_kit import rows
from tests.asterisk.pause_kit import Talk, skipped
from tests.asterisk.stacks import whole_stack

pytestmark = [pytest.mark.asterisk, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def stack() -> Iterator[Stack]:
    with whole_stack("aes") as running:
        yield running


async def test_a_call_through_a_pause_and_a_killed_daemon(stack: Stack) -> None:
    since = time.time() - 1
    with SpoolWatch(stack.spool) as watch:
        talk = await Talk.begin(stack, 21, "1050")
        await asyncio.sleep(5)
        await talk.pause(3)
        await asyncio.sleep(5)
    assert watch.most_bytes < 256 * 1024
    assert watch.oldest_s < 10
    assert os.listdir(stack.memory / "resume") == [], "a key that never resumes lies nowhere outside the process"
    edge = stack.process("edge")
    assert edge is not None
    await asyncio.to_thread(edge.kill)  # the caller's phone speaks from this loop: nothing may block it
    await asyncio.sleep(1)
    await asyncio.to_thread(stack.start_edge)
    await asyncio.sleep(5)
    call = talk.call_id
    heard = await talk.over()
    flags = rows(stack, "SELECT flag, detail FROM recording_flag")
    assert len(heard) == 1, ([ends for _, ends in heard], flags)
    [(pcm, ends)] = heard
    assert ends == ["pause", "resume_refused", "hangup"]
    places = rows(stack, "SELECT spool_offset, plain_bytes FROM segment JOIN recording USING(recording_id)"
                  " WHERE call_id=? ORDER BY number", call)  # fmt: skip
    assert places[1][0] + places[1][1] == places[2][0], "the new segment begins at the next byte"
    for side, seed, band in ((0, 21, CALLER), (1, AGENT_VOICE, AGENT)):
        gone = skipped(pcm[:, side], seed, band)
        assert 2 <= max(gone) <= 8, f"side {side}: the pause is gone"
        assert sum(gone) - max(gone) <= 1, f"side {side}: nothing else is gone: {gone}"
    (recording,) = (r for r in stack.read("recordings") if r["call_id"] == call)
    assert (recording["suite"], len(recording["segments"])) == ("aes256gcm", 3)
    raw = stack.callwarden(
        "export", recording["recording_id"], "--raw-age", "-o", str(stack.memory / "x.age"), check=False
    )
    assert (raw.returncode, "command.suite" in raw.stderr) == (6, True)
    assert check_invariants(stack, since=since, lines=("1050",)) == []
