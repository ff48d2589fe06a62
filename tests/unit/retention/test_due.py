"""Erasures that come by themselves: when, with which receipt, and what makes them wait."""

from __future__ import annotations

import pytest

from edge.consent.retention import Retention
from edge.consent.units import Period
from edge.errors import CallwardenError
from edge.model.live import DueErasure
from edge.store.base import decode_json
from formats.orders import Ground, open_receipt_document, receipt_document
from tests.unit.retention.retention_kit import EDGE, TRUST, Place, now_plus
from tests.unit.store import store_makers as makers


async def withdrawn(place: Place, call_id: str, recording_id: str, due_at: str) -> int:
    due = [DueErasure(recording_id, due_at, "withdrawal")]
    return await place.journal.withdraw(call_id, makers.event("withdrawn"), "withdrawn", due, forget=None)


async def test_a_withdrawal_erases_after_the_call_and_leaves_a_receipt(place: Place) -> None:
    new, secret = await place.record(ended=False)
    seq = await withdrawn(place, new.call_id, new.recording_id, now_plus(-1))
    await place.executor().once()
    assert await place.state(new.recording_id) == "sealed", "the call goes on"
    assert await place.slots.read(new.segment.header.slot) == secret
    await place.journal.end_call(new.call_id, makers.AT)
    await place.executor().once()
    assert await place.state(new.recording_id) == "erased"
    with pytest.raises(CallwardenError):
        await place.slots.read(new.segment.header.slot)
    assert place.vault.listing() == []
    tombstone = await place.journal.tombstone(new.recording_id)
    assert tombstone is not None
    assert tombstone["cause"] == "withdrawal"
    ground = Ground(cause="withdrawal", call_id=new.call_id, recording_id=new.recording_id, event_seq=seq)
    (receipt,) = await place.journal.receipts_of(ground.jti)
    assert receipt.receipt_id == tombstone["receipt_id"]
    proof = open_receipt_document(receipt_document(receipt.jws, None), TRUST)
    assert (proof.ground, proof.edge.kid, proof.order) == (ground, EDGE.kid, None)
    assert proof.claims.key_ids == (new.segment.header.key_id.hex(),)
    assert proof.claims.evidence["payloads_unlinked"] == 1
    assert [one.receipt_id for one in await place.journal.receipts_to_send()] == [receipt.receipt_id]
    (seen,) = await place.journal.views.receipts(new.recording_id)
    assert (seen["jws"], seen["order"], seen["sent"]) == (receipt.jws, None, False)
    await place.journal.acknowledge_receipt(receipt.receipt_id, makers.AT)
    await place.executor().once()
    assert len(await place.journal.receipts_of(ground.jti)) == 1


async def test_it_waits_for_its_time(place: Place) -> None:
    new, _ = await place.record()
    await withdrawn(place, new.call_id, new.recording_id, now_plus(3600))
    await place.executor().once()
    assert await place.state(new.recording_id) == "sealed"


async def test_a_hold_is_said_once_and_waited_for(place: Place) -> None:
    new, _ = await place.record()
    seq = await withdrawn(place, new.call_id, new.recording_id, now_plus(-1))
    await place.hold(new.call_id, "case 7")
    for _ in range(2):
        await place.executor().once()
    ground = Ground(cause="withdrawal", call_id=new.call_id, recording_id=new.recording_id, event_seq=seq)
    assert await place.results(ground.jti) == ["deferred"]
    assert await place.state(new.recording_id) == "sealed"
    due = await place.journal.due_of(new.recording_id)
    assert due is not None
    assert due.waits_for == "under hold: case 7"
    entries = [one.entry for one in await place.journal.audit_entries(0, 1000)]
    assert [decode_json(one)["kind"] for one in entries].count("erasure.deferred") == 1
    assert "case 7" not in repr(entries), "a hold's reason may name somebody"
    await place.release(new.call_id)
    await place.executor().once()
    assert await place.results(ground.jti) == ["deferred", "done"]
    for one in await place.journal.receipts_of(ground.jti):
        assert open_receipt_document(receipt_document(one.jws, None), TRUST).ground == ground


async def test_one_that_does_not_know_that_it_waits_says_it_no_more(place: Place) -> None:
    new, _ = await place.record()
    due = DueErasure(new.recording_id, now_plus(-1), "retention", why="its age")
    await place.journal.add_due(due)
    await place.hold(new.call_id, "case 7")
    for _ in range(2):
        await place.executor()._due.carry_out(due)
    assert [one.result for one in await place.journal.receipts_to_send()] == ["deferred"]


async def test_minimum_retention_defers_too(place: Place) -> None:
    new, _ = await place.record()
    await place.journal.add_due(DueErasure(new.recording_id, now_plus(-1), "incident"))
    await place.executor(terms_of=lambda _: Retention(minimum=Period("P50Y"))).once()
    ground = Ground(cause="incident", call_id=new.call_id, recording_id=new.recording_id)
    assert await place.results(ground.jti) == ["deferred"]
    await place.executor().once()
    assert await place.results(ground.jti) == ["deferred", "done"]
    tombstone = await place.journal.tombstone(new.recording_id)
    assert tombstone is not None
    assert tombstone["cause"] == "incident"


async def test_an_intent_that_a_kill_left_is_finished_with_its_receipt(place: Place) -> None:
    new, _ = await place.record()
    seq = await withdrawn(place, new.call_id, new.recording_id, now_plus(-1))
    await place.journal.begin_erase(new.recording_id, None, "withdrawal")
    await place.hold(new.call_id, "too late: the keys may be gone already")
    await place.executor().once()
    ground = Ground(cause="withdrawal", call_id=new.call_id, recording_id=new.recording_id, event_seq=seq)
    assert await place.results(ground.jti) == ["done"]


async def test_an_order_that_comes_first_has_the_receipt(place: Place) -> None:
    new, _ = await place.record()
    await withdrawn(place, new.call_id, new.recording_id, now_plus(-1))
    jti = await place.order("erase", "recording", new.recording_id)
    await place.executor().once()
    assert await place.results(jti) == ["done"]
    tombstone = await place.journal.tombstone(new.recording_id)
    assert tombstone is not None
    assert tombstone["cause"] == "command"
    assert len(await place.journal.receipts_to_send()) == 1
