"""The manifest of a recording: what was recorded, under which permit, and what its sealed bytes must be.

Sealing proves no sender, and age has no associated data, so the edge signs this: canonical JSON as a compact JWS. A reader
checks the manifest, the payload's hash and the file key's `key_id` before it releases audio (docs/spec/manifest.md).
"""

from __future__ import annotations

import hashlib
import hmac
from typing import Literal, Protocol

import msgspec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from formats import canonical
from formats.errors import JsonError, ManifestError
from formats.ids import check_id, parse_time
from formats.jws import sign_compact, verify_compact
from formats.keys import SigningKey
from formats.keyset import KeySet
from formats.pcm import STORED
from formats.suites import TAG, suite_of

TYPE: Literal["callwarden-manifest/v1"] = "callwarden-manifest/v1"
TYP = "callwarden-manifest+json"
#: Where the running hash over chunk tags begins.
TAGS_HASH_START = bytes(32)
_KEY_ID_INFO = b"callwarden/key-id/v1"


def key_id(file_key: bytes) -> bytes:
    """32 bytes that name a file key without giving it away; a re-wrapped header keeps it."""
    return HKDF(algorithm=SHA256(), length=32, salt=None, info=_KEY_ID_INFO).derive(file_key)


def extend_tags_hash(tags_hash: bytes, tag16: bytes) -> bytes:
    """The running hash after one more chunk: SHA-256 over the hash so far and the chunk's 16-byte tag."""
    if len(tags_hash) != 32 or len(tag16) != TAG:
        raise ValueError("a running hash is 32 bytes and a tag 16")
    return hashlib.sha256(tags_hash + tag16).digest()


class SegmentEntry(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One segment. Hashes and key ids in lower-case hex; times in ms from the start of the recording.

    `codec`, `rate`, `channels`: how it was captured; `encoding`: what became of it before it was sealed. `none`: the
    plaintext is the capture itself; `flac`, `opus`: it is one whole FLAC or Ogg Opus file of those samples. `frames`:
    samples, one of all channels is one frame.

    `closed`: the payload has its last chunk. `truncated`: it ends with a whole chunk, and only this entry says so.
    `shredded`: its key was destroyed and its payload removed after an incident; the rest says what it had been.
    """

    segment_id: str
    number: int
    suite: Literal["age1", "aes256gcm"]
    codec: str
    rate: int
    channels: int
    encoding: Literal["none", "flac", "opus"]
    frames: int
    start_ms: int
    duration_ms: int
    plain_bytes: int
    payload_bytes: int
    chunks: int
    payload_sha512: str
    tags_hash: str
    key_id: str
    state: Literal["closed", "truncated", "shredded"]
    end_reason: str


class Manifest(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A recording. `frames`: samples of all segments together (one sample of all channels is one frame)."""

    type: Literal["callwarden-manifest/v1"] = TYPE
    recording_id: str
    call_id: str
    edge_id: str
    policy_id: str
    policy_version: str
    permit_id: str
    consent_event: int
    ending: Literal["complete", "truncated"]
    started_at: str
    ended_at: str
    frames: int
    software: str
    segments: tuple[SegmentEntry, ...]


def frame_bytes(codec: str, channels: int) -> int:
    """Bytes of one frame. Raises ManifestError for a codec that is not headerless linear, ulaw or alaw."""
    if codec not in STORED or channels not in (1, 2):
        raise ManifestError("vault.manifest", f"no frame size is known for {codec} with {channels} channels")
    return STORED[codec] * channels


def duration_ms(plain_bytes: int, codec: str, rate: int, channels: int) -> int:
    """How long so many bytes play, in whole ms."""
    return frames_ms(plain_bytes // frame_bytes(codec, channels), rate)


def frames_ms(frames: int, rate: int) -> int:
    """How long so many frames play, in whole ms."""
    return frames * 1000 // rate


def _hex(text: str, size: int) -> bool:
    return len(text) == 2 * size and all(char in "0123456789abcdef" for char in text)


def _check_segment(one: SegmentEntry, number: int) -> None:
    where = f"segment {one.number}"
    check_id(one.segment_id, where)
    if one.number != number:
        raise ManifestError("vault.manifest", f"{where} stands where segment {number} belongs")
    suite = suite_of(one.suite)
    whole = (suite.payload_size(one.plain_bytes), suite.chunk_count(one.plain_bytes))
    closed = (one.payload_bytes, one.chunks) == whole
    # A segment cut off before its first chunk has a prefix, or not even that.
    cut_off = one.plain_bytes == one.chunks * suite.chunk and (
        one.payload_bytes == suite.truncated_size(one.chunks) or one.payload_bytes == one.chunks == 0
    )
    right = {"closed": closed, "truncated": cut_off, "shredded": closed or cut_off}[one.state]
    if not right or one.chunks < 0:
        raise ManifestError("vault.manifest", f"{where}: its byte counts contradict each other")
    if not (_hex(one.payload_sha512, 64) and _hex(one.tags_hash, 32) and _hex(one.key_id, 32)):
        raise ManifestError("vault.manifest", f"{where}: a hash is malformed")
    if one.rate <= 0 or one.start_ms < 0:
        raise ManifestError("vault.manifest", f"{where}: its rate or start is impossible")
    frame = frame_bytes(one.codec, one.channels)
    if one.frames < 0 or (one.encoding == "none" and one.frames != one.plain_bytes // frame):
        raise ManifestError("vault.manifest", f"{where}: its frames contradict its bytes")
    if one.encoding != "none" and one.state == "truncated":
        raise ManifestError("vault.manifest", f"{where}: what was cut off cannot have been encoded as a whole")
    if one.duration_ms != frames_ms(one.frames, one.rate):
        raise ManifestError("vault.manifest", f"{where}: its duration contradicts its frames")


def check(manifest: Manifest) -> None:
    """Raises ManifestError `vault.manifest` or FormatError where the manifest contradicts itself."""
    check_id(manifest.recording_id, "recording_id")
    check_id(manifest.call_id, "call_id")
    check_id(manifest.permit_id, "permit_id")
    if parse_time(manifest.ended_at) < parse_time(manifest.started_at):
        raise ManifestError("vault.manifest", "the recording ends before it starts")
    if not manifest.segments:
        raise ManifestError("vault.manifest", "a manifest has at least one segment")
    for number, one in enumerate(manifest.segments):
        _check_segment(one, number)
    if len({one.key_id for one in manifest.segments}) != len(manifest.segments):
        raise ManifestError("vault.manifest", "two segments share a file key")
    if manifest.frames != sum(one.frames for one in manifest.segments):
        raise ManifestError("vault.manifest", "the number of frames contradicts the segments")


def sign_manifest(manifest: Manifest, key: SigningKey) -> str:
    """The compact JWS. Raises as `check` does: a manifest that contradicts itself is never signed."""
    check(manifest)
    return sign_compact(canonical.dumps(msgspec.to_builtins(manifest)), key, key.kid, TYP)


def verify_manifest(jws: str, keys: KeySet) -> Manifest:
    """The manifest, signed by the very edge it names.

    Raises SignatureError, or ManifestError where it is malformed, contradicts itself or names another edge.
    """
    verified = verify_compact(jws, keys, TYP, "edge")
    try:
        manifest = msgspec.convert(canonical.loads_canonical(verified.payload), Manifest)
    except (msgspec.ValidationError, JsonError) as error:
        raise ManifestError("vault.manifest", f"the manifest is malformed: {error}") from error
    if manifest.edge_id != verified.signer.edge_id:
        raise ManifestError(
            "vault.manifest", f"the manifest of {manifest.edge_id} is signed by {verified.signer.edge_id}"
        )
    check(manifest)
    return manifest


def check_key(entry: SegmentEntry, file_key: bytes) -> None:
    """Raises ManifestError `vault.key_id` unless `file_key` is the one the segment was sealed with."""
    if not hmac.compare_digest(key_id(file_key).hex(), entry.key_id):
        raise ManifestError("vault.key_id", f"segment {entry.number}: this key is not the one it was sealed with")


class PayloadReader(Protocol):
    """A binary file object."""

    def read(self, size: int, /) -> bytes:
        """At most `size` bytes; none at the end."""
        ...


def check_payload(entry: SegmentEntry, source: PayloadReader) -> None:
    """Read a whole payload without any key. Raises ManifestError `vault.payload_hash` unless it is the one described."""
    suite = suite_of(entry.suite)
    chunk, prefix = suite.enc_chunk, suite.prefix
    digest, tags, tail, total = hashlib.sha512(), TAGS_HASH_START, b"", 0
    while part := source.read(chunk):
        digest.update(part)
        tail += part[max(0, prefix - total) :]  # what is kept is never more than one chunk and one read
        total += len(part)
        while len(tail) > chunk:
            tags, tail = extend_tags_hash(tags, tail[chunk - TAG : chunk]), tail[chunk:]
    if len(tail) >= TAG:
        tags = extend_tags_hash(tags, tail[-TAG:])
    facts = (total, digest.hexdigest(), tags.hex())
    if facts != (entry.payload_bytes, entry.payload_sha512, entry.tags_hash):
        raise ManifestError("vault.payload_hash", f"segment {entry.number}: the payload is not the one that was sealed")
