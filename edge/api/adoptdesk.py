"""What a pass over foreign files asks of the daemon. Whoever may open the socket may hand audio in; who it was is on file."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import msgspec

from edge.api.deps import ApiDeps, Json
from edge.errors import CallwardenError
from edge.model.adoption import Asked
from edge.ports.adopting import AdoptPort, SoundSource
from formats.ids import is_id

T = TypeVar("T")


class AdoptDesk:
    """Raises CallwardenError."""

    def __init__(self, deps: ApiDeps) -> None:
        self._deps = deps

    async def look(self, body: bytes) -> Json:
        """state recording_id sealed_bytes of a file that is described, without a change."""
        known = await self._port.look(read_asked(body))
        return {"state": known.state, "recording_id": known.recording_id, "sealed_bytes": known.sealed_bytes}

    async def take(self, body: bytes, source: SoundSource, uid: int) -> Json:
        """recording_id frames content: sealed, durable, read back."""
        done = await self._port.take(read_asked(body), source, uid)
        return {"recording_id": done.recording_id, "frames": done.frames, "content": done.content}

    async def removing(self, recording_id: str) -> Json:
        """Its file is about to be unlinked."""
        await self._known(recording_id, self._deps.journal.removing_original)
        return {"noted": True}

    async def gone(self, recording_id: str, *, kept: bool) -> Json:
        """Its file is unlinked, or stays."""
        journal = self._deps.journal
        await self._known(recording_id, lambda one: journal.original_gone(one, kept=kept))
        return {"noted": True}

    async def originals(self) -> list[Json]:
        """Files that are neither gone nor kept."""
        return [dict(one) for one in await self._deps.journal.originals()]

    @property
    def _port(self) -> AdoptPort:
        if self._deps.adopt is None:
            raise CallwardenError(
                "daemon.stopped", "the daemon is not running: nothing can be sealed",
                hint="start it with `callwarden run`", retryable=True,
            )  # fmt: skip
        return self._deps.adopt

    async def _known(self, recording_id: str, act: Callable[[str], Awaitable[Any]]) -> None:
        if not is_id(recording_id):
            raise CallwardenError("usage.id", "not an id", where="recording")
        row = await self._deps.journal.recording(recording_id)
        if row is None or not row.adopted:
            raise CallwardenError("not_found.recording", "no such adopted recording", where=recording_id)
        await act(recording_id)


def read_asked(body: bytes) -> Asked:
    """Raises CallwardenError usage.adopt."""
    try:
        return msgspec.json.decode(body, type=Asked)
    except msgspec.MsgspecError as error:
        raise CallwardenError("usage.adopt", f"the file is not described as it should be: {error}") from error
