"""The stored evidence of a call in the shapes that others read. Giving one out leaves an audit entry first."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

from edge.api.deps import ApiDeps, Json
from edge.api.desk import Desk
from edge.api.restricted import LEGAL_CLAIMS
from edge.api.words import ReadBy
from edge.errors import CallwardenError
from formats import canonical, consent_receipt, consent_record, vcon
from formats.ids import format_time

FORMS: Final = ("json", "record", "vcon", "receipt")


class EvidenceDesk:
    """Raises CallwardenError."""

    def __init__(self, deps: ApiDeps, desk: Desk) -> None:
        self._deps, self._desk = deps, desk

    async def evidence(self, text: str, form: str, by: ReadBy, *, signed: bool = True) -> Json:
        """`form`: `json` (the stored rows), `record` (docs/spec/consent-record.md), `vcon` (docs/spec/vcon.md; a General
        JWS by the edge's key unless `signed` is false), `receipt` (`{"language", "text"}`, docs/spec/receipt.md).

        Raises usage.form, not_found.call, not_found.evidence (it has expired), usage.ambiguous.
        """
        if form not in FORMS:
            raise CallwardenError("usage.form", f"form is one of: {', '.join(FORMS)}", where="form")
        row = await self._desk.why(text)
        if row["call"] is None:
            raise CallwardenError(
                "not_found.call",
                "the daemon was away when this call began: there is no evidence",
                hint="`callwarden why` says when it was away",
                where=text,
            )
        call_id = row["call"]["call_id"]
        if row["call"]["evidence"] == "expired":
            raise CallwardenError(
                "not_found.evidence",
                "the evidence of this call has expired and was removed, as its policy says",
                hint="`callwarden why` says what is left",
                where=call_id,
            )
        body = {"form": form, "uid": by.uid} | {name: one for name, one in named(by) if one}
        await self._admit(row, by, body)
        await self._deps.journal.note_audit("evidence.exported", subject=call_id, body=body)
        at = format_time(datetime.now(UTC))
        match form:
            case "record":
                return consent_record.consent_record(row, edge_id=self._deps.edge_id, at=at)
            case "vcon":
                document = vcon.vcon(row, edge_id=self._deps.edge_id, at=at)
                if not signed or self._deps.attest is None:
                    return document
                return dict(self._deps.attest(vcon.TYP, canonical.dumps(document)))
            case "receipt":
                return consent_receipt.receipt(row, edge_id=self._deps.edge_id, at=at)
        return row

    async def _admit(self, row: Json, by: ReadBy, body: Json) -> None:
        """An operator proves an answer without a purpose of the recording's. One that is named must be an answer's, and of a call
        that is restricted evidence is given out for legal claims only. Raises command.purpose, command.restricted, after
        an audit entry `evidence.refused`."""
        call_id = row["call"]["call_id"]
        claim = by.purpose == LEGAL_CLAIMS and bool(by.case)
        why = ""
        for recording_id in ("", *(one["recording_id"] for one in row["recordings"])):
            if not claim and await self._deps.journal.restrictions_on(recording_id, call_id):
                why = "restricted"
        granted = {purpose for permit in row["permits"] for purpose in permit["purposes"]}
        if not why and by.purpose and not claim and by.purpose not in granted:
            why = "purpose"
        if not why:
            return
        await self._deps.journal.note_audit("evidence.refused", subject=call_id, body={**body, "why": why})
        if why == "restricted":
            raise CallwardenError(
                "command.restricted",
                "the call is restricted: its evidence is given out for legal claims only",
                hint=f"for a claim: --purpose {LEGAL_CLAIMS} --case NUMBER",
                where=call_id,
            )
        raise CallwardenError(
            "command.purpose",
            f"no answer of this call covers the purpose {by.purpose!r}",
            hint=f"granted: {', '.join(sorted(granted)) or 'nothing'}; none need be named to prove an answer",
            where=call_id,
        )


def named(by: ReadBy) -> tuple[tuple[str, str], ...]:
    """What of a reading goes into the log where it is said."""
    return ("case", by.case), ("purpose", by.purpose)
