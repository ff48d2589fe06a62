"""The rig's ears: every damage done to a voice is named, and an undamaged voice is not accused."""

from __future__ import annotations

import re

import numpy as np
import pytest

from rig.tones import AGENT, CALLER, CYCLE_S, RATE, check, decode, encode, listen, order, speaker, tone

S = RATE


@pytest.mark.parametrize("law", ["ulaw", "alaw"])
def test_g711_keeps_a_sample_within_the_step_of_its_size(law: str) -> None:
    pcm = np.arange(-32000, 32000, 7, dtype=np.int16)
    error = np.abs(decode(encode(pcm, law), law).astype(int) - pcm)
    assert np.all(error <= np.maximum(np.abs(pcm.astype(int)) / 16, 9))


def test_g711_matches_the_standard_librarys_codec() -> None:
    audioop = pytest.importorskip("audioop", reason="gone from Python 3.13")
    pcm = tone("a", CALLER, 2)
    assert audioop.ulaw2lin(encode(pcm, "ulaw"), 2) == decode(encode(pcm, "ulaw"), "ulaw").tobytes()
    assert audioop.alaw2lin(encode(pcm, "alaw"), 2) == decode(encode(pcm, "alaw"), "alaw").tobytes()


@pytest.mark.parametrize("start", [0, 1, 3999, 4000, 7999, 45 * S + 123])
def test_a_voice_cut_anywhere_is_clean(start: int) -> None:
    pcm = np.tile(tone(7), 2)[start : start + 20 * S]
    verdict = check(listen(decode(encode(pcm)), CALLER), 7, CALLER)
    assert verdict.faults == ()
    assert verdict.seconds in (20, 21)


def test_order_never_stands_still() -> None:
    for seed in range(50):
        pitches = order(seed, CALLER)
        assert len(pitches) == CYCLE_S
        ring = pitches + pitches[:4]
        assert all(len(set(ring[i : i + 5])) == 5 for i in range(CYCLE_S))


def test_both_voices_are_heard_in_one_mono_mix() -> None:
    mix = tone(3, CALLER, 12) // 2 + tone("agent", AGENT, 12) // 2
    assert check(listen(mix, CALLER), 3, CALLER).clean
    assert check(listen(mix, AGENT), "agent", AGENT).clean


@pytest.mark.parametrize("seed", range(12))
def test_missing_repeated_foreign_and_short_seconds_are_named(seed: int) -> None:
    pcm = tone(seed, CALLER, 20)

    def faults(damaged: np.ndarray) -> str:
        return "; ".join(check(listen(damaged, CALLER), seed, CALLER).faults)

    assert "missing at 8." in faults(np.concatenate([pcm[: 8 * S], pcm[9 * S :]]))
    assert "repeated at 8." in faults(np.concatenate([pcm[: 9 * S], pcm[8 * S :]]))
    assert "repeated at 9." in faults(np.concatenate([pcm[: 9 * S], pcm[7 * S :]]))
    other = next(p for p in range(len(CALLER)) if p not in order(seed, CALLER)[5:15])
    beep = (6000 * np.sin(2 * np.pi * CALLER[other] * np.arange(S) / RATE)).astype(np.int16)
    assert "foreign second at 9." in faults(np.concatenate([pcm[: 9 * S], beep, pcm[10 * S :]]))
    assert "second of 0.5" in faults(np.concatenate([pcm[: 9 * S], pcm[9 * S + S // 2 :]]))
    assert "s at 9." in faults(np.concatenate([pcm[: 9 * S + S // 2], 0 * pcm[: S // 2], pcm[10 * S :]]))
    cut = faults(np.concatenate([pcm[: 9 * S + 2400], 0 * pcm[:2400], pcm[9 * S + 4800 :]]))
    assert re.fullmatch(r"gap of 0\.[23]\d s at 9\.[34] s", cut), cut


def test_silence_and_another_speaker_are_not_this_voice() -> None:
    assert check(listen(np.zeros(5 * S, dtype=np.int16), CALLER), 1, CALLER).faults == ("nothing heard",)
    assert not check(listen(tone(2, CALLER, 10), CALLER), 1, CALLER).clean


def test_each_of_a_hundred_callers_is_recognised() -> None:
    seeds = list(range(100))
    for seed in (0, 17, 99):
        assert speaker(tone(seed, CALLER, 30)[11 * S : 21 * S], seeds, CALLER) == seed
    assert speaker(np.zeros(10 * S, dtype=np.int16), seeds, CALLER) is None
