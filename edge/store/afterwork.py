"""What becomes of a segment after its row is closed: how loud it was, and a compacted payload in its place."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

from edge.model.entities import Compacted, SegmentRow
from edge.model.lifecycle import LIVE
from edge.store.base import Base, emit, missing, text_json
from edge.store.recordings import header_body, read_segments, state_of


class Afterwork(Base):
    """The `AfterworkBook` of the journal."""

    async def set_loudest(self, segment_id: str, loudest: Sequence[int]) -> bool:
        """See `edge.ports.AfterworkBook`."""

        def job(conn: sqlite3.Connection) -> bool:
            done = conn.execute(
                "UPDATE segment SET loudest=? WHERE segment_id=? AND state IN ('closed','truncated')",
                (text_json(list(loudest)), segment_id),
            )
            return done.rowcount == 1

        return await self._writer.do(job, wakes=False)

    async def compact_segment(self, made: Compacted) -> int | None:
        """See `edge.ports.AfterworkBook`."""
        p, header = made.progress, made.header

        def job(conn: sqlite3.Connection) -> int | None:
            rows = read_segments(conn, "s.segment_id=?", p.segment_id)
            if not rows or rows[0].recording_id != made.recording_id:
                raise missing("segment", p.segment_id)
            row = rows[0]
            state, call_id = state_of(conn, made.recording_id)
            if row.state != "closed" or state in ("erasing", "erased") or row.header.version != header.version - 1:
                return None
            conn.execute(
                "UPDATE segment SET chunks=?, plain_bytes=?, payload_bytes=?, tags_hash=?, payload_sha512=?,"
                " encoding=?, frames=?, staged=? WHERE segment_id=?",
                (p.chunks, p.plain_bytes, p.payload_bytes, p.tags_hash, made.payload_sha512, made.encoding,
                 made.frames, made.staged, p.segment_id),
            )  # fmt: skip
            conn.execute(
                "UPDATE header SET sealed_header=x'', slot=0 WHERE segment_id=? AND version=?",
                (p.segment_id, row.header.version),
            )
            conn.execute(
                "INSERT INTO header(segment_id, version, suite, sealed_header, slot, recipients, key_id)"
                " VALUES(?, ?, ?, ?, ?, ?, ?)",
                (p.segment_id, header.version, header.suite, header.sealed_header, header.slot,
                 text_json(header.recipients), header.key_id),
            )  # fmt: skip
            # What still waits for central names the old slot, which will hold another key one day.
            conn.execute(
                "UPDATE outbox SET body=json_remove(body, '$.header') WHERE json_extract(body, '$.segment_id')=?",
                (p.segment_id,),
            )
            facts = {
                "recording_id": made.recording_id, "segment": row.number, "encoding": made.encoding,
                "payload_sha512": made.payload_sha512.hex(), "key_id": row.header.key_id.hex(),
            }  # fmt: skip
            at = self._clock.wall_text()
            self._audit.append(conn, at, "segment.compacted", subject=call_id, call_id=call_id, body=facts)
            body = {
                "recording_id": made.recording_id, "call_id": call_id, "segment_id": p.segment_id,
                "number": row.number, "state": row.state, "end_reason": row.end_reason, "chunks": p.chunks,
                "plain_bytes": p.plain_bytes, "payload_bytes": p.payload_bytes, "tags_hash": p.tags_hash.hex(),
                "payload_sha512": made.payload_sha512.hex(), "encoding": made.encoding, "frames": made.frames,
                "header": header_body(header),
            }  # fmt: skip
            emit(conn, "segment.closed", made.recording_id, body)
            return row.header.slot

        return await self._writer.do(job)

    async def compacted(self, segment_id: str) -> bool:
        """See `edge.ports.AfterworkBook`."""

        def job(conn: sqlite3.Connection) -> bool:
            conn.execute("UPDATE segment SET staged='' WHERE segment_id=?", (segment_id,))
            row = conn.execute("SELECT state FROM segment WHERE segment_id=?", (segment_id,)).fetchone()
            return row is not None and row[0] != "shredded"

        return await self._writer.do(job, wakes=False)

    async def staged_segments(self) -> Sequence[SegmentRow]:
        """See `edge.ports.AfterworkBook`."""

        def job(conn: sqlite3.Connection) -> list[SegmentRow]:
            over = (*LIVE, "erasing", "erased")
            states = f"SELECT recording_id FROM recording WHERE state NOT IN ({', '.join('?' * len(over))})"  # noqa: S608
            return read_segments(conn, f"s.staged<>'' AND s.recording_id IN ({states})", *over)

        return await self._readers.read(job)
