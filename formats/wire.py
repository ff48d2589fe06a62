"""What travels from edge to central: CloudEvents 1.0 in JSON, in batches, each batch signed by the edge's key.

A batch is canonical JSON, a list of events; the signature is a detached JWS over exactly those bytes. `sequence` and
`incarnation` are extension attributes: gapless numbers of the edge's outbox, per incarnation of its journal.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Any, Literal, get_args

import msgspec

from formats import canonical
from formats.errors import JsonError, WireError
from formats.ids import check_id, parse_time
from formats.jws import sign_detached, verify_detached
from formats.keys import SigningKey
from formats.keyset import KeyEntry, KeySet

TYP = "callwarden-batch+json"
#: Bytes of a batch before compression.
MAX_BATCH = 1024 * 1024
CONTENT_TYPE = "application/cloudevents-batch+json"  # CloudEvents JSON format 1.0.2, section 4

EventType = Literal[
    "call.opened",
    "call.closed",
    "consent.recorded",
    "recording.opened",
    "segment.closed",
    "recording.sealed",
    "recording.erased",
    "audit.checkpoint",
    "alarm.raised",
]
EVENT_TYPES: frozenset[str] = frozenset(get_args(EventType))


class Event(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One CloudEvent. `source`: the edge's id; `subject`: the call, recording or segment it is about; `id` is unique.

    `type` is checked by `decode_batch` only as text: an event type of a newer edge is answered `rejected`, not a
    reason to refuse the batch.
    """

    specversion: Literal["1.0"] = "1.0"
    id: str
    source: str
    type: str
    subject: str
    time: str
    datacontenttype: Literal["application/json"] = "application/json"
    sequence: int
    incarnation: int
    data: dict[str, Any]


class ItemAnswer(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What became of one event: `accepted`, `duplicate` or `rejected:<code>`."""

    id: str
    status: str


class BatchAnswer(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Central's answer to a batch; everything up to `contiguous` may leave the outbox."""

    items: tuple[ItemAnswer, ...]
    contiguous: int
    search_key: str | None = None


def encode_batch(events: Iterable[Event]) -> bytes:
    """Canonical JSON of a batch. Raises WireError `sync.batch` where it would pass MAX_BATCH; JsonError."""
    data = canonical.dumps([msgspec.to_builtins(one) for one in events])
    if len(data) > MAX_BATCH:
        raise WireError("sync.batch", f"the batch has {len(data)} bytes, more than {MAX_BATCH}")
    return data


def decode_batch(data: bytes) -> list[Event]:
    """The events of a batch. Raises WireError `sync.batch`: too large, malformed, out of order, of several edges."""
    if len(data) > MAX_BATCH:
        raise WireError("sync.batch", f"the batch has {len(data)} bytes, more than {MAX_BATCH}")
    try:
        events = msgspec.convert(canonical.loads(data), list[Event])
    except (msgspec.ValidationError, JsonError) as error:
        raise WireError("sync.batch", f"the batch is malformed: {error}") from error
    for one in events:
        check_id(one.id, "an event's id")
        parse_time(one.time)
        if not (0 < one.sequence <= canonical.MAX_INTEGER and 0 <= one.incarnation <= canonical.MAX_INTEGER):
            raise WireError("sync.batch", "a sequence counts from 1, an incarnation from 0, both up to 2^53 - 1")
    _check_order(events)
    return events


def _check_order(events: Sequence[Event]) -> None:
    if len({(one.source, one.incarnation) for one in events}) > 1:
        raise WireError("sync.batch", "a batch is of one edge and one incarnation")
    if any(later.sequence <= earlier.sequence for earlier, later in pairwise(events)):
        raise WireError("sync.batch", "a batch is in the order of its sequence")


def sign_batch(data: bytes, key: SigningKey) -> str:
    """The detached JWS that travels beside the batch."""
    return sign_detached(data, key, key.kid, TYP)


def verify_batch(jws: str, data: bytes, keys: KeySet) -> tuple[KeyEntry, list[Event]]:
    """Who signed the batch, and its events, all of that very edge. Raises SignatureError, WireError."""
    signer = verify_detached(jws, data, keys, TYP, "edge").signer
    events = decode_batch(data)
    if any(one.source != signer.edge_id for one in events):
        raise WireError("sync.batch", f"the batch holds events of another edge than {signer.edge_id}, which signed it")
    return signer, events
