"""Waveforms: what a peak is in every codec, that pieces do not matter, and that nobody opens one without its segment's key."""

from __future__ import annotations

import random
import struct

import pytest

from formats import waveform
from formats.errors import SealError
from formats.pcm import SILENCE, STORED, expand
from formats.waveform import TOP, Peaks, Waveform

KEY, PLACE = bytes(range(16)), {"recording_id": "aa" * 16, "segment_id": "bb" * 16}


def by_hand(codec: str, rate: int, channels: int, data: bytes) -> bytes:
    """As docs/spec/waveform.md says it, sample by sample."""
    pcm = expand(codec, data)
    samples = struct.unpack(f"<{len(pcm) // 2}h", pcm)
    step, out = rate // 10, []
    frames = len(samples) // channels
    for start in range(0, frames, step):
        for channel in range(channels):
            part = samples[start * channels + channel : min(frames, start + step) * channels : channels]
            out.append(max(x >> 8 if x >= 0 else (-x - 1) >> 8 for x in part))
    return bytes(out)


@pytest.mark.parametrize("codec", ["sln", "sln16", "raw", "ulaw", "alaw"])
@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("frames", [1, 799, 800, 801, 8123])
def test_peaks_however_the_bytes_come(codec: str, channels: int, frames: int) -> None:
    rate = 16000 if codec == "sln16" else 8000
    chance = random.Random(f"{codec}{channels}{frames}")
    data = chance.randbytes(frames * channels * STORED[codec])
    peaks, at = Peaks(codec, rate, channels), 0
    while at < len(data):
        size = chance.choice([1, 7, 640, 4000])
        peaks, at = peaks.fed(data[at : at + size]), at + size
    assert peaks.all() == by_hand(codec, rate, channels, data)
    assert peaks.loudest == tuple(max(peaks.all()[c::channels]) for c in range(channels))


@pytest.mark.parametrize("codec", ["sln", "ulaw", "alaw"])
def test_silence_has_no_peak_and_the_loudest_sample_the_highest(codec: str) -> None:
    silence = bytes([SILENCE[codec]]) * 3200
    assert set(Peaks(codec, 8000, 1).fed(silence).all()) == {0}
    loud = {"sln": b"\x00\x80" * 100, "ulaw": b"\x00" * 100, "alaw": b"\x2a" * 100}[codec]
    (peak,) = Peaks(codec, 8000, 1).fed(loud).all()
    assert peak >= TOP - 2
    assert Peaks(codec, 8000, 1).loudest == ()


@pytest.mark.parametrize("suite", ["age1", "aes256gcm"])
def test_sealed_and_opened(suite: str) -> None:
    peaks = Peaks("sln", 8000, 2).fed(random.Random(1).randbytes(4 * 8000))
    sealed = waveform.seal(peaks, suite=suite, file_key=KEY, nonce=bytes(12), **PLACE)
    assert waveform.unseal(sealed, suite=suite, file_key=KEY, **PLACE) == Waveform(2, peaks.all())
    for bad, more in (
        (sealed[:-1] + bytes([sealed[-1] ^ 1]), {}),
        (sealed[:20], {}),
        (b"", {}),
        (sealed + bytes(waveform.MAX_BYTES), {}),
        (sealed, {"file_key": bytes(16)}),
        (sealed, {"segment_id": "cc" * 16}),
        (sealed, {"recording_id": "cc" * 16}),
        (sealed, {"suite": "aes256gcm" if suite == "age1" else "age1"}),
    ):
        with pytest.raises(SealError) as caught:
            waveform.unseal(bad, **{"suite": suite, "file_key": KEY, **PLACE, **more})  # type: ignore[arg-type]
        assert caught.value.code == "vault.waveform"


@pytest.mark.parametrize(
    "plain",
    [
        b"",
        b"CWW1\x02\x0a\x00\x00\x00\x02\x01",  # says two, has one
        b"CWW2\x02\x0a\x00\x00\x00\x02\x01\x02",
        b"CWW1\x03\x0a\x00\x00\x00\x03\x01\x02\x03",
        b"CWW1\x02\x14\x00\x00\x00\x02\x01\x02",
        b"CWW1\x02\x0a\x00\x00\x00\x01\x01",  # not whole
        b"CWW1\x01\x0a\x00\x00\x00\x01\x80",
    ],
)
def test_malformed_ones_are_refused_though_their_seal_holds(plain: bytes) -> None:
    cipher = waveform._cipher("age1", KEY)
    sealed = bytes(12) + cipher.encrypt(bytes(12), plain, waveform._bound_to(**PLACE))
    with pytest.raises(SealError):
        waveform.unseal(sealed, suite="age1", file_key=KEY, **PLACE)


def test_fifteen_minutes_of_two_channels_fit() -> None:
    peaks = Peaks("raw", 8000, 2).fed(bytes(15 * 60 * 32000 + 65536))
    sealed = waveform.seal(peaks, suite="age1", file_key=KEY, nonce=bytes(12), **PLACE)
    assert len(sealed) <= waveform.MAX_BYTES
    assert waveform.unseal(sealed, suite="age1", file_key=KEY, **PLACE).side(1) == (0,) * 9021
