"""Rows 18 and 19: Asterisk is killed with -9 in the middle of a recorded call, five times on the real server.

Everything that it had written is sealed, to the byte, without a second missing, and what is lost is at most what it still had
in its stdio buffer; the daemon closes the recording by itself and takes the next call when the server is back.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import time
from collections.abc import Iterator

import pytest

from rig.stack import Stack
from rig.tones import CALLER, check, listen
from tests.asterisk.pause_kit import Talk
from tests.asterisk.stacks import whole_stack

pytestmark = [pytest.mark.asterisk, pytest.mark.crash, pytest.mark.timeout(400)]

KILLS = 5
RATE, FRAME = 8000, 4
#: Asterisk writes through a stdio buffer of 32 KiB (asterisk main/mixmonitor: ast_filestream, `setvbuf`), seconds of sound.
BUFFER_S = 32768 / (RATE * FRAME)
#: Frames of 20 ms on their way, and what this machine's clock and the loop add.
SLACK_S = 0.5


@pytest.fixture(scope="module")
def stack() -> Iterator[Stack]:
    with whole_stack("asterisk-killed") as running:
        yield running


async def test_row_18_what_asterisk_wrote_is_kept(stack: Stack) -> None:
    rng = random.Random(18)
    for number in range(KILLS):
        talk = await Talk.begin(stack, 60 + number)
        call, began = talk.call_id, time.monotonic()
        await asyncio.sleep(rng.uniform(2.5, 6.0))
        asterisk = stack.process("asterisk")
        assert asterisk is not None
        asterisk.kill()
        lived = time.monotonic() - began
        [name] = [path for path in stack.spool.iterdir() if path.is_file()]
        written = os.stat(name).st_size
        with contextlib.suppress(Exception):  # nobody answers its goodbye
            await asyncio.wait_for(talk.phone.hang_up(), 3)
        await talk.until("SELECT 1 FROM recording WHERE call_id=? AND state='sealed'", call, within=40)
        stack.up()
        await talk.until("SELECT 1 FROM call WHERE call_id=? AND state='ended'", call, within=40)
        [(pcm, _)] = await talk.heard(call)
        assert len(pcm) * FRAME == written - written % FRAME, "every byte that Asterisk wrote, and no other"
        lost = lived - len(pcm) / RATE
        assert lost <= BUFFER_S + SLACK_S, f"{lost:.2f} s are lost, one buffer is {BUFFER_S:.2f} s"
        verdict = check(listen(pcm[:, 0], CALLER), talk.voice, CALLER)
        assert verdict.faults == (), verdict
        assert os.listdir(stack.spool) == []
