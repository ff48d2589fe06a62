"""Manifests, key ids, the running hash over chunk tags, and sealed headers."""

from __future__ import annotations

import hashlib
import hmac
import io
import json
from typing import Any

import msgspec
import pytest

from formats import age, manifest, shred
from formats.errors import FormatError, ManifestError, SealError, SignatureError
from formats.jws import sign_compact
from formats.keys import SigningKey
from formats.keyset import KeySet, entry
from formats.manifest import Manifest, SegmentEntry

EDGE, OTHER, STORE = (SigningKey.from_seed(bytes([n]) * 32) for n in (1, 2, 3))
TRUST = KeySet.of(
    [
        entry(EDGE.verify_key, "edge", "pbx-1", edge_id="pbx-1"),
        entry(OTHER.verify_key, "edge", "pbx-2", edge_id="pbx-2"),
        entry(STORE.verify_key, "store", "central"),
    ]
)
NONCE = bytes(16)
PLAIN = bytes(range(256)) * 600  # 153600 bytes: two whole chunks and a part, 4.8 s of two-channel linear at 8 kHz


def payload(number: int, *, closed: bool) -> bytes:
    file_key = bytes([number]) * 16
    if closed:
        return b"".join(age.encrypt_stream(file_key, NONCE, io.BytesIO(PLAIN)))
    sealer = age.ChunkSealer(file_key, NONCE)
    return NONCE + b"".join(sealer.seal(n, PLAIN[n * age.CHUNK : (n + 1) * age.CHUNK], False) for n in range(2))


def segment(number: int, *, closed: bool = True) -> SegmentEntry:
    data = payload(number, closed=closed)
    plain = len(PLAIN) if closed else 2 * age.CHUNK
    tags = manifest.TAGS_HASH_START
    for at in range(16, len(data), age.ENC_CHUNK):
        tags = manifest.extend_tags_hash(tags, data[at : at + age.ENC_CHUNK][-16:])
    return SegmentEntry(
        segment_id=f"{number:032x}",
        number=number,
        suite="age1",
        codec="sln",
        rate=8000,
        channels=2,
        encoding="none",
        frames=plain // 4,
        start_ms=5000 * number,
        duration_ms=manifest.duration_ms(plain, "sln", 8000, 2),
        plain_bytes=plain,
        payload_bytes=len(data),
        chunks=3 if closed else 2,
        payload_sha512=hashlib.sha512(data).hexdigest(),
        tags_hash=tags.hex(),
        key_id=manifest.key_id(bytes([number]) * 16).hex(),
        state="closed" if closed else "truncated",
        end_reason="pause" if closed else "power_cut",
    )


def recording(**change: Any) -> Manifest:
    facts: dict[str, Any] = {
        "recording_id": "aa" * 16,
        "call_id": "bb" * 16,
        "edge_id": "pbx-1",
        "policy_id": "support",
        "policy_version": "00" * 32,
        "permit_id": "cc" * 16,
        "consent_event": 5,
        "ending": "truncated",
        "started_at": "2026-03-01T10:00:00.000Z",
        "ended_at": "2026-03-01T10:00:09.000Z",
        "frames": (len(PLAIN) + 2 * age.CHUNK) // 4,
        "software": "callwarden 0.1.0",
        "segments": (segment(0), segment(1, closed=False)),
        **change,
    }
    return Manifest(**facts)


def test_signed_and_verified() -> None:
    jws = manifest.sign_manifest(recording(), EDGE)
    assert manifest.verify_manifest(jws, TRUST) == recording()


def test_key_id_is_hkdf_and_checks_the_key() -> None:
    file_key = bytes(range(16))
    # RFC 5869 by hand: an empty salt is 32 zero bytes, one block of output.
    prk = hmac.new(bytes(32), file_key, hashlib.sha256).digest()
    assert manifest.key_id(file_key) == hmac.new(prk, b"callwarden/key-id/v1\x01", hashlib.sha256).digest()
    manifest.check_key(segment(1), b"\x01" * 16)
    with pytest.raises(ManifestError) as caught:
        manifest.check_key(segment(1), b"\x02" * 16)
    assert caught.value.code == "vault.key_id"


@pytest.mark.parametrize("closed", [True, False])
@pytest.mark.parametrize("step", [1 << 20, 65552, 4097, 15])
def test_payload_against_its_entry(closed: bool, step: int) -> None:
    class Slow(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            return super().read(min(size or 0, step))

    one, data = segment(0, closed=closed), payload(0, closed=closed)
    manifest.check_payload(one, Slow(data))
    for bad in (data[:-1], data + b"\0", b"\1" + data[1:], data[:70000] + b"\0" + data[70001:], b""):
        with pytest.raises(ManifestError) as caught:
            manifest.check_payload(one, Slow(bad))
        assert caught.value.code == "vault.payload_hash"


def test_the_tags_hash_is_checked_by_itself() -> None:
    wrong = msgspec.structs.replace(segment(0), tags_hash="00" * 32)
    with pytest.raises(ManifestError):
        manifest.check_payload(wrong, io.BytesIO(payload(0, closed=True)))


def test_segments_without_audio() -> None:
    """A segment closed before its first byte, and two cut off before their first chunk."""
    empty = msgspec.structs.replace(segment(0), plain_bytes=0, payload_bytes=32, chunks=1, duration_ms=0, frames=0)
    nonce_only = msgspec.structs.replace(
        segment(1, closed=False), plain_bytes=0, payload_bytes=16, chunks=0, duration_ms=0, frames=0
    )
    nothing = msgspec.structs.replace(nonce_only, number=2, segment_id="02" * 16, key_id="02" * 32, payload_bytes=0)
    manifest.check(recording(segments=(empty, nonce_only, nothing), frames=0))


def _changed(**members: Any) -> dict[str, Any]:
    return {"segments": (msgspec.structs.replace(segment(0), **members), segment(1, closed=False))}


@pytest.mark.parametrize(
    "change",
    [
        {"frames": 1},
        {"segments": ()},
        {"segments": (segment(1), segment(0))},
        {"segments": (segment(0), segment(0))},
        {"ended_at": "2026-03-01T09:59:59.999Z"},
        {"started_at": "yesterday"},
        {"recording_id": "x"},
        {"call_id": "AA" * 16},
        {"permit_id": ""},
        _changed(plain_bytes=153601),
        _changed(payload_bytes=1),
        _changed(chunks=2),
        _changed(state="truncated"),
        _changed(payload_sha512="00" * 63),
        _changed(tags_hash="XY" * 32),
        _changed(key_id=segment(1).key_id),
        _changed(rate=0),
        _changed(duration_ms=1),
        _changed(frames=1),
        _changed(encoding="flac", frames=-1),
        {"segments": (segment(0), msgspec.structs.replace(segment(1, closed=False), encoding="flac"))},
        _changed(codec="mp3"),
        _changed(channels=3),
        _changed(start_ms=-1),
        _changed(segment_id="0"),
    ],
)
def test_contradictions_are_never_signed(change: dict[str, Any]) -> None:
    with pytest.raises(FormatError):
        manifest.sign_manifest(recording(**change), EDGE)


def test_who_may_sign() -> None:
    with pytest.raises(ManifestError, match="signed by"):
        manifest.verify_manifest(manifest.sign_manifest(recording(), OTHER), TRUST)
    with pytest.raises(SignatureError):
        manifest.verify_manifest(manifest.sign_manifest(recording(), STORE), TRUST)


@pytest.mark.parametrize(
    "change", [{"extra": 1}, {"frames": "1"}, {"segments": None}, {"type": "callwarden-manifest/v2"}, {"frames": 1}]
)
def test_malformed_although_signed(change: dict[str, Any]) -> None:
    value = {**msgspec.to_builtins(recording()), **change}
    data = json.dumps(value, sort_keys=True, separators=(",", ":")).encode()
    with pytest.raises(ManifestError):
        manifest.verify_manifest(sign_compact(data, EDGE, EDGE.kid, manifest.TYP), TRUST)


def test_not_canonical_although_signed() -> None:
    data = json.dumps(msgspec.to_builtins(recording()), indent=1).encode()
    with pytest.raises(ManifestError, match="canonical"):
        manifest.verify_manifest(sign_compact(data, EDGE, EDGE.kid, manifest.TYP), TRUST)


HEADER = b"age-encryption.org/v1\n-> X25519 ...\n"
SHRED = bytes(range(32))


def test_sealed_header() -> None:
    sealed = shred.seal_header(HEADER, SHRED, bytes(12), "aa" * 16, "bb" * 16, 1)
    assert HEADER not in sealed
    assert shred.unseal_header(sealed, SHRED, "aa" * 16, "bb" * 16, 1) == HEADER


@pytest.mark.parametrize(
    ("key", "recording_id", "segment_id", "version"),
    [
        (bytes(32), "aa" * 16, "bb" * 16, 1),
        (SHRED, "ab" * 16, "bb" * 16, 1),
        (SHRED, "aa" * 16, "aa" * 16, 1),
        (SHRED, "aa" * 16, "bb" * 16, 2),
        (SHRED[:-1], "aa" * 16, "bb" * 16, 1),
    ],
)
def test_sealed_header_belongs_to_one_place(key: bytes, recording_id: str, segment_id: str, version: int) -> None:
    sealed = shred.seal_header(HEADER, SHRED, bytes(12), "aa" * 16, "bb" * 16, 1)
    with pytest.raises(SealError):
        shred.unseal_header(sealed, key, recording_id, segment_id, version)


def test_every_byte_of_a_sealed_header_counts() -> None:
    sealed = shred.seal_header(HEADER, SHRED, bytes(12), "aa" * 16, "bb" * 16, 1)
    for at in range(len(sealed)):
        bad = bytearray(sealed)
        bad[at] ^= 1
        with pytest.raises(SealError):
            shred.unseal_header(bytes(bad), SHRED, "aa" * 16, "bb" * 16, 1)
    for short in range(0, len(sealed), 5):
        with pytest.raises(SealError):
            shred.unseal_header(sealed[:short], SHRED, "aa" * 16, "bb" * 16, 1)


def test_wrong_lengths_are_not_sealed() -> None:
    for key, nonce in ((SHRED[:-1], bytes(12)), (SHRED, bytes(11))):
        with pytest.raises(ValueError, match="32 bytes"):
            shred.seal_header(HEADER, key, nonce, "aa" * 16, "bb" * 16, 1)
