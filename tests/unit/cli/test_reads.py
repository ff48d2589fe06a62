"""`callwarden reads`: who read a recording, as what, which part, and who was refused; from the audit log itself."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path

from tests.unit.cli import cli_makers as make


def test_every_read_and_every_refusal_is_listed(filled: make.Edge, tmp_path: Path) -> None:
    two = filled.facts["two"].recording_id
    common = ("export", two, "-i", filled.paths["operator_identity"])
    assert filled.run(*common, "-o", tmp_path / "a.flac", "--purpose", "evidence", "--case", "case-7").code == 0
    assert filled.run(*common, "-o", tmp_path / "b.wav", "--from", "1s", "--to", "2s").code == 0
    assert filled.run(*common, "-o", tmp_path / "c.wav", "--purpose", "marketing").code == 6
    assert filled.run("export", two, "--raw-age", "-o", tmp_path / "d.age").code == 0
    rows = filled.run("reads", two[:8], "--json").json
    told = [(r["kind"].removeprefix("recording."), r["form"], r.get("segment"), r["purpose"]) for r in rows]
    assert told == [
        ("read", "flac", 0, "evidence"), ("read", "flac", 1, "evidence"),
        ("read_payload", "flac", 0, "evidence"), ("read_payload", "flac", 1, "evidence"),
        ("exported", "flac", None, "evidence"),
        ("read", "wav", 0, "quality"), ("read_payload", "wav", 0, "quality"), ("exported", "wav", None, "quality"),
        ("read_refused", "wav", 0, "marketing"),
        ("read", "age", 0, "quality"), ("read_payload", "age", 0, "quality"), ("exported", "age", None, "quality"),
        ("read", "age", 1, "quality"), ("read_payload", "age", 1, "quality"), ("exported", "age", None, "quality"),
    ]  # fmt: skip
    assert {r["uid"] for r in rows} == {os.getuid()}
    assert [r.get("case") for r in rows[:5]] == ["case-7"] * 5
    assert (rows[6]["from_ms"], rows[6]["to_ms"], rows[6]["end_byte"] - rows[6]["first_byte"]) == (1000, 2000, 65552)
    text = filled.run("reads", two).out
    assert "1.000 s to 2.000 s" in text
    assert "marketing" in text


def test_of_one_recording_only_and_also_when_it_is_erased(filled: make.Edge, tmp_path: Path) -> None:
    erased = filled.facts["erased"].recording_id
    filled.run("export", erased, "-i", filled.paths["operator_identity"], "-o", tmp_path / "x.wav")
    assert [r["why"] for r in filled.run("reads", erased, "--json").json] == ["erased"]
    assert filled.run("reads", filled.facts["two"].recording_id, "--json").json == []
    assert filled.run("reads", "0" * 32).code == 5


def test_the_index_serves_it(filled: make.Edge) -> None:
    from edge.store import queries

    with sqlite3.connect(filled.loaded.edge.journal) as conn:
        plans: list[str] = []
        conn.set_trace_callback(plans.append)
        queries.reads(conn, "0" * 32)
        conn.set_trace_callback(None)
        steps = [row[3] for row in conn.execute("EXPLAIN QUERY PLAN " + plans[0])]
    assert any("audit_read" in step for step in steps), steps
