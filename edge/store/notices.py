"""Text messages that are owed: the number stands here only until the message is sent or given up."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Any, Final

from edge.model.live import NoticeCall, NoticeRow
from edge.store.base import Base, emit, missing

_NOTICE: Final = """
SELECT notice_id, call_id, when_, number_e164, number_hmac, country, state, attempts, due_at, made_at, sent_at, why
FROM notice"""
#: A call that may need a notice and has none for this moment yet. Bound: moment, since.
_UNJUDGED: Final = """
SELECT c.call_id, c.policy_id, c.policy_version, c.language, c.state, c.outcome, c.started_at, c.ended_at,
  p.number_heard, p.number_e164, p.number_class
FROM call c JOIN party p ON p.party_id = c.party_id
  JOIN policy d ON d.policy_id = c.policy_id AND d.version = c.policy_version
WHERE json_extract(d.document, '$.text_notice') = ?1
  AND NOT EXISTS(SELECT 1 FROM notice n WHERE n.call_id = c.call_id AND n.when_ = ?1)"""


def read_notices(conn: sqlite3.Connection, where: str, *args: Any) -> list[NoticeRow]:
    """Notices that match `where` (SQL of our own), the earliest due first."""
    return [NoticeRow(*row) for row in conn.execute(f"{_NOTICE} WHERE {where} ORDER BY due_at, notice_id", args)]


def drop_notices(conn: sqlite3.Connection, call_id: str, why: str) -> None:
    """Give up what waits for a call and wipe the numbers; part of an erasure."""
    conn.execute(
        "UPDATE notice SET state='dropped', number_e164=NULL, why=? WHERE call_id=? AND state='waiting'",
        (why, call_id),
    )


def _report(conn: sqlite3.Connection, kind: str, notice_id: str, call_id: str, why: str) -> None:
    """For central: ids and a word, never the number."""
    emit(conn, kind, call_id, {"notice_id": notice_id, "call_id": call_id, "why": why})


class Notices(Base):
    """The `NoticeBook` of the journal."""

    async def unjudged(self, when: str, since: str) -> Sequence[NoticeCall]:
        """See `edge.ports.NoticeBook`."""

        def job(conn: sqlite3.Connection) -> Sequence[NoticeCall]:
            rows = conn.execute(
                f"{_UNJUDGED} AND c.ended_at >= ?2 ORDER BY c.ended_at, c.seq", (when, since)
            ).fetchall()
            if when == "start":
                rows += conn.execute(
                    f"{_UNJUDGED} AND c.state = 'permitted' AND c.state <> 'ended' ORDER BY c.seq", (when,)
                ).fetchall()
            return [NoticeCall(*row) for row in rows]

        return await self._readers.read(job)

    async def owe_notice(self, notice: NoticeRow) -> bool:
        """See `edge.ports.NoticeBook`. Audit `notice.owed`, or `notice.dropped` for one that is dropped from the start."""

        def job(conn: sqlite3.Connection) -> bool:
            new = conn.execute(
                "INSERT INTO notice(notice_id, call_id, when_, number_e164, number_hmac, country, state, attempts, due_at,"
                " made_at, sent_at, why) VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT(call_id, when_) DO NOTHING",
                (notice.notice_id, notice.call_id, notice.when_, notice.number_e164, notice.number_hmac, notice.country,
                 notice.state, notice.attempts, notice.due_at, notice.made_at, notice.sent_at, notice.why),
            )  # fmt: skip
            if not new.rowcount:
                return False
            kind = "notice.owed" if notice.state == "waiting" else f"notice.{notice.state}"
            self._note_notice(conn, kind, notice.notice_id, notice.call_id, notice.why)
            if notice.state == "waiting":  # central hears of texts that are owed, not of every call that gets none
                _report(conn, kind, notice.notice_id, notice.call_id, "")
            return True

        return await self._writer.do(job)

    async def notices_waiting(self, now: str) -> Sequence[NoticeRow]:
        """See `edge.ports.NoticeBook`; the earliest first."""
        return await self._readers.read(lambda conn: read_notices(conn, "state='waiting' AND due_at<=?", now))

    async def notices_made(self, since: str, number_hmac: str | None = None) -> int:
        """See `edge.ports.NoticeBook`."""

        def job(conn: sqlite3.Connection) -> int:
            row = conn.execute(
                "SELECT count(*) FROM notice WHERE made_at>=?1 AND (?2 IS NULL OR number_hmac=?2)"
                " AND (state<>'dropped' OR attempts>0)",
                (since, number_hmac),
            ).fetchone()
            return int(row[0])

        return await self._readers.read(job)

    async def notice_done(self, notice_id: str, state: str, at: str, why: str = "") -> None:
        """See `edge.ports.NoticeBook`. Repeats do nothing."""
        if state not in ("sent", "dropped"):
            raise ValueError(f"a notice cannot end as {state!r}")

        def job(conn: sqlite3.Connection) -> None:
            found = read_notices(conn, "notice_id=?", notice_id)
            if not found:
                raise missing("notice", notice_id)
            if found[0].state != "waiting":
                return
            conn.execute(
                "UPDATE notice SET state=?1, number_e164=NULL, why=?2, attempts=attempts + (?1='sent'),"
                " sent_at=CASE ?1 WHEN 'sent' THEN ?3 END WHERE notice_id=?4",
                (state, why, at, notice_id),
            )
            self._note_notice(conn, f"notice.{state}", notice_id, found[0].call_id, why)
            _report(conn, f"notice.{state}", notice_id, found[0].call_id, why)

        await self._writer.do(job)

    async def notice_failed(self, notice_id: str, due_at: str, why: str) -> None:
        """See `edge.ports.NoticeBook`."""

        def job(conn: sqlite3.Connection) -> None:
            conn.execute(
                "UPDATE notice SET attempts=attempts + 1, due_at=?, why=? WHERE notice_id=? AND state='waiting'",
                (due_at, why, notice_id),
            )

        await self._writer.do(job, wakes=False)

    async def notices(self, call_id: str) -> Sequence[NoticeRow]:
        """See `edge.ports.NoticeBook`; the earliest first."""
        return await self._readers.read(lambda conn: read_notices(conn, "call_id=?", call_id))

    def _note_notice(self, conn: sqlite3.Connection, kind: str, notice_id: str, call_id: str, why: str) -> None:
        body = {"notice_id": notice_id, **({"why": why} if why else {})}
        self._audit.append(conn, self._clock.wall_text(), kind, subject=call_id, call_id=call_id, body=body)
