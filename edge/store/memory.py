"""Remembered answers: numbers only as HMACs, under a key that lies in a slot."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Final

from edge.model.live import AnswerRow
from edge.store.base import Base

#: Journal meta key of the slot that holds the key of the HMACs.
SLOT_META: Final = "memory_slot"
_COLUMNS: Final = (
    "number_hmac, purpose, outcome, prompt_major, policy_id, policy_version, event_seq, verified, answered_at,"
    " valid_until, revoked_at"
)


def forget_number(conn: sqlite3.Connection, number_hmac: str, at: str) -> int:
    """Revoke all answers of a number; returns how many. Part of `forget` and `withdraw`."""
    done = conn.execute("UPDATE answer SET revoked_at=? WHERE number_hmac=? AND revoked_at IS NULL", (at, number_hmac))
    return done.rowcount


class Memory(Base):
    """The `MemoryBook` of the journal."""

    async def memory_slot(self) -> int | None:
        """See `edge.ports.MemoryBook`."""

        def job(conn: sqlite3.Connection) -> int | None:
            row = conn.execute("SELECT value FROM meta WHERE key=?", (SLOT_META,)).fetchone()
            return None if row is None else int(row[0])

        return await self._readers.read(job)

    async def set_memory_slot(self, slot: int) -> None:
        """See `edge.ports.MemoryBook`. Another key forgets everybody: what it cannot recognise any more is deleted."""

        def job(conn: sqlite3.Connection) -> None:
            before = conn.execute("SELECT value FROM meta WHERE key=?", (SLOT_META,)).fetchone()
            if before is not None and int(before[0]) != slot:
                conn.execute("DELETE FROM answer")
            conn.execute(
                "INSERT INTO meta(key, value) VALUES(?, ?) ON CONFLICT(key) DO UPDATE SET value=excluded.value",
                (SLOT_META, str(slot)),
            )

        await self._writer.do(job, wakes=False)

    async def remember(self, answers: Sequence[AnswerRow]) -> None:
        """See `edge.ports.MemoryBook`. An answer that is older than the stored one changes nothing."""
        rows = [
            (a.number_hmac, a.purpose, a.outcome, a.prompt_major, a.policy_id, a.policy_version, a.event_seq,
             int(a.verified), a.answered_at, a.valid_until, a.revoked_at)
            for a in answers
        ]  # fmt: skip

        def job(conn: sqlite3.Connection) -> None:
            conn.executemany(
                f"INSERT INTO answer({_COLUMNS}) VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
                " ON CONFLICT(number_hmac, policy_id, purpose) DO UPDATE SET outcome=excluded.outcome,"
                " prompt_major=excluded.prompt_major, policy_version=excluded.policy_version,"
                " event_seq=excluded.event_seq, verified=excluded.verified, answered_at=excluded.answered_at,"
                " valid_until=excluded.valid_until, revoked_at=excluded.revoked_at"
                " WHERE excluded.answered_at >= answered_at",
                rows,
            )

        if rows:
            await self._writer.do(job, wakes=False)

    async def recall(self, number_hmac: str, policy_id: str) -> Sequence[AnswerRow]:
        """See `edge.ports.MemoryBook`; by purpose."""

        def job(conn: sqlite3.Connection) -> Sequence[AnswerRow]:
            query = (
                f"SELECT {_COLUMNS} FROM answer WHERE number_hmac=? AND policy_id=? AND revoked_at IS NULL"  # noqa: S608
                " ORDER BY purpose"
            )
            rows = conn.execute(query, (number_hmac, policy_id))
            return [AnswerRow(*(*row[:7], bool(row[7]), *row[8:])) for row in rows]

        return await self._readers.read(job)

    async def forget(self, number_hmac: str, at: str) -> int:
        """See `edge.ports.MemoryBook`."""
        return await self._writer.do(lambda conn: forget_number(conn, number_hmac, at), wakes=False)

    async def forget_expired(self, now: str) -> int:
        """See `edge.ports.MemoryBook`."""

        def job(conn: sqlite3.Connection) -> int:
            return conn.execute("DELETE FROM answer WHERE valid_until<=?", (now,)).rowcount

        return await self._writer.do(job, wakes=False)
