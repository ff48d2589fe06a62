"""What the doors of media answer."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Struct

from central.openapi.words import Count, EdgeId, Id, Time

Sha512 = Annotated[str, Meta(pattern="^[0-9a-f]{128}$")]


class UploadState(Struct, frozen=True):
    """How far a payload is. `offset`: bytes that are here."""

    state: Literal["absent", "coming", "stored", "erased"]
    offset: Count


class Media(Struct, frozen=True):
    """A payload that central has, had or waits for. `why`: what kept it from being removed at the last of `attempts`. `seq` pages."""

    seq: str
    edge_id: EdgeId
    recording_id: Id
    segment_id: Id
    number: Count
    sha512: Sha512
    bytes: Count
    place: str
    state: Literal["coming", "stored", "leaving", "gone"]
    stored_at: Time | None
    leaving_at: Time | None
    gone_at: Time | None
    attempts: Count
    why: str


class MediaList(Struct, frozen=True):
    """Payloads, by `seq`."""

    media: list[Media]
