"""Recordings of the other suite out of the vault: right to the byte, and not one byte of what was touched."""

from __future__ import annotations

import json
import os
import sqlite3
import wave
from pathlib import Path

import pytest

from formats.age import HybridIdentity
from formats.suites import AES256GCM
from tests.unit.cli import cli_makers as make

#: Spans that end where a chunk of the suite does, one byte before and one after, in whole frames.
SPANS = [make.sound(4, 1)[: 4 * AES256GCM.chunk + more] for more in (0, -4, 4)]


@pytest.fixture
async def aes(edge: make.Edge) -> make.Edge:
    """facts: `whole` (three segments), `cut` (truncated), `live`, and `age`, which is of the usual suite."""
    async with make.opened(edge) as files:
        edge.facts = {
            "whole": await make.record(edge, files, SPANS, suite="aes256gcm"),
            "cut": await make.record(edge, files, [make.sound(9, 3)], end="truncated", suite="aes256gcm"),
            "live": await make.record(edge, files, [make.sound(9, 5)], end="live", suite="aes256gcm"),
            "age": await make.record(edge, files, [make.sound(2, 4)]),
        }
    return edge


def exported(edge: make.Edge, recording: str, out: Path, *more: str) -> tuple[make.Ran, bytes]:
    done = edge.run("export", recording, "-i", edge.paths["operator_identity"], "-o", out, "--json", *more)
    if not out.exists():
        return done, b""
    with wave.open(str(out)) as wav:
        return done, wav.readframes(wav.getnframes())


@pytest.mark.parametrize("name", ["whole", "cut", "age"])
def test_the_very_bytes_come_out(aes: make.Edge, tmp_path: Path, name: str) -> None:
    fact = aes.facts[name]
    done, audio = exported(aes, fact.recording_id, tmp_path / "out.wav")
    assert done.code == 0, done.err
    assert done.json["verified"] is True
    assert audio == fact.audio
    if name == "cut":
        assert "cut off" in done.err
        assert len(audio) == 9 * 32000 // AES256GCM.chunk * AES256GCM.chunk


@pytest.fixture
async def quantum(edge: make.Edge, tmp_path: Path) -> make.Edge:
    """facts: `whole`, sealed to a post-quantum key alone, whose identity is `pq.txt`."""
    identity = HybridIdentity.generate(bytes([5]) * 32)
    edge.recipients = [str(identity.recipient())]
    (tmp_path / "pq.txt").write_text(f"{identity}\n")
    (tmp_path / "pq.txt").chmod(0o600)
    async with make.opened(edge) as files:
        edge.facts = {"whole": await make.record(edge, files, SPANS, suite="aes256gcm")}
    return edge


def test_post_quantum_recipients(quantum: make.Edge, tmp_path: Path) -> None:
    fact, out = quantum.facts["whole"], tmp_path / "out.wav"
    refused = quantum.run("export", fact.recording_id, "-i", quantum.paths["operator_identity"], "-o", out)
    assert (refused.code, "vault.no_match" in refused.err, out.exists()) == (7, True, False)
    done = quantum.run("export", fact.recording_id, "-i", tmp_path / "pq.txt", "-o", out)
    assert done.code == 0, done.err
    with wave.open(str(out)) as wav:
        assert wav.readframes(wav.getnframes()) == fact.audio


def test_a_segment_that_ended_at_a_restart_is_not_called_damaged(aes: make.Edge, tmp_path: Path) -> None:
    fact = aes.facts["cut"]
    with sqlite3.connect(aes.loaded.edge.journal) as conn:
        conn.execute("UPDATE segment SET end_reason='resume_refused' WHERE recording_id=?", (fact.recording_id,))
    done, _ = exported(aes, fact.recording_id, tmp_path / "out.wav")
    assert (done.code, "ended at a restart" in done.err, "cut off" in done.err) == (0, True, False)


def test_a_live_one_gives_what_is_sealed_so_far(aes: make.Edge, tmp_path: Path) -> None:
    fact = aes.facts["live"]
    assert exported(aes, fact.recording_id, tmp_path / "out.wav")[0].code == 6
    done, audio = exported(aes, fact.recording_id, tmp_path / "out.wav", "--partial")
    assert (done.code, audio) == (0, fact.audio)


def test_no_age_tool_is_promised_what_it_cannot_read(aes: make.Edge, tmp_path: Path) -> None:
    done = aes.run("export", aes.facts["whole"].recording_id, "--raw-age", "-o", tmp_path / "x.age")
    assert done.code == 6
    assert "command.suite" in done.err
    assert "--identity" in done.err
    assert "--raw" in done.err
    assert os.listdir(tmp_path) == ["etc"]
    assert aes.run("export", aes.facts["age"].recording_id, "--raw-age", "-o", tmp_path / "x.age").code == 0


def test_the_suite_is_said(aes: make.Edge) -> None:
    shown = {r["recording_id"]: r["suite"] for r in json.loads(aes.run("recordings", "--json").out)}
    assert shown[aes.facts["whole"].recording_id] == "aes256gcm"
    assert shown[aes.facts["age"].recording_id] == "age1"


@pytest.mark.parametrize("harm", ["flip", "flip the salt", "cut", "swap", "reorder", "twice"])
def test_nothing_that_was_touched_comes_out(aes: make.Edge, tmp_path: Path, harm: str) -> None:
    fact, out = aes.facts["whole"], tmp_path / "out.wav"
    first, second, _ = make.payloads(aes, fact.recording_id)
    data, chunk = first.read_bytes(), AES256GCM.enc_chunk
    head, body = data[:56], data[56:]
    touched = {
        "flip": data[:9000] + bytes([data[9000] ^ 1]) + data[9001:],
        "flip the salt": bytes([data[0] ^ 1]) + data[1:],
        "cut": data[:-16],
        "swap": second.read_bytes(),
        "reorder": head + body[chunk : 2 * chunk] + body[:chunk] + body[2 * chunk :],
        "twice": head + body[:chunk] + body,
    }[harm]
    assert touched != data
    first.write_bytes(touched)
    done, audio = exported(aes, fact.recording_id, out)
    assert (done.code, audio) == (7, b"")
    assert not out.exists()


def test_what_was_appended_never_leaves_the_vault(aes: make.Edge, tmp_path: Path) -> None:
    fact = aes.facts["whole"]
    with make.payloads(aes, fact.recording_id)[0].open("ab") as file:
        file.write(bytes(AES256GCM.enc_chunk))
    done, audio = exported(aes, fact.recording_id, tmp_path / "out.wav")
    assert (done.code, audio) == (0, fact.audio)


def test_a_row_that_names_the_other_suite_is_not_believed(aes: make.Edge, tmp_path: Path) -> None:
    fact = aes.facts["whole"]
    with sqlite3.connect(aes.loaded.edge.journal) as conn:
        conn.execute("UPDATE header SET suite='age1' WHERE segment_id IN"
                     " (SELECT segment_id FROM segment WHERE recording_id=?)", (fact.recording_id,))  # fmt: skip
    done, audio = exported(aes, fact.recording_id, tmp_path / "out.wav")
    assert (done.code, audio, "vault.differs" in done.err) == (7, b"", True)
