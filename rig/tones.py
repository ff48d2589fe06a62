"""Voices that can be told apart: a tone that changes pitch every second in an order of its speaker's own.

Callers speak low, agents high, so both are told apart even in a mono mix. The two bands avoid the pairs of tones
that make a telephone key (697-941 Hz with 1209-1633 Hz).
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

Pcm = npt.NDArray[np.int16]

RATE = 8000  # samples a second on every leg of the rig
CYCLE_S = 60  # a speaker's order repeats after this many seconds, as long as its file
#: Pitches in Hz, spaced so that a tenth of a second tells neighbours apart.
CALLER = tuple(range(420, 1140, 45))
AGENT = tuple(range(1800, 2920, 70))
LEVEL = 6000  # amplitude of a tone, about -15 dBFS: two of them add up without clipping


def order(seed: int | str, band: tuple[int, ...]) -> list[int]:
    """The speaker's pitch (index into band) in each second of its cycle.

    No pitch comes back within four seconds, also across the cycle's end, so a jump of up to three is unambiguous.
    """
    chance = random.Random(f"{seed}/{band[0]}")
    pitches: list[int] = []
    while len(pitches) < CYCLE_S:
        ahead = len(pitches) + 5 - CYCLE_S
        forbidden = {*pitches[-4:], *pitches[: max(0, ahead)]}
        pitches.append(chance.choice([p for p in range(len(band)) if p not in forbidden]))
    return pitches


def tone(seed: int | str, band: tuple[int, ...] = CALLER, seconds: int = CYCLE_S) -> Pcm:
    """A speaker's voice as 16-bit samples at 8 kHz, its phase running on through each change of pitch."""
    pitches = order(seed, band)
    hertz = np.repeat([band[pitches[s % CYCLE_S]] for s in range(seconds)], RATE)
    phase = np.cumsum(2 * np.pi * hertz / RATE)
    return np.asarray(LEVEL * np.sin(phase), dtype=np.int16)


@dataclass(frozen=True)
class Heard:
    """A span in which one pitch sounds: index into the band, start and length in seconds."""

    pitch: int
    start: float
    seconds: float


def listen(pcm: Pcm, band: tuple[int, ...], rate: int = RATE) -> list[Heard]:
    """The pitches of one band in order, in steps of 50 ms; other bands, noise and silence are not heard."""
    step = rate // 20
    windows = len(pcm) // step - 1
    if windows < 1:
        return []
    # Two steps make one window, so each window is long enough (100 ms) to part neighbouring pitches.
    frames = np.lib.stride_tricks.sliding_window_view(pcm.astype(np.float64), 2 * step)[::step][:windows]
    time = np.arange(2 * step) / rate
    probes = np.exp(-2j * np.pi * np.outer(np.array(band), time)) * np.hanning(2 * step)
    strength = np.abs(frames @ probes.T) / (step / 2)
    best = strength.argmax(axis=1)
    loud = strength.max(axis=1) > LEVEL / 10
    pitches = np.where(loud, best, -1)
    edges = np.flatnonzero(np.diff(pitches)) + 1
    # A window's pitch is the one at its middle, one step after its start; the first window speaks for its start too.
    bounds = [0.0, *((edges + 1) * step / rate), (windows + 1) * step / rate]
    firsts = [0, *edges]
    heard = [
        Heard(int(pitches[first]), start, end - start)
        for first, start, end in zip(firsts, bounds[:-1], bounds[1:], strict=True)
        if pitches[first] >= 0
    ]
    return [h for h in heard if h.seconds > 0.11]  # what a change of pitch smears over one window is nobody's


@dataclass(frozen=True)
class Verdict:
    """What one speaker's voice was like: whole seconds heard in their order, and every fault in words."""

    seconds: int
    faults: tuple[str, ...]

    @property
    def clean(self) -> bool:
        """At least one second, and no fault."""
        return self.seconds > 0 and not self.faults


def check(heard: list[Heard], seed: int | str, band: tuple[int, ...]) -> Verdict:
    """Walk along the speaker's order and name each second that is missing, repeated, cut short or foreign.

    The first and the last second may be cut: a recording starts and ends anywhere.
    """
    expected = order(seed, band)
    if not heard:
        return Verdict(0, ("nothing heard",))
    whole, gaps = _close_gaps(heard)
    walks = [_walk(whole, expected, start) for start in range(CYCLE_S)]
    best = min(walks, key=lambda verdict: (len(verdict.faults), -verdict.seconds))
    return Verdict(best.seconds, (*gaps, *best.faults))


def _close_gaps(heard: list[Heard]) -> tuple[list[Heard], list[str]]:
    """Join what silence cut inside one second (as Asterisk does while a key is pressed), and name each cut."""
    whole: list[Heard] = []
    gaps: list[str] = []
    for span in heard:
        last = whole[-1] if whole else None
        end = span.start + span.seconds
        if last is not None and last.pitch == span.pitch and end - last.start < 1.2:
            gaps.append(f"gap of {span.start - last.start - last.seconds:.2f} s at {last.start + last.seconds:.1f} s")
            whole[-1] = Heard(last.pitch, last.start, end - last.start)
        else:
            whole.append(span)
    return whole, gaps


def _walk(heard: list[Heard], expected: list[int], at: int) -> Verdict:
    """The verdict if the first span is second `at` of the order."""
    faults: list[str] = []
    seconds = 0
    for number, span in enumerate(heard):
        place = f"at {span.start:.1f} s"
        ahead = next((k for k in range(4) if expected[(at + k) % CYCLE_S] == span.pitch), None)
        behind = next((k for k in range(1, 4) if expected[(at - k) % CYCLE_S] == span.pitch), None)
        if ahead is None and behind is None:
            faults.append(f"foreign second {place}")
            at += 1
            continue
        if ahead == 0 or (ahead is not None and behind is None):
            if ahead:
                faults.append(f"{ahead} s missing {place}")
            at += ahead + 1
        else:
            assert behind is not None
            faults.append(f"second repeated {place}")
            at += 1 - behind
        seconds += 1
        inner = 0 < number < len(heard) - 1
        if span.seconds > 1.2:  # the same second twice has no change of pitch between
            faults.append(f"second of {span.seconds:.2f} s, so repeated {place}")
        elif inner and span.seconds < 0.8:
            faults.append(f"second of {span.seconds:.2f} s {place}")
    return Verdict(seconds, tuple(faults))


def speaker(pcm: Pcm, seeds: list[int] | list[str], band: tuple[int, ...]) -> int | str | None:
    """The one whose voice this is; None when no or more than one voice fits."""
    heard = listen(pcm, band)
    fitting = [seed for seed in seeds if check(heard, seed, band).clean]
    return fitting[0] if len(fitting) == 1 else None


def _ulaw_table() -> Pcm:
    """The 256 values of G.711 µ-law (ITU-T G.711, table 2)."""
    code = ~np.arange(256, dtype=np.int32) & 0xFF
    magnitude = ((((code & 0x0F) << 3) + 0x84) << ((code & 0x70) >> 4)) - 0x84
    return np.asarray(np.where(code & 0x80, -magnitude, magnitude), dtype=np.int16)


def _alaw_table() -> Pcm:
    """The 256 values of G.711 A-law (ITU-T G.711, table 1)."""
    code = np.arange(256, dtype=np.int32) ^ 0x55
    exponent = (code & 0x70) >> 4
    mantissa = ((code & 0x0F) << 4) + 8
    magnitude = np.where(exponent == 0, mantissa, (mantissa + 0x100) << np.maximum(exponent - 1, 0))
    return np.asarray(np.where(code & 0x80, magnitude, -magnitude), dtype=np.int16)


_TABLES = {"ulaw": _ulaw_table(), "alaw": _alaw_table()}


def encode(pcm: Pcm, law: str = "ulaw") -> bytes:
    """G.711 bytes of 16-bit samples: the code whose value is nearest. law: ulaw or alaw."""
    table = _TABLES[law].astype(np.int32)
    rank = np.argsort(table, kind="stable")
    steps = table[rank]
    upper = np.clip(np.searchsorted(steps, pcm), 1, 255)
    nearest = np.where(pcm - steps[upper - 1] <= steps[upper] - pcm, upper - 1, upper)
    return rank[nearest].astype(np.uint8).tobytes()


def decode(data: bytes, law: str = "ulaw") -> Pcm:
    """16-bit samples of G.711 bytes."""
    return np.asarray(_TABLES[law][np.frombuffer(data, dtype=np.uint8)], dtype=np.int16)


def voice_file(folder: Path, seed: int | str, band: tuple[int, ...] = CALLER, law: str = "ulaw") -> Path:
    """The file of a speaker's voice for SIPp to stream, written once per folder."""
    path = folder / f"voice-{'caller' if band is CALLER else 'agent'}-{seed}.{law}"
    if not path.is_file():
        part = path.with_suffix(".part")
        part.write_bytes(encode(tone(seed, band), law))
        part.rename(path)
    return path
