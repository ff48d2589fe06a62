"""kill -9 at each step of what is done with a closed segment: its waveform, and FLAC in the place of what was captured."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from tests.crash.test_capture import Writer, opened, start
from tests.crash.test_capture import place as place
from tests.unit.recorder.test_afterwork import voice

#: Two segments at the least; each step is passed once a segment.
LIMIT = ("--segment-chunks", "3", "--compact")
STEPS = [
    "vault.waveform_kept",
    "vault.waveform_kept:2",
    "afterwork.waveform_kept",
    "afterwork.waveform_kept:2",
    "compact.sealed",
    "compact.sealed:2",
    "compact.committed",
    "compact.committed:2",
    "compact.slot_shredded",
    "vault.took_place",
    "vault.took_place:2",
    "compact.renamed",
    "compact.renamed:2",
    "compact.settled",
    "afterwork.done",
    "afterwork.done:2",
]


@pytest.mark.parametrize("step", STEPS)
def test_killed_at(step: str, place: tuple[Path, Path]) -> None:
    """The same ending as without a kill: each segment is FLAC under its one key, and nothing else lies in the vault."""
    data = voice(640) + b"\1\0" * 1000
    first = start(place, step, *LIMIT)
    assert first.stdout is not None
    writer = Writer(first.stdout.readline().strip(), data, 0.02)
    writer.start()
    assert first.wait(60) == -9, "the failpoint was never passed"
    again = start(place, "", *LIMIT)
    writer.join()
    assert again.wait(60) == 0
    audio, segments, state = opened(place[0])
    assert audio == data
    assert state == "sealed"
    assert len(segments) >= 2
    assert os.listdir(place[1]) == []
    assert os.listdir(place[0].parent / "resume") == []
    with closing(sqlite3.connect(place[0] / "journal.db")) as conn:
        query = "SELECT segment_id, encoding, staged, loudest, plain_bytes, payload_bytes FROM segment"
        every = conn.execute(query).fetchall()
    # A segment that had no byte yet when its daemon died ends empty; the next one takes its bytes.
    stored = [row for row in every if row[4]]
    assert [row[1:3] for row in stored] == [("flac", "")] * len(stored), "its key was kept until the work was done"
    assert {row[3] for row in stored} == {"[23,11]"}
    files = {path.name for path in (place[0] / "vault").rglob("*") if path.is_file()}
    empty = {row[0] + ".payload" for row in every if row[5] and not row[4]}
    assert files - empty == {row[0] + suffix for row in stored for suffix in (".payload", ".waveform")}
