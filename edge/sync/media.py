"""Payloads to central: the two requests of docs/spec/media.md, and what its refusals mean."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from edge.errors import CallwardenError
from edge.ports import MediaState
from edge.sync.uplink import Refusal, Uplink

#: Central's refusals that are answers about this payload.
_ANSWERS: Final = {
    "media.erased": "erased",
    "media.differs": "differs",
    "media.unknown": "unknown",
    "media.manifest": "unknown",
    "media.busy": "unknown",
    "media.hash": "wrong",
    "not_found.recording": "differs",
    "usage.too_large": "differs",
}


class MediaLink:
    """`MediaDoor` over HTTP."""

    def __init__(self, uplink: Uplink) -> None:
        self._uplink = uplink

    async def state(self, sha512: str) -> MediaState:
        """See `MediaDoor`."""
        try:
            return _state(await self._uplink.get(self._uplink.edge_path(f"media/{sha512}")))
        except Refusal as refusal:
            return _refused(refusal)

    async def put(self, recording_id: str, segment_id: str, sha512: str, offset: int, piece: bytes) -> MediaState:
        """See `MediaDoor`."""
        query = f"recording_id={recording_id}&segment_id={segment_id}&offset={offset}"
        try:
            return _state(await self._uplink.put(self._uplink.edge_path(f"media/{sha512}?{query}"), piece))
        except Refusal as refusal:
            return _refused(refusal)


def _state(answer: Mapping[str, Any]) -> MediaState:
    state, offset = answer.get("state"), answer.get("offset")
    if state not in ("absent", "coming", "stored", "erased") or not isinstance(offset, int) or offset < 0:
        raise CallwardenError("sync.answer", "central says nothing of the upload", where="media", retryable=True)
    return MediaState(state, offset)


def _refused(refusal: Refusal) -> MediaState:
    """An answer where it is one. What is about the edge or about central is raised as it came, the rest is about this payload."""
    if refusal.central_code == "media.offset" and isinstance(refusal.problem.get("offset"), int):
        return MediaState("coming", int(refusal.problem["offset"]))
    if refusal.central_code == "media.none":
        raise CallwardenError(
            "media.none", "central keeps no media", where="media",
            hint='whoever runs central sets [central.media] store, or the policy says media = "stay"', retryable=True,
        ) from refusal  # fmt: skip
    word = _ANSWERS.get(refusal.central_code)
    if word is None and (refusal.retryable or refusal.status in (401, 403)):
        raise refusal
    if word is None:
        raise CallwardenError("media.refused", refusal.message, where="media", retryable=True) from refusal
    return MediaState(word, 0)  # type: ignore[arg-type]
