"""The journal's rows about orders that change what is in force here, and about uploads. Durability as in `edge.ports.journal`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from edge.model.entities import ReceiptRow
from edge.model.ordered import OrderedPolicy, PinnedRow, Wanted


class OrderedBook(Protocol):
    """Policies and pinned keys by order, and what central wants uploaded."""

    async def ordered_policies(self) -> Sequence[OrderedPolicy]:
        """All, by name, what is in force before what waits."""
        ...

    async def file_policy(self, row: OrderedPolicy, receipt: ReceiptRow | None, *, due_at: str | None) -> None:
        """In the place of the one of that name that acts, or that waits; its order `executing` until `due_at`; audit
        `policy.ordered`. One that acts ends the same one that waited. One commit; repeats do nothing."""
        ...

    async def drop_policy(self, jti: str) -> None:
        """What waits by this order waits no more; audit `policy.dropped`. Repeats do nothing."""
        ...

    async def pinned(self) -> PinnedRow | None:
        """The newest."""
        ...

    async def pin(
        self, row: PinnedRow, receipt: ReceiptRow | None, *, due_at: str | None, facts: Mapping[str, Any]
    ) -> None:
        """What is pinned from now on; its order `executing` until `due_at`; audit `keys.pinned` with `facts`. One commit; the
        same order and key set again do nothing."""
        ...

    async def unpin(self) -> None:
        """The trust file counts alone again; audit `keys.unpinned`."""
        ...

    async def want_media(self, jti: str, recording_ids: Sequence[str], at: str, receipt: ReceiptRow) -> None:
        """Rows that wait, the order `executing`, a receipt. One commit; repeats do nothing."""
        ...

    async def wanted_media(self, jti: str | None = None) -> Sequence[Wanted]:
        """What waits, the oldest first; of an order: all of it."""
        ...

    async def wanted_since(self, since: str) -> int:
        """How many recordings were asked for since then."""
        ...

    async def media_served(self, jti: str, recording_id: str, result: str, evidence: Mapping[str, Any]) -> None:
        """What became of one: "done", or a code. Repeats do nothing."""
        ...
