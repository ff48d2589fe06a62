"""Ciphertext on its way to central: what is due, and the door it goes through."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol


@dataclass(frozen=True, slots=True)
class MediaState:
    """How far central has a payload. `erased`: it must not have it any more; `differs`: the manifest it was told names no such
    payload; `unknown`: it was not told the manifest yet; `wrong`: what was whole had another hash and is gone there."""

    state: Literal["absent", "coming", "stored", "erased", "differs", "unknown", "wrong"]
    offset: int


class MediaDoor(Protocol):
    """Central's. Raises CallwardenError sync.*; media.none where central keeps no media; media.refused where it does not want
    this payload for a reason that is no answer."""

    async def state(self, sha512: str) -> MediaState: ...
    async def put(self, recording_id: str, segment_id: str, sha512: str, offset: int, piece: bytes) -> MediaState:
        """The bytes from `offset` on; without bytes: finish. Repeats are harmless."""
        ...


class MediaBook(Protocol):
    """Recordings that go to central by their policy."""

    async def media_due(self, limit: int, after: str = "") -> Sequence[str]:
        """What waits, the oldest first. after: go on behind this recording."""
        ...

    async def media_told(self, recording_id: str, result: str) -> None:
        """What became of one: "done", or a code; audit `media.replicated`. Repeats do nothing."""
        ...
