"""After an order about a person nothing of them is in the journal's bytes, and the statistics are what they were."""

from __future__ import annotations

import asyncio
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from edge.model.entities import ConsentEvent
from edge.model.live import AnswerRow, NoticeRow
from edge.store.base import decode_json
from tests.unit.retention.retention_kit import Place
from tests.unit.retention.test_many import Setting, digest
from tests.unit.store import store_makers as makers

PERSON = "+420777123456"
#: What stands for them in rows: numbers, their HMAC, names and ids that only their calls have.
TRACES = (
    "777123456",
    "777 123 456",
    "7771 23456",
    asyncio.run(digest(PERSON)),
    "PJSIP/marked",
    "17999.77",
    "marked-link",
    "Marked Name",
)

calls = st.lists(
    st.fixed_dictionaries(
        {
            "theirs": st.booleans(),
            "heard": st.sampled_from(["+420777123456", "777123456", "00420 777 123 456", "777 123 456"]),
            "known": st.booleans(),
            "recorded": st.booleans(),
            "erased_before": st.booleans(),
            "outcome": st.sampled_from(["refused", "not_recorded"]),
            "direction": st.sampled_from(["inbound", "outbound"]),
            "policy": st.sampled_from(["support", "sales"]),
            "sent": st.booleans(),
        }
    ),
    min_size=1,
    max_size=5,
)


async def make(place: Place, setting: Setting, number: int, one: dict[str, Any]) -> str:
    theirs = one["theirs"]
    heard = one["heard"] if theirs else "+420777999888"
    changes: dict[str, Any] = {
        "number_heard": heard,
        "number_e164": PERSON if theirs and one["known"] else None if theirs else heard,
        "direction": one["direction"],
        "policy_id": one["policy"],
        "started_at": f"2026-01-{number + 1:02d}T09:17:0{number}.123Z",
    }
    if theirs and one["recorded"]:  # a call that keeps no number cannot be found by it, and names nobody
        changes |= {
            "channel_uid": f"17999.77{number}", "channel_name": f"PJSIP/marked-{number}", "linked_id": f"marked-link{number}",
        }  # fmt: skip
    if one["recorded"]:
        new, _ = await place.record(ended=False, **changes)
        call_id = new.call_id
    else:
        call = makers.call(**changes)
        call_id = call.call_id
        await place.journal.open_call(call)
        await place.journal.add_event(call_id, makers.event(one["outcome"]), state="declined", outcome=one["outcome"])
    found = await place.journal.call(call_id)
    assert found is not None
    if theirs and one["recorded"]:
        evidence = {"party": {"number_heard": heard, "number_e164": PERSON, "channel_uid": found.channel_uid,
                              "linked_id": found.linked_id}, "actor": "Marked Name", "key": "1"}  # fmt: skip
        await place.journal.add_event(call_id, ConsentEvent("requested", makers.AT, 7, evidence, found.party_id))
    if theirs:
        await place.journal.owe_notice(
            NoticeRow(
                makers.new_id(), call_id, "end", PERSON, await digest(PERSON), "CZ", "waiting", 0, makers.AT, makers.AT,
                None, "",
            )
        )  # fmt: skip
    await place.journal.end_call(call_id, f"2026-01-{number + 1:02d}T09:19:33.456Z")
    if one["recorded"] and one["erased_before"]:
        await place.order("erase", "call", call_id)
        await setting.executor.once()
    if one["sent"]:
        rows = await place.journal.outbox(1000)
        await place.journal.prune(rows[-1].seq)
    return call_id


async def statistics(place: Place) -> Counter[tuple[Any, ...]]:
    """Calls by day, policy, direction, mode, outcome, and seconds."""
    found: Counter[tuple[Any, ...]] = Counter()
    ids = [one["call_id"] for one in await place.journal.views.calls()]
    seconds = {one.call_id: one.seconds for one in await place.journal.matches(ids)}
    for call_id in ids:
        row = await place.journal.call(call_id)
        assert row is not None
        day = row.started_at[:13]
        found[day, row.policy_id, row.direction, row.mode, row.outcome, row.number_class, seconds[call_id]] += 1
    return found


async def scenario(folder: Path, history: list[dict[str, Any]]) -> None:
    place = await Place.open(folder)
    try:
        setting = Setting(place, daily_share=100)
        made = [await make(place, setting, number, one) for number, one in enumerate(history)]
        await place.journal.remember(
            [
                AnswerRow(
                    number_hmac=await digest(PERSON), purpose="quality", outcome="given", prompt_major="1",
                    policy_id="support", policy_version="v1", event_seq=1, verified=True, answered_at=makers.AT,
                    valid_until="2099-01-01T00:00:00.000Z",
                )
            ]
        )  # fmt: skip
        before = await statistics(place)
        jti = await place.person(PERSON)
        await setting.executor.once()
        await setting.later(hours=25)
        await setting.later(days=8)
        assert await setting.state_of(jti) == "answered"
        assert await statistics(place) == before
        for one, call_id in zip(history, made, strict=True):
            call = await place.journal.call(call_id)
            assert call is not None
            states = [await place.state(recording) for recording in call.recordings]
            assert states == ["erased" if one["theirs"] or one["erased_before"] else "sealed"] * one["recorded"]
            assert (call.linked_id == call_id) == one["theirs"], "anonymous, or left alone"
        for entry in await place.journal.audit_entries(0, 10000):
            assert set(decode_json(entry.entry)) == {"at", "body", "kind", "subject"}
        await place.journal.read_gate()
        for path in folder.glob("journal.db*"):
            stored = path.read_bytes()
            assert [trace for trace in TRACES if trace.encode() in stored] == [], path.name
    finally:
        await place.close()


@settings(
    max_examples=8, phases=[Phase.explicit, Phase.generate], deadline=None, suppress_health_check=list(HealthCheck)
)
@given(history=calls)
def test_nothing_of_the_person_remains(history: list[dict[str, Any]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(scenario(Path(folder), history))
