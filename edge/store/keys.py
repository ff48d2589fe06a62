"""Further headers of stored segments: the one that comes, and the end of the one before, in one commit."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from typing import Any, Final

from edge.errors import CallwardenError
from edge.model.entities import HeaderRow
from edge.store.base import decode_json, emit, missing, text_json
from edge.store.recordings import header_body, read_segments, state_of
from edge.store.resend import Resend

_HEADERS: Final = """
SELECT r.seq, r.recording_id, c.policy_id, s.segment_id, s.number, h.version, h.recipients
FROM (SELECT seq, recording_id, call_id FROM recording o WHERE state='sealed' AND seq > ? AND EXISTS(
  SELECT 1 FROM segment a JOIN header b ON b.segment_id = a.segment_id AND b.slot > 0
  WHERE a.recording_id = o.recording_id AND a.state IN ('closed','truncated')) ORDER BY seq LIMIT ?) r
JOIN call c ON c.call_id = r.call_id
JOIN segment s ON s.recording_id = r.recording_id AND s.state IN ('closed','truncated')
JOIN header h ON h.segment_id = s.segment_id AND h.slot > 0
ORDER BY r.seq, s.number"""


class Keys(Resend):
    """The `KeyBook` of the journal. A row of a header that was replaced stays, and names no key (slot 0)."""

    async def add_header(self, recording_id: str, header: HeaderRow, statement: str, uid: int) -> int:
        """See `edge.ports.KeyBook`."""

        def job(conn: sqlite3.Connection) -> int:
            state, call_id = state_of(conn, recording_id)
            rows = read_segments(conn, "s.segment_id=?", header.segment_id)
            if not rows or rows[0].recording_id != recording_id:
                raise missing("segment", header.segment_id)
            if conn.execute("SELECT 1 FROM rewrap WHERE statement=?", (statement,)).fetchone():
                return 0
            row, at = rows[0], self._clock.wall_text()
            if state != "sealed" or row.state not in ("closed", "truncated"):
                raise CallwardenError(
                    "command.state", f"the recording is {state}, its segment {row.state}: its header stays",
                    hint="only what is sealed gets another header", where=recording_id,
                )  # fmt: skip
            if row.header.version != header.version - 1 or row.header.slot == 0:
                raise CallwardenError(
                    "command.version", f"version {row.header.version} is the newest by now", retryable=True,
                    hint="run it again", where=header.segment_id,
                )  # fmt: skip
            conn.execute(
                "UPDATE header SET sealed_header=x'', slot=0 WHERE segment_id=? AND version=?",
                (header.segment_id, row.header.version),
            )
            conn.execute(
                "INSERT INTO header(segment_id, version, suite, sealed_header, slot, recipients, key_id, made_by)"
                " VALUES(?, ?, ?, ?, ?, ?, ?, ?)",
                (header.segment_id, header.version, header.suite, header.sealed_header, header.slot,
                 text_json(header.recipients), header.key_id, header.made_by),
            )  # fmt: skip
            conn.execute(
                "INSERT INTO rewrap(segment_id, version, statement, at) VALUES(?, ?, ?, ?)",
                (header.segment_id, header.version, statement, at),
            )
            # What still waits for central names the old slot, which will hold another key one day.
            conn.execute(
                "UPDATE outbox SET body=json_remove(body, '$.header') WHERE json_extract(body, '$.segment_id')=?",
                (header.segment_id,),
            )
            facts = {"recording_id": recording_id, "segment": row.number, "version": header.version}
            said = {**facts, "made_by": header.made_by, "uid": uid, "recipients": len(header.recipients)}
            self._audit.append(conn, at, "header.replaced", subject=call_id, call_id=call_id, body=said)
            body = {
                "recording_id": recording_id, "call_id": call_id, "segment_id": header.segment_id,
                "number": row.number, "statement": statement, "header": header_body(header),
            }  # fmt: skip
            emit(conn, "header.replaced", recording_id, body)
            return row.header.slot

        return await self._writer.do(job)

    async def headers_after(self, seq: int, limit: int) -> Sequence[Mapping[str, Any]]:
        """See `edge.ports.KeyBook`."""
        names = ("seq", "recording_id", "policy", "segment_id", "number", "version", "recipients")

        def job(conn: sqlite3.Connection) -> Sequence[Mapping[str, Any]]:
            rows = conn.execute(_HEADERS, (seq, limit)).fetchall()
            return [dict(zip(names, (*row[:6], decode_json(row[6])), strict=True)) for row in rows]

        return await self._readers.read(job)

    async def recipients_in_use(self) -> Mapping[str, int]:
        """See `edge.ports.KeyBook`."""
        query = "SELECT e.value, count(*) FROM header h, json_each(h.recipients) e WHERE h.slot > 0 GROUP BY e.value"
        return await self._readers.read(lambda conn: dict(conn.execute(query).fetchall()))
