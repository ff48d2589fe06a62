"""What the local door tells of the audit log."""

from __future__ import annotations

from edge.api.deps import ApiDeps, Json

#: Most audit entries in one answer; a reader asks again from where it stopped.
AUDIT_PAGE = 5000


class AuditDesk:
    """Entries and heads of the log. Raises CallwardenError."""

    def __init__(self, deps: ApiDeps) -> None:
        self._deps = deps

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
