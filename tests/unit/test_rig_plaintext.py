"""The search for callers' voices finds each form in which speech could lie on a disk, and nothing else."""

from __future__ import annotations

import os
import time
from pathlib import Path

import numpy as np
import pytest

from rig.plaintext import STRIDE, VoiceSearch, written_since
from rig.tones import AGENT, Pcm, decode, encode, tone

SEARCH = VoiceSearch()
#: The shortest piece that is promised to be found.
PIECE = STRIDE + 8


def spoken(seed: int, law: str = "ulaw") -> Pcm:
    return decode(encode(tone(seed), law), law)


def stereo(left: Pcm, right: Pcm) -> bytes:
    return np.stack([left, right], axis=1).astype("<i2").tobytes()


@pytest.mark.parametrize("at", [0, 5_000, 123_457])
@pytest.mark.parametrize("before", [0, 1, 7, 4096])
def test_a_planted_voice_is_found(at: int, before: int) -> None:
    pcm = spoken(at)[at : at + PIECE]
    noise, tail = os.urandom(before), os.urandom(100)
    forms = {
        "pcm": pcm.astype("<i2").tobytes(),
        "ulaw": encode(pcm, "ulaw"),
        "alaw": encode(pcm, "alaw"),
        "left": stereo(pcm, tone(1, AGENT)[:PIECE]),
        "right": stereo(tone(1, AGENT)[:PIECE], pcm),
        "from A-law": spoken(at, "alaw")[at : at + PIECE].astype("<i2").tobytes(),
    }
    assert [form for form, data in forms.items() if not SEARCH.in_bytes(noise + data + tail)] == []


def test_nothing_else_is_found() -> None:
    agent = decode(encode(tone("agent", AGENT)))
    for other in (
        b"",
        b"x",
        bytes(100_000),
        os.urandom(1 << 20),
        agent.tobytes(),
        encode(agent),
        b"SQLite format 3\0" * 999,
    ):
        assert not SEARCH.in_bytes(other)


def test_files_across_block_borders(tmp_path: Path) -> None:
    since = time.time() - 1
    planted, own = tmp_path / "sub" / "planted", tmp_path / "voice-caller-7.ulaw"
    planted.parent.mkdir()
    pcm = spoken(3).astype("<i2").tobytes()[:6000]
    planted.write_bytes(bytes(700_000) + os.urandom((1 << 18) - 3000 - 700_000 % (1 << 18)) + pcm)
    own.write_bytes(encode(tone(7)))
    assert set(written_since(since, [tmp_path])) >= {planted}
    assert own not in set(written_since(since, [tmp_path])), "what callers speak from is the rig's own"
    assert SEARCH.in_files([planted, tmp_path / "never was"]) == [planted]
    assert list(written_since(since, [tmp_path], owners=[os.geteuid() + 1])) == []
    assert list(written_since(since, [Path("/proc"), Path("/dev/shm")])) == []
