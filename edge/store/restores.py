"""Backups that were made of this journal, and the mark of a journal that was put back from one.

The mark (meta `restored`, JSON) is set by `mark_restored` on the copy before it becomes the journal; while it is there the
edge gives nothing out. `restores` counts them and is the last part of the incarnation.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

from edge.errors import CallwardenError
from edge.model.entities import ReceiptRow
from edge.ports import AuditSink
from edge.ports.restores import BackupRow, RestoreMark
from edge.store.base import Base, encode_json, text_json
from edge.store.orders import leave, move_order, store_receipt

MARK: Final = "restored"
COUNT: Final = "restores"
#: Which restore of central the receipts were sent again for.
TOLD_ABOUT: Final = "central_restore"
#: Tombstones told at a time.
TOLD: Final = 1000


def read_mark(conn: sqlite3.Connection) -> RestoreMark | None:
    """The mark of a journal that is not settled yet."""
    row = conn.execute("SELECT value FROM meta WHERE key=?", (MARK,)).fetchone()
    return None if row is None else msgspec.json.decode(row[0], type=RestoreMark)


def incarnation(conn: sqlite3.Connection) -> str:
    """`instance_id`, and behind a slash how often it was restored, where it was."""
    found = dict(conn.execute("SELECT key, value FROM meta WHERE key IN ('instance_id', ?)", (COUNT,)))
    count = found.get(COUNT, "0")
    return f"{found['instance_id']}/{count}" if count != "0" else str(found["instance_id"])


def mark_restored(conn: sqlite3.Connection, audit: AuditSink, mark: RestoreMark, count: int, witnessed: Any) -> None:
    """Make a copy the journal of a new incarnation, number `count`, in one transaction of its own.

    The first entry of the incarnation says what was witnessed last and who put it back. What waits to be sent is numbered
    anew from 1 (central counts each incarnation without gaps), what was buried keeps a number below 0. Remembered answers
    and texts that wait are dropped: they may have been taken back, or sent, after the backup was made.
    """
    conn.execute("BEGIN IMMEDIATE")
    size = conn.execute("SELECT ifnull(max(idx) + 1, 0) FROM audit").fetchone()[0]
    _set(conn, COUNT, str(count))
    _set(conn, MARK, encode_json(mark).decode())
    conn.execute("DELETE FROM checkpoint WHERE cosigned IS NULL")
    conn.execute("DELETE FROM answer")
    conn.execute("UPDATE notice SET state='dropped', number_e164=NULL, why='restored' WHERE state='waiting'")
    conn.execute("UPDATE backup SET finished_at=? WHERE backup_id=?", (mark.made_at, mark.backup_id))
    _number_anew(conn)
    body = {
        "backup_id": mark.backup_id, "made_at": mark.made_at, "entries": size, "incarnation": count,
        "witnessed": witnessed, "uid": mark.uid,
    }  # fmt: skip
    audit.append(conn, mark.restored_at, "log.restored", body=body)
    conn.execute("COMMIT")


def _number_anew(conn: sqlite3.Connection) -> None:
    """Buried rows below 0, waiting ones from 1 on; the next one follows them."""
    dead = conn.execute("SELECT seq FROM outbox WHERE dead_reason IS NOT NULL ORDER BY seq").fetchall()
    lowest = conn.execute("SELECT min(0, ifnull(min(seq), 0)) FROM outbox").fetchone()[0]
    for number, (seq,) in enumerate(dead, 1):
        conn.execute("UPDATE outbox SET seq=? WHERE seq=?", (lowest - number, seq))
    waiting = conn.execute("SELECT seq FROM outbox WHERE dead_reason IS NULL ORDER BY seq").fetchall()
    for number, (seq,) in enumerate(waiting, 1):  # ascending: a number is free before it is given
        conn.execute("UPDATE outbox SET seq=? WHERE seq=?", (number, seq))
    conn.execute("UPDATE sqlite_sequence SET seq=? WHERE name='outbox'", (len(waiting),))


def _set(conn: sqlite3.Connection, key: str, value: str) -> None:
    conn.execute(
        "INSERT INTO meta(key, value) VALUES(?, ?) ON CONFLICT(key) DO UPDATE SET value=excluded.value", (key, value)
    )


class Restores(Base):
    """The `RestoreBook` of the journal."""

    async def begin_backup(self, backup_id: str, place: str, expires_at: str | None, uid: int) -> None:
        """See `edge.ports.RestoreBook`."""

        def job(conn: sqlite3.Connection) -> None:
            at = self._clock.wall_text()
            row = (backup_id, place, at, expires_at)
            done = conn.execute(
                "INSERT OR IGNORE INTO backup(backup_id, place, begun_at, expires_at) VALUES(?,?,?,?)", row
            )
            if done.rowcount:
                body = {"backup_id": backup_id, "expires_at": expires_at, "uid": uid}
                self._audit.append(conn, at, "backup.begun", body=body)

        await self._writer.do(job)

    async def finish_backup(self, backup_id: str, uid: int) -> None:
        """See `edge.ports.RestoreBook`."""

        def job(conn: sqlite3.Connection) -> None:
            at = self._clock.wall_text()
            done = conn.execute(
                "UPDATE backup SET finished_at=? WHERE backup_id=? AND finished_at IS NULL", (at, backup_id)
            )
            if done.rowcount:
                self._audit.append(conn, at, "backup.made", body={"backup_id": backup_id, "uid": uid})
            elif conn.execute("SELECT 1 FROM backup WHERE backup_id=?", (backup_id,)).fetchone() is None:
                raise CallwardenError("not_found.backup", "no such backup was begun", where=backup_id)

        await self._writer.do(job)

    async def backups(self) -> Sequence[BackupRow]:
        """See `edge.ports.RestoreBook`."""

        def job(conn: sqlite3.Connection) -> Sequence[BackupRow]:
            query = (
                "SELECT backup_id, place, begun_at, finished_at, expires_at FROM backup ORDER BY begun_at, backup_id"
            )
            return [BackupRow(*row) for row in conn.execute(query)]

        return await self._readers.read(job)

    async def restore_mark(self) -> RestoreMark | None:
        """See `edge.ports.RestoreBook`. Through the writer: nothing that was committed is missed."""
        return await self._writer.do(read_mark, wakes=False)

    async def accept_restore(self, uid: int, reason: str) -> bool:
        """See `edge.ports.RestoreBook`."""

        def job(conn: sqlite3.Connection) -> bool:
            mark = read_mark(conn)
            if mark is None:
                return False
            if not mark.accepted:
                _set(conn, MARK, encode_json(msgspec.structs.replace(mark, accepted=True, reason=reason)).decode())
                body = {"backup_id": mark.backup_id, "uid": uid}
                self._audit.append(conn, self._clock.wall_text(), "restore.accepted", body=body)
            return True

        return await self._writer.do(job)

    async def bury_unknown(self, recording_id: str, erased_at: str, receipt_id: str | None) -> bool:
        """See `edge.ports.RestoreBook`."""

        def job(conn: sqlite3.Connection) -> bool:
            if conn.execute("SELECT 1 FROM recording WHERE recording_id=?", (recording_id,)).fetchone():
                return False
            done = conn.execute(
                "INSERT OR IGNORE INTO tombstone(recording_id, erased_at, cause, receipt_id, key_ids) VALUES(?, ?, ?, ?, ?)",
                (recording_id, erased_at, "erased_before_restore", receipt_id, text_json([])),
            )
            return bool(done.rowcount)

        return await self._writer.do(job, wakes=False)

    async def take_back_receipts(self, receipts: Sequence[ReceiptRow]) -> int:
        """See `edge.ports.RestoreBook`."""

        def job(conn: sqlite3.Connection) -> int:
            new = 0
            for receipt in receipts:
                taken = conn.execute("SELECT 1 FROM receipt WHERE jti=? AND n=?", (receipt.jti, receipt.n)).fetchone()
                if taken is None and store_receipt(conn, receipt):
                    new += 1
                conn.execute(
                    "UPDATE receipt SET acked_at=ifnull(acked_at, ?) WHERE receipt_id=?",
                    (self._clock.wall_text(), receipt.receipt_id),
                )
            return new

        return await self._writer.do(job, wakes=False)

    async def end_answered(self, jtis: Sequence[str]) -> Sequence[int]:
        """See `edge.ports.RestoreBook`."""

        def job(conn: sqlite3.Connection) -> Sequence[int]:
            slots: list[int] = []
            for jti in jtis:
                move_order(conn, jti, "answered")
                move_order(conn, jti, "acknowledged")  # the receipt came back from central
                self._audit.append(conn, self._clock.wall_text(), "order.ended_before_restore", body={"jti": jti})
                slots += leave(conn, jti)
            return slots

        return await self._writer.do(job, wakes=False)

    async def tombstones_after(self, recording_id: str) -> Sequence[str]:
        """See `edge.ports.RestoreBook`."""

        def job(conn: sqlite3.Connection) -> Sequence[str]:
            query = "SELECT recording_id FROM tombstone WHERE recording_id>? ORDER BY recording_id LIMIT ?"
            return [row[0] for row in conn.execute(query, (recording_id, TOLD))]

        return await self._readers.read(job)

    async def anonymous_after(self, call_id: str) -> Sequence[Mapping[str, Any]]:
        """See `edge.ports.RestoreBook`."""

        def job(conn: sqlite3.Connection) -> Sequence[Mapping[str, Any]]:
            rows = conn.execute(
                "SELECT call_id, started_at, duration_s FROM call WHERE anonymised_at IS NOT NULL AND call_id>?"
                " ORDER BY call_id LIMIT ?",
                (call_id, TOLD // 4),
            )
            return [dict(zip(("call_id", "started_at", "duration_s"), row, strict=True)) for row in rows]

        return await self._readers.read(job)

    async def send_receipts_again(self, restore: str) -> bool:
        """See `edge.ports.RestoreBook`."""

        def job(conn: sqlite3.Connection) -> bool:
            row = conn.execute("SELECT value FROM meta WHERE key=?", (TOLD_ABOUT,)).fetchone()
            if row is not None and row[0] == restore:
                return False
            _set(conn, TOLD_ABOUT, restore)
            conn.execute("UPDATE receipt SET acked_at=NULL")
            return True

        return await self._writer.do(job)

    async def settle_restore(self, facts: dict[str, Any]) -> None:
        """See `edge.ports.RestoreBook`."""

        def job(conn: sqlite3.Connection) -> None:
            mark = read_mark(conn)
            if mark is not None:
                conn.execute("DELETE FROM meta WHERE key=?", (MARK,))
                body = {"backup_id": mark.backup_id, "accepted": mark.accepted, **facts}
                self._audit.append(conn, self._clock.wall_text(), "restore.settled", body=body)

        await self._writer.do(job)


__all__ = ["Restores", "incarnation", "mark_restored", "read_mark"]
