"""A part of a recording by seconds: the very samples, nothing read beyond its chunks, and nothing released unverified."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from callwarden.door import Reading, SocketDoor, Source
from callwarden.exporting import Export
from callwarden.keyfiles import read_identities, read_trust
from callwarden.reading.segments import _cut
from callwarden.reading.spans import moment, parts, span_of
from edge.api.server import make_app, serve
from edge.errors import CallwardenError
from formats.age import CHUNK, ENC_CHUNK, NONCE
from tests.unit.cli import cli_makers as make
from tests.unit.cli.test_export import audio

FRAME = 4
RATE = 8000


def entries(edge: make.Edge) -> list[dict[str, Any]]:
    with sqlite3.connect(edge.loaded.edge.journal) as conn:
        return [json.loads(row[0]) for row in conn.execute("SELECT entry FROM audit ORDER BY idx")]


def cut(audio_: bytes, begin: float, end: float) -> bytes:
    return audio_[int(begin * RATE) * FRAME : int(end * RATE) * FRAME]


@pytest.mark.parametrize(
    ("begin", "end", "first", "last", "segments"),
    [
        ("0s", "1s", 0, 1, 1),
        ("4s", "6.5s", 4, 6.5, 2),  # over the border of two segments
        ("0:02.048", "0:02.049", 2.048, 2.049, 1),  # one chunk of 64 KiB is 2.048 s
        ("2.047", "2.049", 2.047, 2.049, 1),
        ("5s", None, 5, 8.5, 1),
        (None, "00:00:05", 0, 5, 1),
        (None, "9m", 0, 8.5, 2),
    ],
)
def test_the_very_samples_come(
    filled: make.Edge, tmp_path: Path, begin: str | None, end: str | None, first: float, last: float, segments: int
) -> None:
    two, out = filled.facts["two"], tmp_path / "out.wav"
    span = [word for pair in (("--from", begin), ("--to", end)) if pair[1] for word in pair]
    done = filled.run("export", two.recording_id, "-i", filled.paths["operator_identity"], "-o", out, *span, "--json")
    assert done.code == 0, done.err
    assert audio(out) == cut(two.audio, first, last)
    assert done.json["segments"] == segments
    assert done.json["seconds"] == round(last - first, 3)
    assert done.json["part"]["from_ms"] == int(first * 1000)


def test_through_the_socket_only_the_chunks_of_the_part_are_read(filled: make.Edge, tmp_path: Path) -> None:
    two = filled.facts["two"]
    read: list[int] = []

    class Counting(SocketDoor):
        @contextmanager
        def payload(
            self, recording_id: str, number: int, reading: Reading, part: tuple[int, int] | None = None
        ) -> Iterator[Source]:
            with super().payload(recording_id, number, reading, part) as source:
                yield Counted(source)

    class Counted:
        def __init__(self, source: Source) -> None:
            self._source = source

        def read(self, size: int = -1, /) -> bytes:
            piece = self._source.read(size)
            read.append(len(piece))
            return piece

    async def go() -> None:
        async with make.opened(filled) as files:
            runner = await serve(make_app(make.deps(filled, files)), filled.loaded.edge.socket)
            try:
                await asyncio.to_thread(export)
            finally:
                await runner.cleanup()

    def export() -> None:
        reading = Reading("evidence", "case-1", "wav", (2100, 2200))
        door = Counting(filled.loaded.edge.socket)
        made = Export(door, two.recording_id, read_trust(filled.paths["trust"]), reading)
        made.to_audio(tmp_path / "out.wav", read_identities(filled.paths["operator_identity"]))

    asyncio.run(go())
    assert audio(tmp_path / "out.wav") == cut(two.audio, 2.1, 2.2)
    assert sum(read) == NONCE + ENC_CHUNK
    last = entries(filled)[-3:]
    assert [e["kind"] for e in last] == ["recording.read", "recording.read_payload", "recording.exported"]
    assert all(e["body"]["case"] == "case-1" and e["body"]["from_ms"] == 2100 for e in last)
    assert last[1]["body"]["first_byte"] == NONCE + ENC_CHUNK
    assert last[1]["body"]["end_byte"] == NONCE + 2 * ENC_CHUNK


def test_a_part_of_a_truncated_and_of_a_live_recording(filled: make.Edge, tmp_path: Path) -> None:
    for name, more in (("cut", ()), ("live", ("--partial",))):
        fact, out = filled.facts[name], tmp_path / f"{name}.wav"
        done = filled.run(
            "export", fact.recording_id, "-i", filled.paths["operator_identity"], "-o", out, "--from", "3", "--to", "99",
            *more,
        )  # fmt: skip
        assert done.code == 0, done.err
        assert audio(out) == fact.audio[3 * RATE * FRAME :]


@pytest.mark.parametrize(("begin", "end"), [("0", "8"), ("4.9", "5.1"), ("0.511", "0.513"), ("7.999", "8")])
def test_the_other_suite_gives_the_very_samples_too(edge: make.Edge, tmp_path: Path, begin: str, end: str) -> None:
    async def fill() -> make.Recorded:
        async with make.opened(edge) as files:
            return await make.record(edge, files, [make.sound(5, 1), make.sound(3, 2)], suite="aes256gcm")

    fact, out = asyncio.run(fill()), tmp_path / "out.wav"
    done = edge.run(
        "export", fact.recording_id, "-i", edge.paths["operator_identity"], "-o", out, "--from", begin, "--to", end
    )
    assert done.code == 0, done.err
    assert audio(out) == cut(fact.audio, float(begin), float(end))


@pytest.mark.parametrize(("at", "harmed"), [(0, True), (20, True), (NONCE + ENC_CHUNK + 5, False)])
def test_a_changed_byte_in_a_chunk_of_the_part_releases_nothing(
    filled: make.Edge, tmp_path: Path, at: int, harmed: bool
) -> None:
    two, out = filled.facts["two"], tmp_path / "out.wav"
    with sqlite3.connect(filled.loaded.edge.journal) as conn:
        first = conn.execute(
            "SELECT segment_id FROM segment WHERE recording_id=? AND number=0", (two.recording_id,)
        ).fetchone()[0]
    payload = filled.loaded.edge.vault / two.recording_id[:2] / two.recording_id / f"{first}.payload"
    data = bytearray(payload.read_bytes())
    data[at] ^= 1
    payload.write_bytes(data)
    done = filled.run(
        "export", two.recording_id, "-i", filled.paths["operator_identity"], "-o", out, "--from", "0", "--to", "1s"
    )
    # What a part does not touch it says nothing about: the second chunk is looked at by a whole read only.
    assert (done.code, out.exists()) == ((7, False) if harmed else (0, True)), done.err
    whole = filled.run(
        "export", two.recording_id, "-i", filled.paths["operator_identity"], "-o", tmp_path / "whole.wav"
    )
    assert whole.code == 7


def test_a_payload_that_was_cut_or_swapped_releases_nothing(filled: make.Edge, tmp_path: Path) -> None:
    two = filled.facts["two"]
    folder = filled.loaded.edge.vault / two.recording_id[:2] / two.recording_id
    a, b = sorted(folder.glob("*.payload"))
    kept = a.read_bytes(), b.read_bytes()
    arguments = ("export", two.recording_id, "-i", filled.paths["operator_identity"], "--from", "4.9", "--to", "5.1")
    for damage in ((kept[1], kept[0]), (kept[0][:40], kept[1][:40])):
        a.write_bytes(damage[0])
        b.write_bytes(damage[1])
        done = filled.run(*arguments, "-o", tmp_path / "x.wav")
        assert (done.code, (tmp_path / "x.wav").exists()) == (7, False), done.err


@pytest.mark.parametrize(
    ("arguments", "code", "word"),
    [
        (("--from", "9s"), 2, "lasts 8.500 s"),
        (("--from", "2s", "--to", "2s"), 2, "before it begins"),
        (("--from", "-1s"), 2, "usage.moment"),
        (("--from", "1:99"), 2, "usage.moment"),
        (("--to", "99999999h"), 2, "usage.moment"),
        (("--from", "nan"), 2, "usage.moment"),
        (("--from", "١s"), 2, "usage.moment"),
    ],
)
def test_wrong_places(filled: make.Edge, tmp_path: Path, arguments: tuple[str, ...], code: int, word: str) -> None:
    done = filled.run(
        "export", filled.facts["two"].recording_id, "-i", filled.paths["operator_identity"], "-o", tmp_path / "x.wav",
        *arguments,
    )  # fmt: skip
    assert (done.code, (tmp_path / "x.wav").exists()) == (code, False)
    assert word in done.err


def test_raw_age_takes_no_part(filled: make.Edge, tmp_path: Path) -> None:
    two = filled.facts["two"].recording_id
    assert filled.run("export", two, "--raw-age", "-o", tmp_path / "x", "--from", "1s").code == 2


def test_moments() -> None:
    told = {"10s": 10_000, "1.25": 1250, "2m": 120_000, "01:30": 90_000, "1:00:00.5": 3_600_500, "250ms": 250}
    assert {text: moment(text, "--from") for text in told} == told
    assert span_of(None, None) is None
    assert span_of("1", None) == (1000, 0)


@pytest.mark.parametrize("size", [1, 3, 4, 100])
def test_an_encoded_segment_is_cut_after_it_was_read_to_its_end(size: int) -> None:
    data, ended = bytes(range(40)), []

    def pieces() -> Iterator[bytes]:
        yield from (data[at : at + size] for at in range(0, len(data), size))
        ended.append(True)  # where the last chunk is verified

    assert b"".join(_cut(pieces(), 8, 20)) == data[8:20]
    assert ended == [True]


def test_a_removed_segment_keeps_its_place() -> None:
    segments = [{"number": n, "frames": CHUNK, "state": "shredded" if n == 1 else "closed"} for n in range(3)]
    found = parts(segments, 8000, (8000, 17_000))
    assert [(p.segment["number"], p.first, p.end, p.removed) for p in found] == [
        (0, 64_000, CHUNK, False),
        (1, 0, CHUNK, True),
        (2, 0, 136_000 - 2 * CHUNK, False),
    ]
    with pytest.raises(CallwardenError, match="lasts"):
        parts(segments, 8000, (25_000, 26_000))
