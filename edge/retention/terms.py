"""Which terms count for a call: those it began under, from the journal, and those of today as far as they are approved."""

from __future__ import annotations

from dataclasses import dataclass

import structlog

from edge.consent.policy import from_document
from edge.consent.retention import House, Retention
from edge.model.entities import NO_POLICY
from edge.retention.approval import Approval, Terms, of_text, shorter
from edge.retention.sight import Sight

log = structlog.get_logger("retention")


@dataclass(frozen=True, slots=True)
class Standing:
    """Of one scope. acts: somebody approved terms, or the configuration is the approval; else nothing of it goes by itself.
    today: the policy's terms in force, None for one that is gone. house: likewise. waits: what got shorter and waits for an
    approval, in words (`edge.retention.approval.shorter`).
    grew: today's are nowhere shorter than what was approved, and not the same: they need nobody. approvals: all there were
    of a policy, in order; empty where the configuration is the approval."""

    acts: bool
    today: Retention | None
    house: House
    waits: tuple[str, ...] = ()
    grew: bool = False
    approvals: tuple[Approval, ...] = ()


class TermsBook:
    """Reads and files approvals. Raises CallwardenError journal.*."""

    def __init__(self, sight: Sight) -> None:
        self._sight = sight
        self._recorded: dict[tuple[str, str], Retention | None] = {}

    async def recorded(self, policy_id: str, version: str) -> Retention | None:
        """The terms a call began under; None for a document that this version cannot read. A call that the guard let go on
        while no daemon was there began under no policy: of it the house's defaults count."""
        if not version:
            return self._sight.house().defaults
        key = (policy_id, version)
        if key not in self._recorded:
            document = await self._sight.journal.policy_document(policy_id, version)
            try:
                self._recorded[key] = from_document(document or "").retention
            except ValueError as error:
                log.warning("data is kept: its policy cannot be read", policy=policy_id, why=str(error))
                self._recorded[key] = None
        return self._recorded[key]

    def configured(self, scope: str) -> Terms:
        """What the configuration says now."""
        house = self._sight.house()
        policy = self._sight.terms_of(scope) if scope else None
        return Terms(house.defaults if policy is None and scope == NO_POLICY else policy, house)

    async def standing(self, scope: str) -> Standing:
        """What counts now."""
        now = self.configured(scope)
        if now.house.approve == "at_once":
            return Standing(True, now.policy, now.house)
        approvals = await self._approvals(scope)
        approved = approvals[-1].terms if approvals else None
        if approved is None:
            return Standing(False, now.policy, now.house, shorter(None, now, scope))
        if approved == now:
            return Standing(True, now.policy, now.house, approvals=approvals)
        if waits := shorter(approved, now, scope):
            return Standing(True, approved.policy, approved.house, waits, approvals=approvals)
        grew = now.policy is not None or not scope
        return Standing(True, now.policy, now.house, grew=grew, approvals=approvals)

    async def _approvals(self, scope: str) -> tuple[Approval, ...]:
        """Those by a version whose terms this one does not know have none; then somebody looks again."""
        found = []
        for last_call, text in await self._sight.journal.approved_terms(scope):
            try:
                found.append(Approval(of_text(text), last_call))
            except ValueError as error:
                log.warning("approved terms cannot be read; they wait for an approval", policy=scope, why=str(error))
                found.append(Approval(None, last_call))
        return tuple(found)

    async def approve(self, scope: str, by: str) -> tuple[str, ...]:
        """What the configuration says now counts from now on; returns what got shorter by it."""
        now = self.configured(scope)
        approvals = await self._approvals(scope)
        change = shorter(approvals[-1].terms if approvals else None, now, scope)
        await self._sight.journal.approve_terms(scope, now.text, by)
        return change
