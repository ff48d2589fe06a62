"""How long evidence is kept: whose number is to outlive an erasure as HMAC, and what is removed when its time is over."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Final

from edge.store.base import Base
from edge.store.covers import covers_any
from edge.store.minimal import expire

#: Calls whose evidence may go as far as this edge's rows can tell: over, no audio left, nothing held. A `no` is an answer
#: that never let anything be recorded.
_MAY_GO: Final = f"""
c.state='ended' AND c.evidence<>'expired'
  AND NOT EXISTS(SELECT 1 FROM recording r WHERE r.call_id=c.call_id AND r.state NOT IN ('erased','no_audio'))
  AND NOT EXISTS(SELECT 1 FROM hold h WHERE {covers_any("c.call_id")})"""  # noqa: S608 - our own words
_A_NO: Final = """
(c.outcome IN ('refused','objected','abandoned') AND NOT EXISTS(SELECT 1 FROM permit p WHERE p.call_id=c.call_id))"""


class Evidence(Base):
    """The `EvidenceBook` of the journal."""

    async def numbers_of(self, call_id: str) -> Sequence[tuple[str, str]]:
        """See `edge.ports.EvidenceBook`."""

        def job(conn: sqlite3.Connection) -> Sequence[tuple[str, str]]:
            query = (
                "SELECT party_id, number_e164 FROM party WHERE call_id=? AND role<>'agent' AND number_e164 IS NOT NULL"
            )
            return [(row[0], row[1]) for row in conn.execute(query, (call_id,))]

        return await self._readers.read(job)

    async def policies_with_evidence(self) -> Sequence[tuple[str, str, str]]:
        """See `edge.ports.EvidenceBook`."""

        def job(conn: sqlite3.Connection) -> Sequence[tuple[str, str, str]]:
            query = (
                "SELECT policy_id, version, document FROM policy d WHERE EXISTS(SELECT 1 FROM call c WHERE"
                " c.policy_id=d.policy_id AND c.policy_version=d.version AND c.state='ended' AND c.evidence<>'expired')"
            )
            return [(row[0], row[1], row[2]) for row in conn.execute(query)]

        return await self._readers.read(job)

    async def old_evidence(
        self, policy_id: str, version: str, *, refusals: bool, before: str, limit: int
    ) -> Sequence[tuple[str, str]]:
        """See `edge.ports.EvidenceBook`."""

        def job(conn: sqlite3.Connection) -> Sequence[tuple[str, str]]:
            query = (
                "SELECT c.call_id, c.ended_at FROM call c WHERE c.policy_id=? AND c.policy_version=?"  # noqa: S608
                f" AND c.ended_at<=? AND {'' if refusals else 'NOT'} {_A_NO} AND {_MAY_GO} ORDER BY c.ended_at LIMIT ?"
            )
            return [(row[0], row[1]) for row in conn.execute(query, (policy_id, version, before, limit))]

        return await self._readers.read(job)

    async def expire_evidence(self, call_ids: Sequence[str]) -> int:
        """See `edge.ports.EvidenceBook`."""

        def job(conn: sqlite3.Connection) -> int:
            calls = events = 0
            for call_id in call_ids:
                # Asked again: a hold may have come since the caller looked.
                may = conn.execute(
                    f"SELECT 1 FROM call c WHERE c.call_id=? AND {_MAY_GO}",  # noqa: S608 - our own words
                    (call_id,),
                ).fetchone()
                if may is not None:
                    calls += 1
                    events += expire(conn, call_id)
            if calls:
                facts = {"calls": calls, "events": events}
                self._audit.append(conn, self._clock.wall_text(), "evidence.expired", body=facts)
            return calls

        return await self._writer.do(job)
