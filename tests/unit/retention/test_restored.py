"""Row 59: an old backup put back. What was erased since goes again before anything is given out or sent."""

from __future__ import annotations

import asyncio
import json
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from central import setup
from edge.errors import CallwardenError
from edge.gate import Gate
from edge.model.entities import HeaderRow, NewRecording, ReceiptRow
from edge.model.holds import HoldRow
from edge.model.live import DueErasure
from edge.ports.restores import Tombstone
from edge.retention.executor import Executor
from edge.retention.means import Means
from formats.keys import SigningKey
from formats.shred import seal_header
from tests.unit.central.central_kit import TestCentral, a_central
from tests.unit.retention.restore_kit import RestoredEdge, keep, put_back, record_on
from tests.unit.retention.retention_kit import Place, now_plus
from tests.unit.retention.test_many import OTHER, Clock, digest
from tests.unit.store import store_makers as makers
from tests.unit.sync.sync_kit import until

KEY = SigningKey.from_seed(b"\x21" * 32)


@pytest.fixture
async def central(tmp_path: Path) -> AsyncIterator[TestCentral]:
    async with a_central(tmp_path / "central") as running:
        setup.register_edge(running.config, "edge-1", KEY.verify_key)
        yield running


async def reported(edge: RestoredEdge) -> None:
    assert edge.sync is not None
    await edge.checkpointer.make()
    await edge.sync.flush()


async def entries(edge: RestoredEdge, kind: str) -> list[dict[str, object]]:
    rows = [json.loads(one.entry) for one in await edge.journal.audit_entries(0, 10_000)]
    return [one["body"] for one in rows if one["kind"] == kind]


async def test_59_nothing_deleted_comes_back(central: TestCentral, tmp_path: Path) -> None:
    """Erased after the backup, known to it or not: tombstones first, then it serves, and the rest still opens."""
    (tmp_path / "edge").mkdir()
    edge = await RestoredEdge.open(tmp_path / "edge", KEY, central)
    gone, kept = await edge.record(), await edge.record()
    await reported(edge)
    keep(edge.folder, tmp_path / "kept")
    later = await edge.record()
    for one in (gone, later):
        await reported(edge)
        await edge.erase(one.recording_id)
    await reported(edge)
    await edge.close()

    put_back(edge.folder, tmp_path / "kept")
    edge = await RestoredEdge.open(edge.folder, KEY, central)
    try:
        assert await edge.state(gone.recording_id) == "sealed", "the backup brings it back"
        assert edge.gate.refusal() is not None
        await edge.executor.once()
        assert edge.gate.refusal() is None
        assert await edge.state(gone.recording_id) == "erased"
        assert edge.vault.length(gone.recording_id, gone.segment.segment_id) == 0
        assert (await edge.journal.tombstone(later.recording_id) or {})["cause"] == "erased_before_restore"
        assert await edge.state(kept.recording_id) == "sealed"
        assert len(await edge.slots.read(kept.segment.header.slot)) == 32
        settled = await entries(edge, "restore.settled")
        assert [(one["tombstones"], one["accepted"]) for one in settled] == [(2, False)]
        assert int(str(settled[0]["witnessed"])) > 0
        await edge.executor.once()
        assert len(await entries(edge, "restore.settled")) == 1
    finally:
        await edge.close()


async def test_59_the_slot_file_alone_knows_what_was_erased(tmp_path: Path) -> None:
    """Without any central: a header that its slot does not open was erased, also where the slot has another key by now."""
    edge = await RestoredEdge.open(tmp_path, KEY, None)
    gone, kept = await edge.record(), await edge.record()
    keep(tmp_path, tmp_path / "kept")
    await edge.erase(gone.recording_id)
    for _ in range(64 - 4 + 1):
        await edge.record()  # the freed slot is given out again
    assert len(await edge.slots.read(gone.segment.header.slot)) == 32
    await edge.close()
    put_back(tmp_path, tmp_path / "kept")
    edge = await RestoredEdge.open(tmp_path, KEY, None)
    try:
        await edge.executor.once()
        assert await edge.state(gone.recording_id) == "erased"
        assert await edge.state(kept.recording_id) == "sealed"
        refusal = edge.gate.refusal()
        assert refusal is not None
        assert "--accept-without-tombstones" in refusal.hint
        assert await edge.journal.accept_restore(0, "there is no central")
        await edge.executor.once()
        assert edge.gate.refusal() is None
        assert await edge.journal.restore_mark() is None
    finally:
        await edge.close()


async def test_accepted_while_central_is_away_and_asked_when_it_is_back(central: TestCentral, tmp_path: Path) -> None:
    (tmp_path / "edge").mkdir()
    edge = await RestoredEdge.open(tmp_path / "edge", KEY, central)
    first = await edge.record()
    await reported(edge)
    keep(edge.folder, tmp_path / "kept")
    later = await edge.record()
    await reported(edge)
    await edge.erase(later.recording_id)
    await edge.close()
    put_back(edge.folder, tmp_path / "kept")
    await central.stop()
    edge = await RestoredEdge.open(edge.folder, KEY, central)
    try:
        await edge.executor.once()
        assert edge.gate.refusal() is not None, "central is away: nobody knows"
        assert await edge.journal.accept_restore(7, "the auditor waits")
        await edge.executor.once()
        assert edge.gate.refusal() is None
        assert await edge.journal.restore_mark() is not None, "still owed"
        await central.start()
        await edge.executor.once()
        assert await edge.journal.restore_mark() is None
        assert await edge.journal.tombstone(later.recording_id) is not None
        assert await edge.state(first.recording_id) == "sealed"
        assert [one["uid"] for one in await entries(edge, "restore.accepted")] == [7]
    finally:
        await edge.close()


async def test_a_new_incarnation_flows_without_false_alarms(central: TestCentral, tmp_path: Path) -> None:
    """Numbers begin anew; what was sent after the backup is a duplicate; the log is cosigned under its new name."""
    (tmp_path / "edge").mkdir()
    edge = await RestoredEdge.open(tmp_path / "edge", KEY, central)
    await edge.record()
    await reported(edge)
    await edge.record()  # waits in the outbox when the backup is made, and is sent afterwards
    keep(edge.folder, tmp_path / "kept")
    await reported(edge)
    await edge.record()
    await reported(edge)
    await edge.close()
    put_back(edge.folder, tmp_path / "kept")
    edge = await RestoredEdge.open(edge.folder, KEY, central)
    try:
        assert edge.sync is not None
        running = asyncio.create_task(edge.sync.run())
        await asyncio.sleep(0.3)
        assert not edge.sync.status()["errors"], "nothing is even tried while the gate is shut"
        before = await edge.journal.outbox_depth()
        assert before[0] > 0
        await edge.executor.once()
        new = await edge.record()
        await edge.checkpointer.make()
        await until(lambda: _empty(edge), 20)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await reported(edge)
        head = await edge.journal.last_cosigned()
        assert head is not None
        assert head.note.splitlines()[0].endswith(f"{edge.journal.instance_id}/1")
        rows = await central.rows("SELECT recording_id FROM recording")
        assert len(rows) == 4
        assert (new.recording_id,) in rows
        alarms = [row[0] for row in await central.rows("SELECT code FROM alarm")]
        assert alarms == ["audit.incarnation"], "said once, and nothing of a fork or a rollback"
        here = [one["code"] for one in await entries(edge, "alarm.raised")]
        assert here == []
    finally:
        await edge.close()


async def _empty(edge: RestoredEdge) -> bool:
    return (await edge.journal.outbox_depth())[0] == 0


async def test_receipts_that_were_given_come_back(central: TestCentral, tmp_path: Path) -> None:
    """An order that was answered after the backup is delivered again while the edge settles, and is over: so it was answered."""
    (tmp_path / "edge").mkdir()
    edge = await RestoredEdge.open(tmp_path / "edge", KEY, central)
    gone = await edge.record()
    await reported(edge)
    keep(edge.folder, tmp_path / "kept")
    order = await central.signed_order(gone.recording_id)
    assert (await central.admin("POST", "/v1/orders", {"order": order}))[0] == 202
    assert edge.sync is not None
    await edge.sync._inbox.poll(0)
    await edge.executor.once()
    await reported(edge)
    [receipt] = await central.rows("SELECT jti, n, result FROM receipt")
    assert receipt[1:] == (0, "done")
    await edge.close()

    put_back(edge.folder, tmp_path / "kept")
    edge = await RestoredEdge.open(edge.folder, KEY, central)
    try:
        assert edge.sync is not None
        await edge.executor.once()
        assert [(one.n, one.result) for one in await edge.journal.receipts_of(receipt[0])] == [(0, "done")]
        tomb = await edge.journal.tombstone(gone.recording_id)
        assert tomb is not None
        row = await edge.journal.order(receipt[0])
        assert row is not None, "delivered again: the journal forgot it"
        assert row.state == "acknowledged"
        assert await edge.sync._inbox.poll(0) == 0
        await edge.executor.once()
        await reported(edge)
        assert await central.rows("SELECT n, result FROM receipt ORDER BY n") == [(0, "done")]
        assert await edge.journal.receipts_to_send() == []
    finally:
        await edge.close()


class Remembered:
    """What a central has that nobody reaches yet."""

    def __init__(self) -> None:
        self.up = False
        self.gone: list[str] = []
        self.given: list[ReceiptRow] = []
        self.orders: list[Callable[[], Awaitable[str]]] = []
        self.named: list[str] = []

    async def tombstones(self) -> list[Tombstone]:
        if not self.up:
            raise CallwardenError("sync.unreachable", "central cannot be reached", retryable=True)
        return [Tombstone(one, makers.AT, None) for one in self.gone]

    async def receipts(self) -> list[ReceiptRow]:
        return self.given

    async def witnessed(self) -> dict[str, int]:
        return {}

    async def take_orders(self) -> None:
        self.named += [await one() for one in self.orders]


def means_of(place: Place, clock: Clock, **changes: Any) -> Means:
    return replace(place.means, clock=clock, country=lambda: "CZ", digest=digest, **changes)


async def begun(folder: Path, clock: Clock) -> tuple[str, str]:
    """A person order within its window; (recording, order). A backup of then is in `kept`."""
    place = await Place.open(folder)
    new = await record_on(place, number_e164=makers.NUMBER)
    jti = await place.person()
    await Executor(means_of(place, clock)).once()
    assert await place.results(jti) == ["deferred"]
    await place.close()
    keep(folder, folder / "kept")
    return new.recording_id, jti


async def back(folder: Path, clock: Clock, central: Remembered) -> tuple[Place, Executor]:
    put_back(folder, folder / "kept")
    place, gate = await Place.open(folder), Gate()
    gate.shut("test")
    return place, Executor(means_of(place, clock, gate=gate, elsewhere=central))


async def test_a_restored_journal_destroys_nothing_before_it_is_settled(tmp_path: Path) -> None:
    """The window is over when the backup of within it comes back: whether somebody cancelled, only central knows."""
    clock, central = Clock(), Remembered()
    recording, jti = await begun(tmp_path, clock)
    clock.go(hours=25)
    place, executor = await back(tmp_path, clock, central)
    try:
        due = await record_on(place, number_heard=OTHER, number_e164=OTHER)
        await place.journal.add_due(DueErasure(due.recording_id, now_plus(-1), "incident"))
        erase = await place.order("erase", "recording", due.recording_id)
        held = await record_on(place, number_heard=OTHER, number_e164=OTHER)
        hold = await place.order("hold", "recording", held.recording_id)
        await executor.once()
        assert executor._means.gate.refusal() is not None
        assert [await place.state(one) for one in (recording, due.recording_id)] == ["sealed"] * 2
        assert (await place.results(erase), await place.results(hold)) == ([], ["done"])
        central.up = True
        await executor.once()
        assert [await place.state(one) for one in (recording, due.recording_id)] == ["erased"] * 2
        assert (await place.results(erase), await place.results(jti)) == (["done"], ["deferred", "done"])
    finally:
        await place.close()


async def test_what_was_cancelled_after_the_backup_stays(tmp_path: Path) -> None:
    """Also where central delivers neither of the two orders again: their last answers came back."""
    clock, central = Clock(), Remembered()
    recording, jti = await begun(tmp_path, clock)
    place = await Place.open(tmp_path)
    stop = await place.order("cancel", "order", jti)
    await Executor(means_of(place, clock)).once()
    central.given = [*await place.journal.receipts_of(jti), *await place.journal.receipts_of(stop)]
    assert [one.result for one in central.given] == ["deferred", "refused:command.cancelled", "done"]
    await place.close()
    clock.go(hours=25)
    place, executor = await back(tmp_path, clock, central)
    try:
        slot = await place.journal.opening_slot(jti)
        assert slot is not None, "as it was within the window"
        central.up = True
        for _ in range(2):
            await executor.once()
        assert await place.state(recording) == "sealed"
        assert await place.journal.finds(jti) == []
        assert await place.journal.opening_slot(jti) is None
        with pytest.raises(CallwardenError):
            await place.slots.read(slot)
        row = await place.journal.order(jti)
        assert row is not None
        assert row.state == "acknowledged"
        assert await place.journal.receipts_to_send() == []
    finally:
        await place.close()


async def test_a_cancellation_of_which_only_half_came_back_cancels_again(tmp_path: Path) -> None:
    clock, central = Clock(), Remembered()
    recording, jti = await begun(tmp_path, clock)
    place = await Place.open(tmp_path)
    stop = await place.order("cancel", "order", jti)
    await Executor(means_of(place, clock)).once()
    central.given = [*await place.journal.receipts_of(stop)]
    document = await place.journal.order(stop)
    assert document is not None
    await place.close()
    clock.go(hours=25)
    place, executor = await back(tmp_path, clock, central)
    seq = await place.journal.last_delivery() + 1

    async def again() -> str:
        await place.journal.take_delivery(seq, stop, document.jws, void=False, at=clock.wall_text())
        return stop

    try:
        central.up, central.orders = True, [again]
        await executor.once()
        assert await place.state(recording) == "sealed"
        assert await place.results(jti) == ["deferred", "refused:command.cancelled"]
        assert await place.results(stop) == ["done", "done"]
    finally:
        await place.close()


async def test_a_hold_that_was_ordered_after_the_backup_keeps(tmp_path: Path) -> None:
    """It is taken in, and in force, before the gate opens; although it was answered, since the deed did not come back."""
    clock, central = Clock(), Remembered()
    recording, jti = await begun(tmp_path, clock)
    clock.go(hours=25)
    place, executor = await back(tmp_path, clock, central)
    try:
        central.up = True
        central.orders = [lambda: place.order("hold", "recording", recording)]
        for _ in range(2):
            await executor.once()
        assert executor._means.gate.refusal() is None
        assert await place.state(recording) == "sealed"
        assert await place.results(jti) == ["deferred", "deferred"]
        assert await place.results(central.named[0]) == ["done"]
    finally:
        await place.close()


async def test_a_hold_of_the_backup_does_not_keep_what_was_erased_since(tmp_path: Path) -> None:
    """Released and erased after the backup: the hold that comes back has nothing to keep, and the edge settles."""
    clock, central = Clock(), Remembered()
    place = await Place.open(tmp_path)
    new = await record_on(place)
    await place.hold(new.call_id, "case 7")
    await place.close()
    keep(tmp_path, tmp_path / "kept")
    place = await Place.open(tmp_path)
    await place.release(new.call_id)
    await place.order("erase", "recording", new.recording_id)
    await Executor(means_of(place, clock)).once()
    assert await place.state(new.recording_id) == "erased"
    await place.close()
    place, executor = await back(tmp_path, clock, central)
    try:
        central.up, central.gone = True, [new.recording_id]
        await executor.once()
        assert executor._means.gate.refusal() is None
        assert await place.state(new.recording_id) == "erased"
    finally:
        await place.close()


async def rewrapped(edge: RestoredEdge, new: NewRecording) -> None:
    """A further header under a key of its own, and the old key destroyed, as `callwarden key rewrap` leaves it."""
    secret, old = secrets.token_bytes(32), new.segment.header
    slot = await edge.slots.put(secret)
    sealed = seal_header(b"other", secret, secrets.token_bytes(12), new.recording_id, new.segment.segment_id, 1)
    header = HeaderRow(new.segment.segment_id, 1, "age1", sealed, slot, ("age1y",), old.key_id)
    assert await edge.journal.add_header(new.recording_id, header, "statement", 0) == old.slot
    await edge.slots.release([old.slot])


async def test_restored_from_before_a_rewrap_keeps_what_central_can_open(central: TestCentral, tmp_path: Path) -> None:
    """Its key here is gone and central has no tombstone: quarantined and said, payload kept, nothing shredded at central."""
    (tmp_path / "edge").mkdir()
    edge = await RestoredEdge.open(tmp_path / "edge", KEY, central)
    moved, gone = await edge.record(), await edge.record()
    await reported(edge)
    keep(edge.folder, tmp_path / "kept")
    await rewrapped(edge, moved)
    await edge.erase(gone.recording_id)
    await edge.close()
    put_back(edge.folder, tmp_path / "kept")
    await central.stop()
    edge = await RestoredEdge.open(edge.folder, KEY, central)
    try:
        await edge.executor.once()
        assert await edge.state(moved.recording_id) == "sealed", "nobody was asked yet"
        await central.start()
        await edge.executor.once()
        assert edge.gate.refusal() is None
        assert await edge.state(moved.recording_id) == "quarantined"
        assert edge.vault.length(moved.recording_id, moved.segment.segment_id) > 0
        assert await edge.journal.tombstone(moved.recording_id) is None
        assert await edge.state(gone.recording_id) == "erased", "what central knows as erased is"
        said = [one for one in await entries(edge, "alarm.raised") if one["code"] == "restore.key_gone"]
        assert len(said) == 1
        assert [one["quarantined"] for one in await entries(edge, "restore.settled")] == [1]
        await reported(edge)
        named = await central.rows("SELECT recording_id FROM tombstone")
        assert named == [(gone.recording_id,)]
        kept = await central.rows("SELECT recording_id FROM header WHERE keeper_slot IS NOT NULL")
        assert kept == [(moved.recording_id,)]
    finally:
        await edge.close()


async def test_a_hold_keeps_what_still_opens_whatever_central_says(central: TestCentral, tmp_path: Path) -> None:
    """Nothing else is left undone for it; the restore is not settled, and whoever accepts opens the gate."""
    (tmp_path / "edge").mkdir()
    edge = await RestoredEdge.open(tmp_path / "edge", KEY, central)
    assert edge.sync is not None
    held, gone = await edge.record(), await edge.record()
    hold = HoldRow(makers.new_id(), "hold", "recording", held.recording_id, "case 9", None, "uid:1", makers.AT)
    await edge.journal.place_hold(hold)
    await reported(edge)
    keep(edge.folder, tmp_path / "kept")
    await edge.erase(gone.recording_id)
    await edge.sync.keeper.shred(held.recording_id, [held.segment.header.key_id.hex()], None)
    await edge.close()
    put_back(edge.folder, tmp_path / "kept")
    edge = await RestoredEdge.open(edge.folder, KEY, central)
    try:
        await edge.executor.once()
        assert await edge.state(held.recording_id) == "sealed"
        assert await edge.state(gone.recording_id) == "erased"
        assert edge.gate.refusal() is not None
        assert await edge.journal.accept_restore(0, "the hold is of today")
        await edge.executor.once()
        assert edge.gate.refusal() is None
        assert await edge.state(held.recording_id) == "sealed"
        await edge.journal.release_hold(hold.hold_id, ["uid:2", "uid:3"], makers.AT)
        await edge.executor.once()
        assert await edge.state(held.recording_id) == "erased"
        assert await edge.journal.restore_mark() is None
    finally:
        await edge.close()
