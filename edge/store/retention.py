"""Rows as retention looks at them, and how their classes end: in small commits, audited as counts."""

# ruff: noqa: S608 - SQL of our own words; values are bound
from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from edge.model.kept import KeptCall, KeptRecording
from edge.store.anonymous import anonymise
from edge.store.base import Base, decode_json
from edge.store.covers import covers_any
from edge.store.minimal import anonymising
from edge.store.rows import take_people_out

_RECORDING: Final = """
SELECT r.seq, r.recording_id, r.call_id, c.seq, c.policy_id, c.policy_version, c.outcome, p.purposes, r.state, r.started_at,
  c.ended_at, ifnull((SELECT sum(s.payload_bytes) FROM segment s WHERE s.recording_id=r.recording_id), 0),
  EXISTS(SELECT 1 FROM due_erasure d WHERE d.recording_id=r.recording_id)
FROM recording r JOIN call c ON c.call_id=r.call_id JOIN permit p ON p.permit_id=r.permit_id"""
#: Audio, or the keys of it, is left.
_AUDIO: Final = "r.state IN ('sealed','quarantined')"
#: Numbers or channel names are in its rows, or its times are still exact though its evidence is gone.
_NAMED: Final = """
(c.channel_name<>'' OR c.evidence='expired' AND c.anonymised_at IS NULL OR EXISTS(SELECT 1 FROM party p WHERE p.call_id=c.call_id
    AND (p.number_heard IS NOT NULL OR p.number_e164 IS NOT NULL)))"""
_CALL: Final = f"""
SELECT c.seq, c.call_id, c.policy_id, c.policy_version, c.outcome, c.ended_at, c.evidence,
  {_NAMED},
  EXISTS(SELECT 1 FROM recording r WHERE r.call_id=c.call_id AND r.state NOT IN ('erased','no_audio')),
  c.outcome IN ('refused','objected','abandoned') AND NOT EXISTS(SELECT 1 FROM permit p WHERE p.call_id=c.call_id),
  (SELECT count(*) FROM notice n WHERE n.call_id=c.call_id AND n.state<>'waiting'),
  EXISTS(SELECT 1 FROM exported x JOIN recording r USING(recording_id) WHERE r.call_id=c.call_id),
  EXISTS(SELECT 1 FROM adoption a JOIN recording r USING(recording_id) WHERE r.call_id=c.call_id)
FROM call c"""
#: Calls of one page, by the index `call_kept`: a read is short however few of them are wanted.
_PAGE: Final = (
    "SELECT k.seq FROM call k WHERE k.policy_id=? AND k.policy_version=? AND k.state='ended' AND k.ended_at<=?"
    " AND (k.ended_at, k.seq)>(?, ?) ORDER BY k.ended_at, k.seq LIMIT ?"
)
#: Calls of a page, most of which have nothing any more that could go: about 10 ms.
SCAN: Final = 2000
#: Of a page only those calls that have something of a class.
_WITH: Final = {
    "evidence": "c.evidence<>'expired'",
    "metadata": _NAMED,
    "notices": "EXISTS(SELECT 1 FROM notice n WHERE n.call_id=c.call_id)",
}
_FREE: Final = f"NOT EXISTS(SELECT 1 FROM hold h WHERE {covers_any('?1')})"
#: What may be made nameless, and what may go, asked once more inside the commit.
_MAY_FORGET: Final = f"""
SELECT 1 FROM call c WHERE c.call_id=?1 AND c.state='ended' AND {_FREE} AND NOT EXISTS(SELECT 1 FROM recording r
  WHERE r.call_id=?1 AND r.state NOT IN ('erased','no_audio'))"""
_MAY_GO: Final = f"""{_MAY_FORGET} AND c.evidence='expired'
  AND NOT EXISTS(SELECT 1 FROM exported x JOIN recording r USING(recording_id) WHERE r.call_id=?1)
  AND NOT EXISTS(SELECT 1 FROM adoption a JOIN recording r USING(recording_id) WHERE r.call_id=?1)
  AND NOT EXISTS(SELECT 1 FROM find f WHERE f.call_id=?1 AND f.state='waiting')"""
_RECORDINGS_OF: Final = "recording_id IN (SELECT recording_id FROM recording WHERE call_id=?1)"
_SEGMENTS_OF: Final = f"segment_id IN (SELECT segment_id FROM segment WHERE {_RECORDINGS_OF})"
#: Rows of a call, from the leaves to the root, as the foreign keys want it.
_ROWS: Final = (
    f"DELETE FROM rewrap WHERE {_SEGMENTS_OF}",
    f"DELETE FROM header WHERE {_SEGMENTS_OF}",
    f"DELETE FROM segment WHERE {_RECORDINGS_OF}",
    f"DELETE FROM capture WHERE {_RECORDINGS_OF}",
    f"DELETE FROM recording_flag WHERE {_RECORDINGS_OF}",
    f"DELETE FROM due_erasure WHERE {_RECORDINGS_OF}",
    f"DELETE FROM media_wanted WHERE {_RECORDINGS_OF}",
    f"DELETE FROM media_due WHERE {_RECORDINGS_OF}",
    "DELETE FROM recording WHERE call_id=?1",
    "DELETE FROM permit WHERE call_id=?1",
    "DELETE FROM consent_event WHERE call_id=?1",
    "DELETE FROM leg WHERE party_id IN (SELECT party_id FROM party WHERE call_id=?1)",
    "DELETE FROM party WHERE call_id=?1",
    "DELETE FROM pause WHERE call_id=?1",
    "DELETE FROM notice WHERE call_id=?1",
    "DELETE FROM hold_cover WHERE call_id=?1",
    "DELETE FROM find WHERE call_id=?1",
    "DELETE FROM rectification WHERE call_id=?1",
    "DELETE FROM outbox WHERE subject=?1 AND dead_reason IS NOT NULL",
    "DELETE FROM call WHERE call_id=?1",
)
#: Orders that are over, and receipts on a ground; each older than a bound time.
_OLD_ORDERS: Final = "SELECT jti FROM inbox WHERE state='acknowledged' AND received_at<? ORDER BY seq LIMIT ?"
_OLD_WORDS: Final = (
    "SELECT r.receipt_id FROM receipt r WHERE r.acked_at<? AND NOT EXISTS(SELECT 1 FROM inbox i WHERE i.jti=r.jti)"
    " ORDER BY r.seq LIMIT ?"
)


class Retaining(Base):
    """The `RetentionBook` of the journal."""

    async def approved_terms(self, scope: str) -> Sequence[tuple[int, str]]:
        """See `edge.ports.RetentionBook`."""
        query = "SELECT last_call, terms FROM retention_terms WHERE scope=? ORDER BY seq"
        return await self._readers.read(lambda conn: [(row[0], row[1]) for row in conn.execute(query, (scope,))])

    async def approve_terms(self, scope: str, terms: str, by: str) -> None:
        """See `edge.ports.RetentionBook`."""

        def job(conn: sqlite3.Connection) -> None:
            at = self._clock.wall_text()
            done = conn.execute(
                "INSERT INTO retention_terms(scope, terms, approved_at, approved_by, last_call)"
                " SELECT ?1, ?2, ?3, ?4, ifnull((SELECT seq FROM sqlite_sequence WHERE name='call'), 0)"
                " WHERE ?2 IS NOT (SELECT terms FROM retention_terms WHERE scope=?1 ORDER BY seq DESC LIMIT 1)",
                (scope, terms, at, by),
            )
            if done.rowcount:
                digest = hashlib.sha256(terms.encode()).hexdigest()
                self._audit.append(
                    conn, at, "retention.approved", body={"policy": scope, "by": by, "terms_sha256": digest}
                )

        await self._writer.do(job)

    async def kept_versions(self) -> Sequence[tuple[str, str]]:
        """See `edge.ports.RetentionBook`; in order of name."""
        query = (
            "SELECT policy_id, version FROM policy d WHERE EXISTS(SELECT 1 FROM call c WHERE c.policy_id=d.policy_id"
            " AND c.policy_version=d.version) ORDER BY policy_id, version"
        )
        return await self._readers.read(lambda conn: [(row[0], row[1]) for row in conn.execute(query)])

    async def kept_recording(self, recording_id: str) -> KeptRecording | None:
        """See `edge.ports.RetentionBook`."""
        found = await self._readers.read(lambda conn: _recordings(conn, "r.recording_id=?", recording_id))
        return found[0] if found else None

    async def kept_recordings(
        self, policy_id: str, version: str, *, before: str, after: tuple[str, int]
    ) -> tuple[Sequence[KeptRecording], tuple[str, int] | None]:
        """See `edge.ports.RetentionBook`."""

        def job(conn: sqlite3.Connection) -> tuple[list[KeptRecording], tuple[str, int] | None]:
            where = f"c.seq IN ({_PAGE}) AND c.evidence<>'expired' AND {_AUDIO} ORDER BY c.ended_at, r.seq"
            page = (policy_id, version, before, *after, SCAN)
            return _recordings(conn, where, *page), _behind(conn, page)

        return await self._readers.read(job)

    async def kept_calls(
        self, policy_id: str, version: str, *, before: str, after: tuple[str, int], kind: str | None = None
    ) -> tuple[Sequence[KeptCall], tuple[str, int] | None]:
        """See `edge.ports.RetentionBook`."""
        query = f"{_CALL} WHERE c.seq IN ({_PAGE}) AND {_WITH.get(kind or '', '1')} ORDER BY c.ended_at, c.seq"

        def job(conn: sqlite3.Connection) -> tuple[list[KeptCall], tuple[str, int] | None]:
            page = (policy_id, version, before, *after, SCAN)
            rows = conn.execute(query, page)
            kept = [
                KeptCall(*(*row[:7], bool(row[7]), bool(row[8]), bool(row[9]), row[10], bool(row[11]), bool(row[12])))
                for row in rows
            ]
            return kept, _behind(conn, page)

        return await self._readers.read(job)

    async def forget_calls(self, call_ids: Sequence[str], numbers: Mapping[str, Mapping[str, str]]) -> int:
        """See `edge.ports.RetentionBook`."""

        def forget(conn: sqlite3.Connection, call_id: str) -> int:
            if conn.execute(_MAY_FORGET, (call_id,)).fetchone() is None:
                return 0
            at = self._clock.wall_text()
            if conn.execute("SELECT 1 FROM call WHERE call_id=? AND evidence='expired'", (call_id,)).fetchone():
                return int(anonymise(conn, self._audit, at, call_id))
            take_people_out(conn, self._audit, at, call_id, numbers.get(call_id))
            return 1

        return await self._each("metadata.expired", "calls", call_ids, forget)

    async def delete_notices(self, call_ids: Sequence[str]) -> int:
        """See `edge.ports.RetentionBook`."""
        query = f"DELETE FROM notice WHERE call_id=?1 AND state<>'waiting' AND {_FREE}"
        return await self._each(
            "notices.expired", "notices", call_ids, lambda c, one: c.execute(query, (one,)).rowcount
        )

    async def delete_calls(self, call_ids: Sequence[str]) -> int:
        """See `edge.ports.RetentionBook`."""

        def delete(conn: sqlite3.Connection, call_id: str) -> int:
            # What central has not heard of yet is still to be said.
            waiting = "SELECT 1 FROM outbox WHERE subject=? AND dead_reason IS NULL LIMIT 1"
            if (
                conn.execute(_MAY_GO, (call_id,)).fetchone() is None
                or conn.execute(waiting, (call_id,)).fetchone() is not None
            ):
                return 0
            with anonymising(conn):
                for row in _ROWS:
                    conn.execute(row, (call_id,))
            return 1

        return await self._each("statistics.expired", "calls", call_ids, delete)

    async def delete_orders(self, before: str, limit: int) -> int:
        """See `edge.ports.RetentionBook`."""

        def job(conn: sqlite3.Connection) -> int:
            orders = conn.execute(_OLD_ORDERS, (before, limit)).fetchall()
            for table in ("receipt", "order_target", "find", "media_wanted"):
                conn.executemany(f"DELETE FROM {table} WHERE jti=?", orders)
            conn.executemany("DELETE FROM inbox WHERE jti=?", orders)
            words = conn.execute(_OLD_WORDS, (before, limit)).fetchall()
            conn.executemany("DELETE FROM receipt WHERE receipt_id=?", words)
            gone = "hold_id IN (SELECT hold_id FROM hold WHERE released_at<?)"
            conn.execute(f"DELETE FROM hold_cover WHERE {gone}", (before,))
            holds = conn.execute("DELETE FROM hold WHERE released_at<?", (before,)).rowcount
            if orders or words or holds:
                facts = {"orders": len(orders), "receipts": len(words), "holds": holds}
                self._audit.append(conn, self._clock.wall_text(), "orders.expired", body=facts)
            return len(orders) + len(words)

        return await self._writer.do(job)

    async def delete_exports(self, before: str, limit: int) -> int:
        """See `edge.ports.RetentionBook`."""

        def job(conn: sqlite3.Connection) -> int:
            query = "DELETE FROM exported WHERE seq IN (SELECT seq FROM exported WHERE at<? ORDER BY seq LIMIT ?)"
            gone = conn.execute(query, (before, limit)).rowcount
            if gone:
                self._audit.append(conn, self._clock.wall_text(), "exports.expired", body={"copies": gone})
            return gone

        return await self._writer.do(job)

    async def delete_alarms(self, before: str, limit: int) -> int:
        """See `edge.ports.RetentionBook`."""

        def job(conn: sqlite3.Connection) -> int:
            query = "DELETE FROM alarm WHERE seq IN (SELECT seq FROM alarm WHERE at<? ORDER BY seq LIMIT ?)"
            gone = conn.execute(query, (before, limit)).rowcount
            if gone:
                self._audit.append(conn, self._clock.wall_text(), "alarms.expired", body={"alarms": gone})
            return gone

        return await self._writer.do(job)

    async def house_counts(self, orders: str, alarms: str, exports: str) -> tuple[int, int, int]:
        """See `edge.ports.RetentionBook`."""

        def job(conn: sqlite3.Connection) -> tuple[int, int, int]:
            old = len(conn.execute(_OLD_ORDERS, (orders, -1)).fetchall())
            words = len(conn.execute(_OLD_WORDS, (orders, -1)).fetchall())
            rung = conn.execute("SELECT count(*) FROM alarm WHERE at<?", (alarms,)).fetchone()[0]
            copies = conn.execute("SELECT count(*) FROM exported WHERE at<?", (exports,)).fetchone()[0]
            return old + words, int(rung), int(copies)

        return await self._readers.read(job)

    async def _each(
        self, kind: str, what: str, call_ids: Sequence[str], work: Callable[[sqlite3.Connection, str], int]
    ) -> int:
        """One commit over some calls, audited as a count."""

        def job(conn: sqlite3.Connection) -> int:
            done = sum(work(conn, one) for one in call_ids)
            if done:
                self._audit.append(conn, self._clock.wall_text(), kind, body={what: done})
            return done

        return await self._writer.do(job)


def _recordings(conn: sqlite3.Connection, where: str, *args: Any) -> list[KeptRecording]:
    rows = conn.execute(f"{_RECORDING} WHERE {where}", args)
    return [
        KeptRecording(
            seq=r[0], recording_id=r[1], call_id=r[2], call_seq=r[3], policy_id=r[4], policy_version=r[5], outcome=r[6],
            purposes=tuple(decode_json(r[7])), state=r[8], started_at=r[9], ended_at=r[10], bytes=r[11],
            due=bool(r[12]),
        )
        for r in rows
    ]  # fmt: skip


def _behind(conn: sqlite3.Connection, page: tuple[object, ...]) -> tuple[str, int] | None:
    """(end, seq) of the last call of a full page; None for the last page."""
    query = _PAGE.replace("SELECT k.seq", "SELECT k.ended_at, k.seq") + " OFFSET ?"
    row = conn.execute(query, (*page[:-1], 1, SCAN - 1)).fetchone()
    return None if row is None else (row[0], row[1])
