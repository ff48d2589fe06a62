"""A segment nobody has the key of any more ends with its last committed chunk, and what lies there must be that."""

from __future__ import annotations

import hashlib

from edge.errors import CallwardenError
from edge.model.entities import SegmentRow
from edge.ports import Vault
from formats.manifest import TAGS_HASH_START, extend_tags_hash
from formats.suites import TAG, suite_of


def cut(vault: Vault, last: SegmentRow) -> bytes:
    """The SHA-512 of the payload once it has its committed length, held against the row's hash over the chunks' tags. Blocks.

    Raises CallwardenError vault.short, vault.differs when it is not what was committed; vault.io, vault.planted.
    """
    length = vault.length(last.recording_id, last.segment_id)
    if length < last.payload_bytes:
        raise _bad("vault.short", f"{length} of {last.payload_bytes} committed bytes are there", last)
    if length > last.payload_bytes:
        vault.truncate(last.recording_id, last.segment_id, last.payload_bytes)
    if last.payload_bytes == 0:  # there may be no file yet
        return hashlib.sha512().digest()
    suite, digest, tags = suite_of(last.header.suite), hashlib.sha512(), TAGS_HASH_START
    with vault.open(last.recording_id, last.segment_id) as payload:
        digest.update(payload.read(suite.prefix))
        while chunk := payload.read(suite.enc_chunk):
            digest.update(chunk)
            if len(chunk) >= TAG:
                tags = extend_tags_hash(tags, chunk[-TAG:])
    if tags != last.tags_hash:
        raise _bad("vault.differs", "its chunks are not those that were committed", last)
    return digest.digest()


def _bad(code: str, why: str, last: SegmentRow) -> CallwardenError:
    return CallwardenError(
        code, f"a payload does not hold what was committed: {why}", where=last.segment_id,
        hint="look at the disk; the recording is quarantined",
    )  # fmt: skip
