"""FLAC and Opus: what a foreign decoder reads back, no plaintext beside the file, and a clear word without the encoder."""

from __future__ import annotations

import math
import os
import stat
import struct
import sys
from pathlib import Path
from typing import IO, Any

import pytest
import soundfile

from callwarden.reading.writers import check_form, form_of, writer
from edge.errors import CallwardenError
from tests.unit.cli import cli_makers as make


def tone(seconds: float, rate: int = 8000) -> bytes:
    """440 Hz left, silence right."""
    count = int(seconds * rate)
    return b"".join(struct.pack("<hh", int(9000 * math.sin(2 * math.pi * 440 * n / rate)), 0) for n in range(count))


@pytest.mark.parametrize("more", [(), ("--from", "4s", "--to", "6s")])
def test_flac_has_the_very_samples(filled: make.Edge, tmp_path: Path, more: tuple[str, ...]) -> None:
    two, out = filled.facts["two"], tmp_path / "out.flac"
    done = filled.run("export", two.recording_id, "-i", filled.paths["operator_identity"], "-o", out, "--json", *more)
    assert done.code == 0, done.err
    samples, rate = soundfile.read(out, dtype="int16")
    assert (rate, soundfile.info(out).format, done.json["format"]) == (8000, "FLAC", "flac")
    assert samples.tobytes() == (two.audio[4 * 32000 : 6 * 32000] if more else two.audio)
    assert stat.S_IMODE(out.stat().st_mode) == 0o600
    assert [p.name for p in tmp_path.iterdir() if p.is_file()] == ["out.flac"]


@pytest.mark.parametrize("rate", [8000, 16000])
def test_opus_sounds_like_it(tmp_path: Path, rate: int) -> None:
    import numpy

    path = tmp_path / "x.opus"
    with path.open("w+b") as file, writer("opus", file, rate, 2) as out:
        pcm = tone(3, rate)
        for at in range(0, len(pcm), 5000 * 4):
            out.write(pcm[at : at + 5000 * 4])
    samples, heard = soundfile.read(path)
    assert soundfile.info(path).subtype == "OPUS"
    left = numpy.abs(numpy.fft.rfft(samples[:, 0]))
    assert abs(numpy.fft.rfftfreq(len(samples), 1 / heard)[left.argmax()] - 440) < 2
    assert abs(len(samples) / heard - 3) < 0.1
    assert numpy.abs(samples[:, 1]).max() < 0.01 * numpy.abs(samples[:, 0]).max()


def test_the_ending_names_the_form() -> None:
    told = {"a.wav": "wav", "a.FLAC": "flac", "a.opus": "opus", "a.ogg": "opus", "a.bin": "wav", "a": "wav"}
    assert {name: form_of(Path(name), None) for name in told} == told
    assert form_of(Path("a.wav"), "flac") == "flac"


def test_what_opus_cannot_is_said_before_anything_is_read() -> None:
    with pytest.raises(CallwardenError, match="44100 Hz"):
        check_form("opus", 44100)
    check_form("flac", 44100)


def test_without_the_encoder(filled: make.Edge, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "soundfile", None)
    common = ("export", filled.facts["two"].recording_id, "-i", filled.paths["operator_identity"])
    done = filled.run(*common, "-o", tmp_path / "x.flac")
    assert (done.code, list(tmp_path.glob("*x.flac*"))) == (8, [])
    assert "environment.extra" in done.err
    assert "callwarden[studio]" in done.err
    assert filled.run(*common, "-o", tmp_path / "x.wav").code == 0


class _Full:
    """A disk that takes the first bytes and no more."""

    def __init__(self, file: IO[bytes], room: int) -> None:
        self._file, self._room = file, room

    def write(self, data: bytes) -> int:
        self._room -= len(data)
        if self._room < 0:
            raise OSError(28, os.strerror(28))
        return self._file.write(data)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)


@pytest.mark.parametrize("form", ["flac", "opus"])
def test_a_full_disk_is_not_swallowed_by_the_encoder(tmp_path: Path, form: str) -> None:
    import random

    noise = random.Random(4).randbytes(400_000)
    with (
        (tmp_path / "x").open("w+b") as file,
        pytest.raises(CallwardenError, match="No space left"),
        writer(form, _Full(file, 3000), 8000, 2) as out,  # type: ignore[arg-type]
    ):
        out.write(noise)
