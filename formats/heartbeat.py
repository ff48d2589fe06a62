"""What an edge says of itself every 30 seconds: `POST /v1/edges/{edge_id}/heartbeat`."""

from __future__ import annotations

import re
from typing import Annotated

import msgspec

from formats import canonical
from formats.errors import JsonError
from formats.ids import parse_time

#: How often one is sent, seconds; each wait lies within a tenth of it, so that a fleet does not speak in step.
EVERY_S = 30.0

_Hex64 = Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}$")]
_Id = Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{32}$")]
_Count = Annotated[int, msgspec.Meta(ge=0, le=2**53)]
_Seconds = Annotated[float, msgspec.Meta(ge=0, le=1e9)]
_Text = Annotated[str, msgspec.Meta(max_length=200)]


class Heartbeat(msgspec.Struct, frozen=True):
    """One heartbeat. Times by the edge's clock, RFC 3339 UTC; spans in seconds; sizes in bytes. Members that a later version
    adds are passed over.

    session: 32 hex digits, random for each start of the daemon; n: 1, 2, 3 … within it; started: when it began.
    instance: the journal's incarnation. policy: SHA-256 over the names and versions of its policies. outbox: events that
    wait; oldest: age of the oldest. unsealed: age of the oldest second of speech that is not sealed. log, size, root:
    the audit log's newest checkpoint (size 0: none yet). free: of the vault's disk; spool: of the spool. live: recordings
    that run. ready: whether a call would be recorded now; why: the reason where not.
    """

    session: _Id
    n: _Count
    at: str
    started: str
    instance: _Text
    policy: _Hex64
    outbox: _Count
    oldest: _Seconds
    unsealed: _Seconds
    log: _Text
    size: _Count
    root: Annotated[str, msgspec.Meta(pattern="^([0-9a-f]{64})?$")]
    version: _Text
    free: _Count
    spool: _Count
    live: _Count
    ready: bool
    why: _Text = ""


def read_heartbeat(body: bytes) -> Heartbeat:
    """A body into a heartbeat. Raises JsonError."""
    value = canonical.loads(body)
    try:
        beat = msgspec.convert(value, Heartbeat)
    except msgspec.ValidationError as error:
        raise JsonError("usage.heartbeat", f"the heartbeat is malformed: {error}") from error
    parse_time(beat.at)
    parse_time(beat.started)
    if re.search(r"[\x00-\x1f\x7f]", beat.instance + beat.log + beat.version + beat.why):
        raise JsonError("usage.heartbeat", "a control character is in the heartbeat")
    return beat


def plain_text(text: str) -> str:
    """`text` as a heartbeat carries it: one line, at most 200 characters."""
    return re.sub(r"[\x00-\x1f\x7f]+", " ", text)[:200]
