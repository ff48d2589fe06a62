"""Sends new audit entries and the newest checkpoint to central and stores the cosigned note."""

from __future__ import annotations

from collections.abc import Collection
from contextlib import suppress
from typing import Any

from edge.errors import CallwardenError
from edge.failpoints import hit
from edge.model.entities import Checkpoint
from edge.ports import Journal
from edge.sync.uplink import Refusal, Uplink
from formats.checkpoint import Checkpoint as Head
from formats.checkpoint import Witnessed, open_checkpoint
from formats.errors import FormatError
from formats.note import ED25519, Note, NoteKey

#: Entries in one request (an entry is about 200 bytes).
PAGE = 1000


class AuditMirror:
    """One pass: entries central lacks, then the checkpoint. `witnesses`: keys whose cosignature counts."""

    def __init__(self, uplink: Uplink, journal: Journal, witnesses: Collection[NoteKey]) -> None:
        self._uplink = uplink
        self._journal = journal
        self._witnesses = list(witnesses)
        self._mirrored: int | None = None
        self._alarmed: set[str] = set()

    async def send(self) -> bool:
        """Whether anything was sent. Raises CallwardenError sync.*; audit.fork and audit.rollback are alarms as well."""
        checkpoint = await self._journal.last_checkpoint()
        if checkpoint is None or checkpoint.cosigned is not None:
            return False
        head = Head.parse(Note.parse(checkpoint.note).text)
        if self._mirrored is None:
            self._mirrored = await self._ask_mirrored(head.origin)
        while True:
            start = min(self._mirrored, head.size)
            end = min(start + PAGE, head.size)
            rows = await self._journal.audit_entries(start, end)
            body: dict[str, Any] = {"origin": head.origin, "start": start, "entries": [row.entry for row in rows]}
            if end == head.size:
                body["checkpoint"] = checkpoint.note
            answer = await self._post(body)
            self._mirrored = _size(answer)
            if end == head.size:
                break
        await self._store(checkpoint, head, str(answer.get("cosigned")))
        return True

    async def _ask_mirrored(self, origin: str) -> int:
        answer = await self._uplink.get(self._uplink.edge_path("audit"))
        logs = answer.get("logs")
        for log in logs if isinstance(logs, list) else []:
            if isinstance(log, dict) and log.get("origin") == origin:
                return _size(log)
        return 0

    async def _post(self, body: dict[str, Any]) -> dict[str, Any]:
        try:
            return await self._uplink.post(self._uplink.edge_path("audit"), body)
        except Refusal as refusal:
            self._mirrored = None  # ask again where central stands
            if refusal.central_code in ("audit.fork", "audit.rollback") and refusal.central_code not in self._alarmed:
                self._alarmed.add(refusal.central_code)
                await self._journal.alarm(refusal.central_code, refusal.message, where=str(body["origin"]))
            raise

    def _open(self, cosigned: str, origin: str) -> Witnessed:
        """Raises FormatError. A checkpoint may be older than this edge's present key."""
        *others, last = [NoteKey(origin, ED25519, one.key) for one in self._uplink.own]
        for log in others:
            with suppress(FormatError):
                return open_checkpoint(cosigned, log, self._witnesses)
        return open_checkpoint(cosigned, last, self._witnesses)

    async def _store(self, checkpoint: Checkpoint, head: Head, cosigned: str) -> None:
        """Only a note over the same head, with the witness's line verified, is kept."""
        try:
            seen = self._open(cosigned, head.origin)
            if seen.checkpoint != head or seen.self_witnessed:
                raise CallwardenError(
                    "sync.answer", "the cosigned note is another or has no witness", where=head.origin
                )
        except FormatError as error:
            raise CallwardenError(
                "sync.answer", f"the cosigned note does not verify: {error}", where=head.origin
            ) from error
        await self._journal.save_checkpoint(Checkpoint(checkpoint.size, checkpoint.note, cosigned))
        hit("sync.checkpoint_cosigned")


def _size(answer: dict[str, Any]) -> int:
    size = answer.get("size")
    if not isinstance(size, int) or isinstance(size, bool) or size < 0:
        raise CallwardenError("sync.answer", "central's answer names no size", where="audit", retryable=True)
    return size
