"""Our vCons, read by the `vcon` package: another hand's reader, on another Python."""

from __future__ import annotations

from typing import Any

import pytest

from edge.errors import CallwardenError
from formats import vcon
from formats.wav import wav_header
from rig.vcon_reader import VconReader, vcon_reader
from tests.unit.formats.call_rows import CASES, RECORDING, call_row, pause, with_third

#: What vcon 0.10.0 does not know yet: `recording-set` came with vcon-core-03, and the contact centre extension (`role` of a
#: party) has no plug-in there. Both are in the published schema, or allowed by it.
BEHIND = ("has an invalid type: recording-set", "has an invalid or missing mediatype: missing")


@pytest.fixture(scope="module")
def reader() -> VconReader:
    try:
        return vcon_reader()
    except CallwardenError as error:
        pytest.skip(f"no independent reader: {error}")


def made(row: dict[str, Any]) -> dict[str, Any]:
    return vcon.vcon(row, edge_id="edge-1", at="2026-02-01T08:00:00.000Z")


@pytest.mark.timeout(600)
def test_every_outcome_is_read_and_granted_as_we_say(reader: VconReader) -> None:
    rows = [call_row(*case) for case in CASES]
    for case, document, answer in zip(CASES, map(made, rows), reader.read([made(r) for r in rows]), strict=True):
        left = [e for e in answer["errors"] if not e.endswith(BEHIND)]
        assert left == [], (case, left)
        assert answer["uuid"] == document["uuid"]
        assert answer["extensions"].get("lawful_basis", {"is_valid": True})["is_valid"], case
        assert all(a["is_valid"] for a in answer["extensions"].get("attachments", [])), case
        permitted = case[0] in ("given", "notified", "not_required")
        assert answer["granted"]["0"] == (["quality"] if permitted else []), case


@pytest.mark.timeout(600)
def test_each_party_has_its_own_answer_there(reader: VconReader) -> None:
    row = with_third(call_row("given", "key", pauses=[pause()]), "refused")
    (answer,) = reader.read([made(row)])
    assert answer["parties"] == 2
    assert answer["granted"] == {"0": ["quality"], "1": []}


@pytest.mark.timeout(600)
def test_audio_and_a_broken_basis(reader: VconReader) -> None:
    full = vcon.with_audio(made(call_row("given", "key")), {f"{RECORDING}.0.wav": wav_header(4, 8000, 2) + bytes(4)})
    broken = made(call_row("given", "key"))
    broken["attachments"][0]["body"]["lawful_basis"] = "because"
    first, second = reader.read([full, broken])
    assert first["dialogs"] == ["text", "recording-set", "recording", "recording"]
    assert not second["extensions"]["attachments"][0]["is_valid"]  # the reader does look
