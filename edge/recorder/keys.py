"""Keys of a segment: made while the prompt plays, written to the slot file before any row names them."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass

from edge.errors import CallwardenError
from edge.failpoints import hit
from edge.model.entities import HeaderRow
from edge.ports import Slots
from formats.age import parse_recipient
from formats.manifest import key_id
from formats.place import Place
from formats.shred import seal_header
from formats.suites import Suite


@dataclass(frozen=True, slots=True)
class SegmentKeys:
    """A file key, the salt of its payload, and what must be on file before it seals its first byte."""

    segment_id: str
    file_key: bytes
    salt: bytes
    header: HeaderRow


async def make_keys(
    slots: Slots, suite: Suite, recording_id: str, recipients: Sequence[str], *, segment_id: str = "", version: int = 1
) -> SegmentKeys:
    """A fresh file key, its header for `recipients`, sealed under a shred key that lies synced in its slot. For a new
    segment, or a further `version` of the header of one.

    Raises FormatError for a recipient that does not parse and CallwardenError vault.* when no slot can be written, or
    the system has no randomness: then nothing is sealed, and what Asterisk wrote waits in memory.
    """
    segment_id = segment_id or secrets.token_hex(16)
    file_key = _random(suite.file_key)
    shred_key = _random(32)
    header = suite.make_header(
        file_key,
        [parse_recipient(r) for r in recipients],
        Place(recording_id, segment_id),
        randbytes=_random,
    )
    slot = await slots.put(shred_key)
    hit("start.slot_synced")
    sealed = seal_header(header, shred_key, _random(12), recording_id, segment_id, version)
    return SegmentKeys(
        segment_id,
        file_key,
        _random(suite.salt),
        HeaderRow(segment_id, version, suite.name, sealed, slot, tuple(recipients), key_id(file_key)),
    )


def _random(size: int) -> bytes:
    """Fresh bytes of the system's generator. Raises CallwardenError vault.randomness."""
    try:
        return secrets.token_bytes(size)
    except (OSError, NotImplementedError) as error:
        raise CallwardenError(
            "vault.randomness", "the system gives no random bytes: no key, no recording", retryable=True,
            hint="the kernel's generator must be ready before Callwarden starts", where="getrandom",
        ) from error  # fmt: skip
