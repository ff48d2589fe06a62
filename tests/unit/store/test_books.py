"""What each book writes, and that repeats and wrong turns write nothing."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from edge.errors import CallwardenError
from edge.model.entities import NewCall, NewRecording
from edge.store.journal import Journal
from tests.unit.store import store_makers as makers


async def events(journal: Journal) -> list[tuple[str, str]]:
    return [(row.type, row.subject) for row in await journal.outbox(1000)]


async def kinds(journal: Journal) -> list[str]:
    from edge.store.base import decode_json

    return [decode_json(row.entry)["kind"] for row in await journal.audit_entries(0, 1000)]


async def started(journal: Journal, slot: int = 1, call: NewCall | None = None) -> tuple[NewCall, NewRecording]:
    call = call or makers.call()
    await journal.open_call(call)
    await journal.add_event(call.call_id, makers.event("requested", call.party_id), state="asking")
    new = makers.recording(call.call_id, slot)
    await journal.grant(call.call_id, makers.event("given", call.party_id), new.permit_id, ("quality",), new)
    return call, new


async def sealed(journal: Journal, slot: int = 1) -> tuple[NewCall, NewRecording]:
    call, new = await started(journal, slot)
    await journal.set_recording_state(new.recording_id, "recording")
    await journal.set_recording_state(new.recording_id, "closing")
    await journal.close_segment(makers.closed(new, 2))
    await journal.seal_recording(
        new.recording_id, ending="complete", frames=32768, ended_at=makers.AT, manifest="m.a.n"
    )
    return call, new


async def test_a_call_entering_twice_is_one_row(journal: Journal) -> None:
    call = makers.call()
    first = await journal.open_call(call)
    await journal.add_event(call.call_id, makers.event("requested"), state="asking")
    again = await journal.open_call(makers.call(linked_id=call.linked_id))
    assert again.call_id == first.call_id == call.call_id
    assert again.state == "asking"
    assert again.caller == makers.NUMBER
    other = await journal.open_call(makers.call(linked_id=call.linked_id, policy_id="billing"))
    assert other.call_id != call.call_id
    assert [kind for kind, _ in await events(journal)] == ["call.opened", "consent.recorded", "call.opened"]


async def test_grant_is_one_commit_with_everything(journal: Journal) -> None:
    call, new = await started(journal)
    row = await journal.recording(new.recording_id)
    assert row is not None
    assert (row.state, row.call_id, row.permit_id, row.spool_name) == (
        "starting", call.call_id, new.permit_id, new.spool_name,
    )  # fmt: skip
    assert (row.policy_id, row.policy_version, row.permit_event_seq, row.held) == ("support", "v1", 2, False)
    assert row.segments[0].header == new.segment.header
    assert row.segments[0].tags_hash == bytes(32)
    found = await journal.call(call.call_id)
    assert found is not None
    assert (found.state, found.outcome, found.recordings) == ("permitted", "given", (new.recording_id,))
    assert (await kinds(journal))[-1] == "recording.permitted"
    assert (await events(journal))[-2:] == [
        ("consent.recorded", call.call_id),
        ("recording.opened", new.recording_id),
    ]
    body = (await journal.outbox(10))[-1].body
    assert body["header"]["slot"] == 1
    assert "shred_key" not in body["header"]


async def test_a_grant_that_fails_leaves_no_permit(journal: Journal) -> None:
    await started(journal, slot=7)
    call = makers.call()
    await journal.open_call(call)
    size = await journal.audit_size()
    new = makers.recording(call.call_id, 7)  # the slot of another recording
    with pytest.raises(CallwardenError) as refused:
        await journal.grant(call.call_id, makers.event("given"), new.permit_id, ("quality",), new)
    assert refused.value.code == "journal.conflict"
    row = await journal.call(call.call_id)
    assert row is not None
    assert (row.state, row.outcome) == ("offered", None)
    assert await journal.recording(new.recording_id) is None
    assert await journal.audit_size() == size


@pytest.mark.parametrize(
    ("state", "outcome", "expected"),
    [(None, None, "unavailable"), ("asking", None, "abandoned"), ("declined", "refused", "refused")],
)
async def test_end_call_fixes_the_outcome_once(
    journal: Journal, state: str | None, outcome: str | None, expected: str
) -> None:
    call = makers.call()
    await journal.open_call(call)
    if state:
        kind = outcome or "requested"
        await journal.add_event(call.call_id, makers.event(kind, call.party_id), state=state, outcome=outcome)
    await journal.end_call(call.call_id, makers.AT)
    size = await journal.audit_size()
    await journal.end_call(call.call_id, "2030-01-01T00:00:00.000Z")
    row = await journal.call(call.call_id)
    assert row is not None
    assert (row.state, row.outcome, row.ended_at) == ("ended", expected, makers.AT)
    assert await journal.audit_size() == size
    why = await journal.views.why(call.call_id)
    assert why is not None
    assert why["events"][-1]["kind"] == expected
    assert await journal.open_calls() == []


async def test_progress_never_goes_back_and_only_into_open_segments(journal: Journal) -> None:
    _, new = await started(journal)
    piece = makers.progress(new.segment.segment_id, 3)
    await journal.progress([piece])
    with pytest.raises(CallwardenError) as back:
        await journal.progress([makers.progress(new.segment.segment_id, 2)])
    assert back.value.code == "journal.transition"
    row = await journal.recording(new.recording_id)
    assert row is not None
    segment = row.segments[0]
    assert (segment.chunks, segment.plain_bytes, segment.payload_bytes, segment.tags_hash) == (
        3, piece.plain_bytes, piece.payload_bytes, piece.tags_hash,
    )  # fmt: skip
    await journal.close_segment(makers.closed(new, 4))
    with pytest.raises(CallwardenError):
        await journal.progress([makers.progress(new.segment.segment_id, 5)])


async def test_segments_and_sealing(journal: Journal) -> None:
    call, new = await started(journal)
    await journal.set_monitor(new.recording_id, "0x1")
    await journal.set_recording_state(new.recording_id, "recording")
    await journal.set_recording_state(new.recording_id, "recording")
    await journal.close_segment(makers.closed(new, 2))
    second = makers.segment(new.recording_id, new.capture_id, 2, number=1)
    await journal.add_segment(second)
    with pytest.raises(CallwardenError) as early:
        await journal.seal_recording(new.recording_id, ending="complete", frames=1, ended_at=makers.AT, manifest="x")
    assert early.value.code == "journal.transition"
    row = await journal.recording(new.recording_id)
    assert row is not None
    assert [s.number for s in row.segments] == [0, 1]
    assert (row.state, row.monitor_id) == ("recording", "0x1")
    assert call.call_id == row.call_id
    assert (await kinds(journal)).count("recording.state") == 1
    assert set(await journal.slots_in_use()) == {1, 2}


async def test_closing_a_segment_twice_is_one_event(journal: Journal) -> None:
    _, new = await started(journal)
    closed = makers.closed(new, 2)
    await journal.close_segment(closed)
    await journal.close_segment(closed)
    assert [kind for kind, _ in await events(journal)].count("segment.closed") == 1
    with pytest.raises(CallwardenError):
        await journal.close_segment(makers.closed(new, 3, "truncated"))


async def test_no_audio_closes_the_segment_and_reports(journal: Journal) -> None:
    _, new = await started(journal)
    await journal.set_recording_state(new.recording_id, "no_audio")
    row = await journal.recording(new.recording_id)
    assert row is not None
    assert (row.state, row.segments[0].state) == ("no_audio", "truncated")
    last = (await journal.outbox(100))[-1]
    assert (last.type, last.body["state"]) == ("recording.sealed", "no_audio")


async def test_outbox_prunes_buries_and_never_reuses_numbers(journal: Journal) -> None:
    await sealed(journal)
    rows = await journal.outbox(100)
    assert [row.seq for row in rows] == list(range(1, len(rows) + 1))
    assert len({row.event_id for row in rows}) == len(rows)
    await journal.attempt_failed([1, 2])
    await journal.bury(2, "rejected:schema")
    await journal.bury(2, "rejected:again")
    assert [row.seq for row in await journal.outbox(2)] == [1, 3]
    assert (await journal.outbox(1))[0].attempts == 1
    depth = len(rows) + 1 - 1  # the alarm came, the dead one left
    assert await journal.outbox_depth() == (depth, 1)
    await journal.prune(len(rows) + 1)
    assert await journal.outbox_depth() == (0, 1)
    await journal.open_call(makers.call())
    assert [row.seq for row in await journal.outbox(2)] == [len(rows) + 2]
    status = await journal.views.status()
    assert status["outbox"] == {"waiting": 1, "dead": 1}
    assert status["alarms"]["last"]["code"] == "sync.poison"


async def test_reported_follows_the_outbox(journal: Journal) -> None:
    await sealed(journal)
    assert [r["reported"] for r in await journal.views.recordings()] == [False]
    await journal.prune(1000)
    views = await journal.views.recordings()
    assert [r["reported"] for r in views] == [True]
    assert views[0]["seconds"] == round(2 * 65536 / 32000, 3)


async def test_deliveries_are_taken_once_and_counted_to_the_first_gap(journal: Journal) -> None:
    assert await journal.last_delivery() == 0
    assert await journal.take_delivery(1, "order-1", "{jws}", void=False, at=makers.AT)
    assert not await journal.take_delivery(1, "order-1", "{jws}", void=False, at=makers.AT)
    assert await journal.take_delivery(3, "order-1", "{other}", void=False, at=makers.AT)
    assert await journal.last_delivery() == 1
    assert await journal.take_delivery(2, None, None, void=True, at=makers.AT)
    assert await journal.last_delivery() == 3
    orders = await journal.orders(("received",))
    assert [(o.jti, o.jws) for o in orders] == [("order-1", "{jws}")]


async def test_an_order_is_deferred_then_erases_then_is_acknowledged(journal: Journal) -> None:
    call, new = await sealed(journal)
    await journal.take_delivery(1, "o", "{jws}", void=False, at=makers.AT)
    first = makers.receipt("o", 0, "deferred")
    await journal.answer(first, state="deferred")
    await journal.answer(first, state="deferred")
    await journal.acknowledge_receipt(first.receipt_id, makers.AT)
    order = await journal.order("o")
    assert order is not None
    assert order.state == "deferred"
    await journal.begin_erase(new.recording_id, "o", "command")
    size = await journal.audit_size()
    await journal.begin_erase(new.recording_id, "o", "command")
    assert await journal.audit_size() == size
    done = makers.receipt("o", 1)
    key = new.segment.header.key_id.hex()
    for _ in range(2):
        await journal.finish_erase(new.recording_id, erased_at=makers.AT, cause="command", key_ids=[key], receipt=done)
    assert [r.n for r in await journal.receipts_of("o")] == [0, 1]
    assert [r.receipt_id for r in await journal.receipts_to_send()] == [done.receipt_id]
    await journal.acknowledge_receipt(done.receipt_id, makers.AT)
    await journal.acknowledge_receipt(done.receipt_id, makers.AT)
    order = await journal.order("o")
    assert order is not None
    assert order.state == "acknowledged"
    tombstone = await journal.tombstone(new.recording_id)
    assert tombstone is not None
    assert (tombstone["key_ids"], tombstone["receipt_id"]) == ([key], done.receipt_id)
    assert (await kinds(journal)).count("recording.erased") == 1
    assert [kind for kind, _ in await events(journal)].count("recording.erased") == 1
    row = await journal.call(call.call_id)
    assert row is not None
    assert row.outcome == "given"


async def test_erasing_leaves_neither_number_nor_header_nor_slot(journal: Journal, tmp_path: Path) -> None:
    call, new = await sealed(journal, slot=5)
    await journal.end_call(call.call_id, makers.AT)
    await journal.begin_erase(new.recording_id, None, "retention")
    assert list(await journal.slots_in_use()) == [5]
    await journal.finish_erase(new.recording_id, erased_at=makers.AT, cause="retention", key_ids=[], receipt=None)
    assert list(await journal.slots_in_use()) == []
    row = await journal.recording(new.recording_id)
    assert row is not None
    assert (row.state, row.segments[0].state, row.segments[0].header.sealed_header) == ("erased", "shredded", b"")
    assert all("header" not in e.body for e in await journal.outbox(100) if e.subject == new.recording_id)

    def dump(conn: sqlite3.Connection) -> str:
        return "\n".join(conn.iterdump())

    await journal.read_gate()
    for file in tmp_path.glob("journal.db*"):
        assert makers.NUMBER.encode() not in file.read_bytes(), f"the number is still in {file.name}"
        assert new.segment.header.sealed_header not in file.read_bytes()
    text = await journal._readers.read(dump)
    assert makers.NUMBER not in text
    assert "PJSIP/1001" not in text
    assert new.segment.header.sealed_header.hex().upper() not in text


async def test_the_number_stays_while_another_recording_of_the_call_is_kept(journal: Journal) -> None:
    call, first = await sealed(journal)
    second = makers.recording(call.call_id, 9)
    await journal.grant(call.call_id, makers.event("given"), second.permit_id, ("quality",), second)
    await journal.begin_erase(first.recording_id, None, "command")
    await journal.finish_erase(first.recording_id, erased_at=makers.AT, cause="command", key_ids=[], receipt=None)
    row = await journal.call(call.call_id)
    assert row is not None
    assert row.caller == makers.NUMBER


async def test_a_live_recording_that_is_being_erased_still_closes(journal: Journal) -> None:
    _, new = await started(journal)
    await journal.set_recording_state(new.recording_id, "recording")
    await journal.begin_erase(new.recording_id, None, "withdrawal")
    await journal.set_recording_state(new.recording_id, "closing")
    await journal.close_segment(makers.closed(new, 1))
    await journal.seal_recording(new.recording_id, ending="complete", frames=1, ended_at=makers.AT, manifest="m")
    row = await journal.recording(new.recording_id)
    assert row is not None
    assert (row.state, row.ending) == ("erasing", "complete")
    assert "recording.sealed" in [kind for kind, _ in await events(journal)]
    await journal.finish_erase(new.recording_id, erased_at=makers.AT, cause="withdrawal", key_ids=[], receipt=None)
    with pytest.raises(CallwardenError):
        await journal.set_recording_state(new.recording_id, "closing")


async def test_holds(journal: Journal) -> None:
    call, new = await sealed(journal)
    for number, (scope, target) in enumerate(
        [("recording", new.recording_id), ("call", call.call_id), ("call", makers.new_id())]
    ):
        await journal._writer.do(
            lambda conn, values=(f"h{number}", scope, target, f"case {number}", f"t{number}"): conn.execute(  # type: ignore[misc]
                "INSERT INTO hold(hold_id, scope, target, reason, placed_by, placed_at) VALUES(?,?,?,?,'dpo',?)",
                values,
            )
        )
    assert await journal.holds_on(new.recording_id, call.call_id) == ["case 0", "case 1"]
    row = await journal.recording(new.recording_id)
    assert row is not None
    assert row.held
    assert [r["held"] for r in await journal.views.recordings()] == [True]


async def test_find_call_by_prefix_and_linked_id(journal: Journal) -> None:
    call = makers.call()
    await journal.open_call(call)
    await journal.open_call(makers.call())
    assert await journal.views.find_call(call.call_id) == [call.call_id]
    assert await journal.views.find_call(call.linked_id) == [call.call_id]
    assert await journal.views.find_call(call.call_id[:8]) == [call.call_id]
    assert await journal.views.find_call(call.call_id[:5]) == []
    assert await journal.views.find_call("' OR 1=1 --") == []
    assert await journal.views.why(makers.new_id()) is None


async def test_recordings_by_state_are_oldest_first(journal: Journal) -> None:
    ids = [(await sealed(journal, slot))[1].recording_id for slot in range(1, 6)]
    _, live = await started(journal, 6)
    assert [r.recording_id for r in await journal.recordings(states=("sealed",))] == ids
    assert [r.recording_id for r in await journal.recordings(states=("starting", "erased"))] == [live.recording_id]
    assert len(await journal.recordings()) == 6
    assert [r["recording_id"] for r in await journal.views.recordings()] == [live.recording_id, *reversed(ids)]
