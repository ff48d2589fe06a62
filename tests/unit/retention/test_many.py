"""Orders to erase a person or a policy: what they find, when they act, who stops them, what is left."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from edge.consent.retention import Retention
from edge.consent.units import Period
from edge.errors import CallwardenError
from edge.model.entities import NewRecording, RecordingRow
from edge.model.live import AnswerRow
from edge.retention import many
from edge.retention.executor import Executor
from edge.retention.means import Bounds
from edge.store.base import decode_json
from formats.ids import format_time
from formats.keys import SigningKey
from formats.orders import open_receipt_document, receipt_document
from tests.unit.retention.retention_kit import AUDITOR, DPO, DPO2, EDGE, STORE, TRUST, Place
from tests.unit.retention.test_orders import HoldsMeanwhile
from tests.unit.store import store_makers as makers

OTHER = "+420777999888"


class Clock:
    """The system's, moved by hand."""

    def __init__(self) -> None:
        self.ahead = timedelta(0)
        self.jump = timedelta(0)  # of the wall clock alone

    def wall(self) -> datetime:
        return datetime.now(UTC) + self.ahead + self.jump

    def wall_text(self) -> str:
        return format_time(self.wall())

    def mono_ns(self) -> int:
        return makers.SystemClock().mono_ns() + round(self.ahead.total_seconds() * 1e9)

    def go(self, **span: float) -> None:
        self.ahead += timedelta(**span)


async def digest(number: str) -> str:
    return f"{int(number[1:]):064x}"


class Setting:
    """An edge, its clock and its executor."""

    def __init__(self, place: Place, **bounds: Any) -> None:
        self.place = place
        self.clock = Clock()
        self.bounds = Bounds(**bounds)
        self.minimum = Period("P0D")

        async def no_head() -> str | None:
            return None

        self.executor: Executor = place.executor(
            clock=self.clock, bounds=lambda: self.bounds, country=lambda: "CZ", digest=digest,
            terms_of=lambda _: Retention(minimum=self.minimum),
        )  # fmt: skip

    async def later(self, **span: float) -> None:
        self.clock.go(**span)
        await self.executor.once()

    async def state_of(self, jti: str) -> str:
        row = await self.place.journal.order(jti)
        assert row is not None
        return row.state

    async def evidence(self, jti: str) -> list[dict[str, Any]]:
        """What each receipt of an order says, each verified as a document."""
        row = await self.place.journal.order(jti)
        assert row is not None
        found = []
        for one in await self.place.journal.receipts_of(jti):
            claims = open_receipt_document(receipt_document(one.jws, row.jws), TRUST).claims
            found.append(
                {"result": claims.result, "reason": claims.reason, "recording": claims.recording_id, **claims.evidence}
            )
        return found

    async def call(self, call_id: str) -> dict[str, Any]:
        found = await self.place.journal.views.why(call_id)
        assert found is not None
        call: dict[str, Any] = found["call"]
        return call


@pytest.fixture
def setting(place: Place) -> Setting:
    return Setting(place)


async def test_a_person_goes_after_the_window_and_nobody_else_does(setting: Setting) -> None:
    place = setting.place
    mine, secret = await place.record(number_e164=makers.NUMBER)
    other, kept = await place.record(number_heard=OTHER, number_e164=OTHER)
    jti = await place.person()
    await setting.executor.once()
    assert await place.state(mine.recording_id) == "sealed", "it can still be cancelled"
    assert await place.journal.restricted_by(mine.recording_id) == jti
    assert await place.journal.restricted_by(other.recording_id) is None
    assert await place.results(jti) == ["deferred"]
    await setting.later(hours=23.9)
    assert await place.state(mine.recording_id) == "sealed"
    await setting.later(hours=0.2)
    assert await place.state(mine.recording_id) == "erased"
    with pytest.raises(CallwardenError):
        await place.slots.read(mine.segment.header.slot)
    assert await place.slots.read(other.segment.header.slot) == kept != secret
    assert await place.results(jti) == ["deferred", "done"]
    assert await setting.state_of(jti) == "executing", "calls may still be reported late"
    slot = await place.journal.opening_slot(jti)
    assert slot is not None
    await setting.later(days=7.1)
    assert await place.results(jti) == ["deferred", "done", "done"]
    last = (await setting.evidence(jti))[-1]
    assert (last["calls"], last["recordings"], last["recording"]) == (1, 1, None)
    assert await setting.state_of(jti) == "answered"
    assert await place.journal.opening_slot(jti) is None
    with pytest.raises(CallwardenError):
        await place.slots.read(slot)
    assert await place.state(other.recording_id) == "sealed"


SPELLINGS = [
    "+420777123456",
    "00420777123456",
    "420777123456",
    "777123456",
    "777 123 456",
    "+420 (0)777-123-456",
    "tel:+420777123456",
]


@pytest.mark.parametrize("spelling", SPELLINGS)
async def test_any_spelling_of_the_number_is_found(setting: Setting, spelling: str) -> None:
    new, _ = await setting.place.record(number_heard=spelling, number_e164=None)
    await setting.place.person()
    await setting.executor.once()
    await setting.later(hours=25)
    assert await setting.place.state(new.recording_id) == "erased"


async def test_a_call_of_which_only_the_hmac_is_left_is_found(setting: Setting) -> None:
    place = setting.place
    new, _ = await place.record(number_e164=makers.NUMBER)
    await place.order("erase", "recording", new.recording_id)
    await setting.executor.once()
    facts = await place.journal.views.why(new.call_id)
    assert facts is not None
    assert "+420" not in json.dumps(facts["parties"])
    jti = await place.person()
    await setting.executor.once()
    await setting.later(hours=25)
    await setting.later(days=8)
    assert (await setting.evidence(jti))[-1]["calls"] == 1
    assert (await setting.call(new.call_id))["linked_id"] == new.call_id


async def test_as_of_is_the_last_moment_that_is_covered(setting: Setting) -> None:
    place = setting.place
    at = [await place.record(number_e164=makers.NUMBER, started_at=f"2026-01-31T12:00:00.{n:03d}Z") for n in range(3)]
    await place.person(as_of="2026-01-31T12:00:00.001Z")
    await setting.executor.once()
    await setting.later(hours=25)
    states = [await place.state(new.recording_id) for new, _ in at]
    assert states == ["erased", "erased", "sealed"]


async def test_a_call_that_goes_on_is_stopped_and_loses_its_recording(setting: Setting) -> None:
    place = setting.place
    new, _ = await place.record(ended=False, number_e164=makers.NUMBER)
    jti = await place.person()
    await setting.executor.once()
    assert await place.journal.restricted_by(new.recording_id) == jti
    await setting.later(hours=25)
    assert await place.state(new.recording_id) == "erased"
    assert (await setting.call(new.call_id))["linked_id"] != new.call_id, "its rows are needed until it is over"
    await setting.later(days=8)
    assert await setting.state_of(jti) == "executing"
    await place.journal.end_call(new.call_id, makers.AT)
    await setting.later(seconds=3)
    assert (await setting.call(new.call_id))["linked_id"] == new.call_id
    assert await setting.state_of(jti) == "answered"


async def test_a_call_that_is_reported_late_has_a_window_of_its_own(setting: Setting) -> None:
    place = setting.place
    jti = await place.person()
    await setting.executor.once()
    assert (await setting.evidence(jti))[0]["calls"] == 0
    await setting.later(days=2)
    late, _ = await place.record(number_e164=makers.NUMBER)  # began in January: an archive that was adopted
    await setting.later(minutes=2)
    assert await place.journal.restricted_by(late.recording_id) == jti
    assert [one["calls"] for one in await setting.evidence(jti)] == [0, 1]
    await setting.later(hours=23)
    assert await place.state(late.recording_id) == "sealed"
    await setting.later(hours=2)
    assert await place.state(late.recording_id) == "erased"
    await setting.later(days=8)
    too_late, _ = await place.record(number_e164=makers.NUMBER)
    await setting.later(minutes=2)
    assert await setting.state_of(jti) == "answered"
    assert await place.state(too_late.recording_id) == "sealed", "the order is over"


async def test_what_was_left_out_at_the_review_stays(setting: Setting) -> None:
    place = setting.place
    mine, _ = await place.record(number_e164=makers.NUMBER)
    not_mine, _ = await place.record(number_e164=makers.NUMBER)
    await place.person(exclude=(not_mine.call_id,))
    await setting.executor.once()
    await setting.later(hours=25)
    await setting.later(days=8)
    assert await place.state(mine.recording_id) == "erased"
    assert await place.state(not_mine.recording_id) == "sealed"
    assert await place.journal.restricted_by(not_mine.recording_id) is None


async def test_nobody_looked_or_nobody_named(setting: Setting) -> None:
    place = setting.place
    new, _ = await place.record(number_e164=makers.NUMBER)
    unseen = await place.person(located=None)
    bare = await place.order("erase", "person", "ab" * 32, located=makers.new_id())
    slot = await place.slots.put(bytes(15) + b"\x01" + (420777123456).to_bytes(16, "big"))
    foreign = await place.order("erase", "person", "ab" * 32, located=makers.new_id(), slot=slot)
    await setting.executor.once()
    assert await place.results(unseen) == ["refused:command.not_reviewed"]
    assert await place.results(bare) == ["refused:command.person"]
    assert await place.results(foreign) == ["refused:command.person"]
    await setting.later(days=30)
    assert await place.state(new.recording_id) == "sealed"


@pytest.mark.parametrize("keys", [(STORE,), (DPO,), (AUDITOR,), (STORE, AUDITOR)])
async def test_any_pinned_key_cancels_within_the_window(setting: Setting, keys: tuple[SigningKey, ...]) -> None:
    place = setting.place
    new, _ = await place.record(number_e164=makers.NUMBER)
    jti = await place.person()
    await setting.executor.once()
    slot = await place.journal.opening_slot(jti)
    assert slot is not None
    stop = await place.order("cancel", "order", jti, keys=keys)
    await setting.later(hours=23)
    assert await place.results(stop) == ["done"]
    assert await place.results(jti) == ["deferred", "refused:command.cancelled"]
    assert await place.journal.restricted_by(new.recording_id) is None
    with pytest.raises(CallwardenError):
        await place.slots.read(slot)
    await setting.later(days=30)
    assert await place.state(new.recording_id) == "sealed"


async def test_cancelling_too_late_nothing_or_with_another_key(setting: Setting) -> None:
    place = setting.place
    new, _ = await place.record(number_e164=makers.NUMBER)
    jti = await place.person()
    await setting.executor.once()
    by_edge = await place.order("cancel", "order", jti, keys=(EDGE,))
    doubled = await place.order("cancel", "order", jti, keys=(DPO, DPO))
    nothing = await place.order("cancel", "order", makers.new_id())
    await setting.executor.once()
    assert await place.results(by_edge) == ["refused:auth.count"]
    assert await place.results(doubled) == ["refused:auth.count"]
    assert await place.results(nothing) == ["not_found"]
    await setting.later(hours=25)
    late = await place.order("cancel", "order", jti)
    await setting.executor.once()
    assert await place.results(late) == ["refused:command.too_late"]
    assert await place.state(new.recording_id) == "erased"


async def test_cancelling_what_came_late_keeps_what_is_done(setting: Setting) -> None:
    place = setting.place
    await place.record(number_e164=makers.NUMBER)
    jti = await place.person()
    await setting.executor.once()
    await setting.later(hours=25)
    late, _ = await place.record(number_e164=makers.NUMBER)
    await setting.later(minutes=2)
    stop = await place.order("cancel", "order", jti)
    await setting.later(days=30)
    assert await place.results(stop) == ["done"]
    last = (await setting.evidence(jti))[-1]
    assert (last["result"], last["calls"], last["cancelled"]) == ("done", 1, 1)
    assert await place.state(late.recording_id) == "sealed"


async def test_above_the_daily_share_a_second_dpo_is_demanded(place: Place) -> None:
    setting = Setting(place, daily_free=2, daily_share=50)
    mine = [await place.record(number_e164=makers.NUMBER) for _ in range(3)]
    [await place.record(number_e164=OTHER) for _ in range(2)]
    one = await place.person()
    await setting.executor.once()
    assert await place.results(one) == ["refused:command.second_key"]
    assert await place.journal.restricted_by(mine[0][0].recording_id) is None
    twice = await place.person(makers.NUMBER, STORE, DPO, DPO)
    await setting.executor.once()
    assert await place.results(twice) == ["refused:auth.count"], "one person cannot be two"
    two = await place.person(makers.NUMBER, STORE, DPO, DPO2)
    await setting.executor.once()
    await setting.later(hours=25)
    assert await place.state(mine[0][0].recording_id) == "erased"
    assert (await place.results(two)).count("done") == 3


async def test_what_is_found_later_is_held_against_the_daily_share(place: Place) -> None:
    setting = Setting(place, daily_free=2, daily_share=0)
    await place.record(number_e164=makers.NUMBER)
    one = await place.person()
    await setting.executor.once()
    late = [(await place.record(number_e164=makers.NUMBER))[0].recording_id for _ in range(4)]
    await setting.later(hours=1)
    assert [await place.journal.restricted_by(name) for name in late] == [one] * 4
    await setting.later(hours=25)
    assert [await place.state(name) for name in late].count("erased") == 1, "one went today, two may"
    held = [said for said in await setting.evidence(one) if "share is used up" in (said["reason"] or "")]
    assert len(held) == 3
    await setting.later(hours=25)
    assert [await place.state(name) for name in late].count("erased") == 3
    assert len(await setting.evidence(one)) == len(held) + 6, "it is said once"
    await setting.later(hours=25)
    assert [await place.state(name) for name in late] == ["erased"] * 4


async def test_a_policys_call_that_is_found_later_waits_until_it_was_handed_over(place: Place) -> None:
    setting = Setting(place, daily_share=100)
    first, _ = await place.record()
    await place.journal.note_exported(first.recording_id, "wav", "quality")
    one = await place.order("erase", "policy", "support")
    await setting.executor.once()
    late, _ = await place.record()
    await setting.later(hours=1)
    await setting.later(hours=25)
    assert (await place.state(first.recording_id), await place.state(late.recording_id)) == ("erased", "sealed")
    assert "never exported" in (await setting.evidence(one))[-1]["reason"]
    await place.journal.note_exported(late.recording_id, "wav", "quality")
    await setting.later(hours=1)
    assert await place.state(late.recording_id) == "erased"


async def test_the_share_counts_what_other_orders_take(place: Place) -> None:
    setting = Setting(place, daily_free=3, daily_share=0)
    first = [await place.record(number_e164=makers.NUMBER) for _ in range(2)]
    [await place.record(number_e164=OTHER) for _ in range(2)]
    await place.order("erase", "recording", first[0][0].recording_id)
    await place.person()
    second = await place.person(OTHER)
    await setting.executor.once()
    assert await place.results(second) == ["refused:command.second_key"]


async def test_a_hold_on_one_of_many_defers_that_one(setting: Setting) -> None:
    place = setting.place
    held, _ = await place.record(number_e164=makers.NUMBER)
    free, _ = await place.record(number_e164=makers.NUMBER)
    silent = makers.call(number_e164=makers.NUMBER)
    await place.journal.open_call(silent)
    await place.journal.add_event(
        silent.call_id, makers.event("not_recorded"), state="declined", outcome="not_recorded"
    )
    await place.hold(held.call_id, "case 7")
    await place.hold(silent.call_id, "case 8")
    jti = await place.person()
    await setting.executor.once()
    for _ in range(3):
        await setting.later(hours=25)
    assert await place.state(free.recording_id) == "erased"
    assert await place.state(held.recording_id) == "sealed"
    said = [(one["recording"], one["reason"]) for one in await setting.evidence(jti) if one["result"] == "deferred"][1:]
    assert sorted(said, key=str) == sorted(
        [(held.recording_id, "under hold: case 7"), (None, "under hold: case 8")], key=str
    )
    await setting.later(days=30)
    assert await setting.state_of(jti) == "executing", "it resumes by itself"
    await place.release(held.call_id)
    await place.release(silent.call_id)
    await place.journal.end_call(silent.call_id, makers.AT)
    await setting.later(seconds=3)
    assert await place.state(held.recording_id) == "erased"
    assert await setting.state_of(jti) == "answered"


async def test_a_hold_between_the_recordings_of_one_call_lets_the_others_be_cancelled(setting: Setting) -> None:
    """The hold comes while the call's second recording is stopped: none of it has an intent that nobody can take back."""
    place = setting.place
    first, _ = await place.record(number_e164=makers.NUMBER)
    second, _ = await place.record(first.call_id)
    jti = await place.person()
    await setting.executor.once()
    recorder = HoldsMeanwhile(place, first.call_id, second.recording_id)
    setting.executor = place.executor(clock=setting.clock, country=lambda: "CZ", digest=digest, recorder=recorder)
    await setting.later(hours=25)
    await setting.later(seconds=3)
    assert [await place.state(one.recording_id) for one in (first, second)] == ["sealed"] * 2
    assert (await setting.evidence(jti))[-1]["reason"] == "under hold: court"
    stop = await place.order("cancel", "order", jti)
    await setting.later(seconds=3)
    assert await place.results(stop) == ["done"]


async def test_of_a_held_call_what_has_its_intent_goes(setting: Setting) -> None:
    """Else it would be readable by nobody, gone nowhere, and too late for every cancellation."""
    place = setting.place
    first, _ = await place.record(number_e164=makers.NUMBER)
    await place.person()
    await setting.executor.once()
    await place.journal.begin_erase(first.recording_id, None, "withdrawal")
    since, _ = await place.record(first.call_id)
    await place.hold(since.call_id, "court")
    await setting.later(hours=25)
    assert [await place.state(one.recording_id) for one in (first, since)] == ["erased", "sealed"]


async def test_minimum_retention_defers_it_too(setting: Setting) -> None:
    place = setting.place
    new, _ = await place.record(number_e164=makers.NUMBER)
    setting.minimum = Period("P50Y")
    jti = await place.person()
    await setting.executor.once()
    await setting.later(hours=25)
    assert "minimum retention" in (await setting.evidence(jti))[-1]["reason"]
    assert await place.state(new.recording_id) == "sealed"


async def test_a_policy_is_not_destroyed_before_it_was_exported(setting: Setting) -> None:
    place = setting.place
    setting.bounds = Bounds(daily_share=100)
    mine = [await place.record() for _ in range(2)]
    other, _ = await place.record(policy_id="sales")
    await place.journal.note_exported(mine[0][0].recording_id, "wav", "case")
    jti = await place.order("erase", "policy", "support")
    await setting.executor.once()
    assert await place.results(jti) == ["refused:command.not_exported"]
    await place.journal.note_exported(mine[1][0].recording_id, "age", "handed over")
    jti = await place.order("erase", "policy", "support")
    await setting.executor.once()
    await setting.later(hours=25)
    await setting.later(days=8)
    assert [await place.state(new.recording_id) for new, _ in mine] == ["erased"] * 2
    assert await place.state(other.recording_id) == "sealed"
    assert (await setting.evidence(jti))[-1]["recordings"] == 2
    outside = await place.order("erase", "policy", "sales", exported_to="tape 7, 2026-02-01")
    await setting.executor.once()
    assert await place.results(outside) == ["deferred"]


async def test_a_search_tells_times_and_no_number(setting: Setting) -> None:
    place = setting.place
    new, _ = await place.record(number_e164=makers.NUMBER)
    jti = await place.person(cmd="locate")
    nobody = await place.person(OTHER, cmd="locate")
    await setting.executor.once()
    assert await place.results(nobody) == ["not_found"]
    (said,) = await setting.evidence(jti)
    assert said["located"] == jti
    (match,) = said["matches"]
    assert (match["call_id"], match["seconds"], match["policy_id"], match["recordings"]) == (
        new.call_id,
        0,
        "support",
        1,
    )
    assert "777123456" not in json.dumps(said)
    assert await place.journal.opening_slot(jti) is None
    kinds = [decode_json(one.entry)["kind"] for one in await place.journal.audit_entries(0, 1000)]
    assert kinds.count("person.located") == 2


async def test_searches_are_bounded(setting: Setting) -> None:
    place = setting.place
    jtis = [await place.person(cmd="locate") for _ in range(31)]
    await setting.executor.once()
    assert [(await place.results(one))[0] for one in jtis] == ["not_found"] * 30 + ["refused:command.rate"]
    await setting.later(hours=1.1)
    again = await place.person(cmd="locate")
    await setting.executor.once()
    assert await place.results(again) == ["not_found"]


async def test_what_was_remembered_of_the_number_goes(setting: Setting) -> None:
    place = setting.place
    await place.record(number_e164=makers.NUMBER)
    for number in (makers.NUMBER, OTHER):
        answer = AnswerRow(
            number_hmac=await digest(number), purpose="quality", outcome="given", prompt_major="1", policy_id="support",
            policy_version="v1", event_seq=1, verified=True, answered_at=makers.AT, valid_until="2099-01-01T00:00:00.000Z",
        )  # fmt: skip
        await place.journal.remember([answer])
    await place.person()
    await setting.executor.once()
    assert len(await place.journal.recall(await digest(makers.NUMBER), "support")) == 1
    await setting.later(hours=25)
    assert await place.journal.recall(await digest(makers.NUMBER), "support") == []
    assert len(await place.journal.recall(await digest(OTHER), "support")) == 1


async def test_one_that_fails_does_not_hold_up_the_rest(setting: Setting, tmp_path: Path) -> None:
    """The first recording's payload cannot be unlinked; the others go, and it goes when it can."""
    place = setting.place
    rows: list[NewRecording] = [(await place.record(number_e164=makers.NUMBER))[0] for _ in range(3)]
    unlink = place.vault.unlink
    broken = [True]

    def failing(recording_id: str) -> int:
        if recording_id == rows[0].recording_id and broken:
            raise CallwardenError("vault.io", "no", retryable=True)
        return unlink(recording_id)

    place.vault.unlink = failing  # type: ignore[method-assign]
    jti = await place.person()
    await setting.executor.once()
    await setting.later(hours=25)
    assert [await place.state(one.recording_id) for one in rows] == ["erasing", "erased", "erased"]
    stop = await place.order("cancel", "order", jti)
    await setting.executor.once()
    assert await place.results(stop) == ["refused:command.too_late"]
    broken.clear()
    await setting.later(seconds=3)
    row: RecordingRow | None = await place.journal.recording(rows[0].recording_id)
    assert row is not None
    assert row.state == "erased"
    assert (await place.results(jti)).count("done") == 3


async def test_many_more_than_one_commit_takes(setting: Setting, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are restricted and destroyed in turns, and one that is held does not keep the rest from its turn."""
    monkeypatch.setattr(many, "AT_ONCE", 2)
    setting.bounds = Bounds(daily_share=100)
    place = setting.place
    rows = [(await place.record(number_e164=makers.NUMBER))[0] for _ in range(5)]
    await place.hold(rows[0].call_id, "case 7")
    await place.hold(rows[1].call_id, "case 8")
    jti = await place.person()
    for waiting in (2, 4, 5, 5):
        await setting.executor.once()
        assert sum(one.state == "waiting" for one in await place.journal.finds(jti)) == waiting
    setting.clock.go(hours=25)
    for _ in range(3):
        await setting.executor.once()
    assert [await place.state(one.recording_id) for one in rows] == ["sealed"] * 2 + ["erased"] * 3


async def test_a_clock_that_jumps_ends_no_window(setting: Setting) -> None:
    place = setting.place
    new, _ = await place.record(number_e164=makers.NUMBER)
    await place.person()
    await setting.executor.once()
    setting.clock.jump = timedelta(days=3)
    for _ in range(2):
        await setting.executor.once()
    assert await place.state(new.recording_id) == "sealed"
    await setting.executor.clock.believe("somebody who looked")
    await setting.executor.once()
    assert await place.state(new.recording_id) == "erased"


async def test_an_intent_of_its_own_is_left_to_the_order(setting: Setting, monkeypatch: pytest.MonkeyPatch) -> None:
    """A kill left several recordings `erasing`, more than one pass takes: each has its receipt all the same."""
    monkeypatch.setattr(many, "AT_ONCE", 1)
    setting.bounds = Bounds(daily_share=100)
    place = setting.place
    rows = [(await place.record(number_e164=makers.NUMBER))[0] for _ in range(3)]
    jti = await place.person()
    for _ in range(3):
        await setting.executor.once()
    for one in rows:
        await place.journal.begin_erase(one.recording_id, jti, "command")
    setting.clock.go(hours=25)
    for left in (2, 1, 0):
        await setting.executor.once()
        assert len(await place.journal.recordings(states=("erasing",))) == left
    assert {one["recording"] for one in await setting.evidence(jti) if one["result"] == "done"} == {
        one.recording_id for one in rows
    }


async def test_calls_that_are_still_to_come_are_not_covered(setting: Setting) -> None:
    jti = await setting.place.person(as_of="2999-01-01T00:00:00.000Z")
    await setting.executor.once()
    assert await setting.place.results(jti) == ["refused:command.future"]


@pytest.mark.parametrize(
    ("cmd", "keys", "more", "result"),
    [
        ("locate", (), {"age_s": 25 * 3600}, "refused:command.expired"),
        ("erase", (STORE,), {}, "refused:auth.count"),
        ("withdraw", (), {}, "not_found"),
        ("fetch", (), {}, "refused:command.unsupported"),
    ],
)
async def test_whatever_ends_an_order_wipes_its_person(
    setting: Setting, cmd: str, keys: tuple[SigningKey, ...], more: dict[str, Any], result: str
) -> None:
    place = setting.place
    jti = await place.person(makers.NUMBER, *keys, cmd=cmd, **more)
    slot = await place.journal.opening_slot(jti)
    assert slot is not None
    await setting.executor.once()
    assert (await place.results(jti), await setting.state_of(jti)) == ([result], "answered")
    assert await place.journal.opening_slot(jti) is None
    with pytest.raises(CallwardenError) as caught:
        await place.slots.read(slot)
    assert caught.value.code == "vault.slot_shredded"
