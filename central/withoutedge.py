"""What an order still destroys of a revoked edge: it is told nothing more, but keys of its recordings lie here."""

from __future__ import annotations

from central.conn import Conn
from central.keeper import shred
from central.minimise.restrictions import restricted
from central.state import Central


def destroy(central: Central, conn: Conn, edge_id: str, jti: str) -> None:
    """Job: where `jti` erases one recording or call of an edge that was revoked, the keeper's keys of it. Payloads here go with
    them. Repeats do nothing. Nothing goes that may be held: no edge is there that could say so."""
    order = conn.execute("SELECT cmd, target_kind, target FROM orders WHERE jti=?", (jti,)).fetchone()
    state = conn.execute("SELECT state FROM edge WHERE edge_id=?", (edge_id,)).fetchone()["state"]
    if state != "revoked" or order["cmd"] != "erase" or order["target_kind"] not in ("recording", "call"):
        return
    column = "recording_id" if order["target_kind"] == "recording" else "call_id"
    query = f"SELECT recording_id, call_id FROM recording WHERE edge_id=? AND {column}=?"  # noqa: S608 - a word of ours
    rows = conn.execute(query, (edge_id, order["target"])).fetchall()
    if not rows or _held(conn, edge_id):
        return
    for row in rows:
        if row["call_id"] is None or not restricted(conn, row["call_id"], row["recording_id"]):
            shred(central, conn, edge_id, row["recording_id"], jti)


def destroy_what_waits(central: Central, conn: Conn, edge_id: str) -> None:
    """Job: the same for every order that this edge, revoked just now, has not answered."""
    rows = conn.execute(
        "SELECT DISTINCT d.jti FROM delivery d JOIN orders o ON o.jti=d.jti WHERE d.edge_id=? AND o.cmd='erase' AND NOT EXISTS"
        " (SELECT 1 FROM receipt r WHERE r.jti=d.jti AND r.edge_id=d.edge_id) ORDER BY d.jti",
        (edge_id,),
    ).fetchall()
    for row in rows:
        destroy(central, conn, edge_id, row["jti"])


def _held(conn: Conn, edge_id: str) -> bool:
    """Whether a hold that was ordered at this edge stands; of which recordings only the edge could say."""
    query = (
        "SELECT 1 FROM orders o JOIN delivery d ON d.jti=o.jti WHERE o.cmd='hold' AND d.edge_id=? AND NOT EXISTS"
        " (SELECT 1 FROM orders r WHERE r.cmd='release' AND r.target=o.jti) LIMIT 1"
    )
    return conn.execute(query, (edge_id,)).fetchone() is not None
