"""Everything central should know, told once more: for a central that lost its database, or a new one in its place."""

from __future__ import annotations

import hashlib
import sqlite3
from typing import Any, Final

from edge.model.entities import ConsentEvent, RecordingRow
from edge.store.base import Base, decode_json, emit
from edge.store.covers import RESTRICTIONS, covers_any
from edge.store.media import AGAIN
from edge.store.numbers import report_numbers
from edge.store.policies import resend_reports
from edge.store.recordings import header_body, permitted_purposes, read_recordings
from edge.store.rows import report_event

#: Which restore of central calls are told again for, and up to which: "<restore>:<seq>".
TOLD_CALLS: Final = "central_restore_calls"
_CALLS: Final = """
SELECT c.seq, c.call_id, c.linked_id, c.policy_id, c.policy_version, c.mode, c.direction, c.language, c.purposes,
  c.started_at, c.state, c.outcome, c.ended_at, p.number_class
FROM call c LEFT JOIN party p ON p.party_id = c.party_id WHERE c.seq > ? ORDER BY c.seq LIMIT ?"""


class Resend(Base):
    """The `ResendBook` of the journal. Every event is new and says what is stored now; central takes repeats for what they
    are, so a resend may be stopped and begun again."""

    async def begin_resend(self) -> None:
        """See `edge.ports.ResendBook`."""

        def job(conn: sqlite3.Connection) -> None:
            conn.execute("UPDATE receipt SET acked_at=NULL")
            conn.execute("DELETE FROM delivery")
            conn.execute("DELETE FROM meta WHERE key='delivery_watermark'")
            conn.execute(AGAIN)
            _released(conn)
            resend_reports(conn)
            self._audit.append(conn, self._clock.wall_text(), "sync.resend", body={})

        await self._writer.do(job)

    async def resend_calls(self, after: int, limit: int) -> tuple[int, int, int]:
        """See `edge.ports.ResendBook`."""

        def job(conn: sqlite3.Connection) -> tuple[int, int, int]:
            rows, before = conn.execute(_CALLS, (after, limit)).fetchall(), conn.total_changes
            for row in rows:
                _call(conn, row)
            return (int(rows[-1][0]) if rows else 0), len(rows), conn.total_changes - before

        return await self._writer.do(job)

    async def tell_calls_again(self, restore: str, limit: int) -> int:
        """See `edge.ports.ResendBook`."""

        def job(conn: sqlite3.Connection) -> int:
            told = conn.execute("SELECT value FROM meta WHERE key=?", (TOLD_CALLS,)).fetchone()
            known, _, seq = str(told[0]).partition(":") if told else ("", "", "0")
            if known != restore:
                seq = "0"
                conn.execute(AGAIN)
                _released(conn)
                self._audit.append(conn, self._clock.wall_text(), "sync.resend", body={"restore": restore})
            rows = conn.execute(_CALLS, (int(seq), limit)).fetchall()
            for row in rows:
                _call(conn, row)
            last = int(rows[-1][0]) if rows else int(seq)
            conn.execute(
                "INSERT INTO meta VALUES (?, ?) ON CONFLICT(key) DO UPDATE SET value=excluded.value",
                (TOLD_CALLS, f"{restore}:{last}"),
            )
            return len(rows)

        return await self._writer.do(job)


def _released(conn: sqlite3.Connection) -> None:
    query = (
        "SELECT hold_id FROM hold WHERE kind='restriction' AND released_at IS NOT NULL ORDER BY released_at, hold_id"
    )
    for (hold_id,) in conn.execute(query).fetchall():
        emit(conn, "restriction.released", hold_id, {"hold_id": hold_id})


def _call(conn: sqlite3.Connection, row: tuple[Any, ...]) -> None:
    (_, call_id, linked_id, policy_id, version, mode, direction, language, purposes, started_at, state, outcome, ended_at,
     number_class) = row  # fmt: skip
    body = {
        "policy_id": policy_id, "policy_version": version, "mode": mode, "direction": direction, "call_id": call_id,
        "linked_id": linked_id, "number_class": number_class, "language": language, "purposes": decode_json(purposes),
        "started_at": started_at,
    }  # fmt: skip
    emit(conn, "call.opened", call_id, body)
    events = conn.execute(
        "SELECT seq, kind, at_wall, at_mono, evidence, party_id FROM consent_event WHERE call_id=? ORDER BY seq",
        (call_id,),
    ).fetchall()
    for seq, kind, at, mono, evidence, party_id in events:
        last = seq == events[-1][0]
        event = ConsentEvent(kind, at, mono, decode_json(evidence), party_id)
        report_event(conn, call_id, seq, event, state, outcome if last else None)
    if state == "ended":
        emit(conn, "call.closed", call_id, {"call_id": call_id, "ended_at": ended_at, "outcome": outcome})
        report_numbers(conn, call_id)
    for recording in read_recordings(conn, "r.call_id=?", call_id):
        _recording(conn, recording)
    query = f"SELECT h.hold_id, h.scope, h.target FROM hold h WHERE {covers_any('?1', RESTRICTIONS)}"  # noqa: S608
    for hold_id, scope, target in conn.execute(query, (call_id,)).fetchall():
        named = {"recording_id": target} if scope == "recording" else {}
        emit(conn, "restriction.placed", call_id, {"hold_id": hold_id, "call_id": call_id, **named})


def _recording(conn: sqlite3.Connection, row: RecordingRow) -> None:
    ids = {"recording_id": row.recording_id, "call_id": row.call_id}
    facts = {
        "permit_id": row.permit_id, "suite": row.suite, "codec": row.codec, "rate": row.rate, "channels": row.channels,
        "started_at": row.started_at, "purposes": permitted_purposes(conn, row.permit_id),
    }  # fmt: skip
    for segment in row.segments:
        header = header_body(segment.header) if segment.header.slot else None
        named = {"segment_id": segment.segment_id, "number": segment.number, "header": header}
        if segment.number == 0:
            emit(conn, "recording.opened", row.recording_id, {**ids, **facts, **named})
        if segment.state == "open":
            continue
        digest = segment.payload_sha512.hex() if segment.payload_sha512 else None
        closed = {
            "state": segment.state, "end_reason": segment.end_reason, "chunks": segment.chunks,
            "plain_bytes": segment.plain_bytes, "payload_bytes": segment.payload_bytes,
            "tags_hash": segment.tags_hash.hex(), "payload_sha512": digest,
        }  # fmt: skip
        emit(conn, "segment.closed", row.recording_id, {**ids, **named, **closed})
    if row.state in ("sealed", "no_audio", "quarantined") and row.ended_at:
        sealed = {"state": row.state, "ending": row.ending, "frames": row.frames, "ended_at": row.ended_at}
        if row.manifest:
            sealed |= {
                "manifest": row.manifest, "manifest_sha256": hashlib.sha256(row.manifest.encode()).hexdigest(),
            }  # fmt: skip
        emit(conn, "recording.sealed", row.recording_id, {**ids, **sealed})
    stone = conn.execute(
        "SELECT erased_at, cause, receipt_id, key_ids FROM tombstone WHERE recording_id=?", (row.recording_id,)
    ).fetchone()
    if stone is not None:
        gone = {"erased_at": stone[0], "cause": stone[1], "receipt_id": stone[2], "key_ids": decode_json(stone[3])}
        emit(conn, "recording.erased", row.recording_id, {**ids, **gone})
