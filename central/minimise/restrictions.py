"""Restriction of processing (GDPR Art. 18) as edges report it: which calls and recordings nobody may read, but for legal claims.

Whether a person's calls are restricted only the edge can know, so it names them one by one.
"""

from __future__ import annotations

from typing import Any

from central.conn import Conn
from central.errors import CentralError
from formats.ids import is_id


def place(conn: Conn, edge_id: str, data: dict[str, Any]) -> None:
    """Job: `restriction.placed`, about a call, or one recording of it. Raises CentralError event.id."""
    hold_id, recording_id = data.get("hold_id"), data.get("recording_id") or ""
    if not is_id(str(hold_id)) or (recording_id and not is_id(str(recording_id))):
        raise CentralError("event.id", "hold_id and recording_id are 32 lower-case hex digits", where="hold_id")
    conn.execute(
        "INSERT INTO restriction(edge_id, hold_id, call_id, recording_id) VALUES (?,?,?,?) ON CONFLICT DO NOTHING",
        (edge_id, hold_id, data["call_id"], recording_id),
    )


def release(conn: Conn, edge_id: str, hold_id: str) -> None:
    """Job: `restriction.released`; it counts whatever comes later."""
    conn.execute(
        "INSERT INTO restriction_over(edge_id, hold_id) VALUES (?,?) ON CONFLICT DO NOTHING", (edge_id, hold_id)
    )


def restricted(conn: Conn, call_id: str, recording_id: str = "") -> bool:
    """Whether the recording is restricted, or without one: the call, or any recording of it."""
    query = (
        "SELECT 1 FROM restriction r WHERE r.call_id=? AND (r.recording_id='' OR ?='' OR r.recording_id=?)"
        " AND NOT EXISTS(SELECT 1 FROM restriction_over o WHERE o.edge_id=r.edge_id AND o.hold_id=r.hold_id)"
        " AND EXISTS(SELECT 1 FROM call c WHERE c.call_id=r.call_id AND c.edge_id=r.edge_id) LIMIT 1"
    )
    return conn.execute(query, (call_id, recording_id, recording_id)).fetchone() is not None
