"""Audio out of the vault: right to the byte with the right identity, and not at all otherwise."""

from __future__ import annotations

import io
import json
import os
import shutil
import stat
import subprocess
import wave
from pathlib import Path

import pytest

from callwarden import keyfiles
from edge.api.server import make_app, serve
from formats.age import decrypt_file, decrypt_truncated, open_header, read_header
from tests.unit.cli import cli_makers as make


def audio(path: Path) -> bytes:
    with wave.open(str(path)) as wav:
        assert (wav.getnchannels(), wav.getsampwidth(), wav.getframerate()) == (2, 2, 8000)
        return wav.readframes(wav.getnframes())


def kinds(edge: make.Edge) -> list[str]:
    """Kinds of all audit entries."""
    import sqlite3

    with sqlite3.connect(edge.loaded.edge.journal) as conn:
        return [json.loads(row[0])["kind"] for row in conn.execute("SELECT entry FROM audit ORDER BY idx")]


@pytest.mark.parametrize("who", ["operator", "recovery"])
def test_every_recipient_gets_the_very_bytes(filled: make.Edge, tmp_path: Path, who: str) -> None:
    two, out = filled.facts["two"], tmp_path / "out.wav"
    done = filled.run("export", two.recording_id, "-i", filled.paths[f"{who}_identity"], "-o", out, "--json")
    assert done.code == 0, done.err
    assert audio(out) == two.audio
    assert stat.S_IMODE(out.stat().st_mode) == 0o600
    assert done.json["seconds"] == 8.5
    assert done.json["verified"] is True


def test_through_the_daemons_socket_the_same(filled: make.Edge, tmp_path: Path) -> None:
    import asyncio

    two, out = filled.facts["two"], tmp_path / "out.wav"

    async def go() -> make.Ran:
        async with make.opened(filled) as files:
            runner = await serve(make_app(make.deps(filled, files)), filled.loaded.edge.socket)
            try:
                return await filled.arun(
                    "export", two.recording_id[:8], "-i", filled.paths["operator_identity"], "-o", out,
                    "--case", "case-7",
                )  # fmt: skip
            finally:
                await runner.cleanup()

    done = asyncio.run(go())
    assert done.code == 0, done.err
    assert audio(out) == two.audio
    read, payload = ["recording.read"] * 2, ["recording.read_payload"] * 2
    assert kinds(filled)[-5:] == [*read, *payload, "recording.exported"]


def test_raw_age_opens_with_any_age(filled: make.Edge, tmp_path: Path) -> None:
    two, out = filled.facts["two"], tmp_path / "x.age"
    done = filled.run("export", two.recording_id, "--raw-age", "-o", out)
    assert done.code == 0, done.err
    names = [tmp_path / "x.age", tmp_path / "x.2.age"]
    assert done.out.split() == [str(n) for n in names]
    keys = keyfiles.read_identities(filled.paths["operator_identity"])
    plain = [b"".join(decrypt_file(n.read_bytes(), keys)) for n in names]
    assert b"".join(plain) == two.audio


def test_raw_age_opens_with_the_stock_tool(filled: make.Edge, tmp_path: Path) -> None:
    age = os.environ.get("CALLWARDEN_AGE") or shutil.which("age")
    if age is None:
        pytest.skip("there is no `age` program: apt-get install age, or name one in CALLWARDEN_AGE")
    for name, whole in (("two", True), ("cut", False)):
        fact, out = filled.facts[name], tmp_path / f"{name}.age"
        assert filled.run("export", fact.recording_id, "--raw-age", "-o", out).code == 0
        files = sorted(tmp_path.glob(f"{name}*.age"), key=lambda p: (len(p.name), p.name))
        runs = [
            subprocess.run([age, "-d", "-i", filled.paths["operator_identity"], f], capture_output=True, check=False)
            for f in files
        ]
        assert b"".join(r.stdout for r in runs) == fact.audio
        assert all((r.returncode == 0) == whole for r in runs)  # a stream without its last chunk is called cut


def test_truncated_is_said_and_whole_chunks_come(filled: make.Edge, tmp_path: Path) -> None:
    cut = filled.facts["cut"]
    out, raw = tmp_path / "out.wav", tmp_path / "x.age"
    done = filled.run("export", cut.recording_id, "-i", filled.paths["operator_identity"], "-o", out)
    assert done.code == 0, done.err
    assert "truncated" in done.err
    assert audio(out) == cut.audio
    assert len(cut.audio) == 4 * 65536
    assert filled.run("export", cut.recording_id, "--raw-age", "-o", raw).code == 0
    source = io.BytesIO(raw.read_bytes())
    header = read_header(source)
    assert header is not None
    file_key = open_header(
        raw.read_bytes()[: source.tell()], keyfiles.read_identities(filled.paths["operator_identity"])
    )
    assert b"".join(decrypt_truncated(file_key, source)) == cut.audio


def test_live_needs_partial(filled: make.Edge, tmp_path: Path) -> None:
    live, out = filled.facts["live"], tmp_path / "out.wav"
    arguments = ("export", live.recording_id, "-i", filled.paths["operator_identity"], "-o", out)
    refused = filled.run(*arguments)
    assert (refused.code, out.exists()) == (6, False)
    assert "command.live" in refused.err
    done = filled.run(*arguments, "--partial")
    assert done.code == 0, done.err
    assert "NOT verified" in done.err
    assert audio(out) == live.audio


def test_wrong_identity(filled: make.Edge, tmp_path: Path) -> None:
    command = make.command("key", "new", "-o", tmp_path / "other")
    assert command.code == 0
    out = tmp_path / "out.wav"
    done = filled.run("export", filled.facts["two"].recording_id, "-i", tmp_path / "other", "-o", out)
    assert done.code == 7
    assert "vault.no_match" in done.err
    assert "hint:" in done.err
    assert sorted(p.name for p in tmp_path.iterdir() if p.is_file()) == ["other"]


def test_erased_says_when_and_leaves_a_note(filled: make.Edge, tmp_path: Path) -> None:
    out = tmp_path / "out.wav"
    erased = filled.facts["erased"].recording_id
    done = filled.run("export", erased, "-i", filled.paths["operator_identity"], "-o", out)
    assert done.code == 5
    assert f"erased at {make.END}" in done.err
    assert not out.exists()
    assert kinds(filled)[-1] == "recording.read_refused"


def test_an_existing_file_is_left_alone(filled: make.Edge, tmp_path: Path) -> None:
    out = tmp_path / "out.wav"
    out.write_text("mine")
    done = filled.run("export", filled.facts["two"].recording_id, "-i", filled.paths["operator_identity"], "-o", out)
    assert done.code == 8
    assert out.read_text() == "mine"


def test_a_changed_payload_is_not_released(filled: make.Edge, tmp_path: Path) -> None:
    two, out = filled.facts["two"], tmp_path / "out.wav"
    folder = filled.loaded.edge.vault / two.recording_id[:2] / two.recording_id
    for number, payload in enumerate(sorted(folder.glob("*.payload"))):
        data = bytearray(payload.read_bytes())
        data[1000 + number] ^= 1
        payload.write_bytes(bytes(data))
    for way in (("-i", filled.paths["operator_identity"]), ("--raw-age",)):
        done = filled.run("export", two.recording_id, *way, "-o", out)
        assert (done.code, out.exists()) == (7, False)
        assert "vault.payload_hash" in done.err


def test_rows_that_are_not_what_was_signed(filled: make.Edge, tmp_path: Path) -> None:
    import sqlite3

    two = filled.facts["two"]
    with sqlite3.connect(filled.loaded.edge.journal) as conn:
        conn.execute("UPDATE capture SET rate=16000 WHERE recording_id=?", (two.recording_id,))
    out = tmp_path / "out.wav"
    done = filled.run("export", two.recording_id, "-i", filled.paths["operator_identity"], "-o", out)
    assert done.code == 7
    assert "vault.differs" in done.err


def test_a_manifest_of_an_unknown_edge(filled: make.Edge, tmp_path: Path, run_dir: Path) -> None:
    other = make.make_edge(tmp_path / "other", run_dir / "other")
    done = filled.run(
        "export", filled.facts["two"].recording_id, "-i", filled.paths["operator_identity"], "-o", tmp_path / "o.wav",
        "--trust", other.paths["trust"],
    )  # fmt: skip
    assert done.code == 7
    assert "vault.manifest" in done.err


@pytest.mark.parametrize(
    ("arguments", "code", "word"),
    [
        (["export", "0" * 32, "--raw-age", "-o", "x.age"], 5, "not_found.recording"),
        (["export", "nonsense", "--raw-age", "-o", "x.age"], 5, "not_found.recording"),
        (["export", "0" * 32, "-o", "x.wav"], 2, "--identity"),
        (["export", "0" * 32, "-i", "/nowhere", "-o", "x.wav"], 8, "/nowhere"),
        (["export", "0" * 32, "--raw-age", "-o", "x.age", "--purpose", "Mr Smith asked"], 5, "not_found"),
    ],
)
def test_wrong_words(filled: make.Edge, arguments: list[str], code: int, word: str) -> None:
    done = filled.run(*arguments)
    assert (done.code, done.out) == (code, "")
    assert word in done.err


def test_a_purpose_names_no_person(filled: make.Edge, tmp_path: Path) -> None:
    done = filled.run(
        "export", filled.facts["two"].recording_id, "--raw-age", "-o", tmp_path / "x.age", "--purpose", "Mr Smith asked"
    )
    assert done.code == 2
    assert "usage.purpose" in done.err
    assert not (tmp_path / "x.age").exists()
