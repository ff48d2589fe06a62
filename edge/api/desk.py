"""The answers of the local door, without HTTP: the command uses the same desk when the daemon is stopped.

Everything read here that could lead to audio leaves an audit entry first, with the reader's uid and purpose.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from typing import Any

from edge.api.deps import ApiDeps, Json
from edge.api.ranges import Stretch, stretch
from edge.api.restricted import restricted
from edge.api.words import FORMS, ReadBy, moment, only, unknown_call
from edge.errors import CallwardenError
from edge.model.entities import RecordingRow, SegmentRow
from edge.model.lifecycle import LIVE
from formats import shred
from formats.errors import FormatError
from formats.orders import receipt_document
from formats.suites import suite_of

_ID = re.compile(r"[0-9a-f]{32}")
_PREFIX = re.compile(r"[0-9a-f]{6,32}")


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
        """Facts about the call named by its id, a prefix of at least 6 hex digits, Asterisk's linked id or a channel's
        uniqueid.

        A call without a row that began while no daemon was there, named by its linked id or a time (RFC 3339), answers
        `{"call": null, "asked", "at", "away": {"from", "to"}}`. Raises not_found.call, usage.ambiguous.
        """
        ids = await self._deps.reader.find_call(text)
        if not ids and (away := await self._away(text)) is not None:
            return away
        return await self.dossier(only(ids, text, unknown_call(text)))

    async def dossier(self, call_id: str) -> Json:
        """Everything stored about the call of this very id. Raises not_found.call."""
        found = await self._deps.reader.why(call_id)
        if found is None:
            raise unknown_call(call_id)
        return found

    async def _away(self, text: str) -> Json | None:
        at = moment(text)
        if at is None:
            return None
        for one in await self._deps.reader.outages():
            if one["to"] is None and self._deps.readiness():
                continue  # a daemon answers: it is not away
            if one["from"] <= at and (one["to"] is None or at <= one["to"]):
                return {"call": None, "asked": text, "at": at, "away": {"from": one["from"], "to": one["to"]}}
        return None

    # -- recordings

    async def bundle(self, text: str) -> Json:
        """Manifest and segments' facts of one recording (id or unique prefix); no key and no audio in it.

        `purposes`: what the permit grants; `revoked_at`: when it was withdrawn; `pauses` of the call; `flags` of the
        recording; `others`: further recordings of the same call. An erased recording answers with its `tombstone`.
        Raises not_found.recording, usage.ambiguous.
        """
        row = await self._recording(text)
        tombstone = await self._deps.journal.tombstone(row.recording_id)
        call = await self.dossier(row.call_id)
        permit = _permit(call, row)
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
            "segments": [_segment(row, s) for s in row.segments],
            "tombstone": dict(tombstone) if tombstone else None,
            "purposes": permit.get("purposes", []),
            "revoked_at": permit.get("revoked_at"),
            "pauses": call["pauses"],
            "flags": next((r["flags"] for r in call["recordings"] if r["recording_id"] == row.recording_id), []),
            "others": [r["recording_id"] for r in call["recordings"] if r["recording_id"] != row.recording_id],
        }

    async def receipts(self, subject: str) -> Sequence[Json]:
        """Every receipt about a recording or an order (whole id): receipt_id jti n result sent, and the `document` that
        proves itself. Raises not_found.receipt."""
        found = await self._deps.reader.receipts(subject)
        if not found:
            raise CallwardenError(
                "not_found.receipt", "this edge signed no receipt about that", where=subject,
                hint="name a recording that is erased, an order or a receipt by its whole id",
            )  # fmt: skip
        kept = ("receipt_id", "jti", "n", "result", "sent")
        return [
            {**{name: one[name] for name in kept}, "document": receipt_document(one["jws"], one["order"])}
            for one in found
        ]

    async def header(self, recording_id: str, number: int, by: ReadBy) -> bytes:
        """The age header of a segment, unsealed. The entry `recording.read` is in the log before the header is out.

        Raises not_found.*, vault.header; not_found.erased, not_found.shredded, command.quarantined and command.purpose,
        each of which files `recording.read_refused`.
        """
        row, segment = await self._segment(recording_id, number)
        await self._admit(row, segment, by, "recording.read", {})
        try:
            return await self._unsealed(row.recording_id, segment)
        except CallwardenError:
            # A rewrap may have come in between: then the row has another header now.
            _, again = await self._segment(row.recording_id, number)
            if again.header.version == segment.header.version:
                raise
            return await self._unsealed(row.recording_id, again)

    async def _unsealed(self, recording_id: str, segment: SegmentRow) -> bytes:
        header = segment.header
        key = await self._deps.slots.read(header.slot)
        try:
            return shred.unseal_header(header.sealed_header, key, recording_id, segment.segment_id, header.version)
        except FormatError as error:
            raise CallwardenError(
                "vault.header", error.message, hint="the slot file and the journal disagree", where=segment.segment_id
            ) from error

    async def payload(self, recording_id: str, number: int, by: ReadBy, wanted: str | None = None) -> Stretch:
        """A segment's payload, or what of it `wanted` (a `Range` header) asks for; bytes behind the committed length are
        not promised to anyone yet. The caller closes the file.

        The entry `recording.read_payload` is in the log before; its prefix alone, which is no audio, leaves none.
        Raises usage.range, command.range, vault.missing, and as `header`.
        """
        row, segment = await self._segment(recording_id, number)
        size = segment.payload_bytes
        part = stretch(wanted, size)
        first, end = part or (0, size)
        if end > suite_of(segment.header.suite).prefix or row.state not in ("sealed", *LIVE):
            await self._admit(row, segment, by, "recording.read_payload", {"first_byte": first, "end_byte": end})
        file = await asyncio.to_thread(self._deps.vault.open, row.recording_id, row.payload_of(segment))
        return Stretch(file, first, end, size, part is not None)

    async def waveform(self, recording_id: str, number: int, by: ReadBy) -> bytes:
        """A segment's sealed waveform: ciphertext, which only the segment's file key opens; to get that is the reading that
        is audited (`header`), and a refusal is here, too. Raises not_found.waveform, and as `payload`."""
        row, segment = await self._segment(recording_id, number)
        if row.state in ("erased", "erasing") or segment.state == "shredded":
            raise await self._erased(row, segment)
        await self._granted(row, by, {"recording_id": recording_id, "segment": number} | by.said())
        found = await asyncio.to_thread(self._deps.vault.waveform, recording_id, row.payload_of(segment))
        if found is None:
            raise CallwardenError(
                "not_found.waveform",
                f"segment {number} has no waveform",
                hint="it was cut off with its key gone, or it still runs; its audio is there",
                where=recording_id,
            )
        return found

    async def exported(self, recording_id: str, by: ReadBy) -> None:
        """Note that a copy in `by.form` was made outside the vault. Raises usage.form where none is named."""
        row = await self._recording(recording_id)
        if not by.form:
            raise CallwardenError("usage.form", f"form is one of: {', '.join(FORMS)}", where="form")
        body = {"recording_id": row.recording_id} | by.said()
        body["purpose"] = await self._granted(row, by, body)
        # The copy's row first: a certificate that lists a copy nobody took is better than one that lacks a copy.
        # A package is named by its case, which says at central where it went.
        form = f"package/{by.case}" if by.form == "package" and by.case else by.form
        await self._deps.journal.note_exported(row.recording_id, form, str(body["purpose"]))
        await self._deps.journal.note_audit("recording.exported", body=body)

    async def reads(self, text: str) -> Sequence[Json]:
        """See `Reader.reads`. Raises not_found.recording, usage.ambiguous."""
        return await self._deps.reader.reads((await self._recording(text)).recording_id)

    async def _admit(self, row: RecordingRow, segment: SegmentRow, by: ReadBy, kind: str, more: Json) -> None:
        """An entry that says who reads what, before it is out; or one that says why not, and the refusal.

        What is quarantined is opened only to be checked (`verify`): its plaintext may be what explains it. That is the word
        of who asks, so the entry says that it was quarantined.
        """
        facts = {"recording_id": row.recording_id, "segment": segment.number} | more | by.said()
        if row.state in ("erased", "erasing") or segment.state == "shredded":
            why = row.state if row.state in ("erased", "erasing") else segment.state
            await self._deps.journal.note_audit("recording.read_refused", body={**facts, "why": why})
            raise await self._erased(row, segment)
        if row.state == "quarantined" and by.form != "verify":
            await self._deps.journal.note_audit("recording.read_refused", body={**facts, "why": row.state})
            raise CallwardenError(
                "command.quarantined",
                "the recording is quarantined: its rows and its files disagree",
                hint="`callwarden verify RECORDING` says what is wrong",
                where=row.recording_id,
            )
        if row.state == "quarantined":
            facts["state"] = row.state
        facts["purpose"] = await self._granted(row, by, facts)
        await self._deps.journal.note_audit(kind, body=facts)

    async def _granted(self, row: RecordingRow, by: ReadBy, facts: Json) -> str:
        """The purpose this reading is for. Raises command.purpose after an audit entry when the permit lacks it,
        command.restricted where an order waits to destroy the recording, or where only a legal claim may read it."""
        if (order := await self._deps.journal.restricted_by(row.recording_id)) is not None:
            await self._deps.journal.note_audit("recording.read_refused", body={**facts, "why": "restricted"})
            raise CallwardenError(
                "command.restricted",
                "the recording is restricted: an order will destroy it unless that is cancelled",
                hint=f"order {order}; callwarden order show {order}",
                where=row.recording_id,
            )
        if await restricted(self._deps.journal, row.recording_id, row.call_id, by, facts):
            return by.purpose
        granted = list(_permit(await self.dossier(row.call_id), row).get("purposes", []))
        if not by.purpose:
            return granted[0] if granted else "unstated"
        if by.purpose not in granted:
            await self._deps.journal.note_audit("recording.read_refused", body={**facts, "why": "purpose"})
            raise CallwardenError(
                "command.purpose",
                f"the answer of this call does not cover the purpose {by.purpose!r}",
                hint=f"granted: {', '.join(granted) or 'nothing'}; a case number goes into --case",
                where=row.recording_id,
            )
        return by.purpose

    async def _erased(self, row: RecordingRow, segment: SegmentRow) -> CallwardenError:
        if segment.state == "shredded" and row.state not in ("erased", "erasing"):
            return CallwardenError(
                "not_found.shredded",
                f"segment {segment.number} was removed ({segment.end_reason or 'incident'})",
                hint="its key is destroyed; the other segments are there",
                where=row.recording_id,
            )
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
            recording_id = only([i for i in ids if i.startswith(text)], text, unknown)
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


def _segment(recording: RecordingRow, row: SegmentRow) -> dict[str, Any]:
    return {
        "segment_id": row.segment_id,
        "number": row.number,
        "state": row.state,
        "suite": row.header.suite,
        "chunks": row.chunks,
        "encoding": row.encoding,
        "frames": recording.frames_of(row),
        "plain_bytes": row.plain_bytes,
        "payload_bytes": row.payload_bytes,
        "payload_sha512": row.payload_sha512.hex() if row.payload_sha512 else None,
        "tags_hash": row.tags_hash.hex(),
        "end_reason": row.end_reason,
        "key_id": row.header.key_id.hex(),
        "header_version": row.header.version,
        "recipients": list(row.header.recipients),
        "made_by": row.header.made_by,
    }


def _permit(call: Json, row: RecordingRow) -> Json:
    """The permit a recording rests on, as the dossier has it; empty when it is gone."""
    found: Json = next((p for p in call["permits"] if p["permit_id"] == row.permit_id), {})
    return found
