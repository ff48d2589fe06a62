"""The stored evidence of a call in the shapes that others read. Giving one out leaves an audit entry first."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

from edge.api.deps import ApiDeps, Json
from edge.api.desk import Desk
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
        body = {"form": form, "uid": by.uid} | ({"case": by.case} if by.case else {})
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
