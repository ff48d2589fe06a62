"""Edges as administrators see them."""

from __future__ import annotations

from typing import Any

from central.conn import Conn, Row
from central.fleet.episodes import standing
from central.fleet.standing import edge_row
from formats import canonical

_COLUMNS = (
    "SELECT e.edge_id, e.kid, e.state, e.state_at, e.state_reason, e.enrolled_at, e.last_seen_at, e.certificate_ends, e.code,"
    " (SELECT coalesce(sum(contiguous), 0) FROM stream s WHERE s.edge_id=e.edge_id) AS events,"
    " (SELECT coalesce(max(seq), 0) FROM delivery d WHERE d.edge_id=e.edge_id) AS deliveries,"
    " (SELECT max(size) FROM witnessed w WHERE w.edge_id=e.edge_id) AS witnessed,"
    " h.heard_at, h.data FROM edge e LEFT JOIN heartbeat h ON h.edge_id=e.edge_id"
)


def edges_page(conn: Conn, after: str, limit: int) -> list[dict[str, Any]]:
    """Job: up to `limit` edges whose names come after `after`."""
    rows = conn.execute(f"{_COLUMNS} WHERE e.edge_id>? ORDER BY e.edge_id LIMIT ?", (after, limit)).fetchall()
    stands = standing(conn, [row["edge_id"] for row in rows])
    return [_edge(row) | {"alarms": stands[row["edge_id"]]} for row in rows]


def whole_edge(conn: Conn, edge_id: str) -> dict[str, Any]:
    """Job: one edge, with the keys it had. Raises CentralError not_found.edge."""
    edge_row(conn, edge_id)
    row = conn.execute(f"{_COLUMNS} WHERE e.edge_id=?", (edge_id,)).fetchone()
    former = conn.execute("SELECT kid, retired_at FROM edge_key WHERE edge_id=? ORDER BY retired_at", (edge_id,))
    keys = [{"kid": one["kid"], "retired_at": one["retired_at"]} for one in former]
    return _edge(row) | {"alarms": standing(conn, [edge_id])[edge_id], "former_keys": keys}


def _edge(row: Row) -> dict[str, Any]:
    edge = dict(row)
    heard_at, data = edge.pop("heard_at"), edge.pop("data")
    return edge | {"heartbeat": None if data is None else {"heard_at": heard_at, **_object(data)}}


def _object(text: str) -> dict[str, Any]:
    value = canonical.loads(text)
    assert isinstance(value, dict)
    return value
