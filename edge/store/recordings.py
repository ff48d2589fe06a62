"""Recordings, captures, segments and their sealed headers."""

from __future__ import annotations

import base64
import hashlib
import sqlite3
from collections.abc import Sequence
from typing import Any, Final

from edge.model.entities import (
    ClosedSegment,
    HeaderRow,
    NewRecording,
    NewSegment,
    Progress,
    RecordingRow,
    SegmentRow,
)
from edge.model.lifecycle import LIVE, RECORDING, SEGMENT, step
from edge.ports import AuditSink
from edge.store.base import Base, check_move, decode_json, emit, missing, text_json
from edge.store.covers import covers
from edge.store.media import DUE

_RECORDING: Final = f"""
SELECT r.recording_id, r.call_id, r.permit_id, r.channel_uid, r.channel_name, r.suite, r.state, r.ending, r.frames,
  r.started_at, r.ended_at, r.manifest, c.policy_id, c.policy_version, p.event_seq, k.capture_id, k.spool_name,
  k.monitor_id, k.codec, k.rate, k.channels,
  EXISTS(SELECT 1 FROM hold h WHERE {covers("r.recording_id", "r.call_id")}),
  k.muted, ifnull((SELECT json_extract(d.document, '$.capture.seal_every.ms') FROM policy d
    WHERE d.policy_id = c.policy_id AND d.version = c.policy_version), 0),
  ifnull((SELECT json_extract(d.document, '$.compact') FROM policy d
    WHERE d.policy_id = c.policy_id AND d.version = c.policy_version), 'none')
FROM recording r JOIN call c ON c.call_id = r.call_id JOIN permit p ON p.permit_id = r.permit_id
JOIN capture k ON k.recording_id = r.recording_id"""  # noqa: S608 - our own words
_SEGMENT: Final = """
SELECT s.segment_id, s.recording_id, s.number, s.capture_id, s.spool_offset, s.state, s.chunks, s.plain_bytes,
  s.payload_bytes, s.tags_hash, s.payload_sha512, s.end_reason,
  h.version, h.suite, h.sealed_header, h.slot, h.recipients, h.key_id, s.opened_at, s.closed_at,
  s.encoding, s.frames, h.made_by, s.loudest, s.staged
FROM segment s JOIN header h ON h.segment_id = s.segment_id
  AND h.version = (SELECT max(version) FROM header n WHERE n.segment_id = s.segment_id)"""


def read_segments(conn: sqlite3.Connection, where: str, *args: Any) -> list[SegmentRow]:
    """Segments that match `where`, by recording and number, each with its newest header."""
    rows = conn.execute(f"{_SEGMENT} WHERE {where} ORDER BY s.recording_id, s.number", args)
    return [
        SegmentRow(
            *(
                *(*r[:12], HeaderRow(r[0], r[12], r[13], r[14], r[15], tuple(decode_json(r[16])), r[17], r[22])),
                *(*r[18:22], tuple(decode_json(r[23])) if r[23] else None, r[24]),
            )
        )
        for r in rows
    ]


def read_recordings(conn: sqlite3.Connection, where: str, *args: Any) -> list[RecordingRow]:
    """Recordings that match `where`, oldest first, with their segments."""
    rows = conn.execute(f"{_RECORDING} WHERE {where} ORDER BY r.seq", args).fetchall()
    return [
        RecordingRow(
            *(
                *row[:21],
                bool(row[21]),
                tuple(read_segments(conn, "s.recording_id=?", row[0])),
                bool(row[22]),
                *row[23:25],
            )
        )
        for row in rows
    ]


def insert_segment(conn: sqlite3.Connection, segment: NewSegment, at: str) -> None:
    """An open segment and its header; part of what opens it."""
    header = segment.header
    conn.execute(
        "INSERT INTO segment(segment_id, recording_id, number, capture_id, spool_offset, state, tags_hash,"
        " opened_at) VALUES(?, ?, ?, ?, ?, ?, ?, ?)",
        (segment.segment_id, segment.recording_id, segment.number, segment.capture_id, segment.spool_offset,
         step(SEGMENT, "", "open"), bytes(32), at),
    )  # fmt: skip
    conn.execute(
        "INSERT INTO header(segment_id, version, suite, sealed_header, slot, recipients, key_id)"
        " VALUES(?, ?, ?, ?, ?, ?, ?)",
        (header.segment_id, header.version, header.suite, header.sealed_header, header.slot,
         text_json(header.recipients), header.key_id),
    )  # fmt: skip


def header_body(header: HeaderRow) -> dict[str, Any]:
    """A header as outbox rows carry it: ciphertext, and the slot whose key is read when the row is sent."""
    return {
        "version": header.version,
        "suite": header.suite,
        "slot": header.slot,
        "sealed_header": base64.urlsafe_b64encode(header.sealed_header).rstrip(b"=").decode(),
        "recipients": header.recipients,
        "key_id": header.key_id.hex(),
    }


def insert_recording(conn: sqlite3.Connection, new: NewRecording) -> None:
    """Recording `starting`, capture, first segment and header, outbox `recording.opened`; part of `grant`."""
    state = step(RECORDING, "", "permit")
    conn.execute(
        "INSERT INTO recording(recording_id, call_id, permit_id, channel_uid, channel_name, suite, state, started_at)"
        " VALUES(?, ?, ?, ?, ?, ?, ?, ?)",
        (new.recording_id, new.call_id, new.permit_id, new.channel_uid, new.channel_name, new.suite, state,
         new.started_at),
    )  # fmt: skip
    conn.execute(
        "INSERT INTO capture(capture_id, recording_id, spool_name, codec, rate, channels) VALUES(?, ?, ?, ?, ?, ?)",
        (new.capture_id, new.recording_id, new.spool_name, new.codec, new.rate, new.channels),
    )
    insert_segment(conn, new.segment, new.started_at)
    body = {
        "recording_id": new.recording_id, "call_id": new.call_id, "permit_id": new.permit_id, "suite": new.suite,
        "codec": new.codec, "rate": new.rate, "channels": new.channels, "started_at": new.started_at,
        "segment_id": new.segment.segment_id, "number": new.segment.number,
        "header": header_body(new.segment.header), "purposes": permitted_purposes(conn, new.permit_id),
    }  # fmt: skip
    emit(conn, "recording.opened", new.recording_id, body)


def permitted_purposes(conn: sqlite3.Connection, permit_id: str) -> list[str]:
    """What the answer allows this recording for."""
    row = conn.execute("SELECT purposes FROM permit WHERE permit_id=?", (permit_id,)).fetchone()
    return [] if row is None else list(decode_json(row[0]))


def state_of(conn: sqlite3.Connection, recording_id: str) -> tuple[str, str]:
    """(state, call_id). Raises CallwardenError journal.unknown."""
    row = conn.execute("SELECT state, call_id FROM recording WHERE recording_id=?", (recording_id,)).fetchone()
    if row is None:
        raise missing("recording", recording_id)
    return row[0], row[1]


def close_segment(conn: sqlite3.Connection, audit: AuditSink, at: str, closed: ClosedSegment) -> None:
    """A segment's last facts, audit `segment.closed`, outbox `segment.closed`; part of what ends it."""
    p = closed.progress
    rows = read_segments(conn, "s.segment_id=?", p.segment_id)
    if not rows or rows[0].recording_id != closed.recording_id:
        raise missing("segment", p.segment_id)
    row = rows[0]
    if row.state == closed.state and row.payload_sha512 == closed.payload_sha512:
        return
    check_move(SEGMENT, row.state, closed.state, "a segment")
    if p.chunks < row.chunks or p.payload_bytes < row.payload_bytes:
        raise ValueError("the last progress of a segment would lose sealed bytes")
    conn.execute(
        "UPDATE segment SET state=?, chunks=?, plain_bytes=?, payload_bytes=?, tags_hash=?, payload_sha512=?,"
        " end_reason=?, closed_at=? WHERE segment_id=?",
        (closed.state, p.chunks, p.plain_bytes, p.payload_bytes, p.tags_hash, closed.payload_sha512,
         closed.end_reason, at, p.segment_id),
    )  # fmt: skip
    _, call_id = state_of(conn, closed.recording_id)
    facts = {
        "recording_id": closed.recording_id, "segment": row.number, "state": closed.state,
        "end_reason": closed.end_reason, "payload_sha512": closed.payload_sha512.hex(),
    }  # fmt: skip
    audit.append(conn, at, "segment.closed", subject=call_id, call_id=call_id, body=facts)
    body = {
        "recording_id": closed.recording_id, "call_id": call_id, "segment_id": p.segment_id,
        "number": row.number, "state": closed.state, "end_reason": closed.end_reason, "chunks": p.chunks,
        "plain_bytes": p.plain_bytes, "payload_bytes": p.payload_bytes, "tags_hash": p.tags_hash.hex(),
        "payload_sha512": closed.payload_sha512.hex(), "header": header_body(row.header),
    }  # fmt: skip
    emit(conn, "segment.closed", closed.recording_id, body)


class Recordings(Base):
    """The `RecordingBook` of the journal."""

    async def set_monitor(self, recording_id: str, monitor_id: str) -> None:
        """See `edge.ports.RecordingBook`."""

        def job(conn: sqlite3.Connection) -> None:
            done = conn.execute("UPDATE capture SET monitor_id=? WHERE recording_id=?", (monitor_id, recording_id))
            if done.rowcount != 1:
                raise missing("recording", recording_id)

        await self._writer.do(job, wakes=False, patient=True)

    async def set_recording_state(self, recording_id: str, state: str) -> None:
        """See `edge.ports.RecordingBook`. While a recording is `erasing`, words about its capture change nothing."""

        def job(conn: sqlite3.Connection) -> None:
            before, call_id = state_of(conn, recording_id)
            if before == state or (before == "erasing" and state in (*LIVE, "no_audio", "sealed")):
                return
            check_move(RECORDING, before, state, "a recording")
            at = self._clock.wall_text()
            conn.execute("UPDATE recording SET state=? WHERE recording_id=?", (state, recording_id))
            facts = {"recording_id": recording_id, "state": state}
            if state == "no_audio":
                conn.execute("UPDATE recording SET ended_at=? WHERE recording_id=?", (at, recording_id))
                conn.execute(
                    "UPDATE segment SET state=?, end_reason=ifnull(end_reason, 'hangup'), closed_at=?"
                    " WHERE recording_id=? AND state='open'",
                    (step(SEGMENT, "open", "truncate"), at, recording_id),
                )
                emit(conn, "recording.sealed", recording_id, {**facts, "call_id": call_id, "ended_at": at})
            self._audit.append(conn, at, "recording.state", subject=call_id, call_id=call_id, body=facts)

        await self._writer.do(job)

    async def progress(self, pieces: Sequence[Progress]) -> None:
        """See `edge.ports.RecordingBook`. Raises journal.progress for a segment that is not open or would go back."""
        rows = [
            (p.chunks, p.plain_bytes, p.payload_bytes, p.tags_hash, p.segment_id, p.chunks, p.payload_bytes)
            for p in pieces
        ]

        def job(conn: sqlite3.Connection) -> None:
            done = conn.executemany(
                "UPDATE segment SET chunks=?, plain_bytes=?, payload_bytes=?, tags_hash=?"
                " WHERE segment_id=? AND state='open' AND chunks<=? AND payload_bytes<=?",
                rows,
            )
            if done.rowcount != len(rows):
                raise ValueError("progress for a segment that is not open, or that would lose sealed bytes")

        if rows:
            await self._writer.do(job, wakes=False)

    async def add_segment(self, segment: NewSegment) -> None:
        """See `edge.ports.RecordingBook`."""

        def job(conn: sqlite3.Connection) -> None:
            _, call_id = state_of(conn, segment.recording_id)
            at = self._clock.wall_text()
            insert_segment(conn, segment, at)
            self._audit.append(
                conn, at, "segment.opened", subject=call_id, call_id=call_id,
                body={"recording_id": segment.recording_id, "segment": segment.number},
            )  # fmt: skip

        await self._writer.do(job)

    async def close_segment(self, closed: ClosedSegment) -> None:
        """See `edge.ports.RecordingBook`. Closing a segment that is closed already with these facts does nothing."""
        await self._writer.do(lambda conn: close_segment(conn, self._audit, self._clock.wall_text(), closed))

    async def seal_recording(
        self, recording_id: str, *, ending: str, frames: int, ended_at: str, manifest: str
    ) -> None:
        """See `edge.ports.RecordingBook`. Under `erasing` the facts are kept and the state stays."""

        def job(conn: sqlite3.Connection) -> None:
            before, call_id = state_of(conn, recording_id)
            if before == "sealed":
                return
            if before != "erasing":
                check_move(RECORDING, before, "sealed", "a recording")
            if conn.execute(
                "SELECT 1 FROM segment WHERE recording_id=? AND state='open' LIMIT 1", (recording_id,)
            ).fetchone():
                raise ValueError("a recording with an open segment cannot be sealed")
            after = before if before == "erasing" else "sealed"
            conn.execute(
                "UPDATE recording SET state=?, ending=?, frames=?, ended_at=?, manifest=? WHERE recording_id=?",
                (after, ending, frames, ended_at, manifest, recording_id),
            )
            if after == "sealed":
                conn.execute(DUE, (recording_id, self._clock.wall_text()))
            facts = {
                "recording_id": recording_id, "state": after, "ending": ending,
                "manifest_sha256": hashlib.sha256(manifest.encode()).hexdigest(),
            }  # fmt: skip
            self._audit.append(
                conn, self._clock.wall_text(), "recording.sealed", subject=call_id, call_id=call_id, body=facts
            )
            body = {**facts, "call_id": call_id, "frames": frames, "ended_at": ended_at, "manifest": manifest}
            emit(conn, "recording.sealed", recording_id, body)

        await self._writer.do(job)

    async def recording(self, recording_id: str) -> RecordingRow | None:
        """See `edge.ports.RecordingBook`."""
        rows = await self._readers.read(lambda conn: read_recordings(conn, "r.recording_id=?", recording_id))
        return rows[0] if rows else None

    async def recordings(self, *, states: Sequence[str] | None = None) -> Sequence[RecordingRow]:
        """See `edge.ports.RecordingBook`."""
        if states is None:
            return await self._readers.read(lambda conn: read_recordings(conn, "1"))
        marks = ",".join("?" * len(states))
        return await self._readers.read(lambda conn: read_recordings(conn, f"r.state IN ({marks})", *states))
