"""`evidence` and `why` about a call whose audio was erased, and about one whose evidence has expired."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

import pytest

from tests.unit.cli import cli_makers as make

HMAC = "ab" * 32
FORMS = ("receipt", "record", "vcon", "json")


@pytest.fixture
def erased(edge: make.Edge) -> make.Recorded:
    async def go() -> make.Recorded:
        async with make.opened(edge) as files:
            one = await make.record(edge, files, [make.sound(3, 5)])
            await files.journal.begin_erase(one.recording_id, None, "command")
            await files.slots.shred(one.slots)
            files.vault.unlink(one.recording_id)
            await files.journal.finish_erase(
                one.recording_id, erased_at=make.END, cause="command", key_ids=one.key_ids, receipt=None,
                numbers={one.call.party_id: HMAC},
            )  # fmt: skip
            return one

    return asyncio.run(go())


def expire(edge: make.Edge, call_id: str) -> None:
    async def go() -> None:
        async with make.opened(edge) as files:
            assert await files.journal.expire_evidence([call_id]) == 1

    asyncio.run(go())


@pytest.mark.parametrize("form", FORMS)
def test_after_an_erasure_every_form_gives_the_minimal_record(
    edge: make.Edge, erased: make.Recorded, form: str
) -> None:
    done = edge.run("evidence", erased.call.call_id, "--form", form, "--unsigned")
    assert done.code == 0, done.err
    assert HMAC in done.out
    assert make.NUMBER not in done.out
    assert not re.search(r"\b7000\b", done.out), "how long a prompt was heard"
    if form == "record":
        assert (done.json["minimal"], done.json["party_identification"][1]["party_phone_hmac"]) == (True, HMAC)
        assert [e["event_state"] for e in done.json["consent_events"]] == ["requested", "given"]
    if form == "vcon":
        (basis,) = [a["body"] for a in done.json["attachments"] if a["purpose"] == "lawful_basis"]
        assert (basis["lawful_basis"], basis["metadata"]["minimal"]) == ("consent", True)
        assert all(grant["granted"] for grant in basis["purpose_grants"])


def test_why_says_how_much_is_left(edge: make.Edge, erased: make.Recorded) -> None:
    call = erased.call.call_id
    done = edge.run("why", call)
    assert done.code == 0, done.err
    assert "minimal record" in done.out
    assert f"HMAC-SHA256 {HMAC}" in done.out
    expire(edge, call)
    done = edge.run("why", call)
    assert done.code == 0, done.err
    assert "Recorded, then erased" in done.out
    assert "the evidence of it has expired and was removed" in done.out
    assert HMAC not in done.out


@pytest.mark.parametrize("form", FORMS)
def test_expired_evidence_is_not_found_and_said_to_be_expired(
    edge: make.Edge, erased: make.Recorded, form: str, tmp_path: Path
) -> None:
    expire(edge, erased.call.call_id)
    done = edge.run("evidence", erased.call.call_id, "--form", form, "-o", tmp_path / "out")
    assert done.code == 5
    assert "has expired" in done.err
    assert "not_found.evidence" in done.err
    assert not (tmp_path / "out").exists()
    again = edge.run("evidence", erased.call.call_id, "--json")
    assert again.code == 5
