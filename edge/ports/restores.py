"""Backups of an edge, and an edge that was put back from one, as stages see them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import msgspec

from edge.model.entities import ReceiptRow


class BackupRow(NamedTuple):
    """A copy that was made. `place`: the folder as it was named; times RFC 3339; `finished_at`: None while it is being made
    or where that broke off; `expires_at`: when it is to be gone, None where nobody said."""

    backup_id: str
    place: str
    begun_at: str
    finished_at: str | None
    expires_at: str | None


class RestoreMark(msgspec.Struct, frozen=True):
    """What a journal that was put back says of itself until it is settled. `made_at`: when its backup was copied; `uid`: who
    put it back; `accepted`: somebody lets it serve without central's tombstones, for `reason`."""

    backup_id: str
    made_at: str
    restored_at: str
    uid: int
    accepted: bool = False
    reason: str = ""


class Tombstone(NamedTuple):
    """An erasure that central knows of; `receipt_id`: this edge's receipt about it, where central has that."""

    recording_id: str
    at: str
    receipt_id: str | None


class ElsewherePort(Protocol):
    """What central remembers of this edge. Raises CallwardenError sync.* when it cannot be asked."""

    async def tombstones(self) -> Sequence[Tombstone]: ...
    async def receipts(self) -> Sequence[ReceiptRow]:
        """Receipts that this edge signed, each verified under its own key."""
        ...

    async def witnessed(self) -> Mapping[str, int]:
        """Origin of each of this edge's logs that central mirrors, to the number of its entries."""
        ...

    async def take_orders(self) -> None:
        """Every order that central has for this edge is in the inbox when it returns."""
        ...


class RestoreBook(Protocol):
    """Rows about backups and restores."""

    async def begin_backup(self, backup_id: str, place: str, expires_at: str | None, uid: int) -> None:
        """On file before there is a copy; audit `backup.begun`. A repeat changes nothing."""
        ...

    async def finish_backup(self, backup_id: str, uid: int) -> None:
        """The copy is whole and verified; audit `backup.made`. Raises not_found.backup."""
        ...

    async def backups(self) -> Sequence[BackupRow]: ...
    async def restore_mark(self) -> RestoreMark | None:
        """None: this journal was never put back, or that is settled."""
        ...

    async def accept_restore(self, uid: int, reason: str) -> bool:
        """Let it serve without tombstones; audit `restore.accepted`. False: there is nothing to accept."""
        ...

    async def bury_unknown(self, recording_id: str, erased_at: str, receipt_id: str | None) -> bool:
        """A tombstone for a recording this journal does not know; False when it knows it, or has the tombstone."""
        ...

    async def take_back_receipts(self, receipts: Sequence[ReceiptRow]) -> int:
        """File receipts that were given before the backup was put back, as acknowledged; how many were new."""
        ...

    async def end_answered(self, jtis: Sequence[str]) -> Sequence[int]:
        """Orders that have their last receipt are over, their waiting finds and openings gone; the slots of those, to be
        released."""
        ...

    async def tombstones_after(self, recording_id: str) -> Sequence[str]:
        """Ids of erased recordings behind this one, in order, at most 1000."""
        ...

    async def anonymous_after(self, call_id: str) -> Sequence[Mapping[str, Any]]:
        """What `call.anonymised` said of anonymous calls behind this one, in order, at most 250."""
        ...

    async def send_receipts_again(self, restore: str) -> bool:
        """Every receipt waits for central again, once per restore of central; false when that was done."""
        ...

    async def settle_restore(self, facts: dict[str, Any]) -> None:
        """The mark goes, audit `restore.settled` with `facts`. A repeat changes nothing."""
        ...
