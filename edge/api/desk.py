"""The answers of the local door, without HTTP: the command uses the same desk when the daemon is stopped.

Everything read here that could lead to audio leaves an audit entry first, with the reader's uid and purpose.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from edge.api.deps import ApiDeps, Json
from edge.errors import CallwardenError
from edge.model.entities import RecordingRow, SegmentRow
from formats import shred
from formats.errors import FormatError

_ID = re.compile(r"[0-9a-f]{32}")
_PREFIX = re.compile(r"[0-9a-f]{6,32}")
_PURPOSE = re.compile(r"[a-z0-9][a-z0-9_.:/-]{0,63}")
#: Most audit entries in one answer; a reader asks again from where it stopped.
AUDIT_PAGE = 5000


@dataclass(frozen=True)
class ReadBy:
    """Who reads and what for. uid: of the process at the other end of the socket, told by the kernel.

    purpose: a word or a case reference, never free text, because it goes into the audit log which must not name people.
    """

    uid: int
    purpose: str

    def __post_init__(self) -> None:
        if not _PURPOSE.fullmatch(self.purpose):
            raise CallwardenError(
                "usage.purpose",
                "a purpose is 1 to 64 of a-z 0-9 _ . : / -",
                hint="name the reason or the case, not a person: quality, dispute/2024-17",
                where="purpose",
            )


class Desk:
    """Answers questions about this edge. Raises CallwardenError."""

    def __init__(self, deps: ApiDeps) -> None:
        self._deps = deps

    # -- lists

    async def calls(self) -> Sequence[Json]:
        """See `Reader.calls`."""
        return await self._deps.reader.calls()

    async def recordings(self) -> Sequence[Json]:
        """See `Reader.recordings`."""
        return await self._deps.reader.recordings()

    async def status(self) -> Json:
        """Journal counts, and `readiness` of the running daemon (empty when it is stopped)."""
        counts = dict(await self._deps.reader.status())
        return {"edge_id": self._deps.edge_id, "readiness": dict(self._deps.readiness()), **counts}

    async def why(self, text: str) -> Json:
        """Facts about the call named by its id, a prefix of at least 6 hex digits, or Asterisk's linked id.

        Raises not_found.call, usage.ambiguous.
        """
        unknown = CallwardenError(
            "not_found.call",
            "no such call",
            hint="callwarden calls lists them; a call that came while the daemon was down is only in Asterisk's CDR",
            where=text,
        )
        call_id = _only(await self._deps.reader.find_call(text), text, unknown)
        found = await self._deps.reader.why(call_id)
        if found is None:
            raise unknown
        return found

    # -- recordings

    async def bundle(self, text: str) -> Json:
        """Manifest and segments' facts of one recording (id or unique prefix); no key and no audio in it.

        An erased recording answers with its `tombstone`. Raises not_found.recording, usage.ambiguous.
        """
        row = await self._recording(text)
        tombstone = await self._deps.journal.tombstone(row.recording_id)
        return {
            "edge_id": self._deps.edge_id,
            "edge_jwk": dict(self._deps.edge_jwk),
            "recording_id": row.recording_id,
            "call_id": row.call_id,
            "state": row.state,
            "ending": row.ending,
            "suite": row.suite,
            "codec": row.codec,
            "rate": row.rate,
            "channels": row.channels,
            "started_at": row.started_at,
            "ended_at": row.ended_at,
            "held": row.held,
            "manifest": row.manifest,
            "segments": [_segment(s) for s in row.segments],
            "tombstone": dict(tombstone) if tombstone else None,
        }

    async def header(self, recording_id: str, number: int, by: ReadBy) -> bytes:
        """The age header of a segment, unsealed. The entry `recording.read` is in the log before the header is out.

        Raises not_found.*, not_found.erased, vault.header.
        """
        row, segment = await self._segment(recording_id, number)
        facts = {"recording_id": recording_id, "segment": number, "uid": by.uid, "purpose": by.purpose}
        if row.state in ("erased", "erasing") or segment.state == "shredded":
            await self._deps.journal.note_audit("recording.read_refused", body={**facts, "why": row.state})
            raise await self._erased(row)
        await self._deps.journal.note_audit("recording.read", body=facts)
        header = segment.header
        key = await self._deps.slots.read(header.slot)
        try:
            return shred.unseal_header(
                header.sealed_header,
                key,
                recording_id=recording_id,
                segment_id=segment.segment_id,
                version=header.version,
            )
        except FormatError as error:
            raise CallwardenError(
                "vault.header", error.message, hint="the slot file and the journal disagree", where=segment.segment_id
            ) from error

    async def payload(self, recording_id: str, number: int) -> tuple[str, int]:
        """Path and committed length of a segment's payload; bytes behind that length are not yet promised to anyone."""
        row, segment = await self._segment(recording_id, number)
        if row.state in ("erased", "erasing") or segment.state == "shredded":
            raise await self._erased(row)
        path = await asyncio.to_thread(self._deps.vault.path, recording_id, segment.segment_id)
        return path, segment.payload_bytes

    async def exported(self, recording_id: str, form: str, by: ReadBy) -> None:
        """Note that a copy was made outside the vault: `form` is "wav" or "age"."""
        row = await self._recording(recording_id)
        if form not in ("wav", "age"):
            raise CallwardenError("usage.form", "form is wav or age", where="form")
        body = {"recording_id": row.recording_id, "form": form, "uid": by.uid, "purpose": by.purpose}
        await self._deps.journal.note_audit("recording.exported", body=body)

    async def _erased(self, row: RecordingRow) -> CallwardenError:
        tombstone = await self._deps.journal.tombstone(row.recording_id) or {}
        if row.state == "erasing":
            return CallwardenError("not_found.erasing", "the recording is being erased", where=row.recording_id)
        return CallwardenError(
            "not_found.erased",
            f"the recording was erased at {tombstone.get('erased_at', 'an unknown time')}"
            f" (cause: {tombstone.get('cause', 'unknown')})",
            hint="its key is destroyed; no copy of the vault brings it back",
            where=row.recording_id,
        )

    async def _recording(self, text: str) -> RecordingRow:
        recording_id = text
        unknown = CallwardenError(
            "not_found.recording", "no such recording", hint="callwarden recordings lists them", where=text
        )
        if not _ID.fullmatch(text):
            if not _PREFIX.fullmatch(text):
                raise unknown
            ids = [r["recording_id"] for r in await self._deps.reader.recordings()]
            recording_id = _only([i for i in ids if i.startswith(text)], text, unknown)
        row = await self._deps.journal.recording(recording_id)
        if row is None:
            raise unknown
        return row

    async def _segment(self, recording_id: str, number: int) -> tuple[RecordingRow, SegmentRow]:
        row = await self._recording(recording_id)
        for segment in row.segments:
            if segment.number == number:
                return row, segment
        raise CallwardenError("not_found.segment", f"the recording has no segment {number}", where=recording_id)

    # -- audit

    async def audit_entries(self, start: int, end: int) -> list[Json]:
        """Entries start ≤ index < end, at most AUDIT_PAGE."""
        rows = await self._deps.journal.audit_entries(start, min(end, start + AUDIT_PAGE))
        return [{"index": r.index, "at": r.at, "entry": r.entry, "leaf": r.leaf.hex()} for r in rows]

    async def audit_checkpoints(self) -> Json:
        """Size of the log, its last checkpoint, its last cosigned one; edge_id and public key."""
        journal = self._deps.journal
        last, cosigned = await journal.last_checkpoint(), await journal.last_cosigned()
        return {
            "edge_id": self._deps.edge_id,
            "edge_jwk": dict(self._deps.edge_jwk),
            "size": await journal.audit_size(),
            "checkpoint": {"size": last.size, "note": last.note} if last else None,
            "cosigned": {"size": cosigned.size, "note": cosigned.cosigned} if cosigned else None,
        }


def _segment(row: SegmentRow) -> dict[str, Any]:
    return {
        "segment_id": row.segment_id,
        "number": row.number,
        "state": row.state,
        "chunks": row.chunks,
        "plain_bytes": row.plain_bytes,
        "payload_bytes": row.payload_bytes,
        "payload_sha512": row.payload_sha512.hex() if row.payload_sha512 else None,
        "tags_hash": row.tags_hash.hex(),
        "end_reason": row.end_reason,
        "key_id": row.header.key_id.hex(),
        "header_version": row.header.version,
        "recipients": list(row.header.recipients),
    }


def _only(matches: Sequence[str], text: str, unknown: CallwardenError) -> str:
    if not matches:
        raise unknown
    if len(set(matches)) > 1:
        hint = "give more digits of: " + " ".join(matches[:5])
        raise CallwardenError("usage.ambiguous", f"{len(matches)} ids begin so", hint=hint, where=text)
    return matches[0]
