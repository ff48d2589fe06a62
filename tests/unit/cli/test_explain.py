"""`why`, from rows made by hand: every outcome with every reason, and all that can happen to a call afterwards."""

from __future__ import annotations

from typing import Any

import pytest

from callwarden.explain import facts, sentence
from callwarden.explain_words import CAUSES, CLAUSES, FLAGS, PAUSES, STANDINGS
from edge.model import lifecycle, live
from tests.unit.formats.call_rows import CASES, call_row, pause, prompt, recording, with_third

SAID = {
    ("given", "key"): "Recorded: the caller pressed 1 after the question of policy \"support\".",
    ("given", "on_file"): "Recorded: the caller had agreed before (event 77) and that still stands under policy",
    ("notified", "no_objection"): "Recorded: the caller was told, as policy \"support\" demands, and did not object.",
    ("notified", "played"): "Recorded: the notice of policy \"support\" was played to its end",
    ("notified", "on_file"): "Recorded: the caller was told before (event 77)",
    ("not_required", "obligation"): "Recorded: policy \"support\" records because it must (legal_obligation notice 3.1)",
    ("refused", "key"): "Not recorded: the caller pressed 1, which is not the yes key of policy \"support\".",
    ("refused", "silence"): "Not recorded: no key was pressed after the question of policy \"support\".",
    ("refused", "unclear"): "Not recorded: the caller gave no clear answer",
    ("refused", "on_file"): "Not recorded: the caller had said no before (event 77) and was not asked again",
    ("objected", "key"): "Not recorded: the caller pressed 1 to object under policy \"support\".",
    ("objected", "unclear"): "Not recorded: the caller pressed keys that are no answer, and unclear counts as an objection",
    ("objected", "withdraw"): "Recorded until then: the called party objected during the call",
    ("withdrawn", "key"): "Not recorded: the caller had agreed before, was reminded, and pressed 1 to take it back.",
    ("withdrawn", "withdraw"): "Recorded until then: the called party withdrew the yes",
    ("abandoned", "hangup"): "Not recorded: the call ended before the caller answered the question",
    ("not_recorded", "manual"): "Not recorded: policy \"support\" records only when the agent starts it, and nobody did.",
    ("not_recorded", "emergency"): "Not recorded: an emergency number was dialled",
    ("not_recorded", "never_number"): "Not recorded: one side's number is on the list",
    ("not_recorded", "policy"): "Not recorded: policy \"support\" never records.",
    ("unavailable", "ami.down"): "Not recorded: recording was not possible (the link to Asterisk's manager was down).",
    ("unavailable", "prompt.missing"): "Not recorded: recording was not possible (a prompt that must be played is missing).",
    ("unavailable", "a.word.nobody.knows"): "Not recorded: recording was not possible (a.word.nobody.knows).",
    ("adopted", ""): "Not recorded: it was taken over from an older archive.",
}  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=lambda c: "-".join(c[:2]))
def test_every_outcome_and_reason(case: tuple[str, str, str, str]) -> None:
    row = call_row(*case)
    said = sentence(row)
    assert said.startswith(SAID[case[:2]]), said
    assert said.endswith(".")
    assert "{" not in said
    told = dict(facts(row))
    assert told["outcome"] == case[0]
    assert told["policy"].startswith(f"support ({case[2]})")
    assert all(isinstance(value, str) and value for value in told.values())


def test_the_cases_cover_every_outcome_and_every_clause() -> None:
    assert {c[0] for c in CASES} == set(lifecycle.OUTCOMES)
    assert {c[:2] for c in CASES} == SAID.keys()
    extra = {
        ("objected", "silence"),
        ("not_recorded", "never"),
        ("objected", "on_file"),
        ("refused", "key_then_silence"),
    }
    assert {key for key in CLAUSES if key[1]} - SAID.keys() == extra


def test_the_tables_know_the_words_of_the_model() -> None:
    assert FLAGS.keys() == set(live.FLAGS)
    assert PAUSES.keys() == set(live.PAUSE_REASONS)
    assert STANDINGS.keys() == {
        "objected",
        "withdrawn",
        "given",
        "notified",
        "not_required",
        "standing",
        "none",
        "refused",
    }
    assert all(what and todo for what, todo in CAUSES.values())


@pytest.mark.parametrize("outcome", lifecycle.OUTCOMES)
def test_unknown_words_are_shown_as_they_are(outcome: str) -> None:
    said = sentence(call_row(outcome, "moon_phase"))
    assert "moon_phase" in said or outcome == "abandoned"
    bare = call_row(outcome, "moon_phase", events=[], parties=[], permits=[], recordings=[], policy_document="?")
    assert sentence(bare)
    assert facts(bare)


def test_a_wrong_key_before_the_silence_is_told() -> None:
    row = call_row("refused", "silence")
    row["events"][-1]["evidence"]["keys_pressed"] = "57"
    assert "the caller pressed 5 7, which is not the yes key" in sentence(row)
    assert "and nothing when asked again" in sentence(row)


def test_a_call_that_is_being_asked() -> None:
    assert sentence(call_row(None)) == 'Not recorded so far: the call is being asked under policy "support".'


@pytest.mark.parametrize(
    ("state", "ended", "begins"),
    [
        ("recording", None, "Being recorded: the caller pressed 1"),
        ("paused", None, "Recorded, paused at the moment: "),
        ("erased", True, "Recorded, then erased: "),
        ("no_audio", True, "Allowed but without audio: "),
        ("sealed", True, "Recorded: "),
    ],
)
def test_the_state_of_the_recording_leads(state: str, ended: bool | None, begins: str) -> None:
    row = call_row("given", "key", recordings=[recording(state)])
    if not ended:
        row["call"] |= {"ended_at": None, "state": "permitted"}
    assert sentence(row).startswith(begins)
    assert ("cause: withdrawal" in sentence(row)) == (state == "erased")


def test_a_mandated_recording_goes_on_and_says_so() -> None:
    row = call_row("not_required", "obligation", "obligation", "legal_obligation")
    noted: dict[str, Any] = {"seq": 5, "kind": "objection_noted", "at": row["call"]["ended_at"], "party_id": row["parties"][0]["party_id"],
             "evidence": {"reason": "withdraw"}}  # fmt: skip
    row["events"].append(noted)
    assert "the caller objected, was told why, and the recording went on" in sentence(row)


def test_what_a_withdrawal_will_erase() -> None:
    due = [{"recording_id": "d1" * 16, "due_at": "2026-01-31T13:01:00.000Z", "cause": "withdrawal"}]
    row = call_row("withdrawn", "withdraw", due=due)
    assert "what was recorded before will be erased at 2026-01-31T13:01:00.000Z" in sentence(row)
    assert "to be erased at 2026-01-31T13:01:00.000Z (withdrawal)" in dict(facts(row))["recording"]


def test_what_is_erased_is_not_said_to_be_erased_one_day() -> None:
    due = [{"recording_id": "d1" * 16, "due_at": "2026-01-31T13:01:00.000Z", "cause": "withdrawal"}]
    said = sentence(call_row("withdrawn", "withdraw", due=due, recordings=[recording("erased")]))
    assert said.startswith("Recorded, then erased: ")
    assert "will be erased" not in said


def test_who_withdrew_is_named_by_role() -> None:
    row = call_row("withdrawn", "withdraw")
    for kind, said in (
        ("supervisor", "a supervisor, for the caller, withdrew the yes"), ("central", "central's order, for the caller"),
        ("dpo", "the data protection officer, for"), ("caller", "the caller withdrew"), ("third", "a further party with"),
    ):  # fmt: skip
        row["events"][-1]["evidence"]["by"] = kind
        assert said in sentence(row)


def test_a_further_party_that_refused_is_why_it_stopped() -> None:
    assert "a further party did not agree, and the recording stopped" in sentence(
        with_third(call_row("given", "key"), "refused")
    )


def test_what_became_of_a_mandated_notice() -> None:
    row = call_row("not_required", "obligation", "obligation", "legal_obligation")
    row["events"][-1]["evidence"]["notice"] = "hangup"
    assert dict(facts(row))["notice"] == "cut off: the caller hung up"


@pytest.mark.parametrize(
    ("flag", "said"),
    [("agent_stopped", "an agent stopped it"), ("incident", "removed after an incident"), ("one_sided", "silent to the bit"),
     ("gap", "permitted time is missing")],
)  # fmt: skip
def test_marks_are_in_the_sentence(flag: str, said: str) -> None:
    row = call_row("given", "key", recordings=[recording(flags=(flag,))])
    assert said in sentence(row)
    assert flag in dict(facts(row))["marked"]


def test_pauses_and_parties_are_facts() -> None:
    row = with_third(
        call_row("given", "key", pauses=[pause(), pause("hold", None), pause("party", name="agent_unasked")]), "refused"
    )
    told = facts(row)
    pauses = [value for name, value in told if name == "pause"]
    assert "asked for, by an agent" in pauses[0]
    assert "(ended by the edge's own rules)" in pauses[0]
    assert "still open" in pauses[1]
    assert "an agent has no stored basis" in pauses[2]
    parties = [value for name, value in told if name == "party"]
    assert parties[0].startswith("caller +420777123456, agreed, from ")
    assert parties[1].startswith("third 00491512345678, did not agree, from ")


def test_the_cause_says_what_to_do() -> None:
    told = dict(facts(call_row("unavailable", "spool.full")))
    assert told["cause"] == "the spool is full"
    assert "callwarden status" in told["what to do"]


def test_a_shredded_segment_and_further_questions_and_notices() -> None:
    one = recording()
    one["segments"][0]["state"] = "shredded"
    notice: dict[str, Any] = {"when": "end", "country": "CZ", "state": "dropped", "sent_at": None, "why": "cap"}
    row = call_row("given", "key", recordings=[one], notices=[notice])
    row["events"][-1]["evidence"]["further"] = [{"purposes": ["training"], "granted": False, "reason": "silence"}]
    told = dict(facts(row))
    assert told["removed"] == "segment 0: its key is destroyed"
    assert told["further question"] == "training: not granted (silence)"
    assert told["text notice"] == "end of the call, dropped (cap)"


def test_an_erased_recording_says_how_long_it_was_and_nothing_of_its_segments() -> None:
    gone = recording("erased")
    for segment in gone["segments"]:
        segment["state"] = "shredded"
    told = dict(facts(call_row("given", "key", recordings=[gone])))
    assert "8.5 s, erased at" in told["recording"]
    assert "removed" not in told


def test_a_call_without_a_row() -> None:
    row = {"call": None, "asked": "1769860800.5", "at": "2026-01-31T12:00:00.000Z"}
    back = row | {"away": {"from": "2026-01-31T11:59:00.000Z", "to": "2026-01-31T12:03:00.000Z"}}
    assert "no daemon was there between 2026-01-31T11:59:00.000Z and 2026-01-31T12:03:00.000Z" in sentence(back)
    gone = row | {"away": {"from": "2026-01-31T11:59:00.000Z", "to": None}}
    assert "since 2026-01-31T11:59:00.000Z" in sentence(gone)
    assert dict(facts(gone))["daemon away to"] == "(it is not running now)"


def test_a_prompt_that_was_heard_is_told() -> None:
    row = call_row("refused", "silence")
    assert prompt()["version"] in dict(facts(row))["refused"]
    assert "7.0 of 8.0 s heard" in dict(facts(row))["refused"]
