"""Events that wait for central. Rows are written by the other books, in the transactions of what they report."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence

from edge.model.entities import OutboxRow
from edge.store.audit import raise_alarm
from edge.store.base import Base, decode_json


class Outbox(Base):
    """The `OutboxBook` of the journal."""

    async def outbox(self, limit: int) -> Sequence[OutboxRow]:
        """See `edge.ports.OutboxBook`."""

        def job(conn: sqlite3.Connection) -> Sequence[OutboxRow]:
            rows = conn.execute(
                "SELECT seq, event_id, type, subject, body, attempts FROM outbox WHERE dead_reason IS NULL"
                " ORDER BY seq LIMIT ?",
                (limit,),
            )
            return [OutboxRow(*(*row[:4], decode_json(row[4]), row[5])) for row in rows]

        return await self._readers.read(job)

    async def prune(self, upto_seq: int) -> None:
        """See `edge.ports.OutboxBook`."""

        def job(conn: sqlite3.Connection) -> None:
            conn.execute("DELETE FROM outbox WHERE seq<=? AND dead_reason IS NULL", (upto_seq,))

        await self._writer.do(job, wakes=False, patient=True)

    async def attempt_failed(self, seqs: Sequence[int]) -> None:
        """One more attempt on file for these rows."""
        rows = [(seq,) for seq in seqs]

        def job(conn: sqlite3.Connection) -> None:
            conn.executemany("UPDATE outbox SET attempts=attempts+1 WHERE seq=?", rows)

        await self._writer.do(job, wakes=False)

    async def bury(self, seq: int, reason: str) -> None:
        """See `edge.ports.OutboxBook`."""

        def job(conn: sqlite3.Connection) -> None:
            done = conn.execute("UPDATE outbox SET dead_reason=? WHERE seq=? AND dead_reason IS NULL", (reason, seq))
            if done.rowcount:
                at = self._clock.wall_text()
                raise_alarm(conn, self._audit, at, "sync.poison", f"central refuses this event: {reason}", str(seq))

        await self._writer.do(job)

    async def outbox_depth(self) -> tuple[int, int]:
        """See `edge.ports.OutboxBook`."""

        def job(conn: sqlite3.Connection) -> tuple[int, int]:
            waiting, dead = conn.execute(
                "SELECT count(*) - count(dead_reason), count(dead_reason) FROM outbox"
            ).fetchone()
            return waiting, dead

        return await self._readers.read(job)

    async def outbox_span(self) -> tuple[int, int] | None:
        """See `edge.ports.OutboxBook`."""

        def job(conn: sqlite3.Connection) -> tuple[int, int] | None:
            waiting = "SELECT seq FROM outbox WHERE dead_reason IS NULL ORDER BY seq"
            oldest = conn.execute(f"{waiting} LIMIT 1").fetchone()
            return None if oldest is None else (oldest[0], conn.execute(f"{waiting} DESC LIMIT 1").fetchone()[0])

        return await self._readers.read(job)

    def on_new(self, wake: Callable[[], None]) -> None:
        """See `edge.ports.OutboxBook`; several callbacks are kept. Call it from the event loop."""
        self._writer.on_new(wake)
