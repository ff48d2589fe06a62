"""Orders about many calls: what they find, what is restricted by them, and how they end. Also by hand: orders that no
delivery brought."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from typing import Any, Final

from edge.errors import CallwardenError
from edge.model.entities import ReceiptRow
from edge.model.finds import Find, Match
from edge.model.lifecycle import ORDER, step
from edge.store.anonymous import anonymise, duration_s
from edge.store.base import Base
from edge.store.covers import HOLDS, covers_any
from edge.store.orders import leave, move_order, order_state, store_receipt

_FIND: Final = """
SELECT f.jti, f.call_id, f.found_at, f.shred_at, f.state, f.waits_for FROM find f JOIN call c ON c.call_id=f.call_id"""
#: A recording with audio.
_AUDIO: Final = "r.state NOT IN ('erased','no_audio')"


class Finds(Base):
    """The `FindBook` of the journal."""

    async def take_order(self, jti: str, jws: str, at: str, slot: int | None) -> bool:
        """See `edge.ports.FindBook`."""

        def job(conn: sqlite3.Connection) -> bool:
            if order_state(conn, jti) is not None:
                return False
            conn.execute(
                "INSERT INTO inbox(jti, jws, state, received_at) VALUES(?, ?, ?, ?)",
                (jti, jws, step(ORDER, "", "arrive"), at),
            )
            if slot is not None:
                conn.execute("INSERT INTO order_target(jti, slot) VALUES(?, ?)", (jti, slot))
            self._audit.append(conn, at, "order.received", body={"jti": jti})
            return True

        return await self._writer.do(job)

    async def opening_slot(self, jti: str) -> int | None:
        """See `edge.ports.FindBook`."""

        def job(conn: sqlite3.Connection) -> int | None:
            row = conn.execute("SELECT slot FROM order_target WHERE jti=? AND slot>0", (jti,)).fetchone()
            return None if row is None else int(row[0])

        return await self._readers.read(job)

    async def calls_of_person(
        self, e164: str, digest: str | None, same: Callable[[str], bool], as_of: str
    ) -> Sequence[str]:
        """See `edge.ports.FindBook`."""

        def job(conn: sqlite3.Connection) -> Sequence[str]:
            found = {
                row[0]
                for row in conn.execute(
                    "SELECT call_id FROM party WHERE number_e164=?1 UNION SELECT call_id FROM party WHERE number_hmac=?2"
                    " UNION SELECT call_id FROM notice WHERE number_hmac=?2",
                    (e164, digest),
                )
            }
            heard = conn.execute(
                "SELECT call_id, number_heard FROM party INDEXED BY party_heard WHERE number_heard IS NOT NULL"
                " AND number_e164 IS NULL"
            )
            found |= {call_id for call_id, number in heard if same(number)}
            return _began(conn, found, as_of)

        return await self._readers.read(job)

    async def calls_of_policy(self, policy_id: str, as_of: str) -> Sequence[str]:
        """See `edge.ports.FindBook`."""

        def job(conn: sqlite3.Connection) -> Sequence[str]:
            rows = conn.execute(
                "SELECT call_id FROM call WHERE policy_id=? AND started_at<=? AND anonymised_at IS NULL ORDER BY seq",
                (policy_id, as_of),
            )
            return [row[0] for row in rows]

        return await self._readers.read(job)

    async def matches(self, call_ids: Sequence[str]) -> Sequence[Match]:
        """See `edge.ports.FindBook`."""

        def one(conn: sqlite3.Connection, call_id: str) -> Match | None:
            row = conn.execute(
                "SELECT started_at, ended_at, duration_s, policy_id, direction, outcome,"  # noqa: S608 - our own words
                " (SELECT count(*) FROM recording r"
                f" WHERE r.call_id=c.call_id AND {_AUDIO}), EXISTS(SELECT 1 FROM hold h WHERE {covers_any('c.call_id', HOLDS)})"
                " FROM call c WHERE c.call_id=?",
                (call_id,),
            ).fetchone()
            if row is None:
                return None
            began, ended, seconds = row[:3]
            if seconds is None and ended is not None:
                seconds = duration_s(began, ended)
            return Match(call_id, began, seconds, row[3], row[4], row[5], row[6], bool(row[7]))

        return await self._readers.read(lambda conn: [m for c in call_ids if (m := one(conn, c)) is not None])

    async def begin_many(
        self, jti: str, call_ids: Sequence[str], *, at: str, shred_at: str, due_at: str, receipt: ReceiptRow
    ) -> None:
        """See `edge.ports.FindBook`."""

        def job(conn: sqlite3.Connection) -> None:
            if not store_receipt(conn, receipt):
                return
            move_order(conn, jti, "executing")
            conn.execute("UPDATE inbox SET due_at=? WHERE jti=?", (due_at, jti))
            self._find(conn, jti, call_ids, at, shred_at)
            self._audit.append(conn, at, "order.begun", body={"jti": jti, "calls": len(call_ids)})
            self._answered(conn, receipt, "executing")

        await self._writer.do(job)

    async def add_finds(
        self, jti: str, call_ids: Sequence[str], *, at: str, shred_at: str, receipt: ReceiptRow
    ) -> None:
        """See `edge.ports.FindBook`."""

        def job(conn: sqlite3.Connection) -> None:
            if store_receipt(conn, receipt):
                self._find(conn, jti, call_ids, at, shred_at)
                self._answered(conn, receipt, "executing")

        await self._writer.do(job)

    def _find(self, conn: sqlite3.Connection, jti: str, call_ids: Sequence[str], at: str, shred_at: str) -> None:
        conn.executemany(
            "INSERT OR IGNORE INTO find(jti, call_id, found_at, shred_at, state) VALUES(?, ?, ?, ?, 'waiting')",
            [(jti, one, at, shred_at) for one in call_ids],
        )
        for one in call_ids:
            self._audit.append(conn, at, "call.restricted", subject=one, call_id=one, body={"jti": jti})

    def _answered(self, conn: sqlite3.Connection, receipt: ReceiptRow, state: str) -> None:
        body = {"jti": receipt.jti, "n": receipt.n, "result": receipt.result, "state": state}
        self._audit.append(conn, self._clock.wall_text(), "order.answered", body=body)

    async def finds(self, jti: str) -> Sequence[Find]:
        """See `edge.ports.FindBook`; the oldest call first."""

        def job(conn: sqlite3.Connection) -> Sequence[Find]:
            return [Find(*row) for row in conn.execute(f"{_FIND} WHERE f.jti=? ORDER BY c.seq", (jti,))]

        return await self._readers.read(job)

    async def find_waits(self, jti: str, call_id: str, why: str, receipt: ReceiptRow) -> None:
        """See `edge.ports.FindBook`."""

        def job(conn: sqlite3.Connection) -> None:
            if store_receipt(conn, receipt):
                conn.execute("UPDATE find SET waits_for=? WHERE jti=? AND call_id=?", (why, jti, call_id))
                self._answered(conn, receipt, "executing")

        await self._writer.do(job)

    async def find_done(self, jti: str, call_id: str) -> None:
        """See `edge.ports.FindBook`."""

        def job(conn: sqlite3.Connection) -> None:
            held = conn.execute(f"SELECT 1 FROM hold h WHERE {covers_any('?1', HOLDS)} LIMIT 1", (call_id,))  # noqa: S608
            if held.fetchone() is not None:
                raise CallwardenError(
                    "command.held", "a hold was placed on it a moment ago", where=call_id, retryable=True
                )
            anonymise(conn, self._audit, self._clock.wall_text(), call_id)
            conn.execute("UPDATE find SET state='done', waits_for='' WHERE jti=? AND call_id=?", (jti, call_id))

        await self._writer.do(job)

    async def end_many(self, receipts: Sequence[ReceiptRow]) -> Sequence[int]:
        """See `edge.ports.FindBook`."""

        def job(conn: sqlite3.Connection) -> Sequence[int]:
            slots: list[int] = []
            for receipt in receipts:
                jti = receipt.jti
                if store_receipt(conn, receipt):
                    move_order(conn, jti, "answered")
                    self._answered(conn, receipt, "answered")
                slots += leave(conn, jti)
            return slots

        return await self._writer.do(job)

    async def forget_person(self, digest: str) -> int:
        """See `edge.ports.FindBook`."""

        def job(conn: sqlite3.Connection) -> int:
            gone = conn.execute("DELETE FROM answer WHERE number_hmac=?", (digest,)).rowcount
            if gone:
                self._audit.append(conn, self._clock.wall_text(), "answers.erased", body={"answers": gone})
            return gone

        return await self._writer.do(job)

    async def restricted_by(self, recording_id: str) -> str | None:
        """See `edge.ports.FindBook`."""

        def job(conn: sqlite3.Connection) -> str | None:
            row = conn.execute(
                "SELECT f.jti FROM find f JOIN recording r USING(call_id) WHERE r.recording_id=? AND f.state='waiting' LIMIT 1",
                (recording_id,),
            ).fetchone()
            return None if row is None else str(row[0])

        return await self._readers.read(job)

    async def share_of(self, call_ids: Sequence[str], since: str) -> tuple[int, int, int]:
        """See `edge.ports.FindBook`."""

        def job(conn: sqlite3.Connection) -> tuple[int, int, int]:
            count = f"SELECT count(*) FROM recording r WHERE r.call_id=? AND {_AUDIO}"  # noqa: S608 - our own words
            asked = sum(conn.execute(count, (one,)).fetchone()[0] for one in call_ids)
            (gone,) = conn.execute(
                "SELECT count(*) FROM tombstone WHERE cause='command' AND erased_at>=?", (since,)
            ).fetchone()
            (waiting,) = conn.execute(
                f"SELECT count(DISTINCT r.recording_id) FROM recording r JOIN find f USING(call_id) WHERE {_AUDIO}"  # noqa: S608
                " AND f.state='waiting' AND f.found_at>=?",
                (since,),
            ).fetchone()
            (kept,) = conn.execute(f"SELECT count(*) FROM recording r WHERE {_AUDIO}").fetchone()  # noqa: S608
            return asked, gone + waiting, kept + gone

        return await self._readers.read(job)

    async def note_locate(self, at: str, since: str, limit: int) -> bool:
        """See `edge.ports.FindBook`."""

        def job(conn: sqlite3.Connection) -> bool:
            conn.execute("DELETE FROM locate WHERE at<?", (since,))
            if conn.execute("SELECT count(*) FROM locate").fetchone()[0] >= limit:
                return False
            conn.execute("INSERT INTO locate(at) VALUES(?)", (at,))
            return True

        return await self._writer.do(job)

    async def note_exported(self, recording_id: str, form: str, purpose: str) -> None:
        """See `edge.ports.FindBook`."""

        def job(conn: sqlite3.Connection) -> None:
            conn.execute(
                "INSERT INTO exported(recording_id, form, purpose, at) VALUES(?, ?, ?, ?)",
                (recording_id, form, purpose, self._clock.wall_text()),
            )

        await self._writer.do(job)

    async def exports_of(self, recording_id: str) -> Sequence[dict[str, Any]]:
        """See `edge.ports.FindBook`."""

        def job(conn: sqlite3.Connection) -> Sequence[dict[str, Any]]:
            query = "SELECT at, form, purpose FROM exported WHERE recording_id=? ORDER BY seq"
            return [
                dict(zip(("at", "form", "purpose"), row, strict=True)) for row in conn.execute(query, (recording_id,))
            ]

        return await self._readers.read(job)

    async def not_exported(self, call_ids: Sequence[str]) -> int:
        """See `edge.ports.FindBook`."""

        def job(conn: sqlite3.Connection) -> int:
            query = (
                f"SELECT count(*) FROM recording r WHERE r.call_id=? AND {_AUDIO}"  # noqa: S608 - our own words
                " AND NOT EXISTS(SELECT 1 FROM exported e WHERE e.recording_id=r.recording_id)"
            )
            return sum(conn.execute(query, (one,)).fetchone()[0] for one in call_ids)

        return await self._readers.read(job)


def _began(conn: sqlite3.Connection, call_ids: set[str], as_of: str) -> list[str]:
    """Of these, the calls that began by then, oldest first."""
    rows = [
        conn.execute(
            "SELECT seq, call_id FROM call WHERE call_id=? AND started_at<=? AND anonymised_at IS NULL", (one, as_of)
        ).fetchone()
        for one in call_ids
    ]
    return [row[1] for row in sorted(row for row in rows if row is not None)]
