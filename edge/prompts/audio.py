"""Prompt audio: is it what Asterisk plays on every channel, and how loud is it. Pure."""

from __future__ import annotations

import array
import itertools
import math
import struct
import sys
import warnings
from dataclasses import dataclass

from edge.errors import CallwardenError

with warnings.catch_warnings():  # Python 3.11 and 3.12 call it old; from 3.13 on it comes from audioop-lts
    warnings.simplefilter("ignore", DeprecationWarning)
    import audioop

#: Samples per second and bytes per sample of every prompt: Asterisk plays .wav only at 8 kHz, mono, 16-bit.
RATE = 8000
WIDTH = 2
#: Level of speech that is aimed at, and the peak that is never passed, dB of full scale.
TARGET_RMS_DB = -19.0
PEAK_DB = -1.5
#: From here up to PEAK_DB a limiter bends what would pass it, dB of full scale.
KNEE_DB = -7.0
#: A window of 10 ms under this is silence, dB of full scale.
SILENCE_DB = -50.0
#: Shorter is no sentence, longer is no prompt, milliseconds.
SHORTEST_MS = 300
LONGEST_MS = 60_000

_FIX = "sox IN -r 8000 -c 1 -b 16 -e signed-integer OUT.wav makes a file that fits"


def samples(data: bytes, name: str) -> bytes:
    """The PCM of a .wav or .sln prompt (signed 16-bit little-endian, 8 kHz, mono).

    Raises CallwardenError prompt.empty, prompt.format, prompt.damaged or prompt.length, with `where` = name.
    """
    if not data:
        raise CallwardenError(
            "prompt.empty",
            "the file is empty",
            hint="put the audio back, or render it anew: callwarden prompts build",
            where=name,
        )
    pcm = _wav(data, name) if name.endswith(".wav") else data
    if len(pcm) % WIDTH:
        raise CallwardenError("prompt.damaged", "the file ends within a sample", hint=_FIX, where=name)
    length = duration_ms(pcm)
    if not SHORTEST_MS <= length <= LONGEST_MS:
        message = f"the audio is {length} ms long; {SHORTEST_MS} to {LONGEST_MS} ms is a prompt"
        raise CallwardenError("prompt.length", message, hint=_FIX, where=name)
    return pcm


def duration_ms(pcm: bytes) -> int:
    """Length in milliseconds, rounded down."""
    return len(pcm) // WIDTH * 1000 // RATE


def _wav(data: bytes, name: str) -> bytes:
    """The data of a RIFF/WAVE file, whose format must be PCM, 8 kHz, mono, 16-bit."""
    if len(data) < 12 or data[:4] != b"RIFF" or data[8:12] != b"WAVE":
        raise CallwardenError("prompt.format", "this is not a WAV file", hint=_FIX, where=name)
    at, form = 12, b""
    while at + 8 <= len(data):
        kind, size = data[at : at + 4], struct.unpack_from("<I", data, at + 4)[0]
        body = data[at + 8 : at + 8 + size]
        if kind == b"fmt ":
            form = body
        elif kind == b"data":
            _check_form(form, name)
            if len(body) < size:
                message = f"the file is cut: {len(body)} of {size} bytes of audio"
                raise CallwardenError("prompt.damaged", message, hint="copy the file again", where=name)
            if not body:
                raise CallwardenError("prompt.empty", "the file holds no audio", hint="record it again", where=name)
            return body
        at += 8 + size + size % 2
    raise CallwardenError("prompt.damaged", "the file has no audio", hint="copy the file again", where=name)


def _check_form(form: bytes, name: str) -> None:
    if len(form) < 16:
        raise CallwardenError("prompt.damaged", "the WAV header is cut", hint="copy the file again", where=name)
    codec, channels, rate, _, _, bits = struct.unpack_from("<HHIIHH", form)
    if (codec, channels, rate, bits) != (1, 1, RATE, 16):
        what = f"codec {codec}, {rate} Hz, {channels} channels, {bits} bits"
        raise CallwardenError(
            "prompt.format", f"wrong codec: {what}; Asterisk needs PCM (1), 8000 Hz, 1, 16", hint=_FIX, where=name
        )


@dataclass(frozen=True, slots=True)
class Loudness:
    """peak_db, rms_db: dB of full scale (rms over the parts that are not silent); clipped: samples at the rail in runs of
    two or more; lead_ms, tail_ms: silence (under SILENCE_DB) before and after."""

    peak_db: float
    rms_db: float
    clipped: int
    lead_ms: int
    tail_ms: int

    @property
    def silent(self) -> bool:
        """Nothing in it is loud enough to be heard."""
        return self.rms_db <= -99.0


def loudness(pcm: bytes) -> Loudness:
    """Measure signed 16-bit little-endian PCM at 8 kHz, in windows of 10 ms."""
    pcm = pcm[: len(pcm) // WIDTH * WIDTH]
    native = audioop.byteswap(pcm, WIDTH) if sys.byteorder == "big" else pcm
    window = RATE // 100 * WIDTH
    levels = [audioop.rms(native[i : i + window], WIDTH) for i in range(0, len(native) - window + 1, window)]
    floor = 32768 * 10 ** (SILENCE_DB / 20)
    loud = [i for i, level in enumerate(levels) if level > floor]
    peak = audioop.max(native, WIDTH)
    clipped = _clipped(native) if peak >= 32767 else 0
    if not loud:
        return Loudness(-99.0, -99.0, clipped, len(levels) * 10, len(levels) * 10)
    rms = math.sqrt(sum(levels[i] ** 2 for i in loud) / len(loud))
    return Loudness(
        round(20 * math.log10(peak / 32768), 1),
        round(20 * math.log10(rms / 32768), 1),
        clipped,
        loud[0] * 10,
        (len(levels) - 1 - loud[-1]) * 10,
    )


def _clipped(native: bytes) -> int:
    rail = [abs(v) >= 32767 for v in array.array("h", native)]
    return sum(1 for a, b in itertools.pairwise(rail) if a and b)


def levelled(pcm: bytes) -> bytes:
    """The same speech at TARGET_RMS_DB, no sample above PEAK_DB: gain, and a soft knee where a few peaks would pass.

    Voices differ in how peaky they are: with gain alone a synthetic one comes out 3 dB softer than a person. The gain
    is found in two rounds, because the first makes quiet windows count as speech.
    """
    for _ in range(2):
        sound = loudness(pcm)
        if sound.silent:
            return pcm
        pcm = _gain(pcm, 10 ** ((TARGET_RMS_DB - sound.rms_db) / 20))
    return pcm


def _gain(pcm: bytes, factor: float) -> bytes:
    knee, top = (32768 * 10 ** (db / 20) for db in (KNEE_DB, PEAK_DB))
    room = top - knee
    values = _values(pcm)
    for i, value in enumerate(values):
        loud = abs(value) * factor
        if loud > knee:
            loud = knee + room * math.tanh((loud - knee) / room)
        values[i] = int(math.copysign(loud + 0.5, value)) if value else 0
    if sys.byteorder == "big":
        values.byteswap()
    return values.tobytes()


def _values(pcm: bytes) -> array.array[int]:
    values = array.array("h", pcm)
    if sys.byteorder == "big":
        values.byteswap()
    return values


def wav_file(pcm: bytes) -> bytes:
    """A RIFF/WAVE file of prompt PCM."""
    form = struct.pack("<HHIIHH", 1, 1, RATE, RATE * WIDTH, WIDTH, 8 * WIDTH)
    body = b"WAVEfmt " + struct.pack("<I", len(form)) + form + b"data" + struct.pack("<I", len(pcm)) + pcm
    return b"RIFF" + struct.pack("<I", len(body)) + body
