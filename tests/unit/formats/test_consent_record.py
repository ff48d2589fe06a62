"""The consent record and the readable receipt: for every outcome, in every language, and nothing a caller chose raw."""

from __future__ import annotations

import json

import pytest

from edge.model.lifecycle import EVENT_KINDS, OUTCOMES
from formats import consent_record
from formats.consent_receipt import receipt
from formats.consent_record import RIGHTS, SCHEMA_VERSION
from formats.receipt_words import WORDS
from tests.unit.formats.call_rows import CASES, END, call_row, pause, recording, with_third

MADE = "2026-02-01T08:00:00.000Z"
#: Field names of the standard's three sections.
PURPOSE_FIELDS = {
    "purpose", "purpose_type", "lawful_basis", "pii_information", "pii_controllers", "collection_method",
    "processing_method", "storage_locations", "processing_locations", "geographic_restrictions", "retention_period",
    "services", "jurisdiction", "recipient_third_parties", "withdrawal_method", "privacy_rights", "codes_of_conduct",
    "impact_assessment", "authority_party",
}  # fmt: skip
EVENT_FIELDS = {"event_schema", "event_time", "validity_duration", "entity_id", "event_type", "event_state"}


@pytest.mark.parametrize("case", CASES, ids=lambda c: "-".join(c[:2]))
def test_every_outcome_has_a_record(case: tuple[str, str, str, str]) -> None:
    outcome, reason, _, basis = case
    record = consent_record.consent_record(call_row(*case), edge_id="edge-1", at=MADE)
    json.dumps(record)
    assert {"schema_version", "record_id", "pii_principal_id", "pii_processing", "consent_events"} <= record.keys()
    assert record["schema_version"] == SCHEMA_VERSION
    assert record["pii_principal_id"] == "tel:+420777123456"
    purposes = record["pii_processing"]["purposes"]
    assert all(p.keys() >= PURPOSE_FIELDS for p in purposes)
    assert all(p["lawful_basis"] == basis and p["jurisdiction"] == "CZ" for p in purposes)
    permitted = outcome in ("given", "notified", "not_required")
    assert [p["granted"] for p in purposes] == [permitted, False]
    events = record["consent_events"]
    assert all(e.keys() >= EVENT_FIELDS for e in events)
    known = {p["party_id"] for p in record["party_identification"]}
    assert {e["entity_id"] for e in events} <= known
    states = [e["event_state"] for e in events]
    assert ("given" in states) == (outcome == "given" or (reason == "withdraw" and basis == "consent"))
    if reason in ("silence", "unclear"):
        assert events[-1]["event_type"] == "none"  # doing nothing is never an act


def test_the_tables_know_every_kind() -> None:
    assert consent_record._TYPES.keys() == consent_record._STATES.keys() == set(EVENT_KINDS)
    assert [k for k, state in consent_record._STATES.items() if state == "given"] == ["given"]


def test_an_unknown_kind_keeps_its_word() -> None:
    row = call_row("given", "key")
    row["events"][-1]["kind"] = "whispered"
    event = consent_record.consent_record(row, edge_id="edge-1", at=MADE)["consent_events"][-1]
    assert (event["event_type"], event["event_state"]) == ("other", "whispered")


def test_without_a_number_the_principal_is_a_pseudonym() -> None:
    row = call_row("refused", "key")
    row["parties"][0]["number"] = "\x1b]0;evil\x07"
    record = consent_record.consent_record(row, edge_id="edge-1", at=MADE)
    assert record["pii_principal_id"] == "party:" + "a1" * 16
    assert "evil" not in json.dumps(record)


def test_a_further_party_has_its_own_identification_and_event() -> None:
    record = consent_record.consent_record(with_third(call_row("given", "key"), "refused"), edge_id="e", at=MADE)
    assert [p.get("role_in_call") for p in record["party_identification"]] == [None, "caller", "third"]
    assert record["consent_events"][-1]["entity_id"] == "a2" * 16


@pytest.mark.parametrize("case", CASES, ids=lambda c: "-".join(c[:2]))
@pytest.mark.parametrize("language", WORDS)
def test_every_outcome_reads_in_every_language(case: tuple[str, str, str, str], language: str) -> None:
    row = call_row(*case)
    row["call"]["language"] = language
    made = receipt(row, edge_id="edge-1", at=MADE)
    assert made["language"] == language
    assert WORDS[language][case[0]] in made["text"]
    assert row["call"]["call_id"] in made["text"]
    assert ("8.5 s" in made["text"]) == bool(row["recordings"])


def test_the_languages_say_the_same_things() -> None:
    assert all(words.keys() == WORDS["en"].keys() for words in WORDS.values())
    assert set(OUTCOMES) <= WORDS["en"].keys()
    assert all(text.strip() == text and text for words in WORDS.values() for text in words.values())


@pytest.mark.parametrize(("spoken", "read"), [("cs_CZ", "cs"), ("de-AT", "de"), ("tlh", "en"), (None, "en")])
def test_the_language_is_the_calls(spoken: str | None, read: str) -> None:
    row = call_row("given", "key")
    row["call"]["language"] = spoken
    assert receipt(row, edge_id="e", at=MADE)["language"] == read


def test_a_receipt_cannot_move_the_cursor() -> None:
    row = call_row("given", "key")
    row["parties"][0]["number"] = "\x1b[2J\r\nYou owe 5 EUR"
    text = receipt(row, edge_id="e", at=MADE)["text"]
    assert "\x1b" not in text
    assert "\r" not in text
    assert "\nYou owe" not in text


def test_what_was_erased_or_will_be_is_said() -> None:
    erased = call_row("withdrawn", "withdraw", recordings=[recording("erased")])
    assert f"erased {END}" in receipt(erased, edge_id="e", at=MADE)["text"]
    due = [{"recording_id": "d1" * 16, "due_at": "2026-01-31T13:01:00.000Z", "cause": "withdrawal"}]
    later = call_row("withdrawn", "withdraw", due=due, pauses=[pause()])
    text = receipt(later, edge_id="e", at=MADE)["text"]
    assert "will be erased 2026-01-31T13:01:00.000Z" in text
    assert "2026-01-31T12:00:20.000Z - 2026-01-31T12:00:30.000Z" in text
    assert len(RIGHTS) == 6
