"""Event batches, identifiers, times, and WAV headers."""

from __future__ import annotations

import io
import json
import struct
import wave
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from formats import ids, wav, wire
from formats.errors import FormatError, SignatureError, WavError, WireError
from formats.keys import SigningKey
from formats.keyset import KeySet, entry
from formats.wire import Event

EDGE, OTHER = (SigningKey.from_seed(bytes([n]) * 32) for n in (1, 2))
TRUST = KeySet.of(
    [
        entry(EDGE.verify_key, "edge", "pbx-1", edge_id="pbx-1"),
        entry(OTHER.verify_key, "edge", "pbx-2", edge_id="pbx-2"),
    ]
)


def event(sequence: int, **change: Any) -> Event:
    facts: dict[str, Any] = {
        "id": f"{sequence:032x}",
        "source": "pbx-1",
        "type": "call.opened",
        "subject": "ab" * 16,
        "time": "2026-03-01T10:00:00.000Z",
        "sequence": sequence,
        "incarnation": 1,
        "data": {"mode": "opt_in", "jméno": "é"},
        **change,
    }
    return Event(**facts)


def test_batch_round_trip() -> None:
    events = [event(1), event(2, type="recording.sealed"), event(5)]
    data = wire.encode_batch(events)
    assert wire.decode_batch(data) == events
    signer, got = wire.verify_batch(wire.sign_batch(data, EDGE), data, TRUST)
    assert (signer.edge_id, got) == ("pbx-1", events)
    assert wire.decode_batch(wire.encode_batch([])) == []


def test_events_have_the_attributes_cloudevents_demands() -> None:
    one = json.loads(wire.encode_batch([event(1)]))[0]
    assert {"id", "source", "specversion", "type"} <= one.keys()  # CloudEvents 1.0.2, "Required Attributes"
    assert one["specversion"] == "1.0"
    assert all(name.isalnum() and name == name.lower() for name in one)  # "Naming Conventions"
    assert event(1).type in wire.EVENT_TYPES


def test_signatures_of_batches() -> None:
    data = wire.encode_batch([event(1)])
    jws = wire.sign_batch(data, EDGE)
    with pytest.raises(SignatureError):
        wire.verify_batch(jws, data.replace(b"opt_in", b"always"), TRUST)
    with pytest.raises(WireError, match="another edge"):
        wire.verify_batch(wire.sign_batch(data, OTHER), data, TRUST)


def raw(*changes: dict[str, Any]) -> bytes:
    values = [{**msgspec.to_builtins(event(n)), **change} for n, change in enumerate(changes, start=1)]
    return json.dumps(values).encode()


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{}",
        b"[1]",
        b"[" * 1000,
        raw({"id": "x"}),
        raw({"time": "now"}),
        raw({"specversion": "0.3"}),
        raw({"datacontenttype": "text/plain"}),
        raw({"sequence": "1"}),
        raw({"data": None}),
        raw({"extra": 1}),
        raw({}, {"sequence": 1}),
        raw({}, {"source": "pbx-2"}),
        raw({}, {"incarnation": 2}),
        b"[" + b" " * wire.MAX_BATCH + b"]",
    ],
)
def test_malformed_batches(data: bytes) -> None:
    with pytest.raises(FormatError):
        wire.decode_batch(data)


def test_a_batch_too_large_is_not_made() -> None:
    with pytest.raises(WireError):
        wire.encode_batch([event(1, data={"x": "y" * wire.MAX_BATCH})])


def test_an_event_type_of_a_newer_edge_does_not_spoil_the_batch() -> None:
    assert wire.decode_batch(raw({"type": "call.teleported"}))[0].type not in wire.EVENT_TYPES


def test_ids() -> None:
    assert ids.new_id(bytes(range(16))) == "000102030405060708090a0b0c0d0e0f"
    assert ids.check_id("0" * 32) == "0" * 32
    for bad in ("", "0" * 31, "0" * 33, "A" * 32, "0" * 32 + "\n", "g" * 32, "٠" * 32):
        with pytest.raises(FormatError):
            ids.check_id(bad)
    with pytest.raises(ValueError, match="16"):
        ids.new_id(bytes(15))


def test_times() -> None:
    at = datetime(2026, 1, 31, 23, 59, 59, 123999, tzinfo=UTC)
    assert ids.format_time(at) == "2026-01-31T23:59:59.123Z"
    assert ids.format_time(at.astimezone(timezone(timedelta(hours=2)))) == "2026-01-31T23:59:59.123Z"
    assert ids.parse_time("2026-01-31T23:59:59.123Z") == at.replace(microsecond=123000)
    for bad in (
        "2026-01-31T23:59:59Z",
        "2026-01-31T23:59:59.123",
        "2026-01-31T23:59:59.123+00:00",
        "2026-02-30T00:00:00.000Z",
        "2026-01-31 23:59:59.123Z",
        "2026-01-31T23:59:59.123Z\n",
        "2026-01-31T23:59:60.000Z",
    ):
        with pytest.raises(FormatError):
            ids.parse_time(bad)
    with pytest.raises(ValueError, match="zone"):
        ids.format_time(datetime(2026, 1, 1))  # noqa: DTZ001 - a naive time is what is refused


@given(st.datetimes(timezones=st.just(UTC)))
def test_times_round_trip_and_keep_their_order(at: datetime) -> None:
    text = ids.format_time(at)
    assert ids.parse_time(text) == at.replace(microsecond=at.microsecond // 1000 * 1000)
    assert len(text) == 24


@pytest.mark.parametrize(("rate", "channels"), [(8000, 1), (8000, 2), (16000, 2), (48000, 1)])
def test_wav_is_read_by_the_standard_library(rate: int, channels: int) -> None:
    audio = bytes(range(240)) * channels
    data = wav.wav_header(len(audio), rate, channels) + audio
    with wave.open(io.BytesIO(data)) as read:
        assert (read.getframerate(), read.getnchannels(), read.getsampwidth()) == (rate, channels, 2)
        assert read.readframes(read.getnframes()) == audio
    assert wav.read_layout(data, len(data)) == wav.WavLayout(rate, channels, 44, len(audio))


def test_a_recorder_that_was_killed_leaves_zeros() -> None:
    audio = bytes(1001)
    header = bytearray(wav.wav_header(0, 8000, 2))
    head = bytes(header)
    assert wav.read_layout(head, 44 + 1001).data_bytes == 1000
    with wave.open(io.BytesIO(wav.repaired_header(head, 44 + 1001) + audio)) as read:
        assert read.getnframes() == 250
    struct.pack_into("<I", header, 40, 5000)
    assert wav.read_layout(bytes(header), 44 + 1001).data_bytes == 1000
    struct.pack_into("<I", header, 40, 400)
    assert wav.read_layout(bytes(header), 44 + 1001).data_bytes == 400


def test_other_chunks_come_before_the_audio() -> None:
    plain = wav.wav_header(8, 8000, 1)
    head = plain[:36] + b"LIST" + struct.pack("<I", 5) + b"hello\0" + plain[36:]
    assert wav.read_layout(head, len(head) + 8) == wav.WavLayout(8000, 1, 44 + 14, 8)


@pytest.mark.parametrize(
    "head",
    [
        b"",
        b"RIFF" + bytes(40),
        wav.wav_header(0, 8000, 1)[:30],
        wav.wav_header(0, 8000, 1)[:36],
        wav.wav_header(0, 8000, 1).replace(b"fmt ", b"xxxx"),
        wav.wav_header(0, 8000, 1)[:20] + b"\x03\x00" + wav.wav_header(0, 8000, 1)[22:],
        wav.wav_header(0, 8000, 1)[:34] + b"\x08\x00" + wav.wav_header(0, 8000, 1)[36:],
    ],
)
def test_not_pcm16(head: bytes) -> None:
    with pytest.raises(WavError):
        wav.read_layout(head, 10_000)


@pytest.mark.parametrize(
    ("size", "rate", "channels"), [(1, 8000, 1), (2, 8000, 2), (-4, 8000, 1), (2**32, 8000, 1), (0, 0, 1), (0, 8000, 0)]
)
def test_wavs_that_cannot_be(size: int, rate: int, channels: int) -> None:
    with pytest.raises(WavError):
        wav.wav_header(size, rate, channels)


@given(st.binary(max_size=80), st.integers(0, 1000))
def test_noise_is_never_a_crash(noise: bytes, size: int) -> None:
    for head in (noise, wav.wav_header(0, 8000, 1)[:12] + noise):
        try:
            layout = wav.read_layout(head, size)
        except WavError:
            continue
        assert 0 <= layout.data_bytes <= size
