"""Parties, pauses, marks, withdrawal, memory and notices: what each writes, and that repeats write nothing."""

from __future__ import annotations

import sqlite3
from dataclasses import replace

import pytest

from edge.errors import CallwardenError
from edge.model.entities import ConsentEvent, NewCall, NewRecording
from edge.model.live import Actor, AnswerRow, DueErasure, NewParty, NoticeRow, PauseRow
from edge.store.base import decode_json
from edge.store.incidents import _UNFINISHED
from edge.store.journal import Journal
from edge.store.recordings import _SEGMENT
from tests.unit.store import store_makers as makers
from tests.unit.store.test_books import events, kinds, sealed, started

LATER, LATEST = "2026-01-31T12:05:00.000Z", "2026-01-31T13:00:00.000Z"
AGENT = Actor("agent", "PJSIP/agent1")


def party(call: NewCall, **changes: object) -> NewParty:
    values: dict[str, object] = {
        "party_id": makers.new_id(), "call_id": call.call_id, "role": "agent", "channel_uid": makers.new_id(),
        "channel_name": "PJSIP/agent1-00000002", "number_heard": None, "number_class": "withheld",
        "standing": "standing", "joined_at": makers.AT,
    }  # fmt: skip
    return NewParty(**(values | changes))  # type: ignore[arg-type]


def pause(call: NewCall, reason: str = "asked", **changes: object) -> PauseRow:
    values: dict[str, object] = {
        "pause_id": makers.new_id(), "call_id": call.call_id, "reason": reason, "actor": AGENT,
        "began_at": makers.AT, "until_at": LATER,
    }  # fmt: skip
    return PauseRow(**(values | changes))  # type: ignore[arg-type]


def notice(call: NewCall, **changes: object) -> NoticeRow:
    values: dict[str, object] = {
        "notice_id": makers.new_id(), "call_id": call.call_id, "when_": "end", "number_e164": makers.NUMBER,
        "number_hmac": "ab" * 32, "country": "CZ", "state": "waiting", "attempts": 0, "due_at": makers.AT,
        "made_at": makers.AT, "sent_at": None, "why": "",
    }  # fmt: skip
    return NoticeRow(**(values | changes))  # type: ignore[arg-type]


def answer(**changes: object) -> AnswerRow:
    values: dict[str, object] = {
        "number_hmac": "cd" * 32, "purpose": "quality", "outcome": "given", "prompt_major": "1", "policy_id": "support",
        "policy_version": "v1", "event_seq": 1, "verified": False, "answered_at": makers.AT, "valid_until": LATEST,
    }  # fmt: skip
    return AnswerRow(**(values | changes))  # type: ignore[arg-type]


async def one(journal: Journal, query: str, *args: object) -> tuple[object, ...]:
    def job(conn: sqlite3.Connection) -> tuple[object, ...]:
        row: tuple[object, ...] = conn.execute(query, args).fetchone()
        return row

    return await journal._readers.read(job)


async def test_a_party_joins_once_and_its_legs_come_and_go(journal: Journal) -> None:
    call = makers.call()
    await journal.open_call(call)
    first = party(call)
    await journal.add_party(first)
    await journal.add_party(replace(first, party_id=makers.new_id()))  # the same channel: the same party
    await journal.add_party(replace(first, channel_uid="9.9"))  # the same party on another channel
    caller, agent = await journal.parties(call.call_id)
    assert (caller.role, caller.party_id, caller.number_heard) == ("caller", call.party_id, makers.NUMBER)
    assert agent.party_id == first.party_id
    assert set(agent.legs) == set(agent.present) == {first.channel_uid, "9.9"}
    await journal.leg_left("9.9", LATER)
    await journal.leg_left("unknown", LATER)
    agent = (await journal.parties(call.call_id))[1]
    assert (set(agent.legs), agent.present) == ({first.channel_uid, "9.9"}, (first.channel_uid,))
    await journal.add_party(replace(first, channel_uid="9.9"))
    assert set((await journal.parties(call.call_id))[1].present) == {first.channel_uid, "9.9"}
    await journal.set_standing(first.party_id, "refused")
    await journal.set_standing(first.party_id, "refused")
    assert (await journal.parties(call.call_id))[1].standing == "refused"
    assert await kinds(journal) == ["call.opened", "party.joined", "party.joined", "party.standing"]
    entry = (await journal.audit_entries(1, 2))[0].entry
    assert "agent1" not in entry
    assert first.party_id not in entry
    with pytest.raises(CallwardenError) as unknown:
        await journal.set_standing("nobody", "given")
    assert unknown.value.code == "journal.unknown"


async def test_a_further_party_that_refuses_keeps_no_number(journal: Journal) -> None:
    call = makers.call()
    await journal.open_call(call)
    asked = replace(party(call), role="third", number_heard=makers.NUMBER, number_e164=makers.NUMBER, standing="none")
    known = replace(asked, party_id=makers.new_id(), channel_uid="9.8", standing="refused")  # by its own call's answer
    agrees = replace(asked, party_id=makers.new_id(), channel_uid="9.7")
    for one_party in (asked, known, agrees):
        await journal.add_party(one_party)
    await journal.set_standing(asked.party_id, "refused")
    await journal.set_standing(agrees.party_id, "given")
    for one_party in (asked, known):
        query = "SELECT number_heard, number_e164 FROM party WHERE party_id=?"
        assert await one(journal, query, one_party.party_id) == (None, None)
    assert await one(journal, "SELECT number_heard FROM party WHERE party_id=?", agrees.party_id) == (makers.NUMBER,)


async def test_pauses_of_one_reason_are_one_and_end_with_the_call(journal: Journal) -> None:
    call = makers.call()
    await journal.open_call(call)
    asked, hold = pause(call), pause(call, "hold", actor=Actor("system", "hold"), until_at=None)
    assert await journal.open_pause(asked) == asked
    assert await journal.open_pause(pause(call)) == asked
    await journal.open_pause(hold)
    assert {one.pause_id for one in await journal.open_pauses()} == {asked.pause_id, hold.pause_id}
    await journal.close_pause(asked.pause_id, LATER, AGENT)
    await journal.close_pause(asked.pause_id, LATEST, Actor("central"))
    assert [one.reason for one in await journal.open_pauses()] == ["hold"]
    found = {one.reason: one for one in await journal.pauses(call.call_id)}
    assert found["asked"] == replace(asked, ended_at=LATER, ended_by=AGENT)
    again = pause(call)
    assert (await journal.open_pause(again)).pause_id == again.pause_id
    await journal.end_call(call.call_id, LATEST)
    assert await journal.open_pauses() == []
    ended = {one.pause_id: one for one in await journal.pauses(call.call_id)}
    assert (ended[hold.pause_id].ended_at, ended[hold.pause_id].ended_by) == (LATEST, Actor("system", "call_ended"))
    late = await journal.open_pause(pause(call))
    assert late.ended_at is not None
    assert len(await journal.pauses(call.call_id)) == 3
    assert (await kinds(journal)).count("pause.opened") == 3
    assert (await kinds(journal)).count("pause.closed") == 1


async def test_a_mute_is_a_state_of_the_recording(journal: Journal) -> None:
    _, new = await started(journal)
    await journal.set_recording_state(new.recording_id, "recording")
    for muted, state in ((True, "paused"), (True, "paused"), (False, "recording")):
        await journal.set_muted(new.recording_id, muted)
        row = await journal.recording(new.recording_id)
        assert row is not None
        assert (row.state, row.muted) == (state, muted)
    assert (await kinds(journal))[-2:] == ["recording.paused", "recording.resumed"]
    await journal.set_recording_state(new.recording_id, "closing")
    with pytest.raises(CallwardenError) as refused:
        await journal.set_muted(new.recording_id, True)
    assert refused.value.code == "journal.transition"
    assert await one(journal, "SELECT muted FROM capture") == (0,), "a refused job leaves nothing"


async def test_withdrawal_is_one_commit(journal: Journal) -> None:
    call, new = await sealed(journal)
    await journal.remember([answer(), answer(purpose="training"), answer(number_hmac="ee" * 32)])
    before = await journal.audit_size()
    seq = await journal.withdraw(
        call.call_id, makers.event("withdrawn", call.party_id), "withdrawn",
        [DueErasure(new.recording_id, LATER, "withdrawal")], forget="cd" * 32,
    )  # fmt: skip
    row = await journal.call(call.call_id)
    assert row is not None
    assert (row.outcome, row.state) == ("withdrawn", "permitted")
    assert await journal.permit(call.call_id) is None
    assert await journal.recall("cd" * 32, "support") == []
    assert len(await journal.recall("ee" * 32, "support")) == 1
    assert (await kinds(journal))[before:] == ["consent.withdrawn", "erasure.due"]
    reported = (await journal.outbox(1000))[-1]
    assert (reported.type, reported.body["kind"], reported.body["outcome"]) == (
        "consent.recorded", "withdrawn", "withdrawn"
    )  # fmt: skip
    due = await journal.due_of(new.recording_id)
    assert due == DueErasure(new.recording_id, LATER, "withdrawal", seq)
    assert await journal.due_erasures(LATEST) == [], "the call goes on"
    await journal.end_call(call.call_id, LATER)
    assert await journal.due_erasures(makers.AT) == []
    # The withdrawal came five minutes before the call's end, from which the policy counts.
    assert await journal.due_erasures(LATEST) == [replace(due, due_at="2026-01-31T12:10:00.000Z")]
    ended = await journal.call(call.call_id)
    assert ended is not None
    assert (ended.outcome, ended.caller) == ("withdrawn", makers.NUMBER)


async def test_no_answer_outruns_a_withdrawal(journal: Journal) -> None:
    """Somebody withdraws between the key and the commit of its permit."""
    call = makers.call()
    await journal.open_call(call)
    await journal.add_event(call.call_id, makers.event("requested", call.party_id), state="asking")
    await journal.withdraw(call.call_id, makers.event("withdrawn", call.party_id), "withdrawn", [], forget=None)
    new = makers.recording(call.call_id, 1)
    with pytest.raises(CallwardenError) as refused:
        await journal.grant(call.call_id, makers.event("given", call.party_id), new.permit_id, ("quality",), new)
    assert refused.value.code == "calls.taken_back"
    assert await journal.permit(call.call_id) is None
    row = await journal.call(call.call_id)
    assert row is not None
    assert (row.outcome, row.recordings) == ("withdrawn", ())


async def test_the_earlier_erasure_counts_and_an_erased_recording_has_none(journal: Journal) -> None:
    call, new = await sealed(journal)
    await journal.add_due(DueErasure(new.recording_id, LATER, "incident"))
    await journal.add_due(DueErasure(new.recording_id, LATEST, "withdrawal"))
    assert await journal.due_of(new.recording_id) == DueErasure(new.recording_id, LATER, "incident")
    await journal.add_due(DueErasure(new.recording_id, makers.AT, "incident"))
    assert (await journal.due_of(new.recording_id) or DueErasure("", "", "")).due_at == makers.AT
    assert (await kinds(journal)).count("erasure.due") == 2
    await journal.end_call(call.call_id, LATER)
    await journal.begin_erase(new.recording_id, None, "incident")
    assert len(await journal.due_erasures(LATEST)) == 1, "an intent is not an end"
    await journal.finish_erase(new.recording_id, erased_at=LATER, cause="incident", key_ids=(), receipt=None)
    assert await journal.due_erasures(LATEST) == []
    await journal.add_due(DueErasure(new.recording_id, makers.AT, "incident"))
    assert (await kinds(journal)).count("erasure.due") == 2


async def test_flags_are_said_once(journal: Journal) -> None:
    _, new = await started(journal)
    await journal.flag(new.recording_id, "one_sided", "the far side, from 3 s on")
    await journal.flag(new.recording_id, "one_sided", "again")
    await journal.flag(new.recording_id, "gap")
    assert sorted(await journal.flags(new.recording_id)) == [("gap", ""), ("one_sided", "the far side, from 3 s on")]
    assert (await kinds(journal)).count("recording.flagged") == 2
    with pytest.raises(CallwardenError) as refused:
        await journal.flag(new.recording_id, "nonsense")
    assert refused.value.code == "journal.conflict"


async def test_the_newest_answer_of_a_number_counts(journal: Journal) -> None:
    await journal.remember([answer(), answer(policy_id="billing", outcome="refused", verified=True)])
    await journal.remember([answer(outcome="refused", answered_at=LATER)])
    await journal.remember([answer(outcome="notified")])  # older than the stored one
    assert [(a.outcome, a.verified) for a in await journal.recall("cd" * 32, "support")] == [("refused", False)]
    assert [(a.outcome, a.verified) for a in await journal.recall("cd" * 32, "billing")] == [("refused", True)]
    assert await journal.forget("cd" * 32, LATER) == 2
    assert await journal.forget("cd" * 32, LATER) == 0
    assert await journal.recall("cd" * 32, "billing") == []
    await journal.remember([answer(answered_at=LATEST)])
    assert len(await journal.recall("cd" * 32, "support")) == 1, "asked again, answered again"
    assert await journal.forget_expired(LATER) == 0
    assert await journal.forget_expired(LATEST) == 2


async def test_the_memory_key_has_a_slot_of_its_own(journal: Journal) -> None:
    assert await journal.memory_slot() is None
    await journal.remember([answer()])
    await journal.set_memory_slot(7)
    assert await journal.memory_slot() == 7
    assert 7 in await journal.slots_in_use()
    assert len(await journal.recall("cd" * 32, "support")) == 1
    await journal.set_memory_slot(8)
    assert await journal.slots_in_use() == [8]
    assert await journal.recall("cd" * 32, "support") == [], "no key recognises it any more"


async def test_a_notice_is_owed_once_and_its_number_goes_when_it_is_done(journal: Journal) -> None:
    call, other = makers.call(), makers.call()
    await journal.open_call(call)
    await journal.open_call(other)
    first, second = notice(call), notice(other, due_at=LATER)
    assert await journal.owe_notice(first)
    assert not await journal.owe_notice(notice(call))
    assert await journal.owe_notice(second)
    assert await journal.owe_notice(notice(call, when_="start", state="dropped", number_e164=None, why="country"))
    assert await journal.notices_waiting(makers.AT) == [first]
    assert await journal.notices_made(makers.AT) == await journal.notices_made(makers.AT, "ab" * 32) == 2
    assert await journal.notices_made(makers.AT, "00" * 32) == await journal.notices_made(LATER) == 0
    await journal.notice_failed(first.notice_id, LATEST, "503")
    assert await journal.notices_waiting(LATER) == [second]
    await journal.notice_done(first.notice_id, "sent", LATEST)
    await journal.notice_done(first.notice_id, "dropped", LATEST, "late")
    await journal.notice_done(second.notice_id, "dropped", LATEST, "gone")
    done = {one.notice_id: one for one in [*await journal.notices(call.call_id), *await journal.notices(other.call_id)]}
    assert done[first.notice_id] == replace(
        first, state="sent", number_e164=None, attempts=2, sent_at=LATEST, due_at=LATEST
    )
    assert (done[second.notice_id].state, done[second.notice_id].number_e164) == ("dropped", None)
    assert (done[second.notice_id].why, done[second.notice_id].sent_at) == ("gone", None)
    assert await journal.notices_made(makers.AT) == 1
    assert (await kinds(journal))[2:] == [
        "notice.owed", "notice.owed", "notice.dropped", "notice.sent", "notice.dropped"
    ]  # fmt: skip
    told = [row for row in await journal.outbox(100) if row.type.startswith("notice.")]
    assert [(row.type, row.body["notice_id"], row.body["why"]) for row in told] == [
        ("notice.owed", first.notice_id, ""), ("notice.owed", second.notice_id, ""),
        ("notice.sent", first.notice_id, ""), ("notice.dropped", second.notice_id, "gone"),
    ]  # fmt: skip
    assert all(set(row.body) == {"notice_id", "call_id", "why"} for row in told)


async def test_calls_that_want_a_text_are_found_until_they_are_judged(journal: Journal) -> None:
    wants = makers.call(policy_document='{"text_notice":"end"}', policy_version="v2", number_e164=makers.NUMBER)
    early = makers.call(policy_document='{"text_notice":"start"}', policy_version="v3")
    none = makers.call()
    for call in (wants, early, none):
        await started(journal, slot=len(await journal.slots_in_use()) + 1, call=call)
    assert await journal.unjudged("end", makers.AT) == []
    assert [one.call_id for one in await journal.unjudged("start", makers.AT)] == [early.call_id]
    for call in (wants, early, none):
        await journal.end_call(call.call_id, LATER)
    (found,) = await journal.unjudged("end", makers.AT)
    assert (found.call_id, found.outcome, found.state) == (wants.call_id, "given", "ended")
    assert (found.number_e164, found.number_class, found.ended_at) == (makers.NUMBER, "plain", LATER)
    assert [one.call_id for one in await journal.unjudged("start", makers.AT)] == [early.call_id]
    assert await journal.unjudged("end", LATEST) == []
    await journal.owe_notice(notice(wants))
    assert await journal.unjudged("end", makers.AT) == []


@pytest.mark.parametrize(
    ("outcome", "kept"),
    [("refused", False), ("objected", False), ("abandoned", False), ("unavailable", False), ("not_recorded", False),
     ("given", True), ("notified", True), ("not_required", True), ("withdrawn", True)],
)  # fmt: skip
async def test_a_number_without_a_recording_goes_with_the_call(journal: Journal, outcome: str, kept: bool) -> None:
    call = makers.call(number_e164=makers.NUMBER)
    await journal.open_call(call)
    await journal.add_event(call.call_id, makers.event(outcome), state="declined", outcome=outcome)
    row = await journal.call(call.call_id)
    assert row is not None
    assert (row.caller, row.number_e164) == (makers.NUMBER, makers.NUMBER)
    await journal.end_call(call.call_id, LATER)
    left = await one(journal, "SELECT number_heard, number_e164 FROM party WHERE call_id=?", call.call_id)
    assert left == ((makers.NUMBER, makers.NUMBER) if kept else (None, None))
    assert makers.NUMBER not in repr(await journal.outbox(1000))
    assert makers.NUMBER not in repr(await journal.audit_entries(0, 1000))


async def erase(journal: Journal, new: NewRecording) -> None:
    await journal.begin_erase(new.recording_id, None, "withdrawal")
    await journal.finish_erase(new.recording_id, erased_at=LATER, cause="withdrawal", key_ids=(), receipt=None)


async def test_erasure_anonymises_what_live_calls_left(journal: Journal) -> None:
    call, new = await sealed(journal)
    await journal.add_party(party(call, role="third", number_heard="+420666", number_class="plain"))
    asked = pause(call)
    await journal.open_pause(asked)
    await journal.close_pause(asked.pause_id, LATER, AGENT)
    await journal.open_pause(pause(call, "hold", actor=Actor("system", "hold")))
    await journal.flag(new.recording_id, "gap", "about somebody")
    await journal.owe_notice(notice(call))
    await journal.end_call(call.call_id, LATER)
    await erase(journal, new)
    assert {one.number_heard for one in await journal.parties(call.call_id)} == {None}
    first, second = sorted(await journal.pauses(call.call_id), key=lambda one: one.reason)
    assert (first.actor, first.ended_by) == (Actor("agent"), Actor("agent"))
    assert (second.actor, second.ended_by) == (Actor("system", "hold"), Actor("system", "call_ended"))
    assert await journal.flags(new.recording_id) == [("gap", "")]
    (left,) = await journal.notices(call.call_id)
    assert (left.state, left.number_e164, left.why) == ("dropped", None, "erased")
    dump = await journal._readers.read(lambda conn: "\n".join(conn.iterdump()))
    for text in (makers.NUMBER, "+420666", "agent1", "about somebody"):
        assert text not in dump


async def test_who_joins_behind_an_erasure_goes_with_the_call(journal: Journal) -> None:
    call, new = await sealed(journal)
    await erase(journal, new)  # ordered while the call goes on
    await journal.add_party(party(call, role="third", number_heard="+420666", number_class="plain"))
    await journal.open_pause(pause(call))
    await journal.add_event(call.call_id, with_number("objection_noted", call.party_id))
    await journal.end_call(call.call_id, LATER)
    dump = await journal._readers.read(lambda conn: "\n".join(conn.iterdump()))
    for text in (makers.NUMBER, "+420666", "agent1"):
        assert text not in dump


async def test_a_recording_without_audio_keeps_nobodys_number(journal: Journal) -> None:
    call, new = await sealed(journal)
    empty = replace(makers.recording(call.call_id, 2), permit_id=new.permit_id)
    await journal.add_recording(empty)
    await journal.set_recording_state(empty.recording_id, "no_audio")
    await journal.end_call(call.call_id, LATER)
    await erase(journal, new)
    dump = await journal._readers.read(lambda conn: "\n".join(conn.iterdump()))
    assert makers.NUMBER not in dump
    assert "PJSIP" not in dump


async def test_a_recording_that_began_meanwhile_is_due_as_well(journal: Journal) -> None:
    call, new = await sealed(journal)
    late = replace(makers.recording(call.call_id, 2), permit_id=new.permit_id)
    await journal.add_recording(late)  # after the withdrawal had looked which there are
    seq = await journal.withdraw(
        call.call_id, makers.event("withdrawn", call.party_id), "withdrawn",
        [DueErasure(new.recording_id, LATER, "withdrawal")], forget=None,
    )  # fmt: skip
    assert await journal.due_of(late.recording_id) == DueErasure(late.recording_id, LATER, "withdrawal", seq)


async def test_without_an_erasure_a_withdrawal_makes_none_due(journal: Journal) -> None:
    call, new = await sealed(journal)
    await journal.withdraw(call.call_id, makers.event("withdrawn", call.party_id), "withdrawn", [], forget=None)
    assert await journal.due_of(new.recording_id) is None


async def test_an_objection_after_the_call_keeps_no_number_either(journal: Journal) -> None:
    call, _ = await sealed(journal)
    await journal.end_call(call.call_id, LATER)
    await journal.withdraw(call.call_id, with_number("objected", call.party_id), "objected", [], forget=None)
    dump = await journal._readers.read(lambda conn: "\n".join(conn.iterdump()))
    assert makers.NUMBER not in dump


async def test_a_call_that_ends_in_its_question_ends_like_any_other(journal: Journal) -> None:
    call, new = await sealed(journal)
    await journal.withdraw(
        call.call_id, makers.event("withdrawn", call.party_id), "withdrawn",
        [DueErasure(new.recording_id, LATER, "withdrawal")], forget=None,
    )  # fmt: skip
    await journal.open_pause(pause(call))
    hung_up = replace(with_number("abandoned", call.party_id), at_wall=LATER)
    await journal.add_event(call.call_id, hung_up, state="ended", outcome="abandoned")
    assert [one.present for one in await journal.parties(call.call_id)] == [()]
    assert [one.ended_by for one in await journal.pauses(call.call_id)] == [Actor("system", "call_ended")]
    due = await journal.due_of(new.recording_id)
    assert due is not None
    assert due.due_at == "2026-01-31T12:10:00.000Z", "counted from the call's end"
    assert makers.NUMBER not in repr(await evidence(journal))


@pytest.mark.parametrize(
    ("query", "small"),
    [
        ("SELECT permit_id FROM permit WHERE call_id='x' AND revoked_at IS NULL", ()),
        (f"{_SEGMENT} WHERE {_UNFINISHED} ORDER BY s.recording_id, s.number", ("SCAN f USING COVERING INDEX",)),
    ],
)
async def test_what_is_asked_all_the_time_reads_no_whole_table(
    journal: Journal, query: str, small: tuple[str, ...]
) -> None:
    def job(conn: sqlite3.Connection) -> list[str]:
        return [str(row[3]) for row in conn.execute(f"EXPLAIN QUERY PLAN {query}")]

    plan = await journal._readers.read(job)
    assert any(line.startswith("SEARCH") for line in plan)
    assert not [line for line in plan if line.startswith("SCAN") and not line.startswith(small)], plan


@pytest.mark.parametrize(("state", "shredded"), [("recording", 0), ("quarantined", 1)])
async def test_an_incident_reaches_what_a_quarantine_left_open(journal: Journal, state: str, shredded: int) -> None:
    _, new = await started(journal)
    for after in ("recording", state):
        await journal.set_recording_state(new.recording_id, after)
    assert len(await journal.shred_segments(new.recording_id, makers.AT)) == shredded
    assert len(await journal.shredding()) == shredded
    await journal.finish_shred(new.segment.segment_id)
    assert await journal.slots_in_use() == ([] if shredded else [1])


async def test_call_rows_carry_what_live_calls_need(journal: Journal) -> None:
    call = makers.call(direction="outbound", purposes=("quality", "training"), number_e164="+420777")
    opened = await journal.open_call(call)
    assert (opened.direction, opened.purposes, opened.number_class) == ("outbound", ("quality", "training"), "plain")
    assert opened == await journal.call(call.call_id)
    assert [kind for kind, _ in await events(journal)] == ["call.opened"]
    assert decode_json((await journal.audit_entries(0, 1))[0].entry)["body"]["direction"] == "outbound"


PARTY = {"role": "caller", "channel_uid": "17.1", "linked_id": "17.1", "number_heard": makers.NUMBER,
         "number_e164": makers.NUMBER, "number_class": "plain"}  # fmt: skip


def with_number(kind: str, party_id: str) -> ConsentEvent:
    return ConsentEvent(kind, makers.AT, 1, {"policy_id": "support", "party": PARTY, "key": "1"}, party_id)


async def evidence(journal: Journal) -> list[dict[str, object]]:
    def job(conn: sqlite3.Connection) -> list[dict[str, object]]:
        return [decode_json(row[0]) for row in conn.execute("SELECT evidence FROM consent_event ORDER BY seq")]

    return await journal._readers.read(job)


async def test_evidence_has_the_number_only_here_and_only_while_it_may(journal: Journal) -> None:
    call = makers.call()
    await journal.open_call(call)
    new = makers.recording(call.call_id, 1)
    await journal.grant(call.call_id, with_number("given", call.party_id), new.permit_id, ("quality",), new)
    await journal.end_call(call.call_id, LATER)
    assert (await evidence(journal))[0]["party"] == PARTY
    assert makers.NUMBER not in repr([row.body for row in await journal.outbox(1000)])
    assert (await journal.outbox(1000))[1].body["evidence"]["party"]["channel_uid"] == "17.1"
    await erase(journal, new)
    assert await evidence(journal) == [{"policy_id": "support", "key": "1"}]


async def test_who_took_an_answer_back_stays_here_and_goes_with_the_recording(journal: Journal) -> None:
    call, new = await sealed(journal)
    event = ConsentEvent("withdrawn", makers.AT, 1, {"by": "agent", "actor": "PJSIP/agent1"}, call.party_id)
    await journal.withdraw(call.call_id, event, "withdrawn", [], forget=None)
    assert (await evidence(journal))[-1]["actor"] == "PJSIP/agent1"
    assert "agent1" not in repr([row.body for row in await journal.outbox(1000)])
    await journal.end_call(call.call_id, LATER)
    await erase(journal, new)
    assert "agent1" not in repr(await evidence(journal))


async def test_a_yes_that_came_to_nothing_keeps_no_number(journal: Journal) -> None:
    call = makers.call()
    await journal.open_call(call)
    await journal.add_event(call.call_id, with_number("given", call.party_id), outcome="given")
    await journal.add_event(
        call.call_id, makers.event("unavailable", call.party_id), state="declined", outcome="unavailable"
    )
    await journal.end_call(call.call_id, LATER)
    assert makers.NUMBER not in repr(await evidence(journal))


@pytest.mark.parametrize(
    "change",
    ["kind='refused'", "evidence='{}'", "evidence=json_remove(evidence, '$.key')", "at_wall='x'", "at_mono=2",
     "evidence=json_remove(evidence, '$.party.number_heard', '$.party.number_e164'), party_id=NULL"],
)  # fmt: skip
async def test_nothing_else_of_an_event_can_change(journal: Journal, change: str) -> None:
    call = makers.call()
    await journal.open_call(call)
    await journal.add_event(call.call_id, with_number("given", call.party_id), outcome="given")
    with pytest.raises(CallwardenError) as refused:
        await journal._writer.do(lambda conn: conn.execute(f"UPDATE consent_event SET {change}"))
    assert refused.value.code == "journal.conflict"
