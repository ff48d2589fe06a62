"""Segments that are destroyed after an incident while their recording stays: intent, what is unfinished, the end."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Any

from edge.model.entities import SegmentRow
from edge.model.lifecycle import SEGMENT, step
from edge.store.base import Base, emit
from edge.store.recordings import read_segments, state_of

#: Only an incident shreds segments of a recording that stays, and it marks the recording in the same commit.
_UNFINISHED = (
    "s.recording_id IN (SELECT f.recording_id FROM recording_flag f WHERE f.flag='incident')"
    " AND s.state='shredded' AND h.slot>0 AND EXISTS(SELECT 1 FROM recording r WHERE r.recording_id = s.recording_id"
    " AND r.state NOT IN ('erasing','erased'))"
)


class Incidents(Base):
    """The `IncidentBook` of the journal."""

    async def shred_segments(self, recording_id: str, since: str) -> Sequence[SegmentRow]:
        """See `edge.ports.IncidentBook`."""

        def job(conn: sqlite3.Connection) -> list[SegmentRow]:
            state, call_id = state_of(conn, recording_id)
            # Nobody ends the open segment of what is quarantined: it lies in the vault as it is.
            rows = read_segments(
                conn,
                "s.recording_id=? AND (s.state IN ('closed','truncated') OR s.state='open' AND ?)"
                " AND ifnull(s.closed_at, ?) >= ?",
                recording_id, state == "quarantined", since, since,
            )  # fmt: skip
            at = self._clock.wall_text()
            for row in rows:
                after = step(SEGMENT, row.state, "shred")
                conn.execute("UPDATE segment SET state=? WHERE segment_id=?", (after, row.segment_id))
                self._said(conn, "segment.shredding", call_id, {"recording_id": recording_id, "segment": row.number})
            flagged = conn.execute(
                "INSERT INTO recording_flag(recording_id, flag, detail, at) VALUES(?, 'incident', '', ?)"
                " ON CONFLICT(recording_id, flag) DO NOTHING",
                (recording_id, at),
            )
            if flagged.rowcount:
                self._said(conn, "recording.flagged", call_id, {"recording_id": recording_id, "flag": "incident"})
            return rows

        return await self._writer.do(job)

    async def shredding(self) -> Sequence[SegmentRow]:
        """See `edge.ports.IncidentBook`."""
        return await self._readers.read(lambda conn: read_segments(conn, _UNFINISHED))

    async def segment_reported(self, segment_id: str) -> bool:
        """See `edge.ports.IncidentBook`."""
        query = (
            "SELECT 1 FROM outbox WHERE dead_reason IS NULL AND json_extract(body, '$.segment_id')=?"
            " AND json_extract(body, '$.header') IS NOT NULL LIMIT 1"
        )
        return await self._readers.read(lambda conn: conn.execute(query, (segment_id,)).fetchone() is None)

    async def finish_shred(self, segment_id: str) -> None:
        """See `edge.ports.IncidentBook`."""

        def job(conn: sqlite3.Connection) -> None:
            rows = read_segments(conn, "s.segment_id=?", segment_id)
            if not rows or rows[0].state != "shredded" or rows[0].header.slot == 0:
                return
            row = rows[0]
            _, call_id = state_of(conn, row.recording_id)
            conn.execute("UPDATE header SET sealed_header=x'', slot=0 WHERE segment_id=?", (segment_id,))
            # A dead letter may still name the slot, which will hold another key one day.
            conn.execute(
                "UPDATE outbox SET body=json_remove(body, '$.header') WHERE json_extract(body, '$.segment_id')=?",
                (segment_id,),
            )
            facts = {"recording_id": row.recording_id, "segment": row.number, "key_id": row.header.key_id.hex()}
            self._said(conn, "segment.shredded", call_id, facts)
            body = {
                "recording_id": row.recording_id, "call_id": call_id, "segment_id": segment_id, "number": row.number,
                "state": "shredded", "end_reason": row.end_reason, "chunks": row.chunks,
                "plain_bytes": row.plain_bytes, "payload_bytes": row.payload_bytes,
            }  # fmt: skip
            emit(conn, "segment.closed", row.recording_id, body)

        await self._writer.do(job)

    def _said(self, conn: sqlite3.Connection, kind: str, call_id: str, body: dict[str, Any]) -> None:
        self._audit.append(conn, self._clock.wall_text(), kind, subject=call_id, call_id=call_id, body=body)
