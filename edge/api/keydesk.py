"""Who can open what is stored, and further headers for it, made where an identity is and carried here.

Write order `rewrap`: the new header under a fresh shred key, its slot synced and read back; one commit that puts it in the
place of the old one, whose row names no key from then on; the old slot overwritten. At every step exactly one row has a
header that opens. Nothing is revoked by it: who could open the old header may have kept the file key or the audio.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Mapping
from typing import Any, Final

from edge.api.deps import ApiDeps, Json
from edge.errors import CallwardenError
from edge.failpoints import hit
from edge.model.entities import HeaderRow, RecordingRow, SegmentRow
from formats.errors import FormatError
from formats.keys import unb64url
from formats.rewrap import MAX_HEADER, RewrapClaims, VerifiedRewrap, verify_rewrap
from formats.shred import seal_header, unseal_header

#: Recordings in one answer of `headers`.
PAGE: Final = 200
#: Calls told again in one commit: short enough that no call waits for the writer.
RESEND: Final = 50


class KeyDesk:
    """Raises CallwardenError."""

    def __init__(self, deps: ApiDeps) -> None:
        self._deps = deps

    async def keys(self) -> Json:
        """`policies` (name to `recipients` `epochs` `months`) and `segments`: recipient to how many it can open."""
        policies = dict(self._deps.keys.policies()) if self._deps.keys else {}
        return {
            "edge_id": self._deps.edge_id,
            "policies": policies,
            "segments": dict(await self._deps.journal.recipients_in_use()),
        }

    async def headers(self, after: int) -> list[Json]:
        """Newest headers of the next recordings that are sealed; see `KeyBook.headers_after`."""
        return [dict(one) for one in await self._deps.journal.headers_after(after, PAGE)]

    async def rewrap(self, recording_id: str, number: int, body: Mapping[str, Any], uid: int, now: str) -> Json:
        """Put a header into the place of a segment's newest. `body`: `statement` (docs/spec/rewrap.md) and `header`,
        base64url. Answers `version` and `did`: `replaced`, or `already` where this statement was taken before.

        Raises usage.body, auth.*, command.rewrap (statement and header are not about this segment), command.recipients,
        command.state, command.version, vault.*, daemon.stopped, and what `ApiDeps.refusal` says.
        """
        trust, facts = self._deps.trust, self._deps.keys
        if trust is None or facts is None:
            raise CallwardenError(
                "daemon.stopped", "the daemon is not running, and it alone writes keys",
                hint="start it with `callwarden run`", retryable=True,
            )  # fmt: skip
        if (refusal := self._deps.refusal()) is not None:
            raise refusal
        statement, header = _carried(body)
        try:
            said = verify_rewrap(statement, trust.active(now))
        except FormatError as error:
            hint = "a DPO's key in the trust file signs it: --sign-key"
            raise CallwardenError(error.code, error.message, hint=hint, where=recording_id) from error
        row, segment = await self._found(recording_id, number)
        _refuse_other(said.claims, self._deps.edge_id, row, segment, header)
        wanted = facts.recipients_of(said.claims.policy)
        if wanted is None or tuple(wanted) != said.claims.recipients:
            raise CallwardenError(
                "command.recipients", f'these are not the recipients of policy "{said.claims.policy}" now',
                hint="change the policy first and reload it: who may open recordings is decided there", where=recording_id,
            )  # fmt: skip
        replaced = await self._replace(row, segment, said, statement, header, uid)
        return {
            "recording_id": row.recording_id,
            "segment": number,
            "version": said.claims.version,
            "did": "replaced" if replaced else "already",
        }

    async def resend(self) -> Json:
        """Put everything that central should know into the outbox again: how many `calls` and `events`.

        Raises daemon.stopped.
        """
        if self._deps.trust is None:
            raise CallwardenError(
                "daemon.stopped", "the daemon is not running: nothing would be sent",
                hint="start it with `callwarden run`", retryable=True,
            )  # fmt: skip
        await self._deps.journal.begin_resend()
        hit("resend.begun")
        last, calls, events = await self._deps.journal.resend_calls(0, RESEND)
        while last:
            hit("resend.some")
            more = await self._deps.journal.resend_calls(last, RESEND)
            last, calls, events = more[0], calls + more[1], events + more[2]
        return {"calls": calls, "events": events}

    async def _replace(
        self, row: RecordingRow, segment: SegmentRow, said: VerifiedRewrap, statement: str, header: bytes, uid: int
    ) -> bool:
        claims, slots, recording_id = said.claims, self._deps.slots, row.recording_id
        shred_key = secrets.token_bytes(32)
        sealed = seal_header(
            header, shred_key, secrets.token_bytes(12), recording_id, segment.segment_id, claims.version
        )
        slot = await slots.put(shred_key)
        hit("rewrap.slot_synced")
        if unseal_header(sealed, await slots.read(slot), recording_id, segment.segment_id, claims.version) != header:
            raise CallwardenError("vault.damaged", "the new key does not read back", where=segment.segment_id)
        new = HeaderRow(
            segment.segment_id, claims.version, claims.suite, sealed, slot, claims.recipients, segment.header.key_id,
            said.signer.kid,
        )  # fmt: skip
        try:
            old = await self._deps.journal.add_header(recording_id, new, statement, uid)
        except CallwardenError as error:
            # After a commit whose sync failed the row may be there all the same; the next start sweeps what no row names.
            if error.code.startswith("command.") or error.code == "journal.unknown":
                await slots.release([slot])
            raise
        hit("rewrap.committed")
        # Where this fails the slot is one that no row names, and the next start overwrites it.
        await slots.release([old or slot])
        hit("rewrap.released")
        return bool(old)

    async def _found(self, recording_id: str, number: int) -> tuple[RecordingRow, SegmentRow]:
        row = await self._deps.journal.recording(recording_id)
        segments = [one for one in row.segments if one.number == number] if row else []
        if row is None or not segments:
            raise CallwardenError("not_found.segment", "there is no such segment", where=f"{recording_id} {number}")
        return row, segments[0]


def _carried(body: Mapping[str, Any]) -> tuple[str, bytes]:
    statement, text = body.get("statement"), body.get("header")
    try:
        header = unb64url(text) if isinstance(text, str) else b""
    except FormatError:
        header = b""
    if not isinstance(statement, str) or not 0 < len(header) <= MAX_HEADER:
        message = f"a statement, and a header of at most {MAX_HEADER // 1024} KiB in base64url"
        raise CallwardenError("usage.body", message, where="body")
    return statement, header


def _refuse_other(claims: RewrapClaims, edge_id: str, row: RecordingRow, segment: SegmentRow, header: bytes) -> None:
    """Raises command.rewrap unless the signed claims are about this segment and this header."""
    said = (claims.edge_id, claims.recording_id, claims.segment_id, claims.number, claims.suite, claims.key_id)
    have = (
        edge_id,
        row.recording_id,
        segment.segment_id,
        segment.number,
        segment.header.suite,
        segment.header.key_id.hex(),
    )
    if said != have or claims.header_sha256 != hashlib.sha256(header).hexdigest():
        raise CallwardenError("command.rewrap", "the statement is about something else", where=row.recording_id)
