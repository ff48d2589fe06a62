"""The journal's rows that prove an answer, as they get old. Durability as in `edge.ports.journal`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol


class EvidenceBook(Protocol):
    """What outlives the audio, and what ends it (docs/spec/evidence.md)."""

    async def numbers_of(self, call_id: str) -> Sequence[tuple[str, str]]:
        """(party_id, number in E.164) of the call's outside parties whose number is still stored."""
        ...

    async def policies_with_evidence(self) -> Sequence[tuple[str, str, str]]:
        """(policy_id, version, document) of the policies of calls that are over and whose evidence has not expired."""
        ...

    async def old_evidence(
        self, policy_id: str, version: str, *, refusals: bool, before: str, limit: int
    ) -> Sequence[tuple[str, str]]:
        """(call_id, ended_at), the oldest first: calls of this policy that ended by `before`, no audio of which is left
        and that no hold covers. `refusals`: those that ended as `refused` `objected` or `abandoned` and never had a
        permit; else all others."""
        ...

    async def expire_evidence(self, call_ids: Sequence[str]) -> int:
        """Remove the evidence of calls: events (what a permit stands on stays as its word), numbers and their HMACs, legs,
        pauses, notices. The call's row stays. One commit with one audit `evidence.expired`; returns how many calls. A call
        that goes on, has audio left or is under a hold is passed over; repeats do nothing."""
        ...
