"""An incident: segments are destroyed, the recording goes on, its manifest stays true."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from edge.errors import CallwardenError
from edge.recorder.muting import FRAMES
from edge.retention.incidents import Incidents
from edge.retention.means import Means
from formats.keyset import KeySet, entry
from formats.manifest import verify_manifest
from tests.crash import capture_child as child
from tests.unit.recorder.line import FRAME
from tests.unit.recorder.test_pause import Paused, disk, patient

__all__ = ["disk", "patient"]


class Keeper:
    """Central's keeper: unreachable until `there`."""

    there = False

    def __init__(self) -> None:
        self.gone: list[str] = []

    async def shred_keys(self, recording_id: str, key_ids: Sequence[str]) -> Mapping[str, Any]:
        if not self.there:
            raise CallwardenError("sync.unreachable", "central does not answer", retryable=True)
        self.gone += key_ids
        return {}


def ago(seconds: float) -> str:
    return (datetime.now(UTC) - timedelta(seconds=seconds)).isoformat(timespec="milliseconds").replace("+00:00", "Z")


async def finished(patient: Paused, keeper: Keeper) -> None:
    worker = ThreadPoolExecutor(1)
    means = SimpleNamespace(
        journal=patient.journal, slots=patient.slots, vault=patient.vault, keeper=keeper,
        in_worker=lambda work: asyncio.get_running_loop().run_in_executor(worker, work),
    )  # fmt: skip
    await Incidents(cast(Means, means)).once()
    worker.shutdown()


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.02)


def segments(state: Path) -> list[tuple[str, int, str]]:
    with sqlite3.connect(state / "journal.db") as conn:
        return conn.execute(
            "SELECT state, slot, segment_id FROM segment JOIN header USING(segment_id) ORDER BY number"
        ).fetchall()


async def test_an_incident_takes_what_was_open_and_no_more(patient: Paused) -> None:
    rid = patient.capture.recording_id
    async with patient.talking():
        await asyncio.sleep(0.2)
        await patient.recorder.pause(rid)
        kept_before = patient.line.said
        await asyncio.sleep(0.15)  # closed before what went wrong
        await patient.recorder.resume(rid)
        heard = len(patient.line.said)
        await until(lambda: len(patient.line.said) > heard + 20 * FRAME and segments(patient.state)[-1][0] == "open")
        before = len(patient.line.said)
        assert await patient.recorder.shred_segment(rid, since=ago(0.05)) == 1
        known = len(patient.line.said)
        await asyncio.sleep(1.0)
    keeper = Keeper()
    with pytest.raises(CallwardenError):
        await finish_when_reported(patient, keeper)
    assert [s for s, slot, _ in segments(patient.state) if s == "shredded" and slot] != []
    keeper.there = True
    await finished(patient, keeper)
    rows = segments(patient.state)
    assert [r[0] for r in rows] == ["closed", "shredded", "open"]
    assert len(keeper.gone) == 1
    assert rows[1][1] == 0
    assert patient.vault.length(rid, rows[1][2]) == 0
    assert patient.flags() == ["incident"]
    patient.line.hang_up()
    patient.recorder.link_up({})
    await asyncio.wait_for(patient.capture.done.wait(), 20)
    patient.running.cancel()
    row = await patient.journal.recording(rid)
    assert row is not None
    assert row.manifest is not None
    keys = KeySet.of([entry(child.KEY.verify_key, "edge", "test", edge_id=child.EDGE_ID)])
    manifest = verify_manifest(row.manifest, keys)
    assert [s.state for s in manifest.segments] == ["closed", "shredded", "closed"]
    assert manifest.segments[0].plain_bytes == len(kept_before)
    said = patient.line.said
    # The cut lies somewhere in the call of shred_segment.
    least = len(said) - known - patient.buffer - (FRAMES + 5) * FRAME
    assert least <= manifest.segments[2].plain_bytes <= len(said) - before


async def finish_when_reported(patient: Paused, keeper: Keeper) -> None:
    """Central has heard of everything, and does not answer the keeper's question."""
    rows = await patient.journal.outbox(1000)
    await patient.journal.prune(rows[-1].seq)
    await finished(patient, keeper)


async def test_nothing_is_asked_of_the_keeper_while_the_key_may_be_on_its_way(patient: Paused) -> None:
    rid = patient.capture.recording_id
    async with patient.talking():
        await asyncio.sleep(0.3)
        await patient.recorder.shred_segment(rid, since=ago(5))
    keeper = Keeper()
    keeper.there = True
    await finished(patient, keeper)
    assert keeper.gone == []
    assert len(await patient.journal.shredding()) == 1
    await finish_when_reported(patient, keeper)
    assert len(keeper.gone) == 1
    assert await patient.journal.shredding() == []


async def test_an_incident_in_a_pause(patient: Paused) -> None:
    rid = patient.capture.recording_id
    async with patient.talking():
        await asyncio.sleep(0.2)
        await patient.recorder.pause(rid)
        assert await patient.recorder.shred_segment(rid, since=ago(5)) == 1
        begun = len(patient.line.said)
        await patient.recorder.resume(rid)
        await asyncio.sleep(0.3)
    patient.line.hang_up()
    patient.recorder.link_up({})
    await asyncio.wait_for(patient.capture.done.wait(), 20)
    patient.running.cancel()
    row = await patient.journal.recording(rid)
    assert row is not None
    assert [s.state for s in row.segments] == ["shredded", "closed"]
    assert row.segments[1].plain_bytes == len(patient.line.said) - begun


async def test_what_was_in_asterisks_buffer_goes_too(patient: Paused) -> None:
    rid = patient.capture.recording_id
    patient.line.talk(80)
    await asyncio.sleep(0.3)
    await patient.recorder.shred_segment(rid, since=ago(5))
    assert not patient.clear()
    patient.line.talk(140)
    await asyncio.sleep(0.4)
    size = len(patient.line.said) // patient.buffer * patient.buffer
    left = patient.tools.spool.read(patient.capture.spool_name, 0, size)
    assert len(left) == size > 80 * FRAME
    assert not any(left[: 80 * FRAME]), "the rest of them was in the buffer"
    patient.line.talk(200)
    again = await patient.crash()
    patient.line.hang_up()
    again.recorder.link_up({})
    await asyncio.wait_for(again.capture.done.wait(), 20)
    row = await again.journal.recording(rid)
    assert row is not None
    assert [s.state for s in row.segments] == ["shredded", "closed"]
    assert row.segments[1].plain_bytes == len(patient.line.said) - row.segments[1].spool_offset
    again.running.cancel()
    await again.close_parts()


async def test_a_hold_is_no_less_than_before_an_erasure(patient: Paused, monkeypatch: pytest.MonkeyPatch) -> None:
    rid, revoked = patient.capture.recording_id, ago(1)

    async def held(*_: str) -> Sequence[str]:
        return ["case 7"]

    async def taken_back(_: str) -> str | None:
        return revoked

    monkeypatch.setattr(patient.journal, "holds_on", held)
    patient.line.talk(160)
    await asyncio.sleep(0.3)
    with pytest.raises(CallwardenError) as refused:
        await patient.recorder.shred_segment(rid, since=ago(5))
    assert (refused.value.code, patient.flags()) == ("command.held", [])
    assert [row[0] for row in segments(patient.state)] == ["open"]
    monkeypatch.setattr(patient.journal, "revoked_at", taken_back)
    with pytest.raises(CallwardenError):
        await patient.recorder.shred_segment(rid, since=ago(5))
    assert await patient.recorder.shred_segment(rid, since=revoked) == 1, "for this there was no permit"
