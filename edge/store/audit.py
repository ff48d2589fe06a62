"""Rows of the audit log, its checkpoints, and alarms. The tree itself is the `AuditSink`'s."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from typing import Any, Final

from edge.errors import CallwardenError
from edge.model.entities import AuditRow, Checkpoint
from edge.ports import AuditSink
from edge.store.base import Base, emit

_SIZE: Final = "SELECT ifnull(max(idx) + 1, 0) FROM audit"
_CHECKPOINT: Final = "SELECT size, note, cosigned FROM checkpoint"


def raise_alarm(conn: sqlite3.Connection, audit: AuditSink, at: str, code: str, message: str, where: str) -> None:
    """Alarm row, audit entry (code only: a message may quote the world) and outbox row, in the caller's transaction."""
    conn.execute("INSERT INTO alarm(at, code, message, place) VALUES(?, ?, ?, ?)", (at, code, message, where))
    audit.append(conn, at, "alarm.raised", body={"code": code})
    emit(conn, "alarm.raised", "", {"code": code, "message": message, "where": where, "at": at})


class Audits(Base):
    """The `AuditBook` of the journal."""

    async def note_audit(self, kind: str, *, subject: str | None = None, body: Mapping[str, Any] | None = None) -> None:
        """See `edge.ports.AuditBook`. A `subject` that is a known call or recording goes under its call's salt."""

        def job(conn: sqlite3.Connection) -> None:
            call_id, about = _call_of(conn, subject), subject
            self._audit.append(
                conn, self._clock.wall_text(), kind, subject=call_id or about, call_id=call_id, body=body
            )

        await self._writer.do(job)

    async def alarm(self, code: str, message: str, *, where: str = "") -> None:
        """See `edge.ports.AuditBook`."""

        def job(conn: sqlite3.Connection) -> None:
            raise_alarm(conn, self._audit, self._clock.wall_text(), code, message, where)

        try:
            await self._writer.do(job)
        except CallwardenError:
            pass  # an alarm about a journal that is gone cannot be filed in it; `writable` says so already

    async def audit_size(self) -> int:
        """How many entries there are."""
        return await self._readers.read(lambda conn: int(conn.execute(_SIZE).fetchone()[0]))

    async def audit_entries(self, start: int, end: int) -> Sequence[AuditRow]:
        """Entries with start <= index < end."""

        def job(conn: sqlite3.Connection) -> Sequence[AuditRow]:
            rows = conn.execute(
                "SELECT idx, at, entry, leaf FROM audit WHERE idx>=? AND idx<? ORDER BY idx", (start, end)
            )
            return [AuditRow(*row) for row in rows]

        return await self._readers.read(job)

    async def audit_root(self, size: int) -> bytes:
        """Root over the first `size` entries. Raises CallwardenError audit.size."""
        return await self._readers.read(lambda conn: self._audit.root(conn, size))

    async def audit_proof(self, index: int, size: int) -> Sequence[bytes]:
        """Inclusion proof. Raises CallwardenError audit.size."""
        return await self._readers.read(lambda conn: self._audit.proof(conn, index, size))

    async def save_checkpoint(self, checkpoint: Checkpoint) -> None:
        """Store a note, or the cosigned form of one; what is stored is not replaced by less."""

        def job(conn: sqlite3.Connection) -> None:
            conn.execute(
                "INSERT INTO checkpoint(size, note, cosigned) VALUES(?, ?, ?) ON CONFLICT(size) DO UPDATE SET"
                " cosigned=ifnull(excluded.cosigned, cosigned)",
                (checkpoint.size, checkpoint.note, checkpoint.cosigned),
            )

        await self._writer.do(job, wakes=checkpoint.cosigned is None)

    async def last_checkpoint(self) -> Checkpoint | None:
        """The largest one."""
        return await self._readers.read(lambda conn: _one(conn, f"{_CHECKPOINT} ORDER BY size DESC LIMIT 1"))

    async def last_cosigned(self) -> Checkpoint | None:
        """The largest one that a witness signed."""
        return await self._readers.read(
            lambda conn: _one(conn, f"{_CHECKPOINT} WHERE cosigned IS NOT NULL ORDER BY size DESC LIMIT 1")
        )


def _one(conn: sqlite3.Connection, query: str) -> Checkpoint | None:
    row = conn.execute(query).fetchone()
    return None if row is None else Checkpoint(*row)


def _call_of(conn: sqlite3.Connection, subject: str | None) -> str | None:
    if subject is None:
        return None
    row = conn.execute(
        "SELECT call_id FROM call WHERE call_id=?1 UNION SELECT call_id FROM recording WHERE recording_id=?1",
        (subject,),
    ).fetchone()
    return None if row is None else str(row[0])
