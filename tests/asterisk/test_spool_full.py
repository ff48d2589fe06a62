"""A capture spool that runs out of room, on a file system of its own that is small enough to fill."""

from __future__ import annotations

import asyncio
import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from rig import checker
from rig.phone import Phone
from rig.stack import Stack
from rig.tones import CALLER, tone
from tests.asterisk.live_kit import rows, until
from tests.asterisk.pause_kit import Talk
from tests.asterisk.report import add_line
from tests.asterisk.stacks import whole_stack
from tests.asterisk.transfer_kit import audio, seconds_of

pytestmark = [pytest.mark.asterisk, pytest.mark.timeout(240)]

#: Twice what the daemon keeps free on a file system this small, and a little: one buffer of 32 captures is 1 MiB.
SIZE_KIB, LEFT_KIB = 3072, 512
#: The promise, and what a loaded machine may add, seconds.
ALARM_S, LOAD_S = 5.0, 2.0


@pytest.fixture(scope="module")
def small() -> Iterator[tuple[Stack, Path]]:
    """A stack whose spool is a folder of a small tmpfs, and where ballast lies beside it: strangers in the spool go."""
    if os.geteuid() != 0:
        pytest.skip("only root can mount a small file system")
    with whole_stack("spoolfull") as stack:
        edge = stack.process("edge")
        assert edge is not None
        edge.stop()
        was, around = stack.spool.stat(), stack.memory / "small"
        around.mkdir(mode=0o755)
        size = f"size={SIZE_KIB}k,mode=0755"
        made = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", size, "tmpfs", str(around)], capture_output=True, text=True
        )
        if made.returncode != 0:
            pytest.skip(f"no file system can be mounted here: {made.stderr.strip()}")
        mounted = [around]
        try:
            spool = around / "spool"
            spool.mkdir()
            os.chown(spool, was.st_uid, was.st_gid)
            spool.chmod(was.st_mode & 0o7777)
            subprocess.run(["mount", "--bind", str(spool), str(stack.spool)], check=True)
            mounted.append(stack.spool)
            stack.start_edge()
            yield stack, around / "ballast"
        finally:
            for name in ("asterisk", "edge"):
                if (process := stack.process(name)) is not None:
                    process.stop()
            for place in reversed(mounted):
                subprocess.run(["umount", "-l", str(place)], check=False)


def fill(ballast: Path) -> None:
    """Everything but `LEFT_KIB`."""
    found = os.statvfs(ballast.parent)
    ballast.write_bytes(bytes(found.f_bavail * found.f_frsize - (LEFT_KIB << 10)))


def test_a_full_spool_takes_nothing_more_and_keeps_what_it_has(small: tuple[Stack, Path]) -> None:
    stack, ballast = small

    def alarms() -> int:
        return int(rows(stack, "SELECT count(*) FROM alarm WHERE code='spool.full'")[0][0])

    async def unasked(number: str) -> None:
        """Nobody is asked: the agent's high tones are heard at once."""
        caller = await Phone.dial(stack.pbx(), "1001", number=number, voice=tone(2300))
        await asyncio.sleep(2)
        assert stack.agent().dialled(number) is not None
        await caller.hang_up()

    async def all_of_it() -> tuple[Talk, Talk, float]:
        live = await Talk.begin(stack, 2301)
        assert alarms() == 0
        fill(ballast)
        began = time.time()
        await until("the alarm", alarms)
        took = time.time() - began
        said = await asyncio.to_thread(stack.callwarden, "status", "--json", check=False)
        assert "the capture spool has" in said.stdout, said.stdout
        assert not await asyncio.to_thread(stack.ready)
        await unasked("+420607002302")
        ballast.unlink()
        await until("room", stack.ready)
        after = await Talk.begin(stack, 2303)
        await asyncio.sleep(4)
        return live, after, took

    async def run() -> tuple[float, list[float]]:
        live, after, took = await all_of_it()
        calls = [live.call_id, after.call_id]
        for talk in (live, after):
            await talk.phone.hang_up()
        assert checker.wait_idle(stack.pbx())
        heard = []
        for talk, call in zip((live, after), calls, strict=True):
            row = await talk.until("SELECT recording_id FROM recording WHERE call_id=? AND state='sealed'", call)
            heard.append(seconds_of((await asyncio.to_thread(audio, stack, row[0]))[0], talk.voice, CALLER))
        return took, heard

    took, (live_s, after_s) = asyncio.run(run())
    add_line(
        f"spool.full: alarmed after {took:.1f} s; a live recording keeps its {live_s:.0f} s, a later one {after_s:.0f} s"
    )
    assert took < ALARM_S + LOAD_S
    assert live_s >= 14  # it ran on through all of it: the question of the later call alone takes five
    assert after_s >= 3
    tags = [r["userfield"] for r in checker.cdr_of(stack.pbx(), "+420607002302")]
    assert [t for t in tags if t.startswith("cw=unavailable")], tags
    assert alarms() == 2  # the spool's own, and that a call could not be asked for it
