"""What stays of an answer: everything while there is audio, the minimal record after its erasure, nothing after its time."""

from __future__ import annotations

import hashlib
import json
import sqlite3
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from edge.consent.policy import Policy
from edge.consent.retention import House, Retention
from edge.consent.units import Period
from edge.errors import CallwardenError
from edge.model.entities import ConsentEvent, NewCall
from edge.retention.schedule import Facts, certainly_not_after, due
from edge.store.base import decode_json
from formats.ids import format_time
from tests.unit.retention.retention_kit import Place
from tests.unit.store import store_makers as makers

AT = "2026-01-31T12:00:07.250Z"
HMAC = "ab" * 32
#: Its audio is kept for ever, for all that these tests care.
POLICY = Policy(
    name="support",
    mode="opt_in",
    basis="consent",
    purposes=("quality",),
    retention=Retention(recordings=Period("P50Y")),
)
EVIDENCE = {
    "policy_id": "support", "policy_version": "v1", "mode": "opt_in", "basis": "consent", "basis_reference": "notice 3",
    "purposes": ["quality"], "granted": ["quality"], "edge_id": "edge-1", "key": "1", "keys_pressed": "731", "tries": 3,
    "party": {"party_id": "p", "role": "caller", "channel_uid": "17.1", "linked_id": "17.1"}, "reason": "key",
    "prompt": {"prompt_id": "ask", "version": "2.0.0", "language": "en", "audio_sha256": "cd" * 32, "played_ms": 7654321,
               "prompt_ms": 8000, "answerable_from_ms": 5000},
}  # fmt: skip


async def ended(place: Place, outcome: str, *, ago: timedelta, document: str = POLICY.document) -> NewCall:
    """A call without a recording that ended so long ago."""
    at = format_time(datetime.now(UTC) - ago)
    call = makers.call(
        number_e164=makers.NUMBER,
        policy_document=document,
        policy_version=hashlib.sha256(document.encode()).hexdigest(),
    )
    await place.journal.open_call(call)
    event = ConsentEvent(outcome, at, 5, EVIDENCE, call.party_id)
    await place.journal.add_event(call.call_id, event, state="declined", outcome=outcome)
    await place.journal.end_call(call.call_id, at)
    return call


async def recorded(place: Place, *, ago: timedelta) -> tuple[NewCall, str]:
    """A call with a sealed recording that ended so long ago."""
    call = makers.call(number_e164=makers.NUMBER, policy_document=POLICY.document)
    await place.journal.open_call(call)
    new = makers.recording(call.call_id, await place.slots.put(bytes(32)))
    event = ConsentEvent("given", AT, 5, EVIDENCE, call.party_id)
    await place.journal.grant(call.call_id, event, new.permit_id, ("quality",), new)
    for state in ("recording", "closing"):
        await place.journal.set_recording_state(new.recording_id, state)
    await place.journal.close_segment(makers.closed(new, 2))
    await place.journal.seal_recording(
        new.recording_id, ending="complete", frames=32768, ended_at=makers.AT, manifest="m.a.n"
    )
    await place.journal.end_call(call.call_id, format_time(datetime.now(UTC) - ago))
    return call, new.recording_id


async def digest(number: str) -> str:
    assert number == makers.NUMBER
    return HMAC


async def erase(place: Place, recording_id: str, **changes: Any) -> None:
    await place.journal.begin_erase(recording_id, None, "command")
    await place.executor(**{"digest": digest, **changes}).once()
    assert await place.state(recording_id) == "erased"


async def why(place: Place, call: NewCall) -> Any:
    found = await place.journal.views.why(call.call_id)
    assert found is not None
    return found


async def audited(place: Place, kind: str) -> list[Any]:
    entries = [decode_json(one.entry) for one in await place.journal.audit_entries(0, 1000)]
    return [one["body"] for one in entries if one["kind"] == kind]


async def dump(place: Place) -> str:
    return await place.journal._readers.read(lambda conn: "\n".join(conn.iterdump()))


async def test_an_erasure_leaves_the_minimal_record(place: Place) -> None:
    call, recording_id = await recorded(place, ago=timedelta(hours=1))
    assert (await why(place, call))["events"][0]["evidence"] == EVIDENCE
    await erase(place, recording_id)
    row = await why(place, call)
    (event,) = row["events"]
    assert (event["seq"], event["kind"], event["at"]) == (1, "given", "2026-01-31T12:00:00.000Z")
    gone = {"party", "keys_pressed", "tries", "edge_id", "prompt"}
    assert event["evidence"] == {name: value for name, value in EVIDENCE.items() if name not in gone} | {
        "prompt": {"prompt_id": "ask", "version": "2.0.0", "language": "en", "audio_sha256": "cd" * 32}
    }
    assert row["call"]["evidence"] == "minimal"
    assert (row["call"]["caller"], row["parties"][0]["number"], row["parties"][0]["number_hmac"]) == (None, None, HMAC)
    assert row["permit"]["granted_at"] == "2026-01-31T12:00:00.000Z"
    assert await audited(place, "evidence.minimised") == [{"events": 1}]
    text = await dump(place)  # the outbox, too: nothing was sent
    assert makers.NUMBER not in text
    assert "7654321" not in text  # how much was heard, to the millisecond; longer than an id has by chance
    assert "12:00:07.250" not in text


async def test_one_recording_left_leaves_the_evidence_alone(place: Place) -> None:
    call, recording_id = await recorded(place, ago=timedelta(hours=1))
    another, _ = await place.record(call.call_id, ended=False)
    await erase(place, recording_id)
    row = await why(place, call)
    assert (row["call"]["evidence"], row["events"][0]["evidence"]) == ("full", EVIDENCE)
    assert row["parties"][0]["number_hmac"] is None
    await erase(place, another.recording_id)
    row = await why(place, call)
    assert (row["call"]["evidence"], row["parties"][0]["number_hmac"]) == ("minimal", HMAC)


async def test_a_number_key_that_cannot_be_read_does_not_stop_an_erasure(place: Place) -> None:
    async def broken(number: str) -> str:
        raise CallwardenError("vault.slot_shredded", "the slot was destroyed", where="slot 9")

    call, recording_id = await recorded(place, ago=timedelta(hours=1))
    await erase(place, recording_id, digest=broken)
    assert (await why(place, call))["parties"][0]["number_hmac"] is None
    assert makers.NUMBER not in await dump(place)


async def test_what_is_minimal_cannot_be_changed_by_anybody_else(place: Place) -> None:
    call, recording_id = await recorded(place, ago=timedelta(hours=1))

    def forge(conn: sqlite3.Connection) -> None:
        conn.execute("INSERT INTO meta(key, value) VALUES('anonymising', '1')")
        conn.execute("UPDATE consent_event SET at_wall='2026-01-30T12:00:00.000Z' WHERE call_id=?", (call.call_id,))

    with pytest.raises(CallwardenError):
        await place.journal._writer.do(forge)
    await erase(place, recording_id)
    assert (await why(place, call))["events"][0]["at"] == "2026-01-31T12:00:00.000Z"


async def sweep(place: Place) -> int:
    """How many calls lose their evidence in one look."""
    before = sum(one["calls"] for one in await audited(place, "evidence.expired"))
    await place.executor()._forget()
    return sum(one["calls"] for one in await audited(place, "evidence.expired")) - before


def expired(period: Period, ended_at: datetime, now: datetime) -> bool:
    return due(Facts("refusals", ended_at, recorded=Retention(refusals=period), house=House())).goes(now)


async def test_evidence_goes_when_its_time_is_over_and_the_calls_row_stays(place: Place) -> None:
    call, recording_id = await recorded(place, ago=timedelta(days=3 * 366))
    young, other = await recorded(place, ago=timedelta(days=3 * 365 - 1))
    assert await sweep(place) == 0, "there is audio"
    await erase(place, recording_id)
    await erase(place, other)
    await place.hold(call.call_id, "case 7")
    assert await sweep(place) == 0, "a hold covers it"
    assert await place.journal.expire_evidence([call.call_id]) == 0, "asked again in the commit"
    await place.release(call.call_id)
    assert await sweep(place) == 1
    row = await why(place, call)
    assert (row["call"]["evidence"], row["call"]["outcome"]) == ("expired", "given")
    # The word that the permit stands on, and nothing of what it was said to.
    assert [(e["kind"], e["evidence"]) for e in row["events"]] == [("given", {})]
    assert (row["parties"][0]["number_hmac"], row["parties"][0]["legs"]) == (None, [])
    assert await place.journal.tombstone(recording_id) is not None
    assert await audited(place, "evidence.expired") == [{"calls": 1, "events": 1}]
    assert (await why(place, young))["call"]["evidence"] == "minimal"
    assert (await dump(place)).count(HMAC) == 1
    assert await sweep(place) == 0


@pytest.mark.parametrize("outcome", ["refused", "objected", "abandoned"])
async def test_a_no_is_kept_for_its_own_time(place: Place, outcome: str) -> None:
    old = await ended(place, outcome, ago=timedelta(days=31))
    young = await ended(place, outcome, ago=timedelta(days=29))
    none = await ended(place, "not_recorded", ago=timedelta(days=31))
    assert await sweep(place) == 1
    row = await why(place, old)
    assert (row["call"]["evidence"], row["call"]["outcome"], row["events"]) == ("expired", outcome, [])
    for call in (young, none):
        row = await why(place, call)
        assert (row["call"]["evidence"], row["events"][0]["evidence"]) == ("full", EVIDENCE)


async def test_the_time_is_that_of_the_policy_the_call_was_under(place: Place) -> None:
    short = replace_retention("P7D")
    long = replace_retention("P1Y")
    first = await ended(place, "refused", ago=timedelta(days=31), document=short)
    second = await ended(place, "refused", ago=timedelta(days=31), document=long)
    third = await ended(place, "refused", ago=timedelta(days=31), document='{"no":"policy"}')
    assert await sweep(place) == 1
    states = [(await why(place, one))["call"]["evidence"] for one in (first, second, third)]
    assert states == ["expired", "full", "full"]


def replace_retention(refusals: str) -> str:
    document = json.loads(POLICY.document)
    document["retention"]["refusals"] = refusals
    return json.dumps(document)


async def test_many_go_in_several_commits(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edge.retention.expiry.BATCH", 2)
    for _ in range(5):
        await ended(place, "refused", ago=timedelta(days=31))
    assert await sweep(place) == 5
    assert [one["calls"] for one in await audited(place, "evidence.expired")] == [2, 2, 1]


async def test_the_executor_looks_for_it(place: Place) -> None:
    call = await ended(place, "refused", ago=timedelta(days=31))
    await place.executor()._forget()
    assert (await why(place, call))["call"]["evidence"] == "expired"


async def test_without_a_number_key_nothing_of_the_number_stays(place: Place) -> None:
    call, recording_id = await recorded(place, ago=timedelta(hours=1))
    await erase(place, recording_id, digest=None)
    assert (await why(place, call))["parties"][0]["number_hmac"] is None


@pytest.mark.parametrize("period", ["P0D", "P30D", "P1M", "P36M", "P100Y"])
def test_the_bound_passes_over_nothing_that_has_expired(period: str) -> None:
    now = datetime(2024, 3, 1, 12, tzinfo=UTC) if period != "P100Y" else datetime(2924, 3, 1, 12, tzinfo=UTC)
    bound = certainly_not_after(Period(period), now)
    assert not expired(Period(period), bound + timedelta(seconds=1), now)
    exactly = next(
        now - timedelta(days=n) for n in range(40_000) if expired(Period(period), now - timedelta(days=n), now)
    )
    assert exactly <= bound


def test_the_moment_itself_counts() -> None:
    at = datetime(2026, 1, 31, 12, tzinfo=UTC)
    assert expired(Period("P1M"), at, datetime(2026, 2, 28, 12, tzinfo=UTC))
    assert not expired(Period("P1M"), at, datetime(2026, 2, 28, 11, 59, tzinfo=UTC))
