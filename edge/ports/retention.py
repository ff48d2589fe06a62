"""The journal's rows as retention looks at them. Durability as in `edge.ports.journal`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from edge.model.kept import KeptCall, KeptRecording


class RetentionBook(Protocol):
    """What is there, since when, under which terms (docs/retention.md)."""

    async def approved_terms(self, scope: str) -> Sequence[tuple[int, str]]:
        """All terms that were approved, in order, each with the seq of the newest call of then, 0 for none
        (`edge.retention.approval.Terms.text`); scope: a policy's name, "" for what belongs to no policy."""
        ...

    async def approve_terms(self, scope: str, terms: str, by: str) -> None:
        """Add to them; audit `retention.approved` with the SHA-256 of the text. Those that are the last already change
        nothing."""
        ...

    async def kept_versions(self) -> Sequence[tuple[str, str]]:
        """(policy_id, version) of the policies that calls on file began under."""
        ...

    async def kept_recording(self, recording_id: str) -> KeptRecording | None: ...
    async def kept_recordings(
        self, policy_id: str, version: str, *, before: str, after: tuple[str, int]
    ) -> tuple[Sequence[KeptRecording], tuple[str, int] | None]:
        """One page: recordings with audio or its keys, of calls of this policy that ended by `before`, the oldest first,
        behind `after` = (call's end, call's seq); and where the next page begins, None for the last."""
        ...

    async def kept_calls(
        self, policy_id: str, version: str, *, before: str, after: tuple[str, int], kind: str | None = None
    ) -> tuple[Sequence[KeptCall], tuple[str, int] | None]:
        """One page of calls, likewise; `kind`: only those that have something of the class `evidence` (a no, too),
        `metadata` or `notices`."""
        ...

    async def forget_calls(self, call_ids: Sequence[str], numbers: Mapping[str, Mapping[str, str]]) -> int:
        """Take numbers and channel names out of calls that have no audio left; of the evidence the minimal record stays, and
        where it has expired the call becomes anonymous. `numbers`: call to party_id to the HMAC that stays. One commit, audit
        `metadata.expired`; returns how many. What is held, live or has audio is passed over; repeats do nothing."""
        ...

    async def delete_notices(self, call_ids: Sequence[str]) -> int:
        """Rows about texts that were sent or given up, of calls that nothing holds. One commit, audit `notices.expired`;
        returns how many."""
        ...

    async def delete_calls(self, call_ids: Sequence[str]) -> int:
        """Calls whose evidence has expired and whose copies are off the list, with everything that hangs on them; tombstones
        stay. One commit, audit `statistics.expired`; returns how many calls. What is held, or not reported yet, is passed
        over."""
        ...

    async def delete_orders(self, before: str, limit: int) -> int:
        """Orders acknowledged, and receipts that stand on a ground and were acknowledged, from before then; holds released
        before then. One commit, audit `orders.expired`; returns how many rows of orders and receipts."""
        ...

    async def delete_alarms(self, before: str, limit: int) -> int:
        """One commit, audit `alarms.expired`; returns how many."""
        ...

    async def delete_exports(self, before: str, limit: int) -> int:
        """Rows about copies that were given out. One commit, audit `exports.expired`; returns how many."""
        ...

    async def house_counts(self, orders: str, alarms: str, exports: str) -> tuple[int, int, int]:
        """How many orders, alarms and copies are older than these times and would be deleted."""
        ...
