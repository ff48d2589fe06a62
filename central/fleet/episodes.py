"""Alarms that stand: raised once when something begins, and an entry in central's log when it is over."""

from __future__ import annotations

from typing import TYPE_CHECKING

from central.conn import Conn

if TYPE_CHECKING:
    from central.state import Central


def settle(central: Central, conn: Conn, edge_id: str, code: str, message: str | None) -> None:
    """Job: `message` says that it is so now; None that it is not, or no more. Repeats do nothing. code: of the alarm, with
    a cause behind a stroke where it has several."""
    if message is None:
        row = conn.execute("DELETE FROM episode WHERE edge_id=? AND code=? RETURNING since", (edge_id, code)).fetchone()
        if row is not None:
            said = {"edge_id": edge_id, "code": code, "since": row["since"]}
            central.log.append(conn, central.now(), "alarm.cleared", said)
        return
    made = conn.execute(
        "INSERT INTO episode(edge_id, code, since, message) VALUES (?,?,?,?) ON CONFLICT (edge_id, code) DO NOTHING RETURNING code",
        (edge_id, code, central.now(), message[:500]),
    ).fetchone()
    if made is not None:
        name, _, cause = code.partition("/")
        central.alarm(conn, edge_id, name, message, cause=cause)


def standing(conn: Conn, edge_ids: list[str]) -> dict[str, dict[str, str]]:
    """Job: what stands at these edges: edge to code to message."""
    found: dict[str, dict[str, str]] = {edge_id: {} for edge_id in edge_ids}
    marks = ",".join("?" * len(edge_ids)) or "NULL"
    query = f"SELECT edge_id, code, message FROM episode WHERE edge_id IN ({marks}) ORDER BY edge_id, code"  # noqa: S608
    for row in conn.execute(query, tuple(edge_ids)):
        found[row["edge_id"]][row["code"]] = row["message"]
    return found
