"""A call whose edge made it anonymous: what was reported of it before, and comes later, says no more than the edge keeps
(docs/spec/anonymous.md)."""

from __future__ import annotations

from typing import Any, Final

from central.conn import Conn
from formats import canonical
from formats.anonymous import less, to_the_hour

#: An SQL expression of edge, subject, subject, edge: the id of this edge's anonymous call that the subject is, or is a recording of;
#: else NULL. What another edge calls by the same id is none of it.
ANONYMOUS: Final = (
    "(SELECT max(call_id) FROM call WHERE anonymised IS NOT NULL AND edge_id=? AND (call_id=? OR call_id="
    "(SELECT call_id FROM recording WHERE recording_id=? AND edge_id=?)))"
)


def anonymise(conn: Conn, edge_id: str, call_id: str) -> None:
    """Job: reduce every event of the call and its recordings, and the rows made of them. Repeats change nothing."""
    recordings = [r[0] for r in conn.execute("SELECT recording_id FROM recording WHERE call_id=?", (call_id,))]
    for subject in (call_id, *recordings):
        for row in conn.execute(
            "SELECT event_id, time, data, received_at FROM event WHERE edge_id=? AND subject=?", (edge_id, subject)
        ).fetchall():
            conn.execute(
                "UPDATE event SET time=?, data=?, received_at=? WHERE edge_id=? AND event_id=?",
                (
                    to_the_hour(row["time"]),
                    _less(row["data"]),
                    to_the_hour(row["received_at"]),
                    edge_id,
                    row["event_id"],
                ),
            )
    call = conn.execute("SELECT opened, closed, first_seen FROM call WHERE call_id=?", (call_id,)).fetchone()
    if call is not None:
        conn.execute(
            "UPDATE call SET opened=?, closed=?, first_seen=? WHERE call_id=?",
            (_less(call["opened"]), _less(call["closed"]), to_the_hour(call["first_seen"]), call_id),
        )
    for recording_id in recordings:
        row = conn.execute(
            "SELECT opened, sealed, erased, first_seen FROM recording WHERE recording_id=?", (recording_id,)
        ).fetchone()
        conn.execute(
            "UPDATE recording SET opened=?, sealed=?, erased=?, first_seen=? WHERE recording_id=?",
            (
                _less(row["opened"]),
                _less(row["sealed"]),
                _less(row["erased"]),
                to_the_hour(row["first_seen"]),
                recording_id,
            ),
        )
        for segment in conn.execute(
            "SELECT segment_id, data FROM segment WHERE recording_id=?", (recording_id,)
        ).fetchall():
            conn.execute(
                "UPDATE segment SET data=? WHERE segment_id=?", (_less(segment["data"]), segment["segment_id"])
            )


def told(conn: Conn, edge_id: str, said: dict[str, Any]) -> bool:
    """Job: a restored central hears of a call that became anonymous after its backup; `said`: what `call.anonymised` says. Of a
    call that is not known, or another edge's, nothing changes. Whether it became anonymous now."""
    call_id, facts = said.get("call_id"), canonical.dumps(less(said)).decode()
    known = conn.execute("SELECT anonymised FROM call WHERE call_id=? AND edge_id=?", (call_id, edge_id)).fetchone()
    if not isinstance(call_id, str) or known is None or known["anonymised"] is not None:
        return False
    conn.execute("UPDATE call SET anonymised=? WHERE call_id=?", (facts, call_id))
    anonymise(conn, edge_id, call_id)
    return True


def _less(text: str | None) -> str | None:
    if text is None:
        return None
    body: Any = canonical.loads(text)
    return canonical.dumps(less(body)).decode() if isinstance(body, dict) else text
