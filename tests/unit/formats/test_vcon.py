"""A call as a vCon: valid by the published schema for every outcome, and saying no more than is stored."""

from __future__ import annotations

import base64
import hashlib
import json
from collections import Counter
from functools import cache
from typing import Any

import jsonschema
import pytest

from formats import canonical, vcon
from formats.errors import FormatError, SignatureError
from formats.jws import sign_general, verify_general
from formats.keys import SigningKey
from formats.keyset import KeySet, entry
from formats.wav import wav_header
from tests.unit.formats.call_rows import AT, CASES, END, OTHER, RECORDING, call_row, pause, recording, with_third
from tests.unit.formats.public_vectors import need

MADE = "2026-02-01T08:00:00.000Z"


@cache
def schema() -> Any:
    return json.loads((need("vcon") / "vcon_json_schema.json").read_text())


def made(row: dict[str, Any]) -> dict[str, Any]:
    return vcon.vcon(row, edge_id="edge-1", at=MADE)


def validate(document: dict[str, Any]) -> None:
    jsonschema.Draft7Validator(schema(), format_checker=jsonschema.FormatChecker()).validate(document)


def basis(document: dict[str, Any], party: int = 0) -> dict[str, Any] | None:
    found = [a for a in document["attachments"] if a["purpose"] == "lawful_basis" and a["party"] == party]
    assert len(found) <= 1
    return found[0]["body"] if found else None


@pytest.mark.parametrize("case", CASES, ids=lambda c: "-".join(c[:2]))
def test_every_outcome_is_valid(case: tuple[str, str, str, str]) -> None:
    validate(made(call_row(*case)))


def test_the_schema_can_refuse() -> None:
    document = made(call_row("given", "key"))
    document["dialog"][0]["type"] = "telepathy"
    with pytest.raises(jsonschema.ValidationError):
        validate(document)


def test_their_own_example_passes_the_same_check() -> None:
    example = json.loads((need("vcon") / "ab_call_ext_rec.vcon").read_text())
    validate(example | {"created_at": MADE})


@pytest.mark.parametrize("case", CASES, ids=lambda c: "-".join(c[:2]))
def test_the_basis_grants_what_the_permit_grants(case: tuple[str, str, str, str]) -> None:
    outcome, reason, _, lawful = case
    body = basis(made(call_row(*case)))
    if outcome in ("not_recorded", "unavailable", "adopted"):
        assert body is None  # nobody was asked or told anything
        return
    assert body is not None
    assert body["lawful_basis"] == lawful
    grants = {g["purpose"]: g["granted"] for g in body["purpose_grants"]}
    permitted = outcome in ("given", "notified", "not_required")
    assert grants == {"quality": permitted, "evidence": False}
    assert (body["expiration"] is not None) == (outcome in ("withdrawn", "objected"))
    assert body["metadata"]["reason"] == ("asked" if reason == "withdraw" else reason)


def test_key_presses_are_events_of_who_pressed() -> None:
    document = made(with_third(call_row("given", "key"), "refused"))
    keys = [(e["party"], e["button"]) for e in document["dialog"][0]["party_history"] if e["event"] == "keydown"]
    assert keys == [(0, "7"), (0, "1"), (1, "7"), (1, "1")]
    assert (basis(document, 1) or {})["metadata"]["outcome"] == "refused"
    assert document["parties"][1]["tel"] == "tel:00491512345678"
    validate(document)


def test_segments_point_to_their_set_and_start_where_they_began() -> None:
    dialog = made(call_row("given", "key"))["dialog"]
    assert [d["type"] for d in dialog] == ["text", "recording-set", "recording", "recording"]
    assert dialog[1]["recordings"] == [2, 3]
    assert [d["recording_set"] for d in dialog[2:]] == [1, 1]
    assert [d["start"] for d in dialog[2:]] == ["2026-01-31T12:00:09.500Z", "2026-01-31T12:00:21.500Z"]
    assert all("body" not in d and "url" not in d for d in dialog[2:])


def test_a_call_without_audio_has_no_recording() -> None:
    for outcome, reason in (("refused", "key"), ("not_recorded", "policy"), ("unavailable", "ami.down")):
        assert [d["type"] for d in made(call_row(outcome, reason))["dialog"]] == ["text"]
    silent = call_row("given", "key", recordings=[recording("no_audio")])
    assert [d["type"] for d in made(silent)["dialog"]] == ["text"]
    gone = made(call_row("abandoned", "hangup"))["dialog"][0]
    assert (gone["type"], gone["disposition"]) == ("incomplete", "hung-up")


def test_a_segment_that_was_removed_is_not_there() -> None:
    row = call_row("given", "key")
    row["recordings"][0]["segments"][0]["state"] = "shredded"
    dialog = made(row)["dialog"]
    assert [d["type"] for d in dialog] == ["text", "recording-set", "recording"]
    assert (dialog[1]["duration"], dialog[2]["duration"]) == (3.5, 3.5)
    assert dialog[2]["filename"] == f"{RECORDING}.1.wav"


def test_of_an_erased_recording_the_basis_is_left() -> None:
    document = made(call_row("withdrawn", "withdraw", recordings=[recording("erased")]))
    assert [d["type"] for d in document["dialog"]] == ["text"]
    assert (basis(document) or {})["metadata"]["standing"] == "withdrawn"
    validate(document)


def test_pauses_are_told() -> None:
    document = made(call_row("given", "key", pauses=[pause()]))
    assert document["attachments"][-1]["body"][0]["reason"] == "asked"
    validate(document)


def test_the_uuid_is_the_calls_own_and_version_8() -> None:
    row = call_row("given", "key")
    uuid = made(row)["uuid"]
    assert uuid == vcon.vcon(row, edge_id="edge-1", at=END)["uuid"]
    assert uuid != vcon.vcon(row, edge_id="edge-2", at=MADE)["uuid"]
    assert (uuid[14], uuid[19] in "89ab") == ("8", True)


@pytest.mark.parametrize("number", ["\x1b[2J", "tel:x", "1;phone-context=evil", "\u202e123", "+" * 20, "", None])
def test_what_is_no_number_is_no_tel_url(number: str | None) -> None:
    row = call_row("refused", "key")
    row["parties"][0]["number"] = number
    document = made(row)
    assert "tel" not in document["parties"][0]
    validate(document)


def test_rows_of_an_older_journal_serve_too() -> None:
    row = call_row("given", "key")
    for name in ("permits", "parties", "pauses", "notices", "due"):
        del row[name]
    row["policy_document"] = "{"
    document = made(row)
    validate(document)
    assert (basis(document) or {})["purpose_grants"][0]["granted"] is True


def test_audio_goes_into_its_own_dialog_with_its_hash() -> None:
    document = made(call_row("given", "key"))
    wav = wav_header(320, 8000, 2) + bytes(range(256)) + bytes(64)
    full = vcon.with_audio(document, {f"{RECORDING}.1.wav": wav})
    validate(full)
    body = full["dialog"][3]
    assert base64.urlsafe_b64decode(body["body"] + "==") == wav
    digest = base64.urlsafe_b64encode(hashlib.sha512(wav).digest()).rstrip(b"=").decode()
    assert body["content_hash"] == f"sha512-{digest}"
    assert "body" not in document["dialog"][3]
    with pytest.raises(FormatError):
        vcon.with_audio(document, {"x.wav": wav})


def test_signed_it_verifies_under_the_edges_key_alone() -> None:
    key, other = SigningKey.from_seed(bytes(32)), SigningKey.from_seed(bytes([1]) * 32)
    document = made(with_third(call_row("given", "key"), "given"))
    signed = sign_general(canonical.dumps(document), [(key, key.kid)], vcon.TYP)
    trust = KeySet.of([entry(key.verify_key, "edge", "edge-1", edge_id="edge-1")])
    payload = verify_general(signed, trust, vcon.TYP, Counter({"edge": 1})).payload
    assert json.loads(payload) == document
    stranger = KeySet.of([entry(other.verify_key, "edge", "edge-1", edge_id="edge-1")])
    with pytest.raises(SignatureError):
        verify_general(signed, stranger, vcon.TYP, Counter({"edge": 1}))
    with pytest.raises(SignatureError):  # a signature for a manifest is none for a vCon
        verify_general(signed, trust, "callwarden-manifest+json", Counter({"edge": 1}))


def test_parties_are_named_by_their_own_ids() -> None:
    document = made(with_third(call_row("given", "key"), "given"))
    assert document["parties"][1]["uuid"].replace("-", "") == OTHER
    assert document["created_at"] == MADE
    assert document["dialog"][0]["start"] == AT
