"""Who can open what is stored, as stages see it in the journal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from edge.model.entities import HeaderRow


class ResendBook(Protocol):
    """Telling central everything once more."""

    async def begin_resend(self) -> None:
        """Receipts count as not acknowledged, and deliveries from any number on are new (their orders are known by jti);
        payloads that went by policy are due again; audit `sync.resend`. One commit."""
        ...

    async def resend_calls(self, after: int, limit: int) -> tuple[int, int, int]:
        """Outbox events for up to `limit` calls with a higher seq, their answers and recordings, as stored now. One commit.
        Returns (seq of the last, calls, events); (0, 0, 0) at the end."""
        ...

    async def tell_calls_again(self, restore: str, limit: int) -> int:
        """The next `limit` calls as `resend_calls` does them, for a central that was put back: each call once per `restore`,
        whatever is killed in between. Payloads that went by policy are due again with the first. One commit; how many calls, 0 at
        the end."""
        ...


class KeyBook(ResendBook, Protocol):
    """Headers of stored segments, and their recipients."""

    async def add_header(self, recording_id: str, header: HeaderRow, statement: str, uid: int) -> int:
        """A further header of a closed segment, in the place of the newest (whose row then names no key), with the signed
        statement of who made it; audit `header.replaced`, outbox `header.replaced`. One commit. Returns the slot that no
        row names any more, which the caller shreds; 0 where this very statement is stored already.

        Raises CallwardenError journal.unknown, command.state (the recording is not `sealed`), command.version (the newest
        header is not the one before it).
        """
        ...

    async def headers_after(self, seq: int, limit: int) -> Sequence[Mapping[str, Any]]:
        """Newest headers of the closed segments of up to `limit` sealed recordings with a higher `seq`: seq recording_id
        policy segment_id number version recipients."""
        ...

    async def recipients_in_use(self) -> Mapping[str, int]:
        """Recipient to the number of segments that it can open; where nobody is left to know, nothing is listed."""
        ...
