"""What goes by itself: audio by its age with a receipt, then evidence, names, rows; what waits for an approval, what is kept."""

from __future__ import annotations

import sqlite3
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edge.consent.policy import Policy
from edge.consent.retention import Bound, Bounds, House, Limits, Retention
from edge.consent.units import Period
from edge.errors import CallwardenError
from edge.model.entities import NO_POLICY, NewRecording
from edge.model.live import NoticeRow
from edge.retention.door import RetentionDoor
from edge.retention.expiry import ERASURES
from edge.store.base import decode_json
from edge.store.retention import _ROWS
from formats.ids import format_time
from formats.orders import open_receipt_document, receipt_document
from tests.unit.retention.keeping_kit import NOON, Hands, kept, policy, talked
from tests.unit.retention.retention_kit import TRUST, Place
from tests.unit.store import store_makers as makers

DAY = timedelta(days=1)
SHORT = policy(recordings=Period("P1M"), metadata=Period("P1M"), evidence=Period("P2M"), statistics=Period("P3M"))


async def look(place: Place, at: datetime, **changes: Any) -> bool:
    """One look at that time; True when there is more at once."""
    await place.journal.set_meta("retention_clock", format_time(at))  # nothing is odd about it
    executor = place.executor(clock=Hands(at), **changes)
    await executor.once()
    return await executor._forget()


async def heard(place: Place) -> None:
    """Central has heard of everything."""
    if waiting := await place.journal.outbox(10_000):
        await place.journal.prune(waiting[-1].seq)


async def audited(place: Place, kind: str) -> list[Any]:
    entries = [decode_json(one.entry) for one in await place.journal.audit_entries(0, 2000)]
    return [one["body"] for one in entries if one["kind"] == kind]


async def rows(place: Place, query: str) -> int:
    return await place.journal._readers.read(lambda conn: conn.execute(query).fetchone()[0])


async def test_audio_goes_by_its_age_with_a_receipt_that_says_why(place: Place) -> None:
    old, young = await kept(place, NOON - 31 * DAY, SHORT), await kept(place, NOON - 20 * DAY, SHORT)
    live = await kept(place, None, SHORT)
    assert not await look(place, NOON)
    assert [await place.state(one.recording_id) for one in (old, young, live)] == ["erased", "sealed", "sealed"]
    with pytest.raises(CallwardenError):
        await place.slots.read(old.segment.header.slot)
    tombstone = await place.journal.tombstone(old.recording_id)
    assert tombstone is not None
    assert tombstone["cause"] == "retention"
    (seen,) = await place.journal.views.receipts(old.recording_id)
    proof = open_receipt_document(receipt_document(seen["jws"], None), TRUST)
    assert proof.ground is not None
    assert (proof.ground.cause, proof.ground.recording_id, proof.claims.result) == (
        "retention",
        old.recording_id,
        "done",
    )
    assert proof.claims.evidence["why"] == "retention.recordings of the policy it began under"
    assert proof.claims.evidence["due_at"] == format_time(Period("P1M").after(NOON - 31 * DAY))


async def test_a_call_that_came_while_no_daemon_was_there_is_kept_by_the_houses_defaults(place: Place) -> None:
    call = makers.call(policy_id=NO_POLICY, policy_version="", policy_document="{}", mode="never", purposes=())
    await place.journal.open_call(call)
    event = replace(makers.event("unavailable", call.party_id), at_wall=format_time(NOON - 40 * DAY))
    await place.journal.add_event(call.call_id, event, state="declined", outcome="unavailable")
    await place.journal.end_call(call.call_id, format_time(NOON - 40 * DAY))
    defaults = Retention(metadata=Period("P1M"), evidence=Period("P2M"), statistics=Period("P3M"))

    async def named(at: datetime, approve: str) -> int:
        await look(place, at, house=lambda: House(approve=approve, defaults=defaults))  # type: ignore[arg-type]
        return await rows(place, "SELECT count(*) FROM call WHERE channel_name IS NOT NULL AND channel_name != ''")

    assert await named(NOON, "ask") == 1  # nobody approved it
    assert await named(NOON, "at_once") == 0
    assert await rows(place, "SELECT count(*) FROM call") == 1
    for days in (60, 61):
        await heard(place)
        await look(place, NOON + days * DAY, house=lambda: House(approve="at_once", defaults=defaults))
    assert await rows(place, "SELECT count(*) FROM call") == 0


async def test_a_pass_is_bounded_and_the_next_goes_on(place: Place) -> None:
    made = [await kept(place, NOON - 40 * DAY, SHORT) for _ in range(ERASURES + 2)]
    assert await look(place, NOON)
    states = [await place.state(one.recording_id) for one in made]
    assert states.count("erased") == ERASURES
    assert not await look(place, NOON)
    assert {await place.state(one.recording_id) for one in made} == {"erased"}


async def test_pages_pass_over_nothing(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """Calls that end in the same moment, and pages in which nothing is over."""
    monkeypatch.setattr("edge.store.retention.SCAN", 3)
    audio, refused = [], []
    for number in range(14):
        ended = NOON - (40 if number % 4 else 5) * DAY
        audio.append(await kept(place, ended, SHORT))
        refused.append(await talked(place, ended, SHORT))
    while await look(place, NOON):
        pass
    over = [bool(number % 4) for number in range(14)]
    assert [await place.state(one.recording_id) == "erased" for one in audio] == over
    expired = []
    for one in refused:
        row = await place.journal.views.why(one.call_id)
        assert row is not None
        expired.append(row["call"]["evidence"] == "expired")
    assert expired == over
    made = await RetentionDoor(place.means).plan(None, NOON)
    assert made["totals"]["recordings"]["later"] == over.count(False)


async def test_a_call_goes_step_by_step_until_nothing_is_left(place: Place) -> None:
    new = await kept(place, NOON, SHORT)
    hmac = "ab" * 32

    async def digest(number: str) -> str:
        return hmac

    async def evidence() -> tuple[str, Any]:
        row = await place.journal.views.why(new.call_id)
        assert row is not None
        return row["call"]["evidence"], row["parties"][0]["number_hmac"]

    at = NOON
    seen = []
    for _ in range(100):
        at += DAY
        await heard(place)
        await look(place, at, digest=digest)
        found = await place.journal.call(new.call_id)
        seen.append(None if found is None else (await place.state(new.recording_id), *await evidence()))
    steps = [one for one, before in zip(seen, [object(), *seen], strict=False) if one != before]
    assert steps == [("sealed", "full", None), ("erased", "minimal", hmac), ("erased", "expired", None), None]
    assert seen.index(("erased", "minimal", hmac)) + 1 == 30, "15 July"
    assert seen.index(("erased", "expired", None)) + 1 == 61, "15 August"
    assert seen.index(None) + 1 == 92, "15 September"
    for table in ("call", "party", "leg", "consent_event", "permit", "recording", "capture", "segment", "header"):
        assert await rows(place, f"SELECT count(*) FROM {table}") == 0, table
    assert await place.journal.tombstone(new.recording_id) is not None, "a restored backup needs it"
    assert await audited(place, "statistics.expired") == [{"calls": 1}]


async def test_every_table_that_hangs_on_a_call_is_emptied_with_it(place: Place) -> None:
    """Whoever adds a table sees here that it has to go with the call."""

    def references(conn: sqlite3.Connection) -> dict[str, set[str]]:
        tables = [row[0] for row in conn.execute("SELECT name FROM sqlite_master WHERE type='table'")]
        return {one: {row[2] for row in conn.execute(f"PRAGMA foreign_key_list({one})")} for one in tables}

    refers = await place.journal._readers.read(references)
    hang, grew = {"call"}, True
    while grew:
        more = {table for table, to in refers.items() if to & hang} - hang
        hang, grew = hang | more, bool(more)
    emptied = {row.split()[2] for row in _ROWS}
    assert hang - emptied == {"exported", "adoption"}, "a call waits for these"


async def test_a_call_waits_for_the_list_of_its_copies(place: Place) -> None:
    new = await kept(place, NOON - 200 * DAY, SHORT)
    copy = f"INSERT INTO exported(recording_id, form, purpose, at) VALUES(?, 'wav', 'quality', '{format_time(NOON)}')"
    await place.journal._writer.do(lambda conn: conn.execute(copy, (new.recording_id,)))
    for _ in range(2):
        await look(place, NOON)
        await heard(place)
    assert await place.journal.call(new.call_id) is not None
    for days in (40 * 30, 40 * 30 + 1):
        await look(place, NOON + days * DAY)
    assert await place.journal.call(new.call_id) is None


async def test_a_row_waits_for_its_evidence(place: Place) -> None:
    terms = policy(statistics=Period("P1M"), refusals=Period("P3M"))
    call = await talked(place, NOON - 60 * DAY, terms)
    await look(place, NOON)
    assert await place.journal.call(call.call_id) is not None
    await heard(place)
    await look(place, NOON + 40 * DAY)
    assert await place.journal.call(call.call_id) is None


async def test_names_go_before_the_proof_and_the_texts_before_both(place: Place) -> None:
    terms = policy(metadata=Period("P2M"), notices=Period("P1M"))
    call = await talked(place, NOON - 40 * DAY, terms, outcome="notified")
    notice = NoticeRow(
        makers.new_id(), call.call_id, "end", None, "cd" * 32, "CZ", "dropped", 0, makers.AT, makers.AT, None, "country"
    )
    assert await place.journal.owe_notice(notice)
    await look(place, NOON)
    row = await place.journal.views.why(call.call_id)
    assert row is not None
    assert (row["notices"], row["call"]["caller"]) == ([], makers.NUMBER)
    assert await audited(place, "notices.expired") == [{"notices": 1}]

    async def digest(number: str) -> str:
        return "ef" * 32

    await look(place, NOON + 25 * DAY, digest=digest)
    row = await place.journal.views.why(call.call_id)
    assert row is not None
    assert (row["call"]["caller"], row["call"]["evidence"], row["call"]["outcome"]) == (None, "minimal", "notified")
    assert row["parties"][0]["number_hmac"] == "ef" * 32
    assert await rows(place, "SELECT count(*) FROM call WHERE channel_name<>''") == 0
    assert await audited(place, "metadata.expired") == [{"calls": 1}]


async def test_orders_receipts_and_alarms_go_by_the_house(place: Place) -> None:
    new = await kept(place, datetime.now(UTC) - DAY, policy())
    jti = await place.order("erase", "recording", new.recording_id)
    await place.executor().once()
    receipt = (await place.journal.receipts_of(jti))[0]
    await place.journal.alarm("spool.full", "the spool is full")
    soon, late = datetime.now(UTC) + 40 * DAY, datetime.now(UTC) + 80 * DAY
    house = House(approve="at_once", orders=Period("P1M"), alarms=Period("P2M"))
    await look(place, soon, house=lambda: house)
    assert await place.journal.receipts_of(jti) == [receipt], "central has not acknowledged it"
    await place.journal.acknowledge_receipt(receipt.receipt_id, makers.AT)
    await look(place, soon, house=lambda: house)
    assert (await place.journal.receipts_of(jti), await place.journal.order(jti)) == ([], None)
    assert await rows(place, "SELECT count(*) FROM alarm") == 1
    await look(place, late, house=lambda: house)
    assert await rows(place, "SELECT count(*) FROM alarm") == 0
    assert await audited(place, "orders.expired") == [{"orders": 1, "receipts": 0, "holds": 0}]
    assert await audited(place, "alarms.expired") == [{"alarms": 1}]
    assert await place.journal.tombstone(new.recording_id) is not None


async def test_nothing_of_a_new_policy_goes_until_somebody_approves(place: Place) -> None:
    house = House()
    new = await kept(place, NOON - 40 * DAY, SHORT)
    refused = await talked(place, NOON - 40 * DAY, SHORT)
    changes: dict[str, Any] = {"house": lambda: house, "terms_of": lambda _: SHORT.retention}
    executor = place.executor(clock=Hands(), **changes)
    await executor._forget()
    assert await place.state(new.recording_id) == "sealed"
    row = await place.journal.views.why(refused.call_id)
    assert row is not None
    assert row["call"]["evidence"] == "full"
    assert any('policy "support" waits' in one for one in executor.notes())
    assert await rows(place, "SELECT count(*) FROM alarm WHERE code='retention.waits'") == 1
    await executor.terms.approve("support", "uid:1000")
    executor.look()
    await executor._forget()
    assert await place.state(new.recording_id) == "erased"
    assert not any("support" in one for one in executor.notes())
    (filed,) = await audited(place, "retention.approved")
    assert (filed["policy"], filed["by"]) == ("support", "uid:1000")


async def test_terms_that_got_shorter_wait_and_longer_ones_need_nobody(place: Place) -> None:
    terms = {"now": Retention(recordings=Period("P6M"))}
    first = await kept(place, NOON - 40 * DAY, policy())
    changes: dict[str, Any] = {"house": House, "terms_of": lambda _: terms["now"]}
    executor = place.executor(clock=Hands(), **changes)
    await executor.terms.approve("support", "uid:1000")
    terms["now"] = Retention(recordings=Period("P1M"))
    await executor._forget()
    assert await place.state(first.recording_id) == "sealed", "P6M is what was approved"
    standing = await executor.terms.standing("support")
    assert (standing.acts, standing.waits) == (True, ("recordings: P6M → P1M",))
    terms["now"] = Retention(recordings=Period("P1Y"))
    executor.look()
    await executor._forget()
    assert (await executor.terms.standing("support")).waits == ()
    terms["now"] = Retention(recordings=Period("P6M"))
    assert (await executor.terms.standing("support")).waits == ("recordings: P1Y → P6M",), "promised meanwhile"
    terms["now"] = Retention(recordings=Period("P1M"))
    await executor.terms.approve("support", "uid:1000")
    executor.look()
    await executor._forget()
    assert await place.state(first.recording_id) == "erased", "shorter terms count for what is there"


async def test_calls_that_began_under_terms_nobody_approved_are_kept_as_approved(place: Place) -> None:
    terms = {"now": Retention(recordings=Period("P6M"))}

    def change(period: str) -> Policy:
        terms["now"] = Retention(recordings=Period(period))
        executor.look()
        return policy(recordings=Period(period))

    executor = place.executor(clock=Hands(), house=House, terms_of=lambda _: terms["now"])
    await executor.terms.approve("support", "uid:1000")
    mistyped = [await kept(place, NOON - days * DAY, change("P1D")) for days in (3, 200)]
    kind = await talked(place, NOON - 3 * DAY, policy(recordings=Period("P1D"), refusals=Period("P1D")))
    await executor._forget()
    states = [await place.state(one.recording_id) for one in mistyped]
    assert states == ["sealed", "erased"], "P6M is what was approved"
    row = await place.journal.views.why(kind.call_id)
    assert row is not None
    assert row["call"]["evidence"] == "full"
    change("P1Y")
    await executor._forget()
    change("P3M")
    await executor.terms.approve("support", "uid:1000")
    executor.look()
    await executor._forget()
    assert await place.state(mistyped[0].recording_id) == "sealed", "neither what grew nor another period approves it"


async def test_an_approved_version_counts_whatever_is_approved_later(place: Place) -> None:
    terms = {"now": Retention(recordings=Period("P6M"))}
    executor = place.executor(clock=Hands(), house=House, terms_of=lambda _: terms["now"])
    before = await kept(place, NOON - 40 * DAY, policy(recordings=Period("P1M")))
    await executor.terms.approve("support", "uid:1000")
    terms["now"] = Retention(recordings=Period("P7D"))
    waiting = await kept(place, NOON - 10 * DAY, policy(recordings=Period("P7D")))
    await executor._forget()
    assert [await place.state(one.recording_id) for one in (before, waiting)] == ["erased", "sealed"]
    await executor.terms.approve("support", "uid:1000")
    later = await kept(place, NOON - 10 * DAY, policy(recordings=Period("P7D")))
    terms["now"] = Retention(recordings=Period("P1Y"))
    executor.look()
    await executor._forget()
    assert [await place.state(one.recording_id) for one in (waiting, later)] == ["erased", "erased"]
    reverted = await kept(place, NOON - 10 * DAY, policy(recordings=Period("P7D")))
    await executor._forget()
    assert await place.state(reverted.recording_id) == "sealed", "approved once, and no longer"


@pytest.mark.parametrize(
    ("old", "new", "waits"),
    [
        ({"recordings": "P6M"}, {"recordings": "P180D"}, ("recordings: P6M → P180D",)),
        ({"recordings": "P6M"}, {"recordings": "P186D"}, ()),
        ({"minimum": "P1M"}, {}, ("minimum: P1M → P0D",)),
        ({}, {"minimum": "P1M"}, ()),
        ({}, {"refusals": "P7D"}, ("refusals: P30D → P7D",)),
        ({}, {"purposes": {"quality": {"maximum": "P7D"}}}, ("purposes.quality.maximum: none → P7D",)),
        ({"purposes": {"quality": {"minimum": "P7D"}}}, {}, ("purposes.quality.minimum: P7D → P0D",)),
        ({"purposes": {"quality": {"maximum": "P7D"}}}, {}, ()),
    ],
)
async def test_what_is_shorter(place: Place, old: Any, new: Any, waits: tuple[str, ...]) -> None:
    def terms(said: Any) -> Retention:
        return Retention(**{k: Bounds.parse(v) if k == "purposes" else Period(v) for k, v in said.items()})

    now = {"is": terms(old)}
    executor = place.executor(house=House, terms_of=lambda _: now["is"])
    await executor.terms.approve("support", "uid:1000")
    now["is"] = terms(new)
    assert (await executor.terms.standing("support")).waits == waits


async def test_a_duty_of_terms_that_wait_holds_up_nothing_else(place: Place) -> None:
    """More recordings than a pass takes are kept by it: they are no work, nothing is said again, and the rest goes."""
    now = {"is": Retention(recordings=Period("P1M"))}
    changes: dict[str, Any] = {"house": House, "terms_of": lambda _: now["is"]}
    executor = place.executor(clock=Hands(), **changes)
    await executor.terms.approve("support", "uid:1000")
    made = [await kept(place, NOON - 60 * DAY, policy(recordings=Period("P1M"))) for _ in range(ERASURES)]
    refused = await talked(place, NOON - 400 * DAY, policy(recordings=Period("P1M")))
    now["is"] = Retention(recordings=Period("P1M"), minimum=Period("P1Y"), statistics=Period("P12M"))
    assert (await executor.terms.standing("support")).waits
    for _ in range(3):
        executor.look()
        assert not await executor._forget(), "nothing is left to be done at once"
    assert {await place.state(one.recording_id) for one in made} == {"sealed"}
    assert await rows(place, "SELECT count(*) FROM receipt") == 0
    row = await place.journal.views.why(refused.call_id)
    assert row is not None
    assert row["call"]["evidence"] == "expired"
    now["is"] = Retention(recordings=Period("P1M"))
    executor.look()
    while await executor._forget():
        pass
    assert {await place.state(one.recording_id) for one in made} == {"erased"}


async def test_what_fails_before_its_intent_is_not_tried_at_once_again(place: Place) -> None:
    class Stuck:
        async def stop(self, recording_id: str, reason: str) -> None:
            raise CallwardenError("ami.away", "no answer", retryable=True)

    made = [await kept(place, NOON - 40 * DAY, SHORT) for _ in range(ERASURES)]
    assert not await look(place, NOON, recorder=Stuck())
    assert {await place.state(one.recording_id) for one in made} == {"sealed"}


async def test_approved_terms_of_another_version_wait_again(place: Place) -> None:
    await place.journal.approve_terms("support", '{"policy": {"unheard_of": 1}, "house": {}}', "uid:1000")
    executor = place.executor(house=House, terms_of=lambda _: Retention())
    assert (await executor.terms.standing("support")).acts is False
    await executor.terms.approve("support", "uid:1000")
    assert (await executor.terms.standing("support")).acts is True


async def test_a_number_key_that_cannot_be_read_keeps_no_names(place: Place) -> None:
    async def broken(number: str) -> str:
        raise CallwardenError("vault.slot_shredded", "the slot was destroyed", where="slot 9")

    call = await talked(place, NOON - 40 * DAY, policy(metadata=Period("P1M")), outcome="notified")
    await look(place, NOON, digest=broken)
    row = await place.journal.views.why(call.call_id)
    assert row is not None
    assert (row["call"]["caller"], row["parties"][0]["number_hmac"]) == (None, None)


async def test_a_ceiling_of_the_house_needs_an_approval_too(place: Place) -> None:
    house = {"is": House()}
    executor = place.executor(house=lambda: house["is"], terms_of=lambda _: Retention())
    await executor.terms.approve("support", "uid:1000")
    house["is"] = House(ceiling=Limits(recordings=Period("P1M")))
    assert (await executor.terms.standing("support")).waits == ("[retention] ceiling.recordings: none → P1M",)


async def test_a_policy_that_is_gone_keeps_to_the_terms_of_then(place: Place) -> None:
    new = await kept(place, NOON - 40 * DAY, SHORT)
    executor = place.executor(clock=Hands(), house=House, terms_of=lambda _: None)
    await executor.terms.approve("support", "uid:1000")
    await executor._forget()
    assert await place.state(new.recording_id) == "erased"


PLANS = st.lists(
    st.tuples(
        st.integers(0, 90),  # days before NOON at which the call ended
        st.sampled_from([("quality",), ("evidence",), ("quality", "evidence")]),
        st.booleans(),  # held
    ),
    min_size=1,
    max_size=6,
)


@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
@given(PLANS, st.integers(0, 60))
async def test_nothing_due_stays_and_nothing_held_goes(
    tmp_path_factory: pytest.TempPathFactory, made: list[tuple[int, tuple[str, ...], bool]], later: int
) -> None:
    """Over the real journal: after a look, exactly what is over and not held is gone."""
    terms = policy(
        recordings=Period("P1M"),
        purposes=Bounds({"evidence": Bound(minimum=Period("P2M")), "quality": Bound(maximum=Period("P20D"))}),
    )
    place = await Place.open(tmp_path_factory.mktemp("edge"))
    try:
        at = NOON + later * DAY
        expected: list[tuple[NewRecording, str]] = []
        for days, purposes, held in made:
            ended = NOON - days * DAY
            new = await kept(place, ended, terms, purposes=purposes)
            if held:
                await place.hold(new.call_id, "case 7")
            end = Period("P2M").after(ended) if "evidence" in purposes else Period("P20D").after(ended)
            expected.append((new, "erased" if end <= at and not held else "sealed"))
        while await look(place, at):
            pass
        assert [await place.state(new.recording_id) for new, _ in expected] == [state for _, state in expected]
        for new, _ in expected:
            await place.release(new.call_id)
        while await look(place, at + 100 * DAY):
            pass
        assert {await place.state(new.recording_id) for new, _ in expected} == {"erased"}
    finally:
        await place.close()


async def test_a_recording_that_central_does_not_answer_for_is_tried_again(place: Place) -> None:
    class Keeper:
        def __init__(self) -> None:
            self.up = False

        async def shred(self, recording_id: str, key_ids: Any, jti: str | None) -> Any:
            if not self.up:
                raise CallwardenError("sync.unreachable", "central cannot be reached", retryable=True)
            return {"result": "done"}

    keeper = Keeper()
    new = await kept(place, NOON - 40 * DAY, SHORT)
    await look(place, NOON, keeper=keeper)
    assert await place.state(new.recording_id) == "erasing"
    keeper.up = True
    await look(place, NOON, keeper=keeper)
    assert await place.state(new.recording_id) == "erased"


async def test_what_central_has_not_heard_is_not_deleted(place: Place) -> None:
    call = await talked(place, NOON - 200 * DAY, SHORT)
    await look(place, NOON)
    assert await place.journal.call(call.call_id) is not None
    await heard(place)
    await look(place, NOON)
    assert await place.journal.call(call.call_id) is None
