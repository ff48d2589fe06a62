"""Holds and restrictions: of a recording, a call, a person; at any moment of an erasure; released by two people."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edge.consent.units import Period
from edge.errors import CallwardenError
from edge.model.live import DueErasure
from edge.number_key import NumberKey
from edge.retention.executor import Executor
from formats.ids import format_time
from formats.orders import open_receipt_document, receipt_document
from tests.unit.retention.keeping_kit import kept, policy, talked
from tests.unit.retention.retention_kit import AUDITOR, DPO, STORE, TRUST, Place, now_plus

DAY = timedelta(days=1)
NUMBER = "+420777123456"
ANOTHER = "+420777999888"


@pytest.fixture
async def executor(place: Place) -> Executor:
    return keeping(place)


def keeping(place: Place, **changes: Any) -> Executor:
    key = NumberKey(place.journal, place.slots)
    return place.executor(**{"digest": key.digest, "hasher": key.hasher, "country": lambda: "CZ", **changes})


def yesterday() -> datetime:
    return datetime.now(UTC) - DAY


async def hold(executor: Executor, scope: str, target: str, **more: Any) -> str:
    row = await executor.holding.place(
        **{"kind": "hold", "scope": scope, "target": target, "reason": "case 7", "by": "uid:1", **more}
    )
    return row.hold_id


async def hold_or_late(executor: Executor, scope: str, target: str) -> bool:
    """False: it is too late. Any other error is the test's."""
    try:
        await hold(executor, scope, target)
    except CallwardenError as error:
        if error.code != "command.too_late":
            raise
        return False
    return True


async def audited(place: Place, kind: str) -> list[str]:
    entries = [json.loads(one.entry) for one in await place.journal.audit_entries(0, 2000)]
    return [json.dumps(one["body"]) for one in entries if one["kind"] == kind]


async def test_an_erasure_under_a_hold_is_deferred_with_the_reason_and_comes_when_it_ends(
    place: Place, executor: Executor
) -> None:
    new = await kept(place, yesterday(), policy())
    held = await hold(executor, "recording", new.recording_id, reason="claim of Novák, file 12", case="12/2026")
    jti = await place.order("erase", "recording", new.recording_id)
    for _ in range(2):
        await executor.once()
    assert await place.results(jti) == ["deferred"]
    receipt = (await place.journal.receipts_of(jti))[0]
    order = await place.journal.order(jti)
    assert order is not None
    proof = open_receipt_document(receipt_document(receipt.jws, json.loads(order.jws)), TRUST)
    assert proof.claims.reason == "under hold: claim of Novák, file 12"
    await executor.holding.release(held, ["uid:1"])
    await executor.once()
    assert await place.state(new.recording_id) == "sealed", "one person releases nothing"
    with pytest.raises(CallwardenError) as refused:
        await executor.holding.release(held, ["uid:1"])
    assert refused.value.code == "command.same_person"
    row = await executor.holding.release(held, ["uid:2"])
    assert (row.release_first_by, row.released_by, row.open) == ("uid:1", "uid:2", False)
    await executor.once()
    assert await place.results(jti) == ["deferred", "done"]
    text = json.dumps([one.entry for one in await place.journal.audit_entries(0, 2000)])
    assert "Nov" not in text, "a reason may name somebody, and the log cannot forget"
    for kind in ("hold.placed", "hold.release_asked", "hold.released"):
        assert len(await audited(place, kind)) == 1


@pytest.mark.parametrize(
    "spelled", ["+420 777 123 456", "00420777123456", "777123456", "420777123456", "tel:+420-777-123-456"]
)
async def test_a_person_in_any_spelling_and_calls_that_come_later(place: Place, spelled: str) -> None:
    executor = keeping(place)
    before = await kept(place, yesterday(), policy(), number=NUMBER)
    other = await kept(place, yesterday(), policy(), number=ANOTHER)
    held = await hold(executor, "person", spelled)
    later = await kept(place, yesterday(), policy(), number=NUMBER)
    for one in (before, other, later):
        await place.journal.add_due(DueErasure(one.recording_id, now_plus(-1), "incident"))
    await executor.once()
    states = [await place.state(one.recording_id) for one in (before, other, later)]
    assert states == ["sealed", "erased", "sealed"]
    row = await place.journal.hold(held)
    assert row is not None
    assert (row.calls, NUMBER[4:] in repr(row)) == (2, False)
    listed = {one["recording_id"]: one["held"] for one in await place.journal.views.recordings()}
    assert listed == {before.recording_id: True, other.recording_id: False, later.recording_id: True}
    await executor.holding.release(held, ["uid:1"])
    await executor.holding.release(held, ["uid:2"])
    await executor.once()
    assert {await place.state(one.recording_id) for one in (before, other, later)} == {"erased"}


async def test_an_extension_is_a_person_too(place: Place, executor: Executor) -> None:
    new = await kept(place, yesterday(), policy(), number="1001")
    await hold(executor, "person", "1001")
    row = await place.journal.recording(new.recording_id)
    assert row is not None
    assert await executor.obstacles.of_recording(row) == "under hold: case 7"


async def test_an_order_that_comes_in_the_moment_of_the_call_is_kept_from_a_held_person(
    place: Place, executor: Executor
) -> None:
    """The decision looks itself, whatever the passes have seen."""
    await hold(executor, "person", NUMBER)
    new = await kept(place, yesterday(), policy(), number=NUMBER)
    jti = await place.order("erase", "call", new.call_id)
    executor.holding.look = _nothing  # type: ignore[method-assign]
    await executor.once()
    assert await place.results(jti) == ["deferred"]


async def _nothing() -> None:
    return None


async def test_a_persons_hold_keeps_the_evidence_after_the_numbers_are_hashed(place: Place, executor: Executor) -> None:
    terms = policy(recordings=Period("P1D"), refusals=Period("P1D"))
    new = await kept(place, datetime.now(UTC) - 40 * 31 * DAY, terms, number=NUMBER)
    refused = await talked(place, datetime.now(UTC) - 40 * DAY, terms, outcome="notified", number=NUMBER)
    await place.journal.begin_erase(new.recording_id, None, "command")
    await executor.once()
    assert await place.state(new.recording_id) == "erased"
    await hold(executor, "person", NUMBER)
    await executor._forget()
    for call_id in (new.call_id, refused.call_id):
        row = await place.journal.views.why(call_id)
        assert row is not None
        assert row["call"]["evidence"] in ("minimal", "full")


async def test_too_late_is_said(place: Place, executor: Executor) -> None:
    erasing, erased = await kept(place, yesterday(), policy()), await kept(place, yesterday(), policy())
    await place.journal.begin_erase(erased.recording_id, None, "command")
    await executor.once()
    await place.journal.begin_erase(erasing.recording_id, None, "command")
    for new, says in ((erasing, "the recording is being erased"), (erased, "the recording is erased")):
        with pytest.raises(CallwardenError) as late:
            await hold(executor, "recording", new.recording_id)
        assert (late.value.code, late.value.message) == ("command.too_late", says)
    for scope in ("recording", "call"):
        with pytest.raises(CallwardenError) as unknown:
            await hold(executor, scope, "0" * 32)
        assert unknown.value.code == f"not_found.{scope}"
    for bad in ({"reason": " "}, {"reason": "x" * 501}, {"label": "+420 777 123 456"}, {"scope": "house"}):
        with pytest.raises(CallwardenError) as usage:
            await hold(executor, **{"scope": "call", "target": erased.call_id, **bad})
        assert usage.value.code.startswith("usage.")


async def test_the_intent_asks_for_holds_itself(place: Place, executor: Executor) -> None:
    new = await kept(place, yesterday(), policy())
    await hold(executor, "call", new.call_id)
    with pytest.raises(CallwardenError) as held:
        await place.journal.begin_erase(new.recording_id, None, "retention")
    assert held.value.code == "command.held"
    assert await place.state(new.recording_id) == "sealed"


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    st.sampled_from(["recording", "call", "person"]),
    st.integers(0, 12),
    st.sampled_from(["order", "age", "withdrawal"]),
)
async def test_a_hold_at_any_moment(
    tmp_path_factory: pytest.TempPathFactory, scope: str, moment: int, cause: str
) -> None:
    """Placed beside a running erasure after so many turns of the loop: it is held whole, or it is too late and gone whole."""
    place = await Place.open(tmp_path_factory.mktemp("edge"))
    try:
        executor = keeping(place)
        new = await kept(
            place, datetime.now(UTC) - 40 * DAY, policy(recordings=Period("P1M" if cause == "age" else "P6M"))
        )
        if cause == "order":
            await place.order("erase", "recording", new.recording_id)
        elif cause == "withdrawal":
            await place.journal.add_due(DueErasure(new.recording_id, now_plus(-1), "withdrawal"))
        target = {"recording": new.recording_id, "call": new.call_id, "person": NUMBER}[scope]

        async def pass_over() -> None:
            await executor.once()
            await executor._forget()

        working = asyncio.create_task(pass_over())
        for _ in range(moment):
            await asyncio.sleep(0.001)
        placed = await hold_or_late(executor, scope, target)
        before = await place.state(new.recording_id)
        await working
        await pass_over()
        after = await place.state(new.recording_id)
        if not placed:
            assert after == "erased"
        elif before == "sealed":
            assert after == "sealed", "placed before the intent: held"
            assert (await place.slots.read(new.segment.header.slot)) == bytes(32)
        else:
            assert after == "erased", "the call's or person's hold keeps what is left: the intent came first"
    finally:
        await place.close()


# ------------------------------------------------------------------------------ orders


async def answered(place: Place, jti: str) -> Any:
    order = await place.journal.order(jti)
    assert order is not None
    newest = (await place.journal.receipts_of(jti))[-1]
    return open_receipt_document(receipt_document(newest.jws, json.loads(order.jws)), TRUST).claims


async def test_hold_and_release_by_order(place: Place, executor: Executor) -> None:
    new = await kept(place, yesterday(), policy())
    erase = await place.order("erase", "recording", new.recording_id)
    held = await place.order("hold", "recording", new.recording_id)
    await executor.once()
    assert await place.results(erase) == ["deferred"], "the hold that came with it goes first"
    done = await answered(place, held)
    assert (done.result, done.evidence["hold"], done.evidence["ordered_by"]) == ("done", held, [STORE.kid])
    row = await place.journal.hold(held)
    assert row is not None
    assert (row.placed_by, row.reason) == (f"key:{STORE.kid}", "the caller asked for it")
    release = await place.order("release", "hold", held)
    await executor.once()
    assert (await answered(place, release)).evidence["ordered_by"] == sorted([DPO.kid, AUDITOR.kid])
    row = await place.journal.hold(held)
    assert row is not None
    assert {row.release_first_by, row.released_by} == {f"key:{DPO.kid}", f"key:{AUDITOR.kid}"}
    await executor.once()
    assert await place.results(erase) == ["deferred", "done"]
    again, unknown = await place.order("release", "hold", held), await place.order("release", "hold", "0" * 32)
    late, gone = await place.order("hold", "recording", new.recording_id), await place.order("hold", "call", "0" * 32)
    await executor.once()
    assert (await place.results(again), await place.results(unknown)) == (["already"], ["not_found"])
    assert (await place.results(late), await place.results(gone)) == (["refused:command.too_late"], ["not_found"])


async def test_a_release_with_one_key_or_the_store_s_is_refused(place: Place, executor: Executor) -> None:
    new = await kept(place, yesterday(), policy())
    held = await place.order("hold", "call", new.call_id)
    await executor.once()
    for keys in ([DPO], [DPO, STORE], [STORE]):
        release = await place.order("release", "hold", held, keys=keys)
        await executor.once()
        assert (await place.results(release))[0].startswith("refused:auth.")
    row = await place.journal.hold(held)
    assert row is not None
    assert row.open


async def test_a_hold_whose_receipt_was_lost_is_answered_once_more(place: Place, executor: Executor) -> None:
    new = await kept(place, yesterday(), policy())
    jti = await place.order("hold", "recording", new.recording_id)
    await hold(executor, "recording", new.recording_id, hold_id=jti, by=f"key:{STORE.kid}")  # and the kill
    await keeping(place).once()
    assert await place.results(jti) == ["done"]
    assert len(await place.journal.holds()) == 1


async def test_a_person_whom_nobody_named_is_refused_and_a_named_one_held(place: Place, executor: Executor) -> None:
    new = await kept(place, yesterday(), policy(), number=NUMBER)
    jti = await place.order("hold", "person", "ab" * 32)
    await executor.once()
    assert await place.results(jti) == ["refused:command.person"]

    jti = await place.person(NUMBER, cmd="hold")
    await executor.once()
    assert (await answered(place, jti)).evidence["calls"] == 1
    assert await place.journal.opening_slot(jti) is None, "the person is wiped from the order"
    assert list(await place.journal.holds_on(new.recording_id, new.call_id)) == ["the caller asked for it"]


async def test_bulk_by_order_is_alarmed(place: Place, executor: Executor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edge.retention.holdorders.BULK", 3)
    for _ in range(5):
        new = await kept(place, yesterday(), policy())
        await place.order("hold", "recording", new.recording_id)
    await executor.once()

    def count(conn: sqlite3.Connection) -> int:
        return conn.execute("SELECT count(*) FROM alarm WHERE code='retention.bulk_holds'").fetchone()[0]

    assert await place.journal._readers.read(count) == 1


async def test_a_restriction_keeps_from_age_and_not_from_orders(place: Place, executor: Executor) -> None:
    terms = policy(recordings=Period("P1D"))
    aged, ordered = await kept(place, datetime.now(UTC) - 5 * DAY, terms), await kept(place, yesterday(), policy())
    for one in (aged, ordered):
        jti = await place.order("restrict", "recording", one.recording_id)
        await executor.once()
        assert (await answered(place, jti)).evidence["kind"] == "restriction"
    await place.order("erase", "recording", ordered.recording_id)
    await executor.once()
    await executor._forget()
    assert [await place.state(one.recording_id) for one in (aged, ordered)] == ["sealed", "erased"]
    (restriction,) = [one for one in await place.journal.holds() if one.target == aged.recording_id]
    await place.order("release", "hold", restriction.hold_id)
    await executor.once()
    executor.look()
    await executor._forget()
    assert await place.state(aged.recording_id) == "erased"


async def test_a_call_s_obstacle_is_any_of_its_recordings(place: Place, executor: Executor) -> None:
    new = await kept(place, yesterday(), policy(minimum=Period("P1M")))
    plain = await talked(place, yesterday(), policy(), outcome="notified")
    assert await executor.obstacles.of_call(plain.call_id) is None
    why = await executor.obstacles.of_call(new.call_id)
    assert why is not None
    assert why.startswith("minimum retention until ")
    await hold(executor, "recording", new.recording_id)
    assert await executor.obstacles.of_call(new.call_id) == "under hold: case 7"
    await hold(executor, "person", NUMBER, reason="case 8")
    assert await executor.obstacles.of_call(plain.call_id) == "under hold: case 8"


async def test_a_killed_release_is_completed_by_somebody_else_after_the_restart(tmp_path: Path) -> None:
    place = await Place.open(tmp_path)
    new = await kept(place, yesterday(), policy())
    held = await hold(keeping(place), "call", new.call_id)
    await keeping(place).holding.release(held, ["uid:1"])
    await place.close()
    place = await Place.open(tmp_path)
    try:
        assert (await keeping(place).holding.release(held, ["uid:2"])).open is False
        assert format_time(datetime.now(UTC)) > (await place.journal.holds(released=True))[0].placed_at
    finally:
        await place.close()


async def test_a_number_key_that_cannot_be_read_stops_erasures_and_nothing_else(
    place: Place, executor: Executor
) -> None:
    async def broken() -> Any:
        raise CallwardenError("vault.slot_shredded", "the slot was destroyed", where="slot 9")

    await hold(executor, "person", ANOTHER)
    new, _ = await place.record(ended=False)
    old, _ = await place.record()
    await place.journal.add_due(DueErasure(old.recording_id, now_plus(-1), "incident"))
    withdraw = await place.order("withdraw", "call", new.call_id)
    erase = await place.order("erase", "recording", old.recording_id)
    executor = keeping(place, hasher=broken)
    for _ in range(2):
        await executor.once()
    assert await place.results(withdraw) == ["done"]
    assert await place.results(erase) == []
    assert await place.state(old.recording_id) == "sealed", "somebody under a hold may be on it"
    (alarm,) = await audited(place, "alarm.raised")
    assert "retention.holds" in alarm
    await keeping(place).once()
    assert await place.results(erase) == ["done"]
