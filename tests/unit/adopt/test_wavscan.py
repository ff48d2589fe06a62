"""Where the sound lies in WAV files of every damage; the sound is never changed."""

from __future__ import annotations

import random
import struct

import pytest

from formats.errors import WavError
from formats.wavscan import Sound, scan
from tests.unit.adopt.adopt_kit import samples, wav

SOUND = samples(0.5, 1)


def scanned(data: bytes) -> Sound:
    return scan(lambda at, most: data[at : at + most], len(data))


def sound_in(data: bytes) -> bytes:
    found = scanned(data)
    return data[found.data_at : found.data_at + found.data_bytes]


@pytest.mark.parametrize(
    ("data", "sound", "repaired"),
    [
        (wav(SOUND), SOUND, ()),
        (wav(SOUND, said=0, riff=0), SOUND, ("data_size", "riff_size")),
        (wav(SOUND, said=0xFFFFFFFF, riff=0xFFFFFFFF), SOUND, ("data_size", "riff_size")),
        (wav(SOUND, said=len(SOUND) + 1000, riff=len(SOUND) + 1036), SOUND, ("cut_short", "riff_size")),
        (wav(SOUND, riff=77), SOUND, ("riff_size",)),
        (wav(SOUND + b"\1"), SOUND, ("half_frame",)),
        (wav(SOUND, after=b"LIST\x06\0\0\0INFOab"), SOUND, ("chunks_after",)),
        (wav(SOUND, after=b"LIST\x05\0\0\0INFOa\0id3 \x02\0\0\0xx"), SOUND, ("chunks_after",)),
        (wav(SOUND, before=b"LIST\x06\0\0\0INFOab"), SOUND, ()),
        (wav(SOUND, before=b"LIST" + struct.pack("<I", 9001) + bytes(9002)), SOUND, ()),
        (wav(SOUND, extensible=True), SOUND, ()),
        (wav(SOUND, extensible=True, said=0), SOUND, ("data_size",)),
    ],
)
def test_damage(data: bytes, sound: bytes, repaired: tuple[str, ...]) -> None:
    assert sound_in(data) == sound
    found = scanned(data)
    assert (found.repaired, found.tail, found.codec, found.rate, found.channels) == (repaired, 0, "sln", 8000, 1)


def test_bytes_behind_the_sound_are_told_and_not_taken_for_it() -> None:
    data = wav(SOUND, after=b"\x01\x02 who knows", riff=len(SOUND) + 36)
    assert sound_in(data) == SOUND
    assert scanned(data).tail == 12


@pytest.mark.parametrize(
    ("given", "codec", "rate", "channels", "frame"),
    [
        ({"rate": 16000}, "sln16", 16000, 1, 2),
        ({"channels": 2}, "sln", 8000, 2, 4),
        ({"tag": 7, "bits": 8}, "ulaw", 8000, 1, 1),
        ({"tag": 6, "bits": 8, "channels": 2}, "alaw", 8000, 2, 2),
        ({"tag": 7, "bits": 8, "extensible": True}, "ulaw", 8000, 1, 1),
        ({"rate": 44100}, "sln44", 44100, 1, 2),
    ],
)
def test_formats(given: dict[str, int], codec: str, rate: int, channels: int, frame: int) -> None:
    found = scanned(wav(SOUND, **given))  # type: ignore[arg-type]
    assert (found.codec, found.rate, found.channels, found.frame_bytes) == (codec, rate, channels, frame)
    assert found.ms == len(SOUND) // frame * 1000 // rate


@pytest.mark.parametrize(
    ("data", "code", "word"),
    [
        (b"", "adopt.not_wav", "not a WAV"),
        (b"RIFF\0\0\0\0AVI ", "adopt.not_wav", "not a WAV"),
        (wav(SOUND)[:30], "adopt.damaged", "cut"),
        (wav(SOUND)[:12], "adopt.damaged", "cut off"),
        (b"RIFF\0\0\0\0WAVE" + b"data\x04\0\0\0abcd", "adopt.damaged", "before its format"),
        (b"RIFF\0\0\0\0WAVE" + b"xxxx\0\0\0\0" * 2000, "adopt.damaged", "thousand"),
        (b"RIFF\0\0\0\0WAVE" + b"fmt \xff\xff\xff\xff" + bytes(40), "adopt.format", "channels"),
        (wav(b""), "adopt.empty", "no sound"),
        (wav(b"\1"), "adopt.empty", "no sound"),
        (wav(b"", said=0, after=b"LIST\x06\0\0\0INFOab"), "adopt.empty", "no sound"),
        (wav(SOUND, tag=0x31), "adopt.format", "GSM 6.10 (WAV49)"),
        (wav(SOUND, tag=3, bits=32), "adopt.format", "floating point"),
        (wav(SOUND, bits=24), "adopt.format", "24 bits"),
        (wav(SOUND, channels=6), "adopt.format", "6 channels"),
        (wav(SOUND, rate=11025), "adopt.format", "11025"),
    ],
)
def test_what_is_refused_says_why(data: bytes, code: str, word: str) -> None:
    with pytest.raises(WavError, match=word.replace("(", r"\(").replace(")", r"\)")) as refused:
        scanned(data)
    assert refused.value.code == code


def test_ten_thousand_injured_files_are_read_within_their_bounds_or_refused() -> None:
    rng = random.Random(4)
    shapes = [
        wav(SOUND[:200]),
        wav(SOUND[:200], extensible=True, after=b"LIST\x06\0\0\0INFOab"),
        wav(SOUND[:99], tag=7, bits=8),
    ]
    taken = 0
    for _ in range(10_000):
        data = bytearray(rng.choice(shapes))
        for _ in range(rng.randrange(1, 6)):
            data[rng.randrange(min(len(data), 80))] = rng.randrange(256)
        del data[rng.randrange(10, len(data) + 1) :]
        try:
            found = scanned(bytes(data))
        except WavError as error:
            if error.code not in ("adopt.not_wav", "adopt.damaged", "adopt.format", "adopt.empty"):
                raise
            continue
        taken += 1
        assert 0 < found.data_bytes <= len(data) - found.data_at
        assert found.data_bytes % found.frame_bytes == 0
    assert taken > 1000
