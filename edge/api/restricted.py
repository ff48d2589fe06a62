"""Restriction of processing (GDPR Art. 18): what is restricted is kept, and read only for legal claims."""

from __future__ import annotations

from edge.api.deps import Json
from edge.api.words import ReadBy
from edge.errors import CallwardenError
from edge.ports import Journal

#: The one purpose for which a restricted recording may be read, whatever its permit grants; it needs a case.
LEGAL_CLAIMS = "legal_claims"


async def restricted(journal: Journal, recording_id: str, call_id: str, by: ReadBy, facts: Json) -> bool:
    """Whether the recording is restricted, and this reading may go on all the same. Raises command.restricted after an audit
    entry (`facts`) when it may not, whatever it says it is made as: a key that is out was given out."""
    reasons = await journal.restrictions_on(recording_id, call_id)
    if not reasons:
        return False
    if by.purpose == LEGAL_CLAIMS and by.case:
        return True
    await journal.note_audit("recording.read_refused", body={**facts, "why": "restricted"})
    raise CallwardenError(
        "command.restricted",
        f"the recording is restricted ({'; '.join(reasons)}): nobody may read it but for legal claims",
        hint=f"for a claim: --purpose {LEGAL_CLAIMS} --case NUMBER; `callwarden hold list` shows who restricted it",
        where=recording_id,
    )
