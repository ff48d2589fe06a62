"""What goes to central by policy: a row when a recording is sealed, until it is said what became of it."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Final

from edge.store.base import Base

#: Part of the commit that seals a recording: it is due where its policy replicates. Bound: recording, now.
DUE: Final = """
INSERT OR IGNORE INTO media_due(recording_id, due_at)
SELECT r.recording_id, ?2 FROM recording r JOIN call c USING(call_id)
  JOIN policy p ON p.policy_id = c.policy_id AND p.version = c.policy_version
WHERE r.recording_id = ?1 AND json_extract(p.document, '$.central.media') = 'replicate'"""


#: Part of a commit that tells central everything once more: it may lack payloads too, and says so of each before a byte goes.
AGAIN: Final = "UPDATE media_due SET result='', told_at=NULL WHERE result='done'"


class MediaDue(Base):
    """The `MediaBook` of the journal."""

    async def media_due(self, limit: int, after: str = "") -> Sequence[str]:
        """See `edge.ports.MediaBook`."""

        def job(conn: sqlite3.Connection) -> Sequence[str]:
            rows = conn.execute(
                "SELECT recording_id FROM media_due WHERE result='' AND (?1='' OR (due_at, recording_id) >"
                " (SELECT due_at, recording_id FROM media_due WHERE recording_id=?1))"
                " ORDER BY due_at, recording_id LIMIT ?2",
                (after, limit),
            )
            return [row[0] for row in rows]

        return await self._readers.read(job)

    async def media_told(self, recording_id: str, result: str) -> None:
        """See `edge.ports.MediaBook`."""

        def job(conn: sqlite3.Connection) -> None:
            at = self._clock.wall_text()
            done = conn.execute(
                "UPDATE media_due SET result=?, told_at=? WHERE recording_id=? AND result=''",
                (result, at, recording_id),
            )
            if done.rowcount:
                body = {"recording_id": recording_id, "result": result}
                self._audit.append(conn, at, "media.replicated", body=body)

        await self._writer.do(job)
