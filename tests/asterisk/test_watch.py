"""The coverage watchdog on a real Asterisk: a side that falls silent to the bit, a monitor nobody ordered, a planted file."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from contextlib import closing

import pytest

from rig.invariants import snapshot
from rig.stack import Stack
from tests.asterisk.pause_kit import Talk
from tests.asterisk.report import add_line
from tests.asterisk.stacks import whole_stack

pytestmark = [pytest.mark.asterisk, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def stack() -> Iterator[Stack]:
    with whole_stack("watch") as running:
        yield running


async def test_a_silent_side_is_noticed(stack: Stack) -> None:
    talk = await Talk.begin(stack, 21)
    await asyncio.sleep(3)
    assert "one side is silent" not in (stack.run / "edge.out").read_text()
    talk.phone.muted = True  # not a packet more
    fell = time.time()
    while "one side is silent" not in (stack.run / "edge.out").read_text():
        assert time.time() < fell + 30
        await asyncio.sleep(0.05)
    add_line(f"a side that falls silent to the bit is noticed after {time.time() - fell:.1f} s")
    flagged = (
        "SELECT detail FROM recording_flag JOIN recording USING(recording_id) WHERE call_id=? AND flag='one_sided'"
    )
    assert (await talk.until(flagged, talk.call_id))[0] == "caller"
    await talk.phone.hang_up()


async def test_a_monitor_that_nobody_ordered_is_alarmed(stack: Stack) -> None:
    talk = await Talk.begin(stack, 22)
    pbx = stack.pbx()
    channel = next(line.split()[0] for line in pbx.cli("core show channels concise").replace("!", " ").splitlines()
                   if talk.phone.number in line)  # fmt: skip
    began = time.time()
    pbx.cli(f"mixmonitor start {channel} {stack.memory}/rogue.raw")
    await talk.until("SELECT 1 FROM alarm WHERE code='watchdog.rogue_monitor' AND ?<>''", channel)
    add_line(f"a monitor that nobody ordered is alarmed after {time.time() - began:.1f} s")
    await talk.phone.hang_up()


async def test_a_planted_file_goes_at_once(stack: Stack) -> None:
    talk = await Talk.begin(stack, 23)
    planted = stack.spool / "planted.raw"
    planted.write_bytes(b"speech")
    began = time.time()
    while planted.exists():
        assert time.time() < began + 30
        await asyncio.sleep(0.05)
    add_line(f"a file that no recording owns is gone after {time.time() - began:.1f} s")
    await talk.until("SELECT 1 FROM alarm WHERE code='spool.orphan' AND place=?", planted.name)
    await talk.phone.hang_up()


async def test_a_recording_that_somebody_else_stops_is_noticed(stack: Stack) -> None:
    talk = await Talk.begin(stack, 24)
    pbx = stack.pbx()
    channel = next(line.split()[0] for line in pbx.cli("core show channels concise").replace("!", " ").splitlines()
                   if talk.phone.number in line)  # fmt: skip
    await asyncio.sleep(2)
    began = time.time()
    pbx.cli(f"mixmonitor stop {channel}")
    await talk.until("SELECT 1 FROM alarm WHERE code='recording.failed' AND place=?", talk.call_id)
    add_line(f"a recording that somebody else stops in mid-call is alarmed after {time.time() - began:.1f} s")
    await talk.until("SELECT 1 FROM consent_event WHERE kind='recording_failed' AND call_id=?", talk.call_id)
    flagged = "SELECT 1 FROM recording_flag JOIN recording USING(recording_id) WHERE call_id=? AND flag='gap'"
    await talk.until(flagged, talk.call_id)
    await talk.phone.hang_up()


async def test_a_hang_up_is_no_gap(stack: Stack) -> None:
    talk = await Talk.begin(stack, 25)
    call = talk.call_id
    await asyncio.sleep(2)
    await talk.phone.hang_up()
    await talk.until("SELECT 1 FROM recording WHERE call_id=? AND state='sealed'", call)
    with closing(snapshot(stack.journal)) as conn:
        kinds = [row[0] for row in conn.execute("SELECT kind FROM consent_event WHERE call_id=? ORDER BY seq", (call,))]
    assert kinds[-1] == "given"
