"""Corrections of a call's metadata, and what certificates are made of. Durability as in `edge.ports.journal`."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Protocol

from edge.model.entities import ReceiptRow


class RectifyBook(Protocol):
    """Metadata that was wrong; receipts and log entries by what they name."""

    async def rectify(
        self, call_id: str, changes: Mapping[str, str], number: tuple[str, str | None, str, str | None] | None,
        reason: str, uid: int,
    ) -> Sequence[str]:  # fmt: skip
        """Correct `language` and `policy` with `policy_version` (`changes`) and the number of the call's own party (as heard,
        E.164, class, HMAC). The old value stays as salted SHA-256, with the reason, until the call's numbers go; audit and
        outbox `call.rectified` name the fields, never a number. One commit; returns the fields. Raises journal.unknown,
        calls.anonymous, calls.no_number, calls.no_digest, calls.two_rows."""
        ...

    async def newest_version(self, policy_id: str) -> str | None:
        """The version of a policy that was loaded last; None where no call was ever under it."""
        ...

    async def receipt(self, receipt_id: str) -> ReceiptRow | None: ...
    async def entries_naming(self, ids: Collection[str]) -> Sequence[tuple[int, str]]:
        """(index, canonical JSON) of the audit entries that name one of `ids` (32 hex digits), oldest first. Reads the whole
        log, once."""
        ...
