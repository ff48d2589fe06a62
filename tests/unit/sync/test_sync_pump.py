"""Events out: nothing lost, nothing twice, keys read when sent, poison set aside."""

from __future__ import annotations

import json
import sqlite3
import time
from pathlib import Path

import pytest

from edge.errors import CallwardenError
from edge.sync import pump
from tests.unit.central.central_kit import TestCentral
from tests.unit.sync.sync_kit import LossyProxy, SyncEdge, until


async def test_a_call_reaches_central_and_leaves_the_outbox(edge: SyncEdge) -> None:
    recording, shred_key = await edge.record()
    await edge.sync.flush()
    assert await edge.waiting() == 0
    _, one = await edge.central.admin("GET", f"/v1/recordings/{recording.recording_id}")
    assert one["state"] == "sealed"
    assert [(h["segment_id"], h["kept"]) for h in one["headers"]] == [(recording.segment.segment_id, True)]
    assert edge.central.running is not None
    ((slot, sealed),) = await edge.central.rows("SELECT keeper_slot, sealed_header FROM header")
    assert edge.central.running.central.keeper.read(slot) == shred_key
    assert sealed == recording.segment.header.sealed_header


async def test_the_shred_key_never_lies_in_the_outbox(edge: SyncEdge) -> None:
    from formats.keys import b64url

    _, shred_key = await edge.record()
    text = json.dumps([row.body for row in await edge.rows()], default=str)
    assert b64url(shred_key) not in text
    assert shred_key.hex() not in text
    await edge.sync.flush()
    await edge.journal.close()
    for path in edge.folder.glob("journal.db*"):
        assert shred_key not in path.read_bytes()


async def test_a_shredded_slot_is_sent_without_a_key(edge: SyncEdge) -> None:
    recording, _ = await edge.record()
    await edge.slots.shred([recording.segment.header.slot])
    await edge.sync.flush()
    assert await edge.central.rows("SELECT keeper_slot FROM header") == [(None,)]
    assert await edge.waiting() == 0


async def test_55_lost_answers_have_no_double_effect(central: TestCentral, tmp_path: Path) -> None:
    proxy = LossyProxy(central.config.port)
    edge = await SyncEdge.open(central, tmp_path, url=await proxy.start())
    for _ in range(3):
        await edge.record()
    rows = await edge.rows()
    proxy.lose = True
    for _ in range(3):
        with pytest.raises(CallwardenError) as caught:
            await edge.sync.flush()
        assert caught.value.code == "sync.unreachable"
    assert proxy.dropped >= 3
    assert await edge.waiting() == len(rows)
    proxy.lose = False
    await edge.sync.flush()
    assert await edge.waiting() == 0
    assert await central.rows("SELECT count(*), max(seq) FROM event") == [(len(rows), len(rows))]
    assert await central.rows("SELECT count(*), count(keeper_slot) FROM header") == [(3, 3)]
    await edge.close()
    await proxy.stop()


async def test_57_central_down_then_back(edge: SyncEdge) -> None:
    await edge.central.stop()
    edge.run()
    await edge.record()
    await until(lambda: not edge.sync.status()["central_up"])
    assert await edge.waiting() > 0
    await edge.central.start()
    await until(lambda: _empty(edge), 20)
    await until(lambda: edge.sync.status()["central_up"], 20)


async def _empty(edge: SyncEdge) -> bool:
    return await edge.waiting() == 0


async def test_commits_wake_the_pump(edge: SyncEdge) -> None:
    edge.run()
    await edge.sync.flush()
    started = time.monotonic()
    await edge.record()
    await until(lambda: _empty(edge), 5)
    assert time.monotonic() - started < 3


async def test_58_poison_is_buried_and_the_rest_flows(edge: SyncEdge) -> None:
    bad, _ = await edge.record()
    await edge.record()
    rows = await edge.rows()
    victim = next(row for row in rows if row.type == "recording.opened" and row.subject == bad.recording_id)
    with sqlite3.connect(edge.folder / "journal.db") as other:
        other.execute("UPDATE outbox SET body=json_set(body, '$.call_id', 'poison') WHERE seq=?", (victim.seq,))
    other.close()
    failures = 0
    for _ in range(pump.MAX_REJECTS + 3):
        try:
            await edge.sync.flush()
        except CallwardenError as error:
            assert error.code == "sync.rejected"  # noqa: PT017 - how often it is raised is counted
            failures += 1
    assert 0 < failures <= pump.MAX_REJECTS
    assert await edge.journal.outbox_depth() == (0, 1)
    assert await edge.central.rows("SELECT type FROM event WHERE seq=?", victim.seq) == [(pump.BURIED,)]
    _, alarms = await edge.central.admin("GET", "/v1/alarms")
    assert {"sync.event_rejected", "sync.poison"} <= {one["code"] for one in alarms["alarms"]}


async def test_an_event_too_large_for_a_batch_is_buried(edge: SyncEdge) -> None:
    await edge.journal.alarm("test.large", "x")
    with sqlite3.connect(edge.folder / "journal.db") as other:
        other.execute("UPDATE outbox SET body=json_set(body, '$.message', ?)", ("x" * 2_000_000,))
    other.close()
    await edge.record()
    await edge.sync.flush()
    await edge.sync.flush()
    assert (await edge.journal.outbox_depth()) == (0, 1)


async def test_more_than_one_batch(edge: SyncEdge) -> None:
    for _ in range(pump.MAX_EVENTS + 20):
        await edge.journal.alarm("test.many", "m" * 3000)
    await edge.sync.flush()
    assert await edge.waiting() == 0
    assert await edge.central.rows("SELECT max(seq) FROM event") == [(pump.MAX_EVENTS + 20,)]


async def test_an_erase_while_the_batch_is_built_sends_no_other_key(edge: SyncEdge) -> None:
    """The slot is freed and taken by another recording between the read of the row and the read of the slot."""
    recording, _ = await edge.record()
    slot = recording.segment.header.slot
    other = b"other-recording-key".ljust(32, b".")
    real = edge.slots.read

    async def read(number: int) -> bytes:
        edge.slots.read = real  # type: ignore[method-assign]
        await edge.journal.begin_erase(recording.recording_id, None, "withdrawal")
        await edge.slots.shred([slot])
        await edge.journal.finish_erase(
            recording.recording_id, erased_at="2026-01-31T12:00:00.000Z", cause="withdrawal", key_ids=[], receipt=None
        )
        await edge.slots.release([slot])
        while await edge.slots.put(other) != slot:  # numbers come back last
            pass
        return await real(number)

    edge.slots.read = read  # type: ignore[method-assign]
    await edge.sync.flush()
    assert await edge.waiting() == 0
    assert other not in edge.central.config.keeper.read_bytes()
    _, one = await edge.central.admin("GET", f"/v1/recordings/{recording.recording_id}")
    assert one["state"] == "erased"
