"""`callwarden waveform`, and segments that come back from FLAC and Opus."""

from __future__ import annotations

import io
import json
import sqlite3
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
import soundfile

from callwarden.reading.bundle import Opened
from callwarden.reading.encoded import decoded
from callwarden.waveforms import drawn
from edge.errors import CallwardenError
from formats.age import X25519Identity
from formats.pcm import WIDTH
from formats.waveform import Peaks
from tests.unit.cli import cli_makers as make


def read_entries(edge: make.Edge) -> list[dict[str, Any]]:
    with sqlite3.connect(edge.loaded.edge.journal) as conn:
        entries = [json.loads(row[0]) for row in conn.execute("SELECT entry FROM audit ORDER BY idx")]
    return [entry for entry in entries if entry["kind"].startswith("recording.read")]


def test_the_shape_of_every_segment_is_opened_and_audited(filled: make.Edge) -> None:
    two = filled.facts["two"]
    done = filled.run("waveform", two.recording_id, "-i", filled.paths["operator_identity"], "--case", "c-1", "--json")
    assert done.code == 0, done.err
    assert (done.json["per_second"], done.json["channels"]) == (10, 2)
    peaks = [Peaks("sln", 8000, 2).fed(two.audio[a:b]).all() for a, b in spans(done.json, len(two.audio))]
    assert [s["peaks"] for s in done.json["segments"]] == [[list(p[0::2]), list(p[1::2])] for p in peaks]
    assert len([e for e in read_entries(filled) if e["body"].get("case") == "c-1"]) == len(peaks), "each is a reading"


def spans(found: Any, size: int) -> list[tuple[int, int]]:
    starts = [s["start_ms"] * 32 for s in found["segments"]]
    return list(zip(starts, [*starts[1:], size], strict=True))


def test_for_people_it_is_drawn(filled: make.Edge) -> None:
    done = filled.run("waveform", filled.facts["two"].recording_id, "-i", filled.paths["operator_identity"])
    assert done.code == 0, done.err
    assert "caller |" in done.out
    assert "agent  |" in done.out
    assert drawn([0, 0, 1, 127, 60, 3], 3) == " █▇"


def test_a_strangers_identity_opens_none(filled: make.Edge, tmp_path: Path) -> None:
    stranger = tmp_path / "stranger"
    stranger.write_text(str(X25519Identity.generate(b"\x33" * 32)) + "\n")
    stranger.chmod(0o600)
    done = filled.run("waveform", filled.facts["two"].recording_id, "-i", stranger)
    assert done.code != 0
    assert "does not open" in done.err


def test_of_an_erased_one_nothing_is_told(filled: make.Edge) -> None:
    done = filled.run("waveform", filled.facts["erased"].recording_id, "-i", filled.paths["operator_identity"])
    assert done.code != 0
    assert "erased" in done.err


def opened(**facts: Any) -> Opened:
    bundle = {"rate": 8000, "channels": 2, **facts}

    def differs(text: str) -> CallwardenError:
        return CallwardenError("vault.differs", text)

    return cast("Opened", SimpleNamespace(bundle=bundle, recording_id="aa" * 16, differs=differs))


@pytest.mark.parametrize(("form", "container", "subtype"), [("flac", "FLAC", "PCM_16"), ("opus", "OGG", "OPUS")])
def test_an_encoded_segment_comes_back(form: str, container: str, subtype: str) -> None:
    samples = (6000 * np.sin(np.arange(40_001)[:, None] / np.array([5, 7]))).astype("<i2")
    file = io.BytesIO()
    soundfile.write(file, samples, 8000, subtype=subtype, format=container)
    segment = {"number": 0, "encoding": form, "frames": len(samples)}
    pcm = b"".join(decoded(opened(), segment, iter([file.getvalue()[:1000], file.getvalue()[1000:]])))
    assert len(pcm) == len(samples) * 2 * WIDTH
    assert form == "opus" or pcm == samples.tobytes()
    for wrong, code in (
        ({**segment, "frames": len(samples) + 1}, "vault.differs"),
        (segment | {"frames": len(samples) + 999}, "vault.differs"),
    ):
        with pytest.raises(CallwardenError) as caught:
            b"".join(decoded(opened(), wrong, iter([file.getvalue()])))
        assert caught.value.code == code
    with pytest.raises(CallwardenError, match="another format"):
        b"".join(decoded(opened(rate=16000), segment, iter([file.getvalue()])))
    with pytest.raises(CallwardenError, match="cannot be decoded"):
        b"".join(decoded(opened(), segment, iter([b"no audio at all"])))
