"""Policies and pinned keys by order, and what central wants uploaded."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from typing import Any

from edge.model.entities import ReceiptRow
from edge.model.ordered import OrderedPolicy, PinnedRow, Wanted
from edge.store.base import Base, decode_json, text_json
from edge.store.orders import move_order, store_receipt

_WANTED = "SELECT recording_id, jti, asked_at, result, evidence FROM media_wanted"


class Ordered(Base):
    """The `OrderedBook` of the journal."""

    async def ordered_policies(self) -> Sequence[OrderedPolicy]:
        """See `edge.ports.OrderedBook`."""

        def job(conn: sqlite3.Connection) -> Sequence[OrderedPolicy]:
            rows = conn.execute(
                "SELECT name, jti, toml, iat, acts_at, acting FROM ordered_policy ORDER BY name, acting DESC"
            )
            return [OrderedPolicy(row[0], row[1], row[2], row[3], row[4], bool(row[5])) for row in rows]

        return await self._readers.read(job)

    async def file_policy(self, row: OrderedPolicy, receipt: ReceiptRow | None, *, due_at: str | None) -> None:
        """See `edge.ports.OrderedBook`."""

        def job(conn: sqlite3.Connection) -> None:
            known = conn.execute(
                "SELECT 1 FROM ordered_policy WHERE name=? AND jti=? AND acting=?", (row.name, row.jti, int(row.acting))
            ).fetchone()
            if known is not None:
                return
            if row.acting:
                conn.execute("DELETE FROM ordered_policy WHERE name=? AND jti=?", (row.name, row.jti))
            conn.execute(
                "INSERT INTO ordered_policy(name, jti, toml, iat, acts_at, acting) VALUES(?, ?, ?, ?, ?, ?)"
                " ON CONFLICT(name, acting) DO UPDATE SET jti=excluded.jti, toml=excluded.toml, iat=excluded.iat,"
                " acts_at=excluded.acts_at",
                (row.name, row.jti, row.toml, row.iat, row.acts_at, int(row.acting)),
            )
            self._began(conn, row.jti, receipt, due_at)
            body = {"policy": row.name, "jti": row.jti, "acts_at": row.acts_at, "acting": row.acting}
            self._audit.append(conn, self._clock.wall_text(), "policy.ordered", body=body)

        await self._writer.do(job)

    def _began(self, conn: sqlite3.Connection, jti: str, receipt: ReceiptRow | None, due_at: str | None) -> None:
        move_order(conn, jti, "executing")
        conn.execute("UPDATE inbox SET due_at=? WHERE jti=?", (due_at, jti))
        if receipt is not None and store_receipt(conn, receipt):
            body = {"jti": jti, "n": receipt.n, "result": receipt.result, "state": "executing"}
            self._audit.append(conn, self._clock.wall_text(), "order.answered", body=body)

    async def drop_policy(self, jti: str) -> None:
        """See `edge.ports.OrderedBook`."""

        def job(conn: sqlite3.Connection) -> None:
            if conn.execute("DELETE FROM ordered_policy WHERE jti=? AND acting=0", (jti,)).rowcount:
                self._audit.append(conn, self._clock.wall_text(), "policy.dropped", body={"jti": jti})

        await self._writer.do(job)

    async def pinned(self) -> PinnedRow | None:
        """See `edge.ports.OrderedBook`."""

        def job(conn: sqlite3.Connection) -> PinnedRow | None:
            row = conn.execute("SELECT jti, keyset, file_sha256, iat FROM pinned ORDER BY seq DESC LIMIT 1").fetchone()
            return None if row is None else PinnedRow(*row)

        return await self._readers.read(job)

    async def pin(
        self, row: PinnedRow, receipt: ReceiptRow | None, *, due_at: str | None, facts: Mapping[str, Any]
    ) -> None:
        """See `edge.ports.OrderedBook`."""

        def job(conn: sqlite3.Connection) -> None:
            last = conn.execute("SELECT jti, keyset, file_sha256 FROM pinned ORDER BY seq DESC LIMIT 1").fetchone()
            if last is not None and tuple(last) == (row.jti, row.keyset, row.file_sha256):
                return
            at = self._clock.wall_text()
            conn.execute(
                "INSERT INTO pinned(jti, keyset, file_sha256, iat, at) VALUES(?, ?, ?, ?, ?)",
                (row.jti, row.keyset, row.file_sha256, row.iat, at),
            )
            if receipt is not None:
                self._began(conn, row.jti, receipt, due_at)
            self._audit.append(conn, at, "keys.pinned", body={"jti": row.jti, **facts})

        await self._writer.do(job)

    async def unpin(self) -> None:
        """See `edge.ports.OrderedBook`."""

        def job(conn: sqlite3.Connection) -> None:
            if conn.execute("DELETE FROM pinned").rowcount:
                self._audit.append(conn, self._clock.wall_text(), "keys.unpinned", body={})

        await self._writer.do(job)

    async def want_media(self, jti: str, recording_ids: Sequence[str], at: str, receipt: ReceiptRow) -> None:
        """See `edge.ports.OrderedBook`."""

        def job(conn: sqlite3.Connection) -> None:
            conn.executemany(
                "INSERT OR IGNORE INTO media_wanted(recording_id, jti, asked_at) VALUES(?, ?, ?)",
                [(one, jti, at) for one in recording_ids],
            )
            self._began(conn, jti, receipt, None)

        await self._writer.do(job)

    async def wanted_media(self, jti: str | None = None) -> Sequence[Wanted]:
        """See `edge.ports.OrderedBook`."""
        where, args = ("result=''", ()) if jti is None else ("jti=?", (jti,))

        def job(conn: sqlite3.Connection) -> Sequence[Wanted]:
            rows = conn.execute(f"{_WANTED} WHERE {where} ORDER BY asked_at, recording_id", args)
            return [Wanted(row[0], row[1], row[2], row[3], decode_json(row[4])) for row in rows]

        return await self._readers.read(job)

    async def wanted_since(self, since: str) -> int:
        """See `edge.ports.OrderedBook`."""

        def job(conn: sqlite3.Connection) -> int:
            return int(conn.execute("SELECT count(*) FROM media_wanted WHERE asked_at>=?", (since,)).fetchone()[0])

        return await self._readers.read(job)

    async def media_served(self, jti: str, recording_id: str, result: str, evidence: Mapping[str, Any]) -> None:
        """See `edge.ports.OrderedBook`."""

        def job(conn: sqlite3.Connection) -> None:
            done = conn.execute(
                "UPDATE media_wanted SET result=?, evidence=? WHERE jti=? AND recording_id=? AND result=''",
                (result, text_json(dict(evidence)), jti, recording_id),
            )
            if done.rowcount:
                body = {"jti": jti, "recording_id": recording_id, "result": result}
                self._audit.append(conn, self._clock.wall_text(), "media.served", body=body)

        await self._writer.do(job)
