"""What stays of an event about a call whose metadata was made anonymous. Pure (docs/spec/anonymous.md).

A list of what stays, so that a member added one day goes unless somebody lets it stay.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

#: Members that tell nothing of a person: what statistics count, ids of our own, and what an erasure destroyed.
_STAYS: Final = frozenset(
    {
        "call_id", "policy_id", "policy_version", "mode", "direction", "purposes", "number_class", "state", "outcome",
        "kind", "event_seq", "party_id", "duration_s", "recording_id", "permit_id", "segment_id", "suite", "codec",
        "rate", "channels", "ending", "frames", "plain_bytes", "payload_bytes", "chunks", "end_reason", "erased_at",
        "cause", "key_ids", "receipt_id", "fields",
    }
)  # fmt: skip
#: Times, which are cut to the hour.
_TIMES: Final = frozenset({"at", "started_at", "ended_at", "opened_at", "closed_at", "granted_at"})


def less(body: Mapping[str, Any]) -> dict[str, Any]:
    """The body of an event, without what could lead back to somebody; applied again it changes nothing."""
    kept = {name: value for name, value in body.items() if name in _STAYS}
    times = {name: to_the_hour(at) for name, at in body.items() if name in _TIMES and isinstance(at, str)}
    return kept | times


def to_the_hour(at: str) -> str:
    """A time (RFC 3339 UTC with milliseconds) without its minutes and seconds."""
    return f"{at[:13]}:00:00.000Z"
