"""Evidence whose time is over is removed. The time is that of the policy the call was under, as it stood then."""

from __future__ import annotations

from datetime import datetime
from typing import Final

import structlog

from edge.consent.policy import Retention, from_document
from edge.consent.units import Period
from edge.failpoints import hit
from edge.retention.means import Means
from edge.retention.schedule import certainly_not_after, expired
from formats.ids import format_time

log = structlog.get_logger("retention")

#: Calls in one commit: a few milliseconds of the journal's one writer.
BATCH: Final = 100


class EvidenceExpiry:
    """One pass over all policies that calls were under."""

    def __init__(self, means: Means) -> None:
        self._means = means
        self._said: set[tuple[str, str]] = set()

    async def once(self) -> int:
        """Remove all that has expired; returns of how many calls. Raises CallwardenError journal.*: what is left waits for the
        next pass."""
        now, done = self._means.clock.wall(), 0
        for policy_id, version, document in await self._means.journal.policies_with_evidence():
            periods = self._periods(policy_id, version, document)
            if periods is not None:
                done += await self._expire(policy_id, version, True, periods.refusals, now)
                done += await self._expire(policy_id, version, False, periods.evidence, now)
        return done

    def _periods(self, policy_id: str, version: str, document: str) -> Retention | None:
        try:
            return from_document(document).retention
        except ValueError as error:
            if (policy_id, version) not in self._said:
                self._said.add((policy_id, version))
                log.warning("evidence is kept: its policy cannot be read", policy=policy_id, why=str(error))
            return None

    async def _expire(self, policy_id: str, version: str, refusals: bool, period: Period, now: datetime) -> int:
        journal, done = self._means.journal, 0
        before = format_time(certainly_not_after(period, now))
        while True:
            found = await journal.old_evidence(policy_id, version, refusals=refusals, before=before, limit=BATCH)
            old = [call_id for call_id, ended_at in found if expired(period, datetime.fromisoformat(ended_at), now)]
            gone = await journal.expire_evidence(old) if old else 0
            if gone:
                hit("evidence.expired")
                log.info("evidence has expired", policy=policy_id, refusals=refusals, calls=gone)
            done += gone
            if not gone or len(old) < BATCH:
                return done
