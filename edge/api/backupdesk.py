"""What is said about backups: that one is made, which there are, and that a restored journal may serve without tombstones."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from edge.api.deps import ApiDeps, Json
from edge.errors import CallwardenError
from formats.errors import FormatError
from formats.ids import is_id, parse_time


@dataclass(frozen=True)
class Copy:
    """A backup that is to be made. place: its folder, for a person; expires_at: RFC 3339, or none."""

    backup_id: str
    place: str
    expires_at: str | None = None

    def __post_init__(self) -> None:
        if not is_id(self.backup_id):
            raise CallwardenError("usage.backup", "a backup is named by 32 hex digits", where="id")
        if not re.fullmatch(r"/[^\x00-\x1f\x7f]{0,400}", self.place):
            raise CallwardenError("usage.place", "the place is an absolute path", where="place")
        try:
            if self.expires_at is not None:
                parse_time(self.expires_at)
        except (FormatError, ValueError) as error:
            raise CallwardenError("usage.time", "expires is a time (RFC 3339, UTC)", where="expires") from error


class BackupDesk:
    """Raises CallwardenError."""

    def __init__(self, deps: ApiDeps) -> None:
        self._deps = deps

    async def begin(self, copy: Copy, uid: int) -> Json:
        """A backup is on file before there is one. Raises restore.pending: what may hold erased things is not copied."""
        if (refusal := self._deps.refusal()) is not None:
            raise refusal
        await self._deps.journal.begin_backup(copy.backup_id, copy.place, copy.expires_at, uid)
        return {"backup_id": copy.backup_id}

    async def finish(self, backup_id: str, uid: int) -> Json:
        """It is whole. Raises not_found.backup."""
        await self._deps.journal.finish_backup(backup_id, uid)
        return {"backup_id": backup_id}

    async def backups(self) -> Sequence[Json]:
        """Oldest first: backup_id place begun_at finished_at expires_at."""
        return [one._asdict() for one in await self._deps.journal.backups()]

    async def accept(self, uid: int, reason: str) -> Json:
        """Let a restored journal serve although central was not asked for tombstones; audited. Raises usage.reason,
        not_found.restore."""
        if not 3 <= len(reason.strip()) <= 200 or not reason.isprintable():
            raise CallwardenError("usage.reason", "say why, in 3 to 200 characters", where="reason")
        if not await self._deps.journal.accept_restore(uid, reason):
            raise CallwardenError("not_found.restore", "this journal is not one that waits after a restore")
        self._deps.accepted()
        return {"accepted": True}
